"""What a container has used: one record from either generation of cgroups. Not for the start path.

A part whose controller this host does not have is None. Times are nanoseconds, sizes bytes, limits None for "no limit".
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from pycontain.cgroups import schema
from pycontain.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pycontain.cgroups.cgroup import Cgroup

_TICK_NS = 10_000_000  # USER_HZ is 100 on every architecture of Linux


class CpuStats(Record):
    """``throttled_periods`` of ``periods`` ended with the quota used up. ``per_cpu_ns`` is empty in cgroup v2."""

    usage_ns: int
    user_ns: int
    system_ns: int
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    per_cpu_ns: tuple[int, ...] = ()


class MemoryStats(Record):
    """``swap_limit`` is swap alone. ``failures`` is how often the limit was hit. ``raw`` is memory.stat."""

    usage: int
    limit: int | None
    peak: int | None
    failures: int
    oom_kills: int
    cache: int
    anonymous: int
    inactive_file: int
    kernel: int
    swap_usage: int | None
    swap_limit: int | None
    raw: Mapping[str, int] = {}

    @property
    def working_set(self) -> int:
        """Return the use without page cache that has not been needed lately: what ``docker stats`` shows."""
        return max(0, self.usage - self.inactive_file)


class PidsStats(Record):
    """``failures`` is how often fork(2) was refused."""

    current: int
    limit: int | None
    peak: int | None = None
    failures: int = 0


class IoStats(Record):
    """Of one block device."""

    major: int
    minor: int
    read_bytes: int = 0
    write_bytes: int = 0
    reads: int = 0
    writes: int = 0


class HugetlbStats(Record):
    """Of one page size, such as ``2MB``."""

    page_size: str
    usage: int
    limit: int | None
    peak: int | None = None
    failures: int = 0


class PressureStats(Record):
    """Share of time in percent in which some, or all, processes waited; totals in microseconds. Source: psi.rst"""

    some_avg10: float
    some_avg60: float
    some_avg300: float
    some_total_us: int
    full_avg10: float = 0.0
    full_avg60: float = 0.0
    full_avg300: float = 0.0
    full_total_us: int = 0


class CgroupStats(Record):
    """Everything that the cgroups of a container say."""

    cpu: CpuStats | None = None
    memory: MemoryStats | None = None
    pids: PidsStats | None = None
    io: tuple[IoStats, ...] | None = None
    hugetlb: tuple[HugetlbStats, ...] = ()
    cpu_pressure: PressureStats | None = None
    memory_pressure: PressureStats | None = None
    io_pressure: PressureStats | None = None


def stats(cgroup: Cgroup) -> CgroupStats:
    """Return what the container has used until now; an empty record without cgroups, or when they are gone."""
    if not cgroup.paths.exists:
        return CgroupStats()
    return CgroupStats(
        cpu=_cpu(cgroup),
        memory=_memory(cgroup),
        pids=_pids(cgroup),
        io=_io(cgroup),
        hugetlb=_hugetlb(cgroup),
        cpu_pressure=_pressure(cgroup, "cpu_pressure"),
        memory_pressure=_pressure(cgroup, "memory_pressure"),
        io_pressure=_pressure(cgroup, "io_pressure"),
    )


def totals(cgroup: Cgroup) -> dict[str, int | None]:
    """Return ``cpu_ns`` and ``memory_peak``, what has been used in all and at most; None where it is not counted."""
    if not cgroup.paths.exists:
        return {"cpu_ns": None, "memory_peak": None}
    if "cpuacct" in cgroup.paths.v1:
        cpu_ns = _get(_controller(cgroup, "cpuacct"), "usage")
    else:
        used_us = _get(_controller(cgroup, "cgroup"), "cpu_stat", {}).get("usage_usec")
        cpu_ns = None if used_us is None else used_us * 1000
    memory = _controller(cgroup, "memory")
    peak = "max_usage_in_bytes" if isinstance(memory, schema.MemoryV1) else "peak"
    return {"cpu_ns": cpu_ns, "memory_peak": _get(memory, peak)}


def _get(controller: Any, name: str, default: Any = None) -> Any:
    """Return one value, ``default`` where there is no such controller or file, or the cgroup is gone."""
    if controller is None:
        return default
    try:
        return getattr(controller, name)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return default
        raise


def _controller(cgroup: Cgroup, name: str) -> Any:
    """Return the v1 controller, or the v2 one, or None if there is neither."""
    if name in cgroup.paths.v1:
        generation = 1
    elif cgroup.paths.unified:
        generation = 2
    else:
        return None
    try:
        return schema.controller(name, generation, cgroup.directory(name))
    except FileNotFoundError:
        return None


def _cpu(cgroup: Cgroup) -> CpuStats | None:
    if "cpuacct" in cgroup.paths.v1:
        account = _controller(cgroup, "cpuacct")
        usage = _get(account, "usage")
        if usage is None:
            return None
        user, system = _get(account, "usage_user"), _get(account, "usage_sys")
        if user is None or system is None:
            ticks = _get(account, "acct_stat", {})
            user, system = ticks.get("user", 0) * _TICK_NS, ticks.get("system", 0) * _TICK_NS
        table = _get(_controller(cgroup, "cpu"), "stat", {}) if "cpu" in cgroup.paths.v1 else {}
        return CpuStats(
            usage_ns=usage,
            user_ns=user,
            system_ns=system,
            periods=table.get("nr_periods", 0),
            throttled_periods=table.get("nr_throttled", 0),
            throttled_ns=table.get("throttled_time", 0),
            per_cpu_ns=tuple(_get(account, "usage_percpu", ())),
        )
    table = _get(_controller(cgroup, "cgroup"), "cpu_stat", {})
    if "usage_usec" not in table:
        return None
    return CpuStats(
        usage_ns=table["usage_usec"] * 1000,
        user_ns=table["user_usec"] * 1000,
        system_ns=table["system_usec"] * 1000,
        periods=table.get("nr_periods", 0),
        throttled_periods=table.get("nr_throttled", 0),
        throttled_ns=table.get("throttled_usec", 0) * 1000,
    )


def _memory(cgroup: Cgroup) -> MemoryStats | None:
    controller = _controller(cgroup, "memory")
    if isinstance(controller, schema.MemoryV1):
        return _memory_v1(controller)
    usage = _get(controller, "current")
    if usage is None:
        return None
    table = _get(controller, "memory_stat", {})
    events = _get(controller, "memory_events", {})
    return MemoryStats(
        usage=usage,
        limit=_get(controller, "max"),
        peak=_get(controller, "peak"),
        failures=events.get("max", 0),
        oom_kills=events.get("oom_kill", 0),
        cache=table.get("file", 0),
        anonymous=table.get("anon", 0),
        inactive_file=table.get("inactive_file", 0),
        kernel=table.get("kernel", table.get("kernel_stack", 0) + table.get("pagetables", 0) + table.get("slab", 0)),
        swap_usage=_get(controller, "swap_current"),
        swap_limit=_get(controller, "swap_max"),
        raw=table,
    )


def _memory_v1(controller: Any) -> MemoryStats | None:
    usage = _get(controller, "usage_in_bytes")
    if usage is None:
        return None
    table = _get(controller, "stat", {})
    limit, both = _get(controller, "limit_in_bytes"), _get(controller, "memsw_limit_in_bytes")
    oom = _get(controller, "oom_control", {})
    return MemoryStats(
        usage=usage,
        limit=limit,
        peak=_get(controller, "max_usage_in_bytes"),
        # whichever of memory and memory+swap was reached first
        failures=_get(controller, "failcnt", 0) + _get(controller, "memsw_failcnt", 0),
        oom_kills=oom.get("oom_kill", 0) if isinstance(oom, dict) else 0,
        cache=table.get("total_cache", 0),
        anonymous=table.get("total_rss", 0),
        inactive_file=table.get("total_inactive_file", 0),
        kernel=_get(controller, "kmem_usage_in_bytes", 0),
        swap_usage=table.get("total_swap"),
        swap_limit=None if both is None or limit is None else both - limit,
        raw=table,
    )


def _pids(cgroup: Cgroup) -> PidsStats | None:
    controller = _controller(cgroup, "pids")
    current = _get(controller, "current")
    if current is None:
        return None
    events = _get(controller, "events" if "pids" in cgroup.paths.v1 else "pids_events", {})
    return PidsStats(current, _get(controller, "max"), _get(controller, "peak"), events.get("max", 0))


def _io(cgroup: Cgroup) -> tuple[IoStats, ...] | None:
    if "blkio" in cgroup.paths.v1:
        controller = _controller(cgroup, "blkio")
        sizes, counts = _get(controller, "throttle_io_service_bytes"), _get(controller, "throttle_io_serviced", {})
        if sizes is None:
            return None
        return tuple(
            IoStats(
                *_numbers(device),
                read_bytes=table.get("Read", 0),
                write_bytes=table.get("Write", 0),
                reads=counts.get(device, {}).get("Read", 0),
                writes=counts.get(device, {}).get("Write", 0),
            )
            for device, table in sizes.items()
        )
    tables = _get(_controller(cgroup, "io"), "io_stat")
    if tables is None:
        return None
    return tuple(
        IoStats(
            *_numbers(device),
            read_bytes=table.get("rbytes", 0),
            write_bytes=table.get("wbytes", 0),
            reads=table.get("rios", 0),
            writes=table.get("wios", 0),
        )
        for device, table in tables.items()
        # a device that was removed has no numbers any more
        if device[:1].isdecimal()
    )


def _numbers(device: str) -> tuple[int, int]:
    major, _, minor = device.partition(":")
    return int(major), int(minor)


def _hugetlb(cgroup: Cgroup) -> tuple[HugetlbStats, ...]:
    generation = 1 if "hugetlb" in cgroup.paths.v1 else 2
    if generation == 2 and not cgroup.paths.unified:
        return ()
    try:
        directory = cgroup.directory("hugetlb")
        sizes = schema.page_sizes(directory, "usage_in_bytes" if generation == 1 else "current")
    except OSError:
        return ()
    found = []
    for size in sizes:
        controller = schema.hugetlb(generation, size)(directory)
        usage = _get(controller, "usage")
        if usage is not None:
            failures = (
                _get(controller, "failcnt", 0)
                if generation == 1
                else _get(controller, "limit_events", {}).get("max", 0)
            )
            peak = _get(controller, "peak") if generation == 1 else None
            found.append(HugetlbStats(size, usage, _get(controller, "limit"), peak, failures))
    return tuple(found)


def _pressure(cgroup: Cgroup, name: str) -> PressureStats | None:
    """Return the stall information of cgroup v2, None where the kernel was built or booted without it."""
    if not cgroup.paths.unified:
        return None
    tables = _get(_controller(cgroup, "cgroup"), name)
    if not tables:
        return None
    values: dict[str, Any] = {}
    for kind in ("some", "full"):
        table = tables.get(kind, {})
        for word in ("avg10", "avg60", "avg300"):
            values[f"{kind}_{word}"] = float(table.get(word, 0.0))
        values[f"{kind}_total_us"] = int(table.get("total", 0))
    return PressureStats(**values)
