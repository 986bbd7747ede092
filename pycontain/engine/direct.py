"""A run in the foreground without a monitor: this process is the parent, its stdio the container's. [lean]

The container ends with us: init is told by PDEATHSIG, and the journal names the rest for ``rm`` and ``prune``.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from pycontain.engine.making import Making
from pycontain.kernel import _sys
from pycontain.runtime import create, remove, state
from pycontain.runtime.init import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.engine.options import RunOptions
    from pycontain.runtime.create import Created
    from pycontain.runtime.settings import Settings

# Not forwarded: KILL and STOP cannot be caught, CHLD and URG are the kernel's own news, sizes are a terminal's.
KEPT = frozenset((_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGURG, _signal.SIGWINCH))
OOM_NOTE = "the container was killed because it used up its memory; --memory gives more"


def run(settings: Settings, options: RunOptions, say: Callable[[str], None]) -> int:
    """Run a container in the foreground, remove it, and return its exit code. ``say`` gets lines for the user.

    Raises:
        PycontainError: it could not be started; nothing is left then.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    with Making(settings, options) as making:
        stdio = Stdio(0 if options.interactive else null, 1, 2)
        created = making.create(stdio, tied=True, forget=making.lock.forget)
        os.close(null)
        try:
            making.save(created, shape=state.DIRECT, status=state.RUNNING, attended_by=os.getpid())
            for note in making.notes:
                say(note)
            baseline = making.assembly.cgroup.oom_kills()
            create.start(created, making.assembly.plan.process)
        except BaseException:
            create.abandon(created)
            raise
        making.lock.unlock()
        exit_code, signal = attend(created, sig_proxy=options.sig_proxy, timeout_s=options.timeout_s)
        oom = making.assembly.cgroup.oom_kills() > baseline
        making.lock.relock()
        if options.pidfile:
            _unlink(options.pidfile)
        remove.undo(making.entry)
    if signal and oom:
        say(OOM_NOTE)
    return exit_code


def attend(created: Created, *, sig_proxy: bool, timeout_s: float = 0) -> tuple[int, int]:
    """Forward signals until a process ends, kill it when its time (0: none) is over; return exit code and signal."""
    forwarded = _forward(created.pidfd) if sig_proxy else {}
    deadline = time.monotonic() + timeout_s if timeout_s else None
    poll = select.poll()
    poll.register(created.pidfd, select.POLLIN)
    try:
        while not poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000):
            _sys.pidfd_send_signal(created.pidfd, _signal.SIGKILL, 0)
            deadline = None
    finally:
        for number, handler in forwarded.items():
            _signal.signal(number, handler)
    return create.wait(created)


def _forward(pidfd: int) -> dict[int, object]:
    """Pass every signal that can be caught on to the container, and return the handlers before."""

    def forward(number: int, _frame: object) -> None:
        try:
            _sys.pidfd_send_signal(pidfd, number, 0)
        except ProcessLookupError:
            pass

    before = {}
    for number in range(1, 65):
        if number in KEPT:
            continue
        try:
            before[number] = _signal.signal(number, forward)
        except (OSError, ValueError):
            continue  # the C library keeps two real-time signals for itself
    return before


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
