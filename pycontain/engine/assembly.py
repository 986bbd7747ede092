"""From a prepared container to a maker that can make it: users, directories, files, cgroup, filter, plan. [lean]

::

    Prepared ── assemble ──► Assembly(plan, maker(), …) ── Maker.create ──► Created

Everything made here is journaled before; whoever fails calls runtime.remove.undo.
"""

from __future__ import annotations

import os
import stat

from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.engine import apparmor, defaults, filesystems, mountpoints, placement
from pycontain.engine import userns as users
from pycontain.errors import HostError, StoreError, UsageError
from pycontain.plan.compile import compile_plan
from pycontain.plan.facts import UNIFIED, USERNS_CUSTOM, USERNS_SINGLE, HostFacts
from pycontain.plan.rootfs import DIRECTORY
from pycontain.record import Record
from pycontain.runtime import idmap, journal, probe, seccomp_cache
from pycontain.runtime.create import Maker, Terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.cgroups.devices import DeviceFilter
    from pycontain.cgroups.setting import Setting
    from pycontain.engine.generate import Prepared
    from pycontain.plan.facts import UserNamespace
    from pycontain.plan.plan import Plan
    from pycontain.runtime.init import Stdio
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Entry
    from pycontain.spec.runtime import Spec
    from pycontain.spec.seccomp import LinuxSeccomp

UNCONFINED = "unconfined"
MEMORY_BYTES = 1 << 30
DEFAULT = "default"


class Assembly(Record):
    """A container of which everything but its processes has been made. ``note`` is a line for the user, or ""."""

    entry: Entry
    prepared: Prepared
    plan: Plan
    cgroup: Cgroup
    note: str

    def maker(self, stdio: Stdio, *, tied: bool, forget: Callable[[], None], meanwhile: Callable[[], None]) -> Maker:
        """Return the maker of this container's processes."""
        staging = f"{self.entry.directory}/trees"
        os.makedirs(staging, 0o700, exist_ok=True)
        return Maker(
            self.plan,
            journal=self.entry.journal,
            cgroup=self.cgroup if self.cgroup.paths.exists else None,
            stdio=stdio,
            staging=staging,
            tied=tied,
            forget=forget,
            meanwhile=meanwhile,
            terms=Terms(peers=self.prepared.joined),
        )


def assemble(settings: Settings, entry: Entry, prepared: Prepared, *, shift: bool = True) -> Assembly:
    """Return the container, ready for its processes; ``shift`` false takes the fallback of the user namespace.

    Raises:
        PycontainError: what cannot be had; the caller undoes what was made.
    """
    privileged, kernel = probe.is_privileged(), probe.kernel_version()
    decided = users.decide(entry, prepared, privileged=privileged, kernel=kernel, shift=shift)
    userns = decided.namespace
    prepared = _place_layers(settings, prepared.replace(root=decided.root))
    if userns.kind == USERNS_SINGLE and prepared.state_options["group_add"]:
        raise HostError(
            "--group-add: this user namespace has one group only", hint="give the user ranges in /etc/subuid and subgid"
        )
    if userns.kind == USERNS_CUSTOM and not privileged:
        entry.journal.intend(journal.IDMAP, idmap.to_text(userns.uid_map), idmap.to_text(userns.gid_map))
    if privileged:
        prepared = _confine(prepared)
    cgroup = Cgroup(placement.place(settings, prepared.id))
    plan = _compile(settings, prepared, userns, cgroup, privileged=privileged)
    limits, devices = _check_limits(cgroup, prepared.spec)
    _make_layers(entry, prepared, userns, privileged=privileged)
    _write_files(settings, entry, prepared, userns, privileged=privileged)
    if prepared.volumes:
        _provide_volumes(settings, entry, prepared)
    if not cgroup.paths.exists or prepared.state_options["limits"]["memory"] is None:
        _make_cgroup(entry, cgroup, limits, devices)
    else:
        prepared = _limit_memory(entry, cgroup, limits, devices, prepared)
    return Assembly(entry, prepared, plan, cgroup, decided.note)


def _place_layers(settings: Settings, prepared: Prepared) -> Prepared:
    """Return the container with its layers in memory where the data directory lies on an overlay: EINVAL there."""
    if not prepared.root.overlay or not filesystems.is_overlay(settings.data):
        return prepared
    note = (
        f"{settings.data} is on an overlay, which can hold no upper layer: changes are kept in memory (at most"
        f" {MEMORY_BYTES >> 20} MiB) until the container stops; --root on a volume keeps them"
    )
    root = prepared.root.replace(memory_bytes=MEMORY_BYTES)
    return prepared.replace(root=root, notes=(*prepared.notes, note))


def _confine(prepared: Prepared, *, load: bool = True) -> Prepared:
    """Return the container under the default AppArmor profile, where AppArmor is active and nothing else was asked."""
    process = prepared.spec.process
    if process is None or process.apparmor_profile or prepared.state_options["privileged"]:
        return prepared
    if not probe.apparmor_enabled():
        return prepared
    reason = apparmor.load_default() if load else ""
    if reason:
        note = f"AppArmor is active, but its default profile cannot be used: {reason}"
        return prepared.replace(notes=(*prepared.notes, note))
    process = process.replace(apparmor_profile=apparmor.NAME)
    return prepared.replace(spec=prepared.spec.replace(process=process))


def preview(settings: Settings, prepared: Prepared) -> tuple[Plan, str]:
    """Return the plan that :func:`assemble` would follow, and a note or ""; nothing is made or claimed.

    Raises:
        PycontainError: what this host cannot do.
    """
    privileged, kernel = probe.is_privileged(), probe.kernel_version()
    decided = users.decide(None, prepared, privileged=privileged, kernel=kernel)
    prepared = _place_layers(settings, prepared.replace(root=decided.root))
    if privileged:
        prepared = _confine(prepared, load=False)
    cgroup = Cgroup(placement.place(settings, prepared.id, make=False))
    plan = _compile(settings, prepared, decided.namespace, cgroup, privileged=privileged)
    _check_limits(cgroup, prepared.spec)
    return plan, decided.note


def _compile(
    settings: Settings, prepared: Prepared, userns: UserNamespace, cgroup: Cgroup, *, privileged: bool
) -> Plan:
    """Return the plan of a container in a cgroup."""
    facts = facts_for(settings, userns, cgroup, privileged=privileged)
    seccomp, flags = _filter(settings, prepared, facts)
    return compile_plan(
        prepared.spec,
        prepared.root,
        facts,
        seccomp=seccomp,
        seccomp_flags=flags,
        keyring=keyring_of(prepared.id),
        preserve_fds=prepared.preserve_fds,
        oom_score=defaults.OOM_SCORE,
    )


def facts_for(settings: Settings, userns: UserNamespace, cgroup: Cgroup, *, privileged: bool) -> HostFacts:
    """Return the facts that the plan of a container with these users and this cgroup depends on."""
    return HostFacts(
        kernel=probe.kernel_version(),
        arch=probe.architecture(),
        privileged=privileged,
        userns=userns,
        last_capability=probe.last_capability(),
        cgroup_trees=_cgroup_trees(cgroup.paths),
        volumes=f"{settings.data}/volumes",
        selinux=probe.selinux_enabled(),
    )


def keyring_of(container_id: str) -> str:
    """Return the name of a container's session keyring."""
    return f"_ses.{container_id[:12]}"


def make_cgroup(entry: Entry, cgroup: Cgroup, spec: Spec) -> None:
    """Make the cgroup of a container and set its limits.

    Raises:
        HostError: a limit cannot be enforced here.
    """
    _make_cgroup(entry, cgroup, *_check_limits(cgroup, spec))


def _make_cgroup(entry: Entry, cgroup: Cgroup, limits: tuple[Setting, ...], devices: DeviceFilter | None) -> None:
    if cgroup.paths.exists:
        cgroup.create(lambda path: entry.journal.intend(journal.CGROUP, path), limits)
        cgroup.apply(limits, devices)


def _limit_memory(
    entry: Entry, cgroup: Cgroup, limits: tuple[Setting, ...], devices: DeviceFilter | None, prepared: Prepared
) -> Prepared:
    """Make the cgroup, and return the container without a limit of swap that nobody asked for and nobody can keep."""
    from pycontain.engine import swaplimit

    cgroup.create(lambda path: entry.journal.intend(journal.CGROUP, path), limits)
    if swaplimit.is_implied(prepared.state_options["limits"]) and swaplimit.uncounted(cgroup, limits):
        limits = swaplimit.without(limits)
        spec, notes = swaplimit.spec_without_swap(prepared.spec), (*prepared.notes, swaplimit.NOTE)
        prepared = prepared.replace(spec=spec, notes=notes)
    cgroup.apply(limits, devices)
    return prepared


def make_log_directory(settings: Settings, entry: Entry) -> None:
    """Make the directory of the container's log."""
    path = f"{settings.data}/logs/{entry.id}"
    entry.journal.intend(journal.DIRECTORY, path)
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path}: {(error.strerror or '').lower()}", hint="choose another place: --root DIR"
        ) from error


def _provide_volumes(settings: Settings, entry: Entry, prepared: Prepared) -> None:
    """Make the volumes; anonymous ones of a container that removes itself go with it."""
    from pycontain.engine import volumes

    for use in prepared.volumes:
        if use.anonymous and prepared.state_options["remove"]:
            entry.journal.intend(journal.DIRECTORY, f"{volumes.directory_of(settings)}/{use.name}")
    volumes.provide(entry, prepared.volumes, prepared.root)


def _check_limits(cgroup: Cgroup, spec: Spec) -> tuple[tuple[Setting, ...], DeviceFilter | None]:
    """Return what to write, after everything that this host cannot enforce has been an error."""
    resources = spec.linux.resources
    if resources is None:
        return (), None
    devices = None
    if resources.devices and probe.is_privileged():
        # Without privilege there are no nodes but those of the host that are bound: nothing to filter.
        from pycontain.cgroups.devices import DeviceFilter
        from pycontain.plan.device_filter import build, container_rules

        rules = container_rules(resources.devices)
        devices = DeviceFilter(rules, build(rules))
    return cgroup.check(resources, devices), devices


def _cgroup_trees(paths: CgroupPaths) -> tuple[tuple[str, str], ...]:
    """Return what the container sees below /sys/fs/cgroup: (name, host directory); name "" for pure v2."""
    if not paths.v1:
        return (("", paths.unified),) if paths.unified else ()
    trees = [(controller, path) for controller, path in paths.v1.items()]
    if paths.unified:
        trees.append((UNIFIED, paths.unified))
    return tuple(trees)


def _filter(settings: Settings, prepared: Prepared, facts: HostFacts) -> tuple[bytes | None, int]:
    """Return the compiled seccomp filter and its flags."""
    if prepared.seccomp == UNCONFINED:
        return None, 0
    process = prepared.spec.process
    capabilities = process.capabilities if process is not None else None
    held = frozenset(capabilities.bounding if capabilities is not None else ())
    cache = f"{settings.state}/seccomp"
    if prepared.seccomp == DEFAULT:
        compiled = seccomp_cache.cached_default_filter(cache, held, facts.arch, facts.kernel)
    else:
        profile = _load_profile(prepared.seccomp, held, facts)
        compiled = seccomp_cache.cached_filter(cache, profile, facts.arch, path="")
    return compiled.program, compiled.flags


def _load_profile(path: str, held: frozenset[str], facts: HostFacts) -> LinuxSeccomp:
    from pycontain.plan.seccomp_load import load_profile
    from pycontain.plan.seccomp_tables import native_arch

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--security-opt: seccomp={path}: {getattr(error, 'strerror', None) or error}") from error
    return load_profile(text, caps=held, arch=native_arch(facts.arch), kernel=facts.kernel, source=path)


def _make_layers(entry: Entry, prepared: Prepared, userns: UserNamespace, *, privileged: bool) -> None:
    """Make the directories of the container's overlays; the upper one gets the root's mode and shifted owner."""
    top = prepared.root.overlay
    if not top:
        return
    entry.journal.intend(journal.DIRECTORY, top)
    names = [("root", prepared.root.path)]
    if prepared.root.kind != DIRECTORY:
        names += [(f"system{number}", mount.path) for number, mount in enumerate(prepared.root.mounts)]
    try:
        for name, source in names:
            status = os.stat(source)
            os.makedirs(f"{top}/{name}/work", 0o700, exist_ok=True)
            upper = f"{top}/{name}/upper"
            try:
                os.mkdir(upper, 0o700)
            except FileExistsError:
                continue
            os.chmod(upper, stat.S_IMODE(status.st_mode))
            if privileged:
                _chown_shifted(upper, status, userns)
        if not privileged and prepared.root.kind == DIRECTORY:
            mountpoints.provide(prepared.root.path, f"{top}/root/upper", prepared.spec.mounts, userns)
    except OSError as error:
        raise StoreError(
            f"{error.filename or top}: {(error.strerror or '').lower()}", hint="choose another place: --root DIR"
        ) from error


def _chown_shifted(path: str, status: os.stat_result, userns: UserNamespace) -> None:
    if userns.idmap:
        uid, gid = userns.host_uid(status.st_uid), userns.host_gid(status.st_gid)
        os.chown(path, max(uid, userns.host_uid(0)), max(gid, userns.host_gid(0)))
    else:
        os.chown(path, status.st_uid, status.st_gid)


def _write_files(
    settings: Settings, entry: Entry, prepared: Prepared, userns: UserNamespace, *, privileged: bool
) -> None:
    """Write /etc/hosts and its like, owned by the container's root."""
    if not prepared.files:
        return
    directory = f"{settings.data}/files/{entry.id}"
    entry.journal.intend(journal.DIRECTORY, directory)
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        for file in prepared.files:
            fd = os.open(f"{directory}/{file.name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, file.mode)
            with open(fd, "wb") as stream:
                stream.write(file.text.encode("utf-8", "surrogateescape"))
                os.fchmod(fd, file.mode)
                if privileged:
                    os.fchown(fd, userns.host_uid(0), userns.host_gid(0))
    except OSError as error:
        raise StoreError(
            f"{directory}: {(error.strerror or '').lower()}", hint="choose another place: --root DIR"
        ) from error
