"""What each step of a plan needs from the host. Pure; ``runtime.abilities`` tells what a host has.

A need is named as ``doctor`` names what it looks at. What every kernel that is supported has is no need.
"""

from __future__ import annotations

from pycontain.plan.facts import USERNS_SINGLE
from pycontain.plan.ops import (
    Attach,
    AttachRoot,
    AwaitHooks,
    ChangeRoot,
    Console,
    DevTree,
    EnterRoot,
    JoinKeyring,
    LoopbackUp,
    MakeDirectory,
    MakeNodes,
    MaskLayer,
    MaskPaths,
    NewFilesystem,
    OpenDirectory,
    OpenTree,
    Overlay,
    PivotRoot,
    ReadonlyMount,
    ReadonlyPaths,
    Remount,
    RunHooks,
    SetDomainname,
    SetHostname,
    Sysctl,
)
from pycontain.plan.scheduling import POLICIES
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pycontain.plan.ops import Device, Op
    from pycontain.plan.plan import Plan
    from pycontain.plan.process import ProcessPlan

# kinds of needs
CAPABILITY = "capability"
CONTROLLER = "cgroup controller"
CGROUP = "cgroup"
FILESYSTEM = "file system"
FILE = "file"
IDMAP = "idmapped mounts of"
LIMIT = "hard limit"
NAMESPACE = "namespace"
PROGRAM = "program"
SECCOMP = "seccomp"
SECURITY = "security module"

# linux.resources.* to the name of the controller in version 2, or in version 1 where only that has it
_CONTROLLERS = {
    "memory": "memory",
    "cpu": "cpu",
    "pids": "pids",
    "block_io": "io",
    "hugepage_limits": "hugetlb",
    "rdma": "rdma",
}


class Need(Record):
    """One thing that a step needs: ``kind`` is one of the constants above, ``name`` says which."""

    kind: str
    name: str

    def __str__(self) -> str:
        return self.name if self.kind in (FILE, SECCOMP) else f"{self.kind} {self.name}".strip()


def of_op(op: Op) -> tuple[Need, ...]:
    """Return the needs of an operation."""
    return _OPS[type(op)](op)


def _nothing(_op: Any) -> tuple[Need, ...]:
    return ()


def _open_tree(op: OpenTree) -> tuple[Need, ...]:
    if op.name.startswith("cgroup."):
        return (Need(CGROUP, ""),)  # the container's own, which is made before
    # a path of another process is looked up in its mount namespace
    found = () if op.inside_pid else (Need(FILE, op.source),)
    return (*found, Need(IDMAP, op.source)) if op.idmap and not op.inside_pid else found


def _nodes(devices: tuple[Device, ...]) -> tuple[Need, ...]:
    return (Need(CAPABILITY, "CAP_MKNOD"),) if any(device.kind != "p" for device in devices) else ()


def _hooks(op: AwaitHooks | RunHooks) -> tuple[Need, ...]:
    return tuple(Need(FILE, hook.path) for hook in op.hooks)


def _sysctl(op: Sysctl) -> tuple[Need, ...]:
    return (Need(FILE, "/proc/sys/" + op.key.replace(".", "/")),)


_OPS: dict[type, Callable[[Any], tuple[Need, ...]]] = {
    OpenTree: _open_tree,
    OpenDirectory: lambda op: (Need(FILE, op.source),),
    Overlay: lambda _op: (Need(FILESYSTEM, "overlay"),),
    DevTree: lambda op: _nodes(op.devices),
    NewFilesystem: lambda op: (Need(FILESYSTEM, op.fstype),),
    Attach: lambda op: (Need(FILESYSTEM, op.fresh.fstype),) if op.fresh is not None else (),
    MakeNodes: lambda op: _nodes(op.devices),
    Console: lambda _op: (Need(FILESYSTEM, "devpts"),),
    Sysctl: _sysctl,
    AwaitHooks: _hooks,
    RunHooks: _hooks,
    EnterRoot: lambda op: (Need(FILE, op.path),),
    **dict.fromkeys(
        (
            AttachRoot,
            ChangeRoot,
            JoinKeyring,
            LoopbackUp,
            MakeDirectory,
            MaskLayer,
            MaskPaths,
            PivotRoot,
            ReadonlyMount,
            ReadonlyPaths,
            Remount,
            SetDomainname,
            SetHostname,
        ),
        _nothing,
    ),
}


def of_namespaces(kinds: list[str]) -> tuple[Need, ...]:
    """Return the needs of new namespaces."""
    return tuple(Need(NAMESPACE, kind) for kind in kinds)


def of_maps(plan: Plan) -> tuple[Need, ...]:
    """Return the needs of mapping ids: an ordinary user can map one id alone."""
    if not plan.host_inside or plan.userns.kind == USERNS_SINGLE:
        return ()
    return Need(PROGRAM, "newuidmap"), Need(PROGRAM, "newgidmap")


def of_limit(path: str) -> tuple[Need, ...]:
    """Return the needs of a limit by its path, with the names of plan.explain."""
    part, _, key = path.removeprefix("linux.resources.").partition(".")
    if part == "unified":
        return (Need(CONTROLLER, key.partition(".")[0]),)
    if part == "network":
        return (Need(CONTROLLER, "net_cls" if key == "class_id" else "net_prio"),)
    if part == "devices":
        return (Need(CGROUP, ""),)
    name = "cpuset" if part == "cpu" and key in ("cpus", "mems") else _CONTROLLERS.get(part, part)
    return (Need(CONTROLLER, name),)


def of_process(path: str, process: ProcessPlan, arguments: dict[str, Any]) -> tuple[Need, ...]:
    """Return the needs of the step that ``path`` of a process asks for."""
    if path == "process.apparmorProfile":
        return (Need(SECURITY, "AppArmor"),)
    if path == "process.selinuxLabel":
        return (Need(SECURITY, "SELinux"),)
    if path == "linux.seccomp":
        return (Need(SECCOMP, "seccomp filters"),)
    if path == "process.rlimits":
        return (Need(LIMIT, f"{arguments['name']} {arguments['hard']}"),)
    if path == "process.scheduler":
        # sched(7): other policies may be taken on by anybody
        real = (POLICIES["SCHED_FIFO"], POLICIES["SCHED_RR"], POLICIES["SCHED_DEADLINE"])
        nice = Need(CAPABILITY, "CAP_SYS_NICE")
        return (nice,) if arguments["policy"] in real or arguments["nice"] < 0 else ()
    if path == "process.oomScoreAdj" and (process.oom_score_adj or 0) < 0:
        return (Need(CAPABILITY, "CAP_SYS_RESOURCE"),)
    return ()
