"""Identity of processes across time: a pid alone may be reused, a pid with its start time is one process."""

from __future__ import annotations

import os

from pycontain.kernel import _sys


def start_time(pid: int) -> int | None:
    """Return when ``pid`` started, in clock ticks since boot, or None when there is no such process or it is a zombie.

    Source: proc_pid_stat(5) fields 3 and 22; the command name in parentheses may hold anything.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Tell whether the process that had ``pid`` and this start time still runs."""
    return pid > 0 and start_time(pid) == started


def open_pidfd(pid: int, started: int) -> int | None:
    """Return a pidfd of exactly that process, or None when it has gone; the pid is checked after opening."""
    if pid <= 0:
        return None
    try:
        pidfd = _sys.pidfd_open(pid, 0)
    except ProcessLookupError:
        return None
    if start_time(pid) != started:
        os.close(pidfd)
        return None
    return pidfd


def boot_id() -> str:
    """Return the id of this boot of the kernel: state of another boot describes processes that are gone."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()
