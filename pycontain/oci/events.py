"""``events``: what a container uses, as lines of JSON in runc's form, and that it ran out of memory."""

from __future__ import annotations

import time
from typing import Any

from pycontain import lean_json
from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.cgroups.stats import CgroupStats, PressureStats, stats
from pycontain.errors import UsageError, WrongState
from pycontain.oci.invocation import Invocation
from pycontain.oci.listing import write
from pycontain.oci.store import STOPPED
from pycontain.oci.words import Told
from pycontain.sizes import parse_duration_ns

_LOOK_S = 0.2
_NO_LIMIT = (1 << 64) - 1


def events(invocation: Invocation, told: Told) -> int:
    """Print statistics once, or at every interval until the container ends, and a line for each lack of memory.

    Raises:
        WrongState: it does not run.
    """
    interval = parse_duration_ns("--interval", told.text("interval", "5s")) / 1e9
    if interval <= 0:
        raise UsageError("duration interval must be greater than 0")
    container = invocation.store.find(told.arguments[0])
    state = container.load()
    if container.status(state) == STOPPED:
        raise WrongState(f"container with id {container.id} is not running")
    with Cgroup(CgroupPaths(**state.cgroup)) as cgroup:
        if told.flag("stats"):
            _print("stats", container.id, describe(stats(cgroup), state.rdt))
            return 0
        kills = cgroup.oom_kills()
        due = time.monotonic() + interval
        while container.status(state) != STOPPED:
            now = time.monotonic()
            if now >= due:
                _print("stats", container.id, describe(stats(cgroup), state.rdt))
                due = now + interval
            found = cgroup.oom_kills()
            if found > kills:
                kills = found
                _print("oom", container.id, None)
            time.sleep(max(0.01, min(_LOOK_S, due - now)))
    return 0


def _print(kind: str, name: str, data: dict[str, Any] | None) -> None:
    line: dict[str, Any] = {"type": kind, "id": name}
    if data is not None:
        line["data"] = data
    write(lean_json.dumps(line) + "\n")


def describe(used: CgroupStats, rdt_directories: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return statistics in the form that engines read. Source: types/events.go of runc, as documents show it"""
    return {
        "cpu": _cpu(used),
        "cpuset": {},
        "memory": _memory(used),
        "pids": _pids(used),
        "blkio": _blkio(used),
        "hugetlb": {
            one.page_size: {"usage": one.usage, "max": one.peak or 0, "failcnt": one.failures} for one in used.hugetlb
        },
        "intel_rdt": _intel_rdt(rdt_directories),
        "network_interfaces": None,
    }


def _intel_rdt(directories: tuple[str, ...]) -> dict[str, Any]:
    if not directories:
        return {}
    from pycontain.oci import rdt, rdtstats

    return rdtstats.describe(directories, rdt.mounted())


def _cpu(used: CgroupStats) -> dict[str, Any]:
    cpu = used.cpu
    if cpu is None:
        return {"usage": {}, "throttling": {}}
    usage: dict[str, Any] = {"total": cpu.usage_ns, "kernel": cpu.system_ns, "user": cpu.user_ns}
    if cpu.per_cpu_ns:
        usage["percpu"] = list(cpu.per_cpu_ns)
    throttling = {
        "periods": cpu.periods,
        "throttledPeriods": cpu.throttled_periods,
        "throttledTime": cpu.throttled_ns,
    }
    return {"usage": usage, "throttling": throttling, **_pressure(used.cpu_pressure)}


def _memory(used: CgroupStats) -> dict[str, Any]:
    memory = used.memory
    if memory is None:
        return {"usage": {}, "swap": {}, "kernel": {}, "kernelTCP": {}, "raw": {}}
    limit = _NO_LIMIT if memory.limit is None else memory.limit
    swap = memory.swap_usage or 0
    entry: dict[str, Any] = {
        "cache": memory.cache,
        "usage": {"limit": limit, "usage": memory.usage, "max": memory.peak or 0, "failcnt": memory.failures},
        "swap": {
            # memory and swap together, as in cgroup v1
            "limit": _NO_LIMIT if memory.limit is None or memory.swap_limit is None else limit + memory.swap_limit,
            "usage": memory.usage + swap,
            "failcnt": 0,
        },
        "kernel": {"limit": _NO_LIMIT, "usage": memory.kernel, "failcnt": 0},
        "kernelTCP": {"limit": _NO_LIMIT, "failcnt": 0},
        "raw": dict(memory.raw),
    }
    return {**entry, **_pressure(used.memory_pressure)}


def _pids(used: CgroupStats) -> dict[str, Any]:
    if used.pids is None:
        return {}
    return {"current": used.pids.current, "limit": used.pids.limit or 0}


def _blkio(used: CgroupStats) -> dict[str, Any]:
    if used.io is None:
        return {}
    size, count = [], []
    for device in used.io:
        place = {"major": device.major, "minor": device.minor}
        size.append({**place, "op": "Read", "value": device.read_bytes})
        size.append({**place, "op": "Write", "value": device.write_bytes})
        count.append({**place, "op": "Read", "value": device.reads})
        count.append({**place, "op": "Write", "value": device.writes})
    return {"ioServiceBytesRecursive": size, "ioServicedRecursive": count, **_pressure(used.io_pressure)}


def _pressure(found: PressureStats | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "psi": {
            "some": {
                "avg10": found.some_avg10,
                "avg60": found.some_avg60,
                "avg300": found.some_avg300,
                "total": found.some_total_us,
            },
            "full": {
                "avg10": found.full_avg10,
                "avg60": found.full_avg60,
                "avg300": found.full_avg300,
                "total": found.full_total_us,
            },
        }
    }
