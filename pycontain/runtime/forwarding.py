"""Passes on to a process every signal that we get, until it ends. [lean]"""

from __future__ import annotations

import _signal
import select

from pycontain.kernel import _sys
from pycontain.runtime.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.runtime.create import Created

# Not forwarded: KILL and STOP cannot be caught; CHLD, PIPE and URG are the kernel's own news; sizes are a terminal's;
# returning from a handler of a real fault would repeat it for ever; the C library keeps 32 and 33 for itself.
KEPT = frozenset(
    (
        *(_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGURG, _signal.SIGWINCH),
        *(_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, 32, 33),
    )
)
FORWARDED = tuple(number for number in range(1, 65) if number not in KEPT)


def block() -> None:
    """Let signals wait until :func:`attend` can pass them on: a program may want one as soon as it runs."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED)


def attend(created: Created, deadline: Deadline | None = None) -> tuple[int, int]:
    """Forward signals until the process ends, and return its exit code and signal; it is killed at its deadline."""
    deadline = deadline or Deadline()
    send = forwarder(created.pidfd)
    forwarded = _forward(send)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, FORWARDED)
    poll = select.poll()
    poll.register(created.pidfd, select.POLLIN)
    try:
        while not poll.poll(None if (left := deadline.left_s()) is None else left * 1000):
            deadline.check(send)
    finally:
        for number, handler in forwarded.items():
            _signal.signal(number, handler)
    from pycontain.runtime import create  # whoever made the process has it; terminals need only the signals

    return create.wait(created)


def _forward(send: Callable[[int], None]) -> dict[int, object]:
    """Pass every signal that can be caught on, and return the handlers before."""

    def forward(number: int, _frame: object) -> None:
        send(number)

    return {number: _signal.signal(number, forward) for number in FORWARDED}


def forwarder(pidfd: int) -> Callable[[int], None]:
    """Return a function that sends a signal to a process; one that has ended needs none."""

    def forward(number: int) -> None:
        try:
            _sys.pidfd_send_signal(pidfd, number, 0)
        except ProcessLookupError:
            pass

    return forward
