"""A run in the foreground without a monitor: this process is the parent, its stdio the container's. [lean]

The container ends with us: init is told by PDEATHSIG, and the journal names the rest for ``rm`` and ``prune``.
"""

from __future__ import annotations

import _signal
import os
import select

from pycontain.engine.deadline import Deadline
from pycontain.engine.making import Making
from pycontain.engine.stdio import Streams
from pycontain.kernel import _sys
from pycontain.runtime import create, remove, state
from pycontain.runtime.init import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from pycontain.engine.options import RunOptions
    from pycontain.plan.process import ProcessPlan
    from pycontain.runtime.create import Created
    from pycontain.runtime.settings import Settings

# Not forwarded: KILL and STOP cannot be caught; CHLD, PIPE and URG are the kernel's own news; sizes are a terminal's;
# returning from a handler of a real fault would repeat it for ever; the C library keeps 32 and 33 for itself.
KEPT = frozenset(
    (
        *(_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGURG, _signal.SIGWINCH),
        *(_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, 32, 33),
    )
)
FORWARDED = tuple(number for number in range(1, 65) if number not in KEPT)
OOM_NOTE = "the container was killed because it used up its memory; --memory gives more"


def run(settings: Settings, options: RunOptions, say: Callable[[str], None]) -> int:
    """Run a container in the foreground, remove it, and return its exit code. ``say`` gets lines for the user.

    Raises:
        PycontainError: it could not be started; nothing is left then.
    """
    _on_interrupts(_give_up)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    with Making(settings, options) as making:
        streams = Streams(null, interactive=options.interactive)
        created = making.create(Stdio(*streams.inside), tied=True, forget=making.lock.forget)
        streams.close_inside()
        os.close(null)
        try:
            making.save(created, shape=state.DIRECT, status=state.RUNNING, attended_by=os.getpid())
            for note in making.notes:
                say(note)
            baseline = making.assembly.cgroup.oom_kills()
            start(created, making.assembly.plan.process)
        except BaseException:
            create.abandon(created)
            raise
        making.lock.unlock()
        deadline = Deadline(options.timeout_s)
        exit_code, signal = attend(created, streams, deadline)
        _on_interrupts(_signal.SIG_IGN)  # what is left is to clear up, at once
        oom = making.assembly.cgroup.oom_kills() > baseline
        making.lock.relock()
        if options.pidfile:
            _unlink(options.pidfile)
        remove.undo(making.entry)
    if deadline.passed:
        say(deadline.note())
    elif signal and oom:
        say(OOM_NOTE)
    return exit_code


def start(created: Created, process: ProcessPlan) -> None:
    """Let the program begin. Signals wait until :func:`attend` can pass them on: the program may want one at once.

    Raises:
        ExecError: the program cannot be executed.
    """
    _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED)
    create.start(created, process)


def attend(created: Created, streams: Streams, deadline: Deadline | None = None) -> tuple[int, int]:
    """Forward signals and copy what goes through pipes until a process ends; return exit code and signal."""
    deadline = deadline or Deadline()
    if streams.ours is not None:
        # a terminal, file or socket: copying needs some modules more
        from pycontain.engine import terminal

        forward = forwarder(created.pidfd)
        terminal.relay_pipes(created.pidfd, *streams.ours, forward=forward, blocked=FORWARDED, deadline=deadline)
        return create.wait(created)
    forwarded = _forward(created.pidfd)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, FORWARDED)
    send = forwarder(created.pidfd)
    poll = select.poll()
    poll.register(created.pidfd, select.POLLIN)
    try:
        while not poll.poll(None if (left := deadline.left_s()) is None else left * 1000):
            deadline.check(send)
    finally:
        for number, handler in forwarded.items():
            _signal.signal(number, handler)
    return create.wait(created)


def _forward(pidfd: int) -> dict[int, object]:
    """Pass every signal that can be caught on to the container, and return the handlers before."""
    send = forwarder(pidfd)

    def forward(number: int, _frame: object) -> None:
        send(number)

    return {number: _signal.signal(number, forward) for number in FORWARDED}


def _on_interrupts(handler: Callable[[int, object], NoReturn] | int) -> None:
    """Set what becomes of signals that would end this process; those that the caller has us ignore stay ignored."""
    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, handler)


def _give_up(number: int, _frame: object) -> NoReturn:
    """Unwind, so that what has been made of the container is undone."""
    raise SystemExit(128 + number)


def forwarder(pidfd: int) -> Callable[[int], None]:
    """Return a function that sends a signal to a process; one that has ended needs none."""

    def forward(number: int) -> None:
        try:
            _sys.pidfd_send_signal(pidfd, number, 0)
        except ProcessLookupError:
            pass

    return forward


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
