"""``run``: a container that this process makes, starts and, in the foreground, waits for. [lean]"""

from __future__ import annotations

import os

from pycontain.kernel import _sys
from pycontain.kernel.constants import PR_SET_CHILD_SUBREAPER
from pycontain.oci import verbs
from pycontain.oci.making import Making, check_console, request
from pycontain.oci.store import RUNNING, STOPPED
from pycontain.runtime import create, forwarding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.oci.invocation import Invocation
    from pycontain.oci.words import Told
    from pycontain.runtime.create import Created


def _attend(created: Created) -> int:
    if created.terminal >= 0:
        from pycontain.runtime import terminal

        terminal.be_terminal(created, interactive=os.isatty(0))
        return create.wait(created)[0]
    return forwarding.attend(created)[0]


def _start(invocation: Invocation, making: Making, created: Created) -> None:
    with making.listener() as listener:
        create.start(created, making.assembly.plan.process, listener.send)
    verbs.finish_start(invocation, making.container, making.state)


def _start_told(invocation: Invocation, making: Making, created: Created, *, detach: bool) -> None:
    """Start, and hand on to systemd that the program is ready."""
    from pycontain.oci.readiness import Readiness

    with Readiness(making.container) as readiness:
        _start(invocation, making, created)
        if not detach:
            readiness.wait_beside(making.state)
            return
        making.container.unlock()
        readiness.wait(making.state)


def run(invocation: Invocation, told: Told) -> int:
    """Run a container and return its exit code; 0 when detached.

    Raises:
        PycontainError: it could not be started; nothing is left then.
    """
    detach = told.flag("detach")
    if not detach and not told.flag("no-subreaper"):
        _sys.prctl(PR_SET_CHILD_SUBREAPER, 1)
    with Making(invocation, request(told), held=False) as making:
        check_console(making.bundle, making.request, needed=detach)
        created = making.create(status=RUNNING)
        if not detach:
            forwarding.block()
        if "NOTIFY_SOCKET" in os.environ:
            _start_told(invocation, making, created, detach=detach)
        else:
            _start(invocation, making, created)
        if detach:
            return 0
        making.container.unlock()
    code = _attend(created)
    if told.flag("keep"):
        return code
    making.container.lock()
    making.container.save(making.state.replace(status=STOPPED))
    verbs.destroy(invocation, making.container)
    making.remove_pid_file()
    return code
