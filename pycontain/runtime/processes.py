"""Identity of processes across time: a pid alone may be reused, a pid with its start time is one process."""

from __future__ import annotations

import os
import select

from pycontain.errors import StageError, WrongState
from pycontain.kernel import _sys
from pycontain.kernel.reading import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LOOK_EVERY_MS = 250
_STOPPED_MS = 5000


def start_time(pid: int) -> int | None:
    """Return when ``pid`` started, in clock ticks since boot, or None when there is no such process or it is a zombie.

    Source: proc_pid_stat(5) fields 3 and 22; the command name in parentheses may hold anything.
    """
    fields = _stat(pid)
    if not fields or fields[0] in (b"Z", b"X"):
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


def has_ended(pidfd: int) -> bool:
    """Tell whether a process has ended: what was looked up by its pid before, and it has not, was its own."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def parent(pid: int) -> int:
    """Return the parent of a process, 0 where there is no such process. Source: proc_pid_stat(5) field 4"""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def await_answer(fd: int, pid: int, is_frozen: Callable[[], bool] | None = None) -> None:
    """Wait until ``fd`` can be read: the answer of process ``pid``, which somebody inside may stop or trace.

    ``is_frozen`` tells whether it is stopped with its cgroup, where others may reach that.

    Raises:
        StageError: it has been stopped for 5 s on end.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    looks = 0
    while not poll.poll(_LOOK_EVERY_MS):
        looks = looks + 1 if is_stopped(pid) or (is_frozen is not None and is_frozen()) else 0
        if looks * _LOOK_EVERY_MS >= _STOPPED_MS:
            raise StageError(
                "the process was stopped before its program began, by a signal, a tracer inside or its cgroup",
                hint="look at what runs in the container: top, ps",
            )


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped, by a signal or by its tracer."""
    return _stat(pid)[:1] in ([b"T"], [b"t"])


def exit_of_zombie(pid: int) -> int | None:
    """Return the wait status of a process that ended and that its tracer does not let its parent wait for.

    None where there is no such zombie. Source: proc_pid_stat(5) field 52
    """
    fields = _stat(pid)
    return int(fields[49]) if fields[:1] == [b"Z"] else None


def _stat(pid: int) -> list[bytes]:
    """Return the fields of a process from the third, its state, on; none when it has gone."""
    try:
        return read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


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
        if any(map(has_ended, self._pidfds)):
            raise _gone()

    def close(self) -> None:
        for pidfd in self._pidfds:
            os.close(pidfd)
        self._pidfds.clear()


def _gone() -> WrongState:
    return WrongState("the container that was to be joined has just ended", hint="its state tells when")


def boot_id() -> str:
    """Return the id of this boot of the kernel: state of another boot describes processes that are gone."""
    return read_file("/proc/sys/kernel/random/boot_id").decode().strip()
