"""How the hooks of a configuration become operations. Pure. [lean]"""

from __future__ import annotations

from pycontain.plan.ops import AwaitHooks, RunHooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.ops import Op
    from pycontain.spec.hooks import Hooks


def compile_hooks(hooks: Hooks) -> list[Op]:
    """Return what init does about hooks before it enters the new root: prestart, createRuntime, createContainer."""
    ops: list[Op] = []
    outside = (*hooks.prestart, *hooks.create_runtime)
    if outside:
        ops.append(AwaitHooks("hooks.createRuntime" if hooks.create_runtime else "hooks.prestart", outside))
    if hooks.create_container:
        ops.append(RunHooks("hooks.createContainer", hooks.create_container))
    return ops
