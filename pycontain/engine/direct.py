"""A run in the foreground without a monitor: this process is the parent, its stdio the container's. [lean]

The container ends with us: init is told by PDEATHSIG, and the journal names the rest for ``rm`` and ``prune``.
"""

from __future__ import annotations

import _signal
import os

from pycontain.engine import events
from pycontain.engine.making import Making
from pycontain.engine.stdio import Streams
from pycontain.runtime import create, forwarding, remove, state
from pycontain.runtime.deadline import Deadline
from pycontain.runtime.init import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from pycontain.engine.options import RunOptions
    from pycontain.plan.process import ProcessPlan
    from pycontain.runtime.create import Created
    from pycontain.runtime.settings import Settings

INTERRUPTS = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM)
OOM_NOTE = "the container was killed because it used up its memory; --memory gives more"


def run(settings: Settings, options: RunOptions, say: Callable[[str], None]) -> int:
    """Run a container in the foreground, remove it, and return its exit code. ``say`` gets lines for the user.

    Raises:
        PycontainError: it could not be started; nothing is left then.
    """
    _on_interrupts(_give_up)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    # until there is something that undoes it, nobody must interrupt its making
    _signal.pthread_sigmask(_signal.SIG_BLOCK, INTERRUPTS)
    with Making(settings, options) as making:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, INTERRUPTS)
        streams = Streams(null, interactive=options.interactive)
        created = making.create(Stdio(*streams.inside), tied=True, forget=making.lock.forget)
        streams.close_inside()
        os.close(null)
        try:
            saved = making.save(created, shape=state.DIRECT, status=state.RUNNING, attended_by=os.getpid())
            for note in making.notes:
                say(note)
            baseline = making.assembly.cgroup.oom_kills()
            start(created, making.assembly.plan.process)
        except BaseException:
            create.abandon(created)
            raise
        making.lock.unlock()
        events.record(settings, saved, events.START)
        deadline = Deadline(options.timeout_s)
        exit_code, signal = attend(created, streams, deadline)
        _on_interrupts(_signal.SIG_IGN)  # what is left is to clear up, at once
        oom = making.assembly.cgroup.oom_kills() > baseline
        if oom:
            events.record(settings, saved, events.OOM)
        events.record(settings, saved, events.DIE, exitCode=str(exit_code))
        making.lock.relock()
        if options.pidfile:
            _unlink(options.pidfile)
        remove.undo(making.entry)
        events.record(settings, saved, events.DESTROY)
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
    forwarding.block()
    create.start(created, process)


def attend(created: Created, streams: Streams, deadline: Deadline | None = None) -> tuple[int, int]:
    """Forward signals and copy what goes through pipes until a process ends; return exit code and signal."""
    deadline = deadline or Deadline()
    if streams.ours is not None:
        # a terminal, file or socket: copying needs some modules more
        from pycontain.runtime import terminal

        forward = forwarding.forwarder(created.pidfd)
        terminal.relay_pipes(
            created.pidfd, *streams.ours, forward=forward, blocked=forwarding.FORWARDED, deadline=deadline
        )
        return create.wait(created)
    return forwarding.attend(created, deadline)


def _on_interrupts(handler: Callable[[int, object], NoReturn] | int) -> None:
    """Set what becomes of signals that would end this process; those that the caller has us ignore stay ignored."""
    for number in INTERRUPTS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, handler)


def _give_up(number: int, _frame: object) -> NoReturn:
    """Unwind, so that what has been made of the container is undone; a second signal must not interrupt that."""
    _on_interrupts(_signal.SIG_IGN)
    raise SystemExit(128 + number)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
