"""What holds for one call of the program: where the state lies, where messages go, who makes cgroups. [lean]"""

from __future__ import annotations

import os

from pycontain.errors import UsageError
from pycontain.oci.log import Log
from pycontain.oci.store import Store
from pycontain.runtime import probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.oci.words import Told

PROGRAM = "pycontain-oci"
ROOTLESS = ("auto", "true", "false")


class Invocation:
    """The global options of one call."""

    def __init__(self, told: Told, log: Log) -> None:
        self.log = log
        self.store = Store(os.path.abspath(told.text("root") or _default_root()))
        self.systemd = told.flag("systemd-cgroup")
        self.criu = told.text("criu") or "criu"
        rootless = told.text("rootless", "auto")
        if rootless not in ROOTLESS:
            raise UsageError(f"--rootless: {rootless!r} is none of {', '.join(ROOTLESS)}")
        if rootless == "false" and not probe.is_privileged():
            raise UsageError("--rootless=false: this user is not root of the host")


def _default_root() -> str:
    if os.geteuid() == 0 and probe.in_first_user_namespace():
        return f"/run/{PROGRAM}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(runtime):
        raise UsageError("XDG_RUNTIME_DIR is not set", hint="set it, or give --root DIR")
    return f"{runtime}/{PROGRAM}"
