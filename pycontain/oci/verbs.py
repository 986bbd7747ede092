"""The verbs of a container's life but ``run``: create, start, kill, delete. [lean]"""

from __future__ import annotations

import os

from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.errors import HookError, HostError, NotFound, PycontainError, StoreError, UsageError, WrongState
from pycontain.kernel import _sys
from pycontain.kernel.constants import SIGKILL
from pycontain.oci import undoing
from pycontain.oci.notifying import saved_listener
from pycontain.oci.store import CREATED, CREATING, PAUSED, POSTSTART, POSTSTOP, RUNNING, STOPPED
from pycontain.runtime import held, processes, remove
from pycontain.runtime.signals import signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.oci.invocation import Invocation
    from pycontain.oci.lifehooks import HostView
    from pycontain.oci.store import Container, State
    from pycontain.oci.words import Told
    from pycontain.spec.hooks import Hooks

NOT_RUNNING = "container not running"
_NO_START = {
    STOPPED: "cannot start a container that has stopped",
    RUNNING: "cannot start an already running container",
}


def create(invocation: Invocation, told: Told) -> int:
    """Make a container that waits to be started."""
    from pycontain.oci.making import Making, check_console, request  # first: its group has the others

    asked = request(invocation, told)
    from pycontain.oci import lifehooks

    with lifehooks.HostView() as view, Making(invocation, asked, view, held=True) as making:
        check_console(making.bundle, making.request, needed=True)
        making.create(status=CREATED)
        making.keep()
    return 0


def start(invocation: Invocation, told: Told) -> int:
    """Start the program of a container.

    Raises:
        WrongState: it does not wait to be started.
        ExecError: the program cannot be executed.
    """
    container = invocation.store.find(told.arguments[0])
    container.lock()
    state = container.load()
    status = container.status(state)
    if status != CREATED:
        raise WrongState(_NO_START.get(status, f"cannot start a container in the {status} state"))
    if not state.program:
        raise WrongState(
            "cannot start a container whose configuration has no process", hint="delete --force removes it"
        )
    if "NOTIFY_SOCKET" in os.environ:
        from pycontain.oci.readiness import Readiness

        with Readiness(container) as readiness:
            _start(invocation, container, state)
            container.unlock()
            readiness.wait(state)
        return 0
    _start(invocation, container, state)
    return 0


def _start(invocation: Invocation, container: Container, state: State) -> None:
    with saved_listener(container, state, pid=state.pid, status=CREATED) as listener:
        state = state.replace(status=RUNNING)
        container.save(state)
        try:
            held.begin(
                container.directory,
                state.pid,
                state.program,
                state.paths,
                listener=listener.send,
                is_frozen=lambda: container.status(state) == PAUSED,
            )
        except HookError:
            destroy(invocation, container)
            raise
        except BaseException:
            # it has been told to begin: what has not failed in it must not begin later
            remove.kill(container)
            raise
    os.unlink(f"{container.directory}/{held.SOCKET}")
    if POSTSTART in state.hooks:
        try:
            from pycontain.oci import bundle, lifehooks

            lifehooks.run_poststart(bundle.saved(container.directory).hooks, state)
        except BaseException:
            destroy(invocation, container)
            raise


def kill(invocation: Invocation, told: Told) -> int:
    """Send a signal to a container's first process, or to all of them.

    Raises:
        UsageError: there is no such signal.
        WrongState: nothing of it runs.
    """
    wanted = told.arguments[1] if len(told.arguments) > 1 else "SIGTERM"
    number = signal_number(wanted)
    if number < 0:
        raise UsageError(f"unknown signal {wanted!r}")
    container = invocation.store.find(told.arguments[0])
    state = container.load()
    status = container.status(state)
    with Cgroup(CgroupPaths(**state.cgroup)) as cgroup:
        if told.flag("all"):
            if cgroup.paths.exists:
                cgroup.signal_all(number)
                return 0
            _check_all(container, number, status)
            if status == STOPPED:
                return 0
        pidfd = processes.open_pidfd(state.pid, state.pid_start) if status in (CREATED, RUNNING, PAUSED) else None
        if pidfd is None:
            raise WrongState(NOT_RUNNING)
        try:
            _sys.pidfd_send_signal(pidfd, number, 0)
        except ProcessLookupError:
            raise WrongState(NOT_RUNNING) from None
        finally:
            os.close(pidfd)
        # a frozen process of cgroup v1 does not die before it runs again
        if status == PAUSED and number == SIGKILL and not cgroup.paths.unified:
            cgroup.thaw()
    return 0


def _check_all(container: Container, number: int, status: str) -> None:
    """Refuse to signal every process of a container without a cgroup, unless to end the first one ends them all.

    Raises:
        HostError: nobody knows which processes these are.
    """
    from pycontain.oci import bundle

    namespace = bundle.saved(container.directory).linux.namespace("pid")
    alone = namespace is not None and namespace.path is None  # pid_namespaces(7): the rest ends with the first
    if not alone or (status != STOPPED and number != SIGKILL):
        raise HostError("kill --all: the container has no cgroup that knows its processes", requirement="cgroup")


def delete(invocation: Invocation, told: Told) -> int:
    """Remove what was made for a container.

    Raises:
        WrongState: it has not stopped, and is not to be killed.
    """
    force = told.flag("force")
    try:
        container = invocation.store.find(told.arguments[0])
        if force and container.is_locked:
            remove.kill(container)  # whoever makes it gives up then
        container.lock()
        state = _load_or_none(container)
        if state is not None:
            status = container.status(state.replace(status=STOPPED) if state.status == CREATING else state)
            if status != STOPPED and not force:
                raise WrongState(f"cannot delete container {container.id} that is not stopped: {status}")
    except NotFound:
        if force:
            return 0
        raise
    destroy(invocation, container)
    return 0


def _load_or_none(container: Container) -> State | None:
    """Return the state, None where there is none that can be used: then the journal says what there is."""
    try:
        return container.load()
    except StoreError:
        return None


def destroy(invocation: Invocation, container: Container, view: HostView | None = None) -> None:
    """End and remove a container whose lock is held, and run its poststop hooks, in ``view`` where there is one."""
    state = _load_or_none(container)
    hooks: Hooks | None = None
    if state is not None and POSTSTOP in state.hooks:
        from pycontain.oci import bundle

        try:
            hooks = bundle.saved(container.directory).hooks
        except (OSError, PycontainError) as error:
            invocation.log.warning(f"poststop hooks: {error}")
    undoing.undo(container)
    container.unlock()
    if hooks is not None and state is not None:
        from pycontain.oci import lifehooks

        lifehooks.run_poststop(hooks, state, invocation.log, view)
