"""``compile``: spec, source of the root and facts of the host in, plan out. Pure.

The order of init's operations is the order in which they must happen: names and network first (they need nothing),
then the root, then the mounts as listed, then what hides parts of them, then the pivot.
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.plan import mounts, namespaces, roots
from pycontain.plan.devices import nodes_in_root
from pycontain.plan.hooks import compile_hooks
from pycontain.plan.ops import (
    AttachRoot,
    ChangeRoot,
    Console,
    EnterRoot,
    JoinKeyring,
    LoopbackUp,
    MakeDirectory,
    MaskPaths,
    PivotRoot,
    ReadonlyPaths,
    SetDomainname,
    SetHostname,
    Sysctl,
)
from pycontain.plan.plan import Plan
from pycontain.plan.process import compile_process
from pycontain.plan.scheduling import of_spec
from pycontain.spec.mount_options import MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.facts import HostFacts
    from pycontain.plan.namespaces import Namespaces
    from pycontain.plan.ops import Op
    from pycontain.plan.rootfs import RootSource
    from pycontain.spec.runtime import Spec
    from pycontain.spec.state import HookState

# config-linux.md#rootfs-mount-propagation
ROOT_PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}


def compile_plan(
    spec: Spec,
    root: RootSource,
    facts: HostFacts,
    *,
    seccomp: bytes | None = None,
    seccomp_flags: int = 0,
    keyring: str = "",
    preserve_fds: int = 0,
    hook_state: HookState | None = None,
    oom_score: int | None = None,
) -> Plan:
    """Return the plan that makes ``spec`` on a host with these facts.

    ``seccomp`` is the compiled filter of the spec (plan.seccomp); ``keyring`` names the session keyring;
    ``hook_state`` is what the spec's hooks are told, None leaves them out; ``oom_score`` is tried where the spec has
    none, which an OCI runtime must then leave alone (config.md#process).

    Raises:
        SpecError: something in the spec cannot be made, with its JSON path.
    """
    assert spec.process is not None, "rules.validate has seen to it"
    if spec.linux.mount_label and not facts.selinux:
        raise SpecError("linux.mountLabel", "SELinux is not active on this host", hint="leave it out")
    spaces = namespaces.compile_namespaces(spec, facts)
    host, rooted = _root(spec, root, facts, spaces)
    init = [*_names(spec, spaces), *rooted]
    init += _after_mounts(spec, hooks=hook_state is not None, pivot=root.pivot)
    if keyring:
        init.append(JoinKeyring("", keyring))
    return Plan(
        namespaces=spaces,
        userns=facts.userns,
        host=tuple(host),
        init=tuple(init),
        process=compile_process(
            spec.process,
            last_capability=facts.last_capability,
            seccomp=seccomp,
            seccomp_flags=seccomp_flags,
            preserve_fds=preserve_fds,
            oom_score=oom_score,
            groups=facts.userns.has_groups,
            available=facts.capabilities,
        ).replace(scheduling=of_spec(spec)),
        host_inside=not facts.privileged,
        cgroup=spec.linux.cgroups_path or "",
        resources=spec.linux.resources,
        start_hooks=() if hook_state is None else spec.hooks.start_container,
        hook_state=hook_state,
    )


def _root(spec: Spec, root: RootSource, facts: HostFacts, spaces: Namespaces) -> tuple[list[Op], list[Op]]:
    """Return host operations and init operations of the root and what is mounted in it."""
    if not spaces.inherits("mount"):
        host, root_attachments = roots.compile_root(root, facts)
        mount_host, attachments = mounts.compile_mounts(spec, facts)
        return [*host, *mount_host], [AttachRoot("", "root", root.mounted_at), *root_attachments, *attachments]
    enter = EnterRoot("root.path", spec.root.path)
    if not spec.mounts:
        return [], [enter, *nodes_in_root(spec, facts)]
    # copies of mounts would be attached to the host's for a moment
    host, attachments = mounts.compile_mounts(spec, facts.replace(mount_order=False))
    return host, [enter, *attachments]


def _names(spec: Spec, spaces: Namespaces) -> list[Op]:
    ops: list[Op] = []
    if spaces.has_new("network"):
        ops.append(LoopbackUp(""))
    if spec.hostname and spaces.has_new("uts"):
        ops.append(SetHostname("hostname", spec.hostname))
    if spec.domainname and spaces.has_new("uts"):
        ops.append(SetDomainname("domainname", spec.domainname))
    return ops


def _after_mounts(spec: Spec, *, hooks: bool, pivot: bool) -> list[Op]:
    """Return what happens once everything is mounted, up to the pivot."""
    assert spec.process is not None, "rules.validate has seen to it"
    ops: list[Op] = []
    if spec.process.terminal:
        size = spec.process.console_size
        ops.append(Console("process.terminal", size.height if size else 0, size.width if size else 0))
    for key, value in spec.linux.sysctl.items():
        ops.append(Sysctl(f"linux.sysctl.{key}", key, value))
    if hooks:
        ops += compile_hooks(spec.hooks)
    if spec.linux.readonly_paths:
        ops.append(ReadonlyPaths("linux.readonlyPaths", spec.linux.readonly_paths))
    if spec.linux.masked_paths:
        options = mounts.labelled((), spec.linux.mount_label)
        ops.append(MaskPaths("linux.maskedPaths", spec.linux.masked_paths, options))
    if spec.root.readonly and spec.process.cwd != "/":
        ops.append(MakeDirectory("process.cwd", spec.process.cwd))
    if spec.linux.namespace("mount") is None:
        return [*ops, ChangeRoot("root")]
    # Whatever else it is to be, it is from the beginning (RootSource): pivot_root(2) refuses a shared one alone.
    propagation = ROOT_PROPAGATION.get(spec.linux.rootfs_propagation or "", 0)
    propagation = propagation if propagation & MS_SHARED else 0
    ops.append(PivotRoot("root", spec.root.readonly, propagation, pivot))
    return ops
