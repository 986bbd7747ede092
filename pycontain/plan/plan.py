"""The plan of one container: everything decided, nothing done."""

from __future__ import annotations

from pycontain.plan.ops import Attach, AttachRoot, AwaitHooks, DevTree, OpenTree
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.facts import UserNamespace
    from pycontain.plan.namespaces import Namespaces
    from pycontain.plan.ops import Op
    from pycontain.plan.process import ProcessPlan
    from pycontain.spec.hooks import Hook
    from pycontain.spec.resources import LinuxResources
    from pycontain.spec.state import HookState


class Plan(Record):
    """Operations by stage, and the process at the end.

    ``host`` runs with the host's view and produces trees; ``init`` runs inside. Where ``host_inside`` is true the
    host stage is run by init itself, in its user namespace, because the runtime may not mount on the host.
    ``start_hooks`` are run by init before the program; ``hook_state`` is what hooks are told, None without hooks.
    """

    namespaces: Namespaces
    userns: UserNamespace
    host: tuple[Op, ...]
    init: tuple[Op, ...]
    process: ProcessPlan
    host_inside: bool = False
    cgroup: str = ""
    resources: LinuxResources | None = None
    start_hooks: tuple[Hook, ...] = ()
    hook_state: HookState | None = None

    @property
    def awaits_hooks(self) -> bool:
        """Whether init waits for hooks of the runtime."""
        return any(isinstance(op, AwaitHooks) for op in self.init)

    @property
    def users_first(self) -> bool:
        """Whether the process that joins namespaces must be in the container's user namespace itself."""
        return self.host_inside and self.userns.new and self.namespaces.needs_entry

    @property
    def outer_mounts(self) -> tuple[tuple[str, OpenTree | DevTree], ...]:
        """What init mounts from outside, as (path in the root, its making), in order.

        That is also a /dev with nodes that the container's own users could not make.
        """
        kinds = (OpenTree, DevTree) if self.userns.uid_map else (OpenTree,)
        clones = {op.name: op for op in self.host if isinstance(op, kinds)}
        return tuple((op.target, clones[op.name]) for op in self.init if isinstance(op, Attach) and op.name in clones)

    @property
    def attached(self) -> frozenset[str]:
        """Names of the trees that init attaches; what lies below an overlay is held by the overlay."""
        return frozenset(op.name for op in self.init if isinstance(op, (Attach, AttachRoot)) and op.name)
