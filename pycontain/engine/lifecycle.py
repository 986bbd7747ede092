"""The verbs of a container's life: start, stop, kill, pause, wait, restart, remove, rename. [lean]

Who holds the container's lock: the creator until it is created; briefly whoever changes the state file; ``delete``.
Never anybody who waits for the container's end, because its monitor needs the lock to write it.

A container whose monitor has died is healed when a verb meets it after its end: the state then says that the exit
status is not known.
"""

from __future__ import annotations

import time

from pycontain.cgroups.tree import GONE
from pycontain.engine import attach, events, exits, protocol, waiting
from pycontain.engine.names import check_container_name
from pycontain.engine.signals import DEFAULT_DETACH_KEYS
from pycontain.errors import HostError, NotFound, PycontainError, WrongState
from pycontain.kernel.constants import SIGKILL
from pycontain.runtime import journal, processes
from pycontain.runtime.state import CREATED, MONITORED, PAUSED, RUNNING, STOPPED, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from pycontain.cgroups.cgroup import Cgroup
    from pycontain.engine.protocol import Exit
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Entry, State

DIE_S = 10.0
RECORD_S = 30.0
_POLL_S = 0.005
LOST = "its monitor died before it: the exit status is not known"


def look(settings: Settings, reference: str) -> tuple[Entry, State, str]:
    """Return the entry, state and true status of a container; one that was left by a dead monitor is healed first.

    Raises:
        NotFound: no such container.
        WrongState: it is being made.
    """
    entry = Store(settings).find(reference)
    try:
        state = entry.load()
    except NotFound:
        raise WrongState(
            f"container {reference} is being made, or its maker died", hint=f"pycontain rm -f {reference}"
        ) from None
    status = entry.status(state)
    if status == STOPPED:
        state = settle(entry, state)
    return entry, state, status


def settle(entry: Entry, state: State) -> State:
    """Return the state once the end of a container, whose process has gone, is written; write it if nobody else will.

    One that was to be removed at its end is removed if whoever should have done that was killed.

    Raises:
        NotFound: it has been removed (--rm).
        HostError: its monitor neither writes it nor ends.
    """
    deadline = time.monotonic() + RECORD_S
    while state.status != STOPPED:
        attended = processes.is_alive(state.monitor_pid, state.monitor_start)
        state = entry.load()
        if state.status == STOPPED:
            break
        if not attended:
            return _heal(entry)
        if time.monotonic() > deadline:
            raise HostError(
                f"container {state.name} has ended, but its monitor ({state.monitor_pid}) does not write that down",
                hint=f"pycontain rm -f {state.name}",
            )
        time.sleep(_POLL_S)
    if state.options.get("remove") and not processes.is_alive(state.monitor_pid, state.monitor_start):
        _discard(entry)
    return state


def _discard(entry: Entry) -> NoReturn:
    """Remove a container that was made with --rm, in place of its monitor or command, which is dead.

    Raises:
        NotFound: always, unless it cannot be removed.
    """
    with entry.lock():
        waiting.dispose(entry, volumes=True)
    raise NotFound(f"container {entry.id[:12]} does not exist", hint="it was made with --rm, and has ended")


def _heal(entry: Entry) -> State:
    """Write the end of a container whose monitor is dead.

    Raises:
        NotFound: it was to be removed, and is.
    """
    if entry.load().options.get("remove"):
        _discard(entry)
    cgroup = waiting.cgroup_of(entry)
    oom_killed = cgroup is not None and waiting.clear(cgroup)
    state = waiting.record_exit(entry, protocol.Exit(255, oom_killed=oom_killed, error=LOST))
    if state is None:
        raise NotFound(f"container {entry.id[:12]} does not exist")
    if cgroup is not None:
        cgroup.remove()
    return state


def start(
    settings: Settings,
    reference: str,
    *,
    attached: bool = False,
    interactive: bool = False,
    detach_keys: bytes = DEFAULT_DETACH_KEYS,
    sig_proxy: bool = True,
) -> int:
    """Start a container that was made or has ended; with ``attached`` stay until it ends and return its exit code.

    Raises:
        WrongState: it runs already.
        ExecError: its command cannot be executed.
    """
    entry, _state, status = look(settings, reference)
    if status in (RUNNING, PAUSED):
        raise WrongState(f"container {reference} is {status} already")
    if status == STOPPED:
        from pycontain.engine import spawn

        spawn.recreate(settings, entry)
    if not attached:
        attach.start_detached(entry)
        return 0
    streams = (protocol.STDIN if interactive else "") + protocol.STDOUT + protocol.STDERR
    return attach.serve(entry, streams=streams, detach_keys=detach_keys, proxy=sig_proxy, start=True)


def attach_to(
    settings: Settings,
    reference: str,
    *,
    stdin: bool = True,
    detach_keys: bytes = DEFAULT_DETACH_KEYS,
    sig_proxy: bool = True,
) -> int:
    """Attach to a running container and return its exit code; 0 when the user detached.

    Raises:
        WrongState: it does not run, is paused, or belongs to another terminal (run --rm without -d or -t).
    """
    entry, state, status = look(settings, reference)
    if status != RUNNING:
        hint = f"pycontain {'unpause' if status == PAUSED else 'start'} {reference}"
        raise WrongState(f"container {reference} is {'paused' if status == PAUSED else 'not running'}", hint=hint)
    if state.shape != MONITORED:
        raise WrongState(
            f"container {reference} has the standard streams of the command that runs it",
            hint="run it with -d or -t to attach to it later",
        )
    streams = (protocol.STDIN if stdin else "") + protocol.STDOUT + protocol.STDERR
    return attach.serve(entry, streams=streams, detach_keys=detach_keys, proxy=sig_proxy)


def stop(settings: Settings, reference: str, *, timeout_s: int | None = None, signal: int | None = None) -> None:
    """End a container by its stop signal, by SIGKILL after ``timeout_s`` (-1: never); that it has ended is no error.

    None takes what the container was made with.

    Raises:
        HostError: it does not end even so.
    """
    entry, state, status = look(settings, reference)
    if status in (STOPPED, CREATED):
        return
    patience = state.options.get("stop_timeout_s", 10) if timeout_s is None else timeout_s
    _end(entry, state, signal or state.options.get("stop_signal", 15), patience)
    events.record(settings, state, events.STOP)


def kill(settings: Settings, reference: str, signal: int = SIGKILL) -> None:
    """Send a signal to a container's first process; after SIGKILL, return when it has ended.

    Raises:
        WrongState: it does not run.
        HostError: SIGKILL, and it does not end.
    """
    entry, state, status = look(settings, reference)
    if status not in (RUNNING, PAUSED):
        raise WrongState(f"container {reference} is not running")
    if signal == SIGKILL:
        _end(entry, state, SIGKILL, 0)
        return
    pidfd = processes.open_pidfd(state.pid, state.pid_start)
    if pidfd is None:
        raise WrongState(f"container {reference} has just ended")
    with exits.Owned(pidfd):
        exits.send(pidfd, signal)
    events.record(settings, state, events.KILL, signal=str(signal))


def _end(entry: Entry, state: State, signal: int, patience_s: float) -> None:
    """Signal, wait, kill, and return when the end is written; with --rm, when the container is gone."""
    pidfd = processes.open_pidfd(state.pid, state.pid_start)
    if pidfd is not None:
        events.record(entry.store.settings, state, events.KILL, signal=str(signal))
        with exits.Owned(pidfd):
            exits.send(pidfd, signal)
            if state.status == PAUSED:
                # A frozen process gets its signal when it runs again.
                _thaw(entry)
            if signal == SIGKILL or not exits.wait_readable(pidfd, None if patience_s < 0 else patience_s):
                _kill(entry, pidfd)
    try:
        settle(entry, entry.load())
        _await_removal(entry, state)
    except NotFound:
        pass


def _kill(entry: Entry, pidfd: int) -> None:
    if exits.kill_and_wait(pidfd, 0.2):
        return
    cgroup = waiting.cgroup_of(entry)
    if cgroup is not None:
        # a process that cgroup v1 has frozen dies only when it is thawed
        cgroup.kill()
    if not exits.wait_readable(pidfd, DIE_S):
        raise HostError(
            f"container {entry.id[:12]} does not end",
            hint="it may wait for a file system or device that hangs (state D in ps); try again later",
        )


def _await_removal(entry: Entry, state: State) -> None:
    """With --rm, wait until whoever attends to the container has removed it."""
    deadline = time.monotonic() + RECORD_S
    while state.options.get("remove") and time.monotonic() < deadline:
        if not processes.is_alive(state.monitor_pid, state.monitor_start):
            return
        entry.load()
        time.sleep(_POLL_S)


def _thaw(entry: Entry) -> None:
    cgroup = waiting.cgroup_of(entry)
    if cgroup is not None:
        try:
            cgroup.thaw()
        except OSError as error:
            if error.errno not in GONE:
                raise
            # the signal has ended it, frozen as it was, and its monitor has removed the cgroup


def restart(settings: Settings, reference: str, *, timeout_s: int | None = None) -> None:
    """Stop a container as :func:`stop` does, if it runs, and start it again.

    Raises:
        NotFound: no such container, or it was removed when it ended (--rm).
        PycontainError: it cannot be started again.
    """
    stop(settings, reference, timeout_s=timeout_s)
    start(settings, reference)
    events.record_of(Store(settings).find(reference), events.RESTART)


def pause(settings: Settings, reference: str) -> None:
    """Freeze every process of a container.

    Raises:
        WrongState: it does not run, or is paused.
        HostError: this host cannot freeze, or the processes do not stop in time.
    """
    entry, _state, status = look(settings, reference)
    if status != RUNNING:
        raise WrongState(f"container {reference} is {'paused already' if status == PAUSED else 'not running'}")
    _change(entry, reference, _freeze, events.PAUSE)


def unpause(settings: Settings, reference: str) -> None:
    """Let a paused container run again.

    Raises:
        WrongState: it is not paused.
    """
    entry, _state, status = look(settings, reference)
    if status != PAUSED:
        raise WrongState(f"container {reference} is not paused")
    _change(entry, reference, _unfreeze, events.UNPAUSE)


def _change(entry: Entry, reference: str, change: Callable[[Entry, State, Cgroup], None], event: str) -> None:
    """Freeze or unfreeze a container that runs."""
    cgroup = waiting.cgroup_of(entry)
    if cgroup is None:
        raise HostError(f"container {reference} has no cgroup: it cannot be frozen", hint="pycontain doctor")
    with cgroup, entry.lock():
        state = entry.load()
        if entry.status(state) not in (RUNNING, PAUSED):
            raise WrongState(f"container {reference} has just ended")
        try:
            change(entry, state, cgroup)
        except OSError as error:
            if error.errno not in GONE:
                raise
            raise WrongState(f"container {reference} has just ended") from None
    events.record(entry.store.settings, state, event)


def _freeze(entry: Entry, state: State, cgroup: Cgroup) -> None:
    """Write it before it is true: nobody unpauses a container that stands still and is said to run."""
    entry.save(state.replace(status=PAUSED))
    try:
        cgroup.freeze()
    except HostError:
        entry.save(state)
        raise


def _unfreeze(entry: Entry, state: State, cgroup: Cgroup) -> None:
    cgroup.thaw()
    entry.save(state.replace(status=RUNNING))


def wait(settings: Settings, reference: str) -> int:
    """Wait until a container has ended and return its exit code.

    Raises:
        NotFound: no such container.
        PycontainError: it ended and was removed before its exit code could be read.
    """
    entry, state, status = look(settings, reference)
    if status == STOPPED:
        return state.exit_code
    end = _wait_monitor(entry) if state.shape == MONITORED else None
    return end.exit_code if end is not None else _wait_process(entry, state)


def _wait_monitor(entry: Entry) -> Exit | None:
    """Return what the monitor tells at the end, or None when it has gone before."""
    try:
        with attach.Connection(entry.directory) as connection:
            connection.send(protocol.WAIT)
            while packet := connection.receive():
                if packet[:1] == protocol.EXIT:
                    return protocol.read_exit(packet)
    except WrongState:
        pass
    return None


def _wait_process(entry: Entry, state: State) -> int:
    """Wait for a process that is not ours; then the state file knows, or else the kernel."""
    pidfd = processes.open_pidfd(state.pid, state.pid_start)
    if pidfd is None:
        return settle(entry, entry.load()).exit_code
    with exits.Owned(pidfd):
        exits.wait_readable(pidfd)
        try:
            return settle(entry, entry.load()).exit_code
        except NotFound:
            end = exits.exit_of_stranger(pidfd)
    if end is None:
        raise PycontainError(f"container {state.name} was removed before its exit code could be read")
    return end.exit_code


def delete(settings: Settings, reference: str, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a container with everything it has; ``force`` ends it first, ``volumes`` takes its anonymous volumes too.

    Raises:
        WrongState: it runs and ``force`` is not given, or another process is making it.
        HostError: something of it does not go away; a second call goes on.
    """
    store = Store(settings)
    entry = store.find(reference)
    try:
        state: State | None = entry.load()
    except NotFound:
        state = None
    except PycontainError:
        if not force:
            raise
        state = None
    if state is not None:
        status = entry.status(state)
        if status in (RUNNING, PAUSED):
            if not force:
                raise WrongState(
                    f"container {reference} is {status}", hint=f"stop it first, or: pycontain rm -f {reference}"
                )
            _kill_everything(entry, state)
        elif status == CREATED:
            _kill_everything(entry, state)
    elif not force and not is_abandoned(entry):
        raise WrongState(f"container {reference} is being made", hint=f"pycontain rm -f {reference}")
    try:
        with entry.lock():
            if state is not None and not force:
                _require_rest(entry, state, reference)
            waiting.dispose(entry, volumes=volumes)
    except NotFound:
        pass  # with --rm, whoever attended to it was faster


def _require_rest(entry: Entry, seen: State, reference: str) -> None:
    """Check that nobody has started a container, which was at rest, before its lock was ours.

    Raises:
        WrongState: somebody has.
    """
    state = entry.load()
    status = entry.status(state)
    if status in (RUNNING, PAUSED) or (status == CREATED and state.pid_start != seen.pid_start):
        raise WrongState(f"container {reference} has just been started", hint=f"pycontain rm -f {reference}")


def _kill_everything(entry: Entry, state: State) -> None:
    """End a container without asking; its monitor gets the time to write the last words of its log."""
    try:
        _end(entry, state, SIGKILL, 0)
    except HostError:
        # The journal knows more than the state: undo kills what there is, and says what does not die.
        pass


def is_abandoned(entry: Entry) -> bool:
    """Return whether a container without a state has no maker any more."""
    try:
        with entry.lock(wait=False):
            return True
    except BlockingIOError:
        return False
    except NotFound:
        return True


def rename(settings: Settings, reference: str, name: str) -> None:
    """Give a container another name.

    Raises:
        UsageError: that is no name.
        Exists: it belongs to another container.
    """
    check_container_name("rename", name)
    entry, _state, _status = look(settings, reference)
    with entry.lock():
        state = entry.load()
        if state.name == name:
            raise WrongState(f"container {reference} has that name already")
        entry.journal.intend(journal.NAME, name)
        entry.store.claim_name(name, entry.id)
        try:
            entry.save(state.replace(name=name))
        except PycontainError:
            entry.store.release_name(name, entry.id)
            raise
        entry.store.release_name(state.name, entry.id)
    events.record(settings, state.replace(name=name), events.RENAME, oldName=state.name)
