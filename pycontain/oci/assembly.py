"""From a bundle to a maker that can make its container: users, cgroup, filter, plan. [lean]

Everything made here is journaled before; whoever fails calls :func:`undoing.undo`.
"""

from __future__ import annotations

import os
import zlib

from pycontain.cgroups import host
from pycontain.cgroups.cgroup import Cgroup, CgroupPaths, locate
from pycontain.cgroups.devices import DeviceFilter
from pycontain.errors import HostError, SpecError
from pycontain.kernel import _sys
from pycontain.oci import notifying
from pycontain.oci.store import CACHE
from pycontain.oci.undoing import PARENT
from pycontain.plan import capabilities
from pycontain.plan.compile import ROOT_PROPAGATION, compile_plan
from pycontain.plan.device_filter import build, container_rules
from pycontain.plan.facts import (
    UNIFIED,
    USERNS_CUSTOM,
    USERNS_HOST,
    USERNS_JOINED,
    USERNS_SINGLE,
    HostFacts,
    UserNamespace,
)
from pycontain.plan.rootfs import DIRECTORY, RootSource
from pycontain.plan.scheduling import ALL_CPUS
from pycontain.record import Record
from pycontain.runtime import journal, probe, seccomp_cache
from pycontain.spec.mount_options import MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_REC, MS_SHARED, parse_options
from pycontain.spec.state import OCI_VERSION_MAX, HookState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.cgroups.setting import Setting
    from pycontain.oci.bundle import Bundle
    from pycontain.oci.scope import Scope
    from pycontain.oci.store import Container
    from pycontain.plan.plan import Plan
    from pycontain.runtime.journal import Journal
    from pycontain.spec.process import Process
    from pycontain.spec.runtime import Spec

#: From this kernel on version 1 takes a limit of kernel memory without enforcing it.
KMEM_UNLIMITED = (5, 16)


class Assembly(Record):
    """A container of which everything but its processes has been made; ``warnings`` tell what it cannot have.

    ``rdt`` are directories of resctrl that its processes are to enter.
    """

    plan: Plan
    cgroup: Cgroup
    keyring: str
    warnings: tuple[str, ...] = ()
    scope: Scope | None = None
    rdt: tuple[str, ...] = ()
    late: tuple[Setting, ...] = ()

    def made(self) -> None:
        """Do what has to wait until the container's first process is there and no program of the user's has run.

        Raises:
            HostError: a limit cannot be set.
        """
        if self.late:
            self.cgroup.apply(self.late)
            self.cgroup.close()
        if self.scope is not None:
            self.scope.leave()


class Terms(Record):
    """What the command line says about how a container is made."""

    keyring: bool = True
    preserve_fds: int = 0
    listen_fds: int = 0
    pivot: bool = True
    systemd: bool = False


def assemble(container: Container, bundle: Bundle, root: str, terms: Terms) -> Assembly:
    """Return the container of a bundle, ready for its processes.

    Raises:
        PycontainError: what cannot be had; the caller undoes what was made.
    """
    spec = bundle.spec
    scope = None
    if terms.systemd:
        from pycontain.oci.scope import start

        scope = start(container, spec.linux.cgroups_path or "", spec.annotations)
    cgroup = Cgroup(place(spec, container.id, root) if scope is None else scope.paths)
    limits, devices = check_limits(cgroup, spec)
    cache = f"{root}/{CACHE}"
    if spec.linux.seccomp is not None:
        os.makedirs(cache, 0o700, exist_ok=True)
    plan, name = compile_bundle(bundle, container.id, cgroup, cache, terms)
    notifying.check(spec.linux.seccomp, plan.process.seccomp_flags)
    assert spec.process is not None, "bundle.load has seen to it"
    if cgroup.paths.exists:
        cgroup.create(
            lambda path: _intend_cgroup(container.journal, path),
            limits,
            withdraw=lambda path: container.journal.withdraw(journal.CGROUP, path),
        )
        cgroup.apply(tuple(one for one in limits if not _is_late(one)), devices)
        if owns_cgroup(spec, cgroup.paths):
            cgroup.delegate(plan.userns.host_uid(spec.process.user.uid), -1)
    if spec.mounts and plan.namespaces.inherits("mount"):
        from pycontain.oci import hostmounts

        hostmounts.intend(spec.root.path, container.journal)
    warnings = (*ungrantable(spec.process, available_capabilities(plan.userns)), *without_effect(spec, cgroup.paths))
    rdt = _resctrl(spec, container) if spec.linux.intel_rdt is not None else ()
    late = tuple(one for one in limits if _is_late(one))
    return Assembly(plan, cgroup, name, warnings, scope, rdt, late)


def _resctrl(spec: Spec, container: Container) -> tuple[str, ...]:
    from pycontain.oci import rdt

    assert spec.linux.intel_rdt is not None, "the caller has looked"
    return rdt.prepare(spec.linux.intel_rdt, container.id, rdt.mounted(), container.journal)


def _is_late(limit: Setting) -> bool:
    """Whether a limit would forbid the start itself: a process is cloned into its cgroup, by one that may be in it."""
    return limit.file == "pids.max" and limit.value in ("0", "1")


def _intend_cgroup(journaling: Journal, path: str) -> None:
    """Note a cgroup that is about to be made, after those above it that are made for it."""
    missing = []
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    for parent in reversed(missing):
        journaling.intend(journal.PARENT, parent)
    journaling.intend(journal.CGROUP, path)


def owns_cgroup(spec: Spec, paths: CgroupPaths) -> bool:
    """Whether the container's user gets its cgroup: one of v2, mounted writable, at the root of a new namespace.

    Source: config-linux.md#cgroup-ownership
    """
    namespace = spec.linux.namespace("cgroup")
    if paths.v1 or not paths.unified or namespace is None or namespace.path is not None:
        return False
    for index, mount in enumerate(spec.mounts):
        if mount.type in ("cgroup", "cgroup2") and mount.destination.rstrip("/") == "/sys/fs/cgroup":
            flags = parse_options(mount.options, f"mounts[{index}].options")
            return not (flags.attr_set | flags.rec_attr_set) & MOUNT_ATTR_RDONLY
    return False


def compile_bundle(bundle: Bundle, container_id: str, cgroup: Cgroup, cache: str, terms: Terms) -> tuple[Plan, str]:
    """Return the plan of a bundle in a cgroup, and the name of its session keyring; nothing is made.

    Raises:
        PycontainError: it cannot be made.
    """
    spec = bundle.spec
    _check_mount_namespace(spec)
    facts = _facts(spec, cgroup)
    if spec.process is not None:
        check_groups(spec.process, facts.userns)
    program, flags = None, 0
    if spec.linux.seccomp is not None:
        compiled = seccomp_cache.cached_filter(f"{cache}/seccomp", spec.linux.seccomp, facts.arch)
        program, flags = compiled.program, compiled.flags
    name = f"_ses.{container_id[:64]}" if terms.keyring else ""
    root = RootSource(
        DIRECTORY,
        spec.root.path,
        writable=True,
        mounted_at=spec.root.path,
        propagation=root_propagation(spec),
        pivot=terms.pivot,
    )
    hooks = spec.hooks
    told = HookState(OCI_VERSION_MAX, container_id, bundle.directory, spec.annotations)
    any_hooks = hooks.prestart or hooks.create_runtime or hooks.create_container or hooks.start_container
    plan = compile_plan(
        spec,
        root,
        facts,
        seccomp=program,
        seccomp_flags=flags,
        keyring=name,
        preserve_fds=terms.preserve_fds,
        hook_state=told if any_hooks else None,
    )
    scheduling = plan.process.scheduling.replace(cpus=ALL_CPUS)
    return plan.replace(process=plan.process.replace(scheduling=scheduling, listen_fds=terms.listen_fds)), name


def _facts(spec: Spec, cgroup: Cgroup) -> HostFacts:
    users = _users(spec)
    if spec.linux.sysctl and any(entry.path is not None for entry in spec.linux.namespaces):
        from pycontain.oci import joined

        joined.check_sysctls(spec)
    return HostFacts(
        kernel=probe.kernel_version(),
        arch=probe.architecture(),
        privileged=probe.is_privileged(),
        userns=users,
        last_capability=probe.last_capability(),
        capabilities=available_capabilities(users),
        cgroup_trees=cgroup_trees(cgroup.paths, namespaced=spec.linux.namespace("cgroup") is not None),
        idmap_mounts=True,
        selinux=probe.selinux_enabled(),
        mount_order=True,
    )


def available_capabilities(users: UserNamespace) -> int:
    """Return the mask of capabilities that the container's processes can have: all of them in a user namespace."""
    return _sys.capget()[1] if users.kind == USERNS_HOST else -1


def ungrantable(process: Process, available: int) -> tuple[str, ...]:
    """Return a warning for each capability that is asked for and that this runtime does not have itself."""
    sets = process.capabilities
    if sets is None or available == -1:
        return ()
    names = capabilities.missing((*sets.permitted, *sets.inheritable), available)
    return tuple(f"process.capabilities: {name} cannot be granted: the runtime does not have it" for name in names)


def without_effect(spec: Spec, paths: CgroupPaths) -> tuple[str, ...]:
    """Return a warning for a limit that the kernel takes and does not enforce; version 2 has no file for it.

    Source: Documentation/admin-guide/cgroup-v1/memory.rst, memory.kmem.limit_in_bytes
    """
    memory = spec.linux.resources.memory if spec.linux.resources is not None else None
    asked = memory is not None and memory.kernel is not None and memory.kernel > 0
    if not asked or "memory" not in paths.v1 or probe.kernel_version() < KMEM_UNLIMITED:
        return ()
    return ("linux.resources.memory.kernel: has no effect, this kernel limits it with the rest: use limit",)


def root_propagation(spec: Spec) -> int:
    """Return what the root is at first: one that is to be shared leaves the host's peer group before."""
    asked = ROOT_PROPAGATION.get(spec.linux.rootfs_propagation or "", 0)
    return MS_PRIVATE | (asked & MS_REC) if asked & MS_SHARED else asked


def _check_mount_namespace(spec: Spec) -> None:
    """Refuse to make a root in the host's own mounts.

    Raises:
        SpecError: the mount namespace that is to be joined is that of this process.
    """
    entry = spec.linux.namespace("mount")
    if entry is None or entry.path is None:
        return
    from pycontain.oci import joined

    if joined.is_own("mount", entry.path):
        raise SpecError("linux.namespaces", f"{entry.path} is the mount namespace of the host", hint="leave path out")


def _users(spec: Spec) -> UserNamespace:
    """Return the users of a configuration."""
    entry = spec.linux.namespace("user")
    if entry is None:
        if not _sys.capget()[0] >> capabilities.SYS_ADMIN & 1:
            raise SpecError("linux.namespaces", "an ordinary user needs a user namespace", hint="spec --rootless")
        return UserNamespace(USERNS_HOST, setgroups=not probe.setgroups_denied())
    if entry.path is None:
        maps = spec.linux.uid_mappings, spec.linux.gid_mappings
        # runtime.idmap writes such maps itself where it may write no others, and has to deny setgroups for it
        own = os.geteuid() != 0 and all(len(rows) == 1 and rows[0].size == 1 for rows in maps)
        return UserNamespace(USERNS_SINGLE if own else USERNS_CUSTOM, *maps)
    from pycontain.oci import joined

    maps, setgroups = joined.maps_of(spec, entry.path)
    return UserNamespace(USERNS_JOINED, *maps, setgroups=setgroups)


def check_groups(process: Process, users: UserNamespace) -> None:
    """Refuse groups that nobody can be given.

    Raises:
        SpecError: setgroups(2) is denied.
    """
    if process.user.additional_gids and not users.has_groups:
        raise SpecError(
            "process.user.additionalGids",
            "groups cannot be changed in this user namespace",
            hint="a map of more than one id, by newgidmap(1), allows it",
        )


def place(spec: Spec, container_id: str, root: str) -> CgroupPaths:
    """Return where the container's cgroup is: at ``cgroupsPath``, or in a place of ours.

    An id belongs to one container of a root directory, so the place depends on that too.

    Raises:
        SpecError: the path is none.
    """
    path = spec.linux.cgroups_path or f"{PARENT}/{container_id}.{zlib.crc32(os.fsencode(root)):08x}"
    return locate(host.usable(host.probe_host()), path)


def check_limits(cgroup: Cgroup, spec: Spec) -> tuple[tuple[Setting, ...], DeviceFilter | None]:
    """Return what to write, after everything that this host cannot enforce has been an error."""
    resources = spec.linux.resources
    if not cgroup.paths.exists:
        if resources is not None and any(
            (
                resources.memory,
                resources.cpu,
                resources.pids,
                resources.block_io,
                resources.hugepage_limits,
                resources.network,
                resources.rdma,
                resources.unified,
            )
        ):
            raise HostError("linux.resources: this host has no cgroups that can be used", requirement="cgroup")
        return (), None
    devices = None
    if probe.is_privileged():
        rules = container_rules(resources.devices if resources is not None else ())
        devices = DeviceFilter(rules, build(rules))
    if resources is None:
        return (), devices
    return cgroup.check(resources, devices), devices


def cgroup_trees(paths: CgroupPaths, *, namespaced: bool) -> tuple[tuple[str, str], ...]:
    """Return what the container sees below /sys/fs/cgroup: (name, host directory); name "" for pure v2.

    Where it is not ``namespaced``, /proc/self/cgroup has paths of the whole of v2: these are to lead somewhere.
    """
    if not paths.v1:
        unified = None if namespaced or not paths.unified else host.probe_host().unified
        return (("", paths.unified if unified is None else unified.mountpoint),) if paths.unified else ()
    trees = tuple(paths.v1.items())
    return (*trees, (UNIFIED, paths.unified)) if paths.unified else trees
