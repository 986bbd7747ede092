"""Identity of processes across time: a pid alone may be reused, a pid with its start time is one process."""

from __future__ import annotations

import os
import select

from pycontain.errors import WrongState
from pycontain.kernel import _sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


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


class Peers:
    """First processes of other containers, as (pid, start time), whose namespaces are about to be opened by pid.

    Made before the first is opened and checked after the last: who still runs then has had its pid all the time, so
    that what was opened is its own. Raises WrongState for one that has gone.
    """

    def __init__(self, identities: Iterable[tuple[int, int]]) -> None:
        self._pidfds: list[int] = []
        for pid, started in identities:
            pidfd = open_pidfd(pid, started)
            if pidfd is None:
                self.close()
                raise _gone()
            self._pidfds.append(pidfd)

    def check(self) -> None:
        """Raise WrongState if one of them has ended: its pid may be another process's by now."""
        poll = select.poll()
        for pidfd in self._pidfds:
            poll.register(pidfd, select.POLLIN)
        if self._pidfds and poll.poll(0):
            raise _gone()

    def close(self) -> None:
        for pidfd in self._pidfds:
            os.close(pidfd)
        self._pidfds.clear()


def _gone() -> WrongState:
    return WrongState("the container that was to be joined has just ended", hint="pycontain ps -a shows when")


def boot_id() -> str:
    """Return the id of this boot of the kernel: state of another boot describes processes that are gone."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()
