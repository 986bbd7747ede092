"""``stats``: what containers use, once or again and again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.cgroups.stats import CgroupStats, stats
from pycontain.engine import listing
from pycontain.engine.quantities import size_binary, size_decimal
from pycontain.engine.rendering import Columns
from pycontain.record import Record
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import PAUSED, RUNNING, State, Store

INTERVAL_S = 1.0
_UNKNOWN = "--"
_CLEAR = "\x1b[H\x1b[2J"

COLUMNS = Columns(
    (
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ),
    {"Container": "CONTAINER"},
)


class Sample(Record):
    """What one container had used at a moment (monotonic, nanoseconds). ``network``: bytes received and sent."""

    time_ns: int
    used: CgroupStats
    network: tuple[int, int] | None


def once(settings: Settings, references: Iterable[str] = (), *, everything: bool = False) -> list[dict[str, Any]]:
    """Return what the containers use, measured over a second; without references, all that run.

    Raises:
        NotFound: no such container.
    """
    before = _samples(_chosen(settings, references, everything))
    time.sleep(INTERVAL_S)
    return _rows(_chosen(settings, references, everything), before, {})


def watch(
    settings: Settings,
    references: Iterable[str] = (),
    *,
    everything: bool = False,
    form: str = "table",
    write: Callable[[str], None],
    terminal: bool,
) -> None:
    """Write a listing every second until interrupted; a terminal is cleared before each.

    Raises:
        NotFound: no such container, also when it is removed meanwhile.
        KeyboardInterrupt: the user has seen enough.
    """
    before: dict[str, Sample] = {}
    while True:
        chosen = _chosen(settings, references, everything)
        now = _samples(chosen)
        write((_CLEAR if terminal else "") + COLUMNS.render(_rows(chosen, before, now), form))
        before = now
        time.sleep(INTERVAL_S)


def _chosen(settings: Settings, references: Iterable[str], everything: bool) -> list[listing.Found]:
    found = listing.containers(settings)
    wanted = [Store(settings).find(reference).id for reference in references]
    if wanted:
        by_id = {one.id: one for one in found}
        return [by_id[one] for one in wanted if one in by_id]
    return [one for one in found if one.state is not None and (everything or one.status in (RUNNING, PAUSED))]


def _samples(chosen: list[listing.Found]) -> dict[str, Sample]:
    return {one.id: _sample(one.state) for one in chosen if one.state and one.status in (RUNNING, PAUSED)}


def _sample(state: State) -> Sample:
    with Cgroup(CgroupPaths(**state.cgroup)) as cgroup:
        return Sample(time.monotonic_ns(), stats(cgroup), _network(state))


def _network(state: State) -> tuple[int, int] | None:
    """Return bytes received and sent by the container's own interfaces; None where the namespace is the host's.

    Source: proc_pid_net(5)
    """
    try:
        if os.readlink(f"/proc/{state.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            return None
        with open(f"/proc/{state.pid}/net/dev", encoding="ascii") as file:
            lines = file.read().splitlines()[2:]
    except OSError:
        return None
    received = sent = 0
    for line in lines:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            fields = numbers.split()
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def _rows(chosen: list[listing.Found], before: dict[str, Sample], after: dict[str, Sample]) -> list[dict[str, Any]]:
    after = after or _samples(chosen)
    return [describe(one.state, before.get(one.id), after.get(one.id)) for one in chosen if one.state is not None]


def describe(state: State, before: Sample | None, after: Sample | None) -> dict[str, Any]:
    """Return one container's row in docker's keys; ``--`` stands for what is not known."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS.titles, _UNKNOWN)
    row |= {"Container": state.id[:12], "ID": state.id[:12], "Name": state.name}
    if after is None:
        return row
    used = after.used
    if used.cpu is not None and before is not None and before.used.cpu is not None:
        elapsed = max(after.time_ns - before.time_ns, 1)
        row["CPUPerc"] = f"{max(used.cpu.usage_ns - before.used.cpu.usage_ns, 0) / elapsed * 100:.2f}%"
    if used.memory is not None:
        limit = min(used.memory.limit or _host_memory(), _host_memory())
        row["MemUsage"] = f"{size_binary(used.memory.working_set)} / {size_binary(limit)}"
        row["MemPerc"] = f"{used.memory.working_set / limit * 100:.2f}%"
    if after.network is not None:
        row["NetIO"] = " / ".join(map(size_decimal, after.network))
    if used.io is not None:
        read = sum(device.read_bytes for device in used.io)
        written = sum(device.write_bytes for device in used.io)
        row["BlockIO"] = f"{size_decimal(read)} / {size_decimal(written)}"
    if used.pids is not None:
        row["PIDs"] = str(used.pids.current)
    return row


def _host_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
