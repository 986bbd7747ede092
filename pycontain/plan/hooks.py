"""What hooks of a configuration are told, and how they become operations. Pure. [lean]"""

from __future__ import annotations

from pycontain.plan.ops import AwaitHooks, RunHooks
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pycontain.plan.ops import Op
    from pycontain.spec.hooks import Hooks


class HookState(Record):
    """The container's state as hooks get it, but for status and process id. Source: runtime.md#state"""

    oci_version: str
    id: str
    bundle: str
    annotations: Mapping[str, str] = {}

    def document(self, status: str, pid: int) -> dict[str, Any]:
        """Return the state as JSON has it; ``pid`` 0 is left out."""
        document: dict[str, Any] = {"ociVersion": self.oci_version, "id": self.id, "status": status}
        if pid:
            document["pid"] = pid
        document["bundle"] = self.bundle
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document


def compile_hooks(hooks: Hooks) -> list[Op]:
    """Return what init does about hooks before it enters the new root: prestart, createRuntime, createContainer."""
    ops: list[Op] = []
    outside = (*hooks.prestart, *hooks.create_runtime)
    if outside:
        ops.append(AwaitHooks("hooks.createRuntime" if hooks.create_runtime else "hooks.prestart", outside))
    if hooks.create_container:
        ops.append(RunHooks("hooks.createContainer", hooks.create_container))
    return ops
