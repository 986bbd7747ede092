"""Writes the begin and the end of a container's run into its state file. [lean]

The monitor of a detached container and the command that runs one directly both end here.
"""

from __future__ import annotations

import time

from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.engine import events
from pycontain.errors import HostError, NotFound, PycontainError
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import CREATED, RUNNING, STOPPED, Entry, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.engine.protocol import Exit, LateOptions
    from pycontain.runtime.state import Lock, State

LOCK_PATIENCE_S = 60.0


def entry_of(late: LateOptions, container_id: str) -> Entry:
    """Return the entry of a monitor's container."""
    return Entry(Store(Settings(**late.settings)), container_id)


def cgroup_of(entry: Entry) -> Cgroup | None:
    """Return the container's cgroup, or None where it has none or its state is not to be had."""
    try:
        paths = CgroupPaths(**entry.load().cgroup)
    except (PycontainError, TypeError):
        return None
    return Cgroup(paths) if paths.exists else None


def clear(cgroup: Cgroup) -> bool:
    """Kill what is left in a container's cgroup, and return whether the kernel killed for want of memory there."""
    try:
        oom_killed = cgroup.oom_kills() > 0
        cgroup.kill()
    except (OSError, HostError):
        return False  # gone, or processes that do not die: rm tells
    return oom_killed


def patient_lock(entry: Entry) -> Lock | None:
    """Take the container's lock; None when another process has held it for a minute (the end must be written anyway).

    Raises:
        NotFound: the container has been removed.
    """
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            return entry.lock(wait=False)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)


def record_running(entry: Entry, started_ns: int) -> None:
    """Write that the program runs, unless its end is written already.

    Raises:
        NotFound: the container has been removed.
        StoreError: the state cannot be read or written.
    """
    with entry.lock():
        state = entry.load()
        if state.status == CREATED:
            running = state.replace(status=RUNNING, started_ns=started_ns)
            entry.save(running)
            events.record(entry.store.settings, running, events.START)


def record_exit(entry: Entry, end: Exit, *, started_ns: int = 0, log: dict[str, Any] | None = None) -> State | None:
    """Write that the container has stopped and how, and return the state; None when it has been removed meanwhile.

    ``log``: what to add to the state's ``log`` field, as lines and bytes that were dropped.

    Raises:
        StoreError: the state cannot be read or written.
    """
    lock = None
    try:
        lock = patient_lock(entry)
        state = entry.load()
        stopped = state.replace(
            status=STOPPED,
            started_ns=state.started_ns or started_ns,
            finished_ns=time.time_ns(),
            exit_code=end.exit_code,
            signal=end.signal,
            oom_killed=end.oom_killed,
            error=end.error,
            log={**state.log, **(log or {})},
        )
        entry.save(stopped)
        if end.oom_killed:
            events.record(entry.store.settings, stopped, events.OOM)
        events.record(entry.store.settings, stopped, events.DIE, exitCode=str(end.exit_code))
        return stopped
    except NotFound:
        return None
    finally:
        if lock is not None:
            lock.release()


def dispose(entry: Entry, *, volumes: bool) -> None:
    """Remove a container whose lock is held; with ``volumes`` also the anonymous ones that nobody else uses.

    Raises:
        HostError: a process or cgroup of it does not go away.
        StoreError: a directory cannot be removed.
    """
    from pycontain.runtime import remove

    names: list[str] = []
    state = None
    try:
        state = entry.load()
        if volumes:
            names = state.options.get("anonymous_volumes", [])
    except PycontainError:
        pass  # no state, no volumes that are known; volume prune finds them
    remove.undo(entry)
    if state is not None:
        events.record(entry.store.settings, state, events.DESTROY)
    if names:
        from pycontain.engine.volumes import forget

        forget(entry.store.settings, names)
