"""How a process ended, asked of the kernel. [lean]"""

from __future__ import annotations

import posix
import select

from pycontain.engine.protocol import Exit
from pycontain.kernel import _sys

_SIGKILL = 9
_CLD_EXITED = 1  # asm-generic/siginfo.h
_PIDFD_GET_INFO = 0xC040FF0B  # linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info), of which version 0 has 64 bytes
_PIDFD_INFO_EXIT = 1 << 3


class Owned:
    """Context manager that closes a pidfd."""

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_exc: object) -> None:
        posix.close(self._pidfd)


def send(pidfd: int, signal: int) -> None:
    """Send a signal; a process that has gone is no error."""
    try:
        _sys.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        pass


def exit_of(code: int, status: int) -> Exit:
    """Return the exit that waitid(2) described by si_code and si_status: 128 + signal for a killed process."""
    return Exit(status) if code == _CLD_EXITED else Exit(128 + status, status)


def exit_of_stranger(pidfd: int) -> Exit | None:
    """Return how a process ended that another one has waited for; None where the kernel cannot tell (before 6.15)."""
    import fcntl

    info = bytearray(64)
    info[0] = _PIDFD_INFO_EXIT
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not info[0] & _PIDFD_INFO_EXIT:
        return None
    return exit_of_status(int.from_bytes(info[60:64], "little", signed=True))


def exit_of_status(status: int) -> Exit:
    """Return the exit that wait(2) describes by a status."""
    if posix.WIFEXITED(status):
        return Exit(posix.WEXITSTATUS(status))
    return Exit(128 + posix.WTERMSIG(status), posix.WTERMSIG(status))


def wait_readable(fd: int, timeout_s: float | None = None) -> bool:
    """Wait until a descriptor can be read, and return whether it can; a pidfd when its process has ended.

    None waits for ever.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else max(timeout_s, 0) * 1000))


def kill_and_wait(pidfd: int, timeout_s: float) -> bool:
    """Send SIGKILL and return whether the process ended in time."""
    send(pidfd, _SIGKILL)
    return wait_readable(pidfd, timeout_s)
