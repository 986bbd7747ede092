"""``run``: a container that this process makes, starts and, in the foreground, waits for. [lean]"""

from __future__ import annotations

import os

from pycontain.errors import NotFound, PycontainError
from pycontain.kernel import _sys
from pycontain.kernel.constants import PR_SET_CHILD_SUBREAPER
from pycontain.oci import console, verbs
from pycontain.oci.lifehooks import HostView
from pycontain.oci.making import Making, check_console, request
from pycontain.oci.store import RUNNING
from pycontain.runtime import create, forwarding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.oci.invocation import Invocation
    from pycontain.oci.readiness import Readiness
    from pycontain.oci.words import Told


def run(invocation: Invocation, told: Told) -> int:
    """Run a container and return its exit code; 0 when detached.

    Raises:
        PycontainError: it could not be started; nothing is left then.
    """
    detach = told.flag("detach")
    if not detach and not told.flag("no-subreaper"):
        _sys.prctl(PR_SET_CHILD_SUBREAPER, 1)
    asked = request(invocation, told)
    with HostView() as view:
        readiness = None
        with Making(invocation, asked, view, held=False) as making:
            check_console(making.bundle, making.request, needed=detach)
            created = making.create(status=RUNNING)
            if "NOTIFY_SOCKET" in os.environ:
                from pycontain.oci.readiness import Readiness

                readiness = Readiness(making.container)
            if not detach:
                forwarding.block()
            with making.listener() as listener:
                create.start(created, making.assembly.plan.process, listener.send)
            making.run_poststart()
        # the lock is free: from here on other commands may do with the container what they like
        if readiness is not None:
            _hand_on(readiness, making, detach=detach)
        if detach:
            return 0
        code = console.attend(created)
        if not told.flag("keep"):
            remove(making)
    return code


def _hand_on(readiness: Readiness, making: Making, *, detach: bool) -> None:
    """Hand on to systemd that the program is ready."""
    with readiness:
        if not detach:
            readiness.wait_beside(making.state, making.invocation.log)
            return
        try:
            readiness.wait(making.state)
        except BaseException:
            remove(making)
            raise


def remove(making: Making) -> None:
    """Remove the container, unless another command has done so, and perhaps made another one of its id."""
    container, state = making.container, making.state
    try:
        container.lock()
        found = container.load()
    except NotFound:
        pass
    except PycontainError as error:
        making.invocation.log.warning(f"container {container.id} is not removed: {error}")
    else:
        if (found.pid, found.pid_start) == (state.pid, state.pid_start):
            verbs.destroy(making.invocation, container, making.view)
    container.unlock()
    making.remove_pid_file()
