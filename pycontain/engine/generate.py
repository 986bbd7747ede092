"""From options to a configuration: docker's defaults as an OCI Spec, and what goes beside it. [lean]

::

    RunOptions + Surroundings ── generate ──► Prepared(spec, root, userns, files, volumes, …)

Pure: everything that is read is read in :mod:`pycontain.engine.surroundings`.
"""

from __future__ import annotations

from pycontain.engine import capabilities, defaults, mounts, namespaces, netfiles, resources, security, tracers
from pycontain.engine.surroundings import gather
from pycontain.errors import HostError, UsageError
from pycontain.record import Record
from pycontain.spec.linux import Linux, Namespace, TimeOffset
from pycontain.spec.process import Capabilities, Process, Rlimit, User
from pycontain.spec.root import Root
from pycontain.spec.runtime import Spec
from pycontain.spec.state import OCI_VERSION_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.engine.options import RunOptions
    from pycontain.engine.surroundings import Peer, Surroundings
    from pycontain.plan.rootfs import RootSource
    from pycontain.runtime.settings import Settings

USERNS_CONTAINER = "container"
_IDS_OF_AUTO = 65536
INIT_PATH = "/run/pycontain-init"


class GeneratedFile(Record):
    """A file to write below ``files/<id>/`` of the data directory, owned by the container's root."""

    name: str
    text: str
    mode: int = 0o644


class Prepared(Record):
    """A container that is ready to be made.

    ``userns`` is what was asked for: ``auto``, ``auto,strict``, ``host``, ``keep-id``, a triple (first uid, first gid,
    size), or ``container``: the user namespace and mapping of ``peer``. The Spec names a new user namespace without
    mappings unless it is ``host``. ``fallback_refused`` names the option that forbids an identity-mapped fallback.
    ``seccomp`` is ``default``, ``unconfined`` or the path of a profile in docker's form. ``state_options`` goes into
    the state file. ``joined`` are the first processes, as (pid, start time), of the containers whose namespaces are
    joined. ``notes`` are lines for the user and for inspect.
    """

    id: str
    name: str
    spec: Spec
    root: RootSource
    userns: str | tuple[int, int, int]
    files: tuple[GeneratedFile, ...]
    volumes: tuple[mounts.VolumeUse, ...]
    seccomp: str
    peer: Peer | None = None
    joined: tuple[tuple[int, int], ...] = ()
    fallback_refused: str = ""
    preserve_fds: int = 0
    state_options: dict[str, Any] = {}  # noqa: RUF012  (records are never mutated)
    notes: tuple[str, ...] = ()


def prepare(settings: Settings, options: RunOptions, container_id: str, name: str) -> Prepared:
    """Return the container that the options describe, on this host; nothing is made or changed.

    Raises:
        PycontainError: as :func:`pycontain.engine.surroundings.gather` and :func:`generate`.
    """
    return generate(options, gather(settings, options, container_id, name))


def generate(options: RunOptions, around: Surroundings) -> Prepared:
    """Return the configuration.

    Raises:
        UsageError: options contradict each other or what is there.
        HostError: the host lacks what an option needs.
    """
    userns, peer = _user_namespace(options, around)
    _check_host(options, around)
    _check_ids(options, around, userns)
    hostname = _hostname(options, around)
    shifted = userns != namespaces.HOST and not around.rootless
    own_userns = userns not in (namespaces.HOST, USERNS_CONTAINER)
    user_mounts, volumes = mounts.user_mounts(options, around, idmap=shifted)
    base = mounts.default_mounts(options, around, limited=own_userns)
    spec = Spec(
        oci_version=OCI_VERSION_MAX,
        root=Root(around.root.path, options.readonly),
        process=_process(options, around, hostname, userns),
        hostname=hostname if options.uts == namespaces.PRIVATE else None,
        domainname=options.domainname or None,
        mounts=mounts.merge(base, user_mounts, mounts.init_mount(around.init_program, INIT_PATH)),
        annotations=options.annotations,
        linux=_linux(options, around, userns),
    )
    return Prepared(
        id=around.id,
        name=around.name,
        spec=spec,
        root=around.root,
        userns=userns,
        files=_files(options, around, hostname),
        volumes=volumes,
        seccomp=options.security.seccomp or (security.UNCONFINED if options.privileged else "default"),
        peer=peer,
        joined=tuple((peer.pid, peer.pid_start) for peer in around.peers.values()),
        fallback_refused=_fallback_refused(options),
        preserve_fds=options.preserve_fds,
        state_options=_state_options(options, hostname, volumes, around),
        notes=_notes(options, userns),
    )


def _user_namespace(options: RunOptions, around: Surroundings) -> tuple[str | tuple[int, int, int], Peer | None]:
    """Return the request, and the container whose user namespace is joined.

    Raises:
        UsageError: containers of two user namespaces are joined at once.
    """
    if around.peers:
        first, *rest = around.peers.items()
        for mode, peer in rest:
            if peer.userns != first[1].userns:
                raise UsageError(
                    f"{mode}: has another user namespace than {first[0]}", hint="join containers of one group only"
                )
        joined = first[1].userns.get("kind", namespaces.HOST) != namespaces.HOST
        return (USERNS_CONTAINER, first[1]) if joined else (namespaces.HOST, first[1])
    # An ordinary user has privileges nowhere but in a user namespace.
    privileged = options.privileged and not around.rootless
    request = options.userns or (namespaces.HOST if privileged else namespaces.USERNS_AUTO)
    if request[0].isdigit():
        uid, gid, size = map(int, request.split(":"))
        return (uid, gid, size), None
    return request, None


def _check_host(options: RunOptions, around: Surroundings) -> None:
    """Refuse what this host cannot do.

    Raises:
        HostError, UsageError
    """
    chosen = options.security
    if chosen.apparmor not in ("", security.UNCONFINED) and not around.apparmor:
        raise HostError(
            f"--security-opt: apparmor={chosen.apparmor}: AppArmor is not active on this host",
            requirement="apparmor",
            hint="leave it out, or boot with apparmor=1 security=apparmor",
        )
    if chosen.labels and not around.selinux:
        raise HostError(
            "--security-opt: label: SELinux is not active on this host", requirement="selinux", hint="leave it out"
        )
    for mode, peer in around.peers.items():
        if mode == options.pid and peer.tracer:
            raise tracers.refusal(f"--pid {mode}", peer.tracer)
    if options.init and options.pid != namespaces.PRIVATE:
        raise UsageError(
            f"--init: contradicts --pid {options.pid}", hint="only process 1 of a pid namespace can reap its orphans"
        )
    if options.sysctls and around.rootless and any(not key.startswith("net.") for key in options.sysctls):
        key = next(key for key in options.sysctls if not key.startswith("net."))
        raise HostError(f"--sysctl: {key}: needs root on this host", requirement="root", hint="run with sudo")


def _check_ids(options: RunOptions, around: Surroundings, userns: str | tuple[int, int, int]) -> None:
    """Refuse ids that the container's mapping will not have.

    Raises:
        UsageError: names the id.
    """
    size = userns[2] if isinstance(userns, tuple) else _IDS_OF_AUTO
    if userns in (namespaces.HOST, USERNS_CONTAINER, namespaces.USERNS_KEEP_ID):
        return
    identity = around.identity
    added = set(options.group_add)
    for number in (identity.uid, *identity.additional_gids):
        if number >= size:
            hint = f"ids inside are 0 to {size - 1}; --userns UID:GID:SIZE gives more, --userns host all"
            option = "--group-add" if str(number) in added and number not in (identity.uid, identity.gid) else "--user"
            raise UsageError(f"{option}: id {number} is outside the container's user namespace", hint=hint)


def _hostname(options: RunOptions, around: Surroundings) -> str:
    """Return the name that the container's uts namespace has or will have."""
    if options.hostname:
        return options.hostname
    if options.uts.startswith(namespaces.CONTAINER):
        return around.peers[options.uts].hostname
    if namespaces.HOST in (options.uts, options.network):
        return around.hostname
    return around.id[:12]


def _environment(options: RunOptions, around: Surroundings, hostname: str) -> tuple[str, ...]:
    """Return docker's variables, ours, and the user's; a name alone takes one away."""
    variables = {"PATH": f"PATH={defaults.PATH}", "HOSTNAME": f"HOSTNAME={hostname}"}
    if options.tty:
        variables["TERM"] = "TERM=xterm"
    variables["HOME"] = f"HOME={around.identity.home}"
    variables["container"] = "container=pycontain"
    for entry in options.env:
        name, equals, _ = entry.partition("=")
        if equals:
            variables[name] = entry
        else:
            variables.pop(name, None)
    return tuple(variables.values())


def _process(options: RunOptions, around: Surroundings, hostname: str, userns: str | tuple[int, int, int]) -> Process:
    names = capabilities.effective(
        options.cap_add,
        options.cap_drop,
        privileged=options.privileged,
        # whoever makes a user namespace has every capability in it
        available=around.capabilities if userns == namespaces.HOST else -1,
    )
    chosen = options.security
    args = (options.entrypoint, *options.command) if options.entrypoint else options.command
    if options.init:
        args = (INIT_PATH, "--", *args)
    identity = around.identity
    nnp = not options.privileged if chosen.no_new_privileges is None else chosen.no_new_privileges
    return Process(
        cwd=options.workdir or "/",
        args=args,
        env=_environment(options, around, hostname),
        user=User(
            uid=identity.uid,
            gid=identity.gid,
            umask=defaults.UMASK if options.umask is None else options.umask,
            additional_gids=identity.additional_gids,
        ),
        terminal=options.tty,
        # Inheritable stays empty: an inheritable set would let file capabilities come back (CVE-2022-24769)
        capabilities=Capabilities(bounding=names, effective=names, permitted=names),
        rlimits=tuple(Rlimit(f"RLIMIT_{one.name.upper()}", one.soft, one.hard) for one in options.ulimits),
        no_new_privileges=nnp,
        # without AppArmor everything is unconfined already
        apparmor_profile=(chosen.apparmor if around.apparmor else "") or None,
        selinux_label=_label(options, "user", "role", "type", "level"),
        oom_score_adj=options.oom_score_adj,
    )


def _label(options: RunOptions, *keys: str) -> str | None:
    """Return an SELinux context, None where no part of it was given."""
    if not options.security.labels or options.security.label_disable:
        return None
    given = dict(options.security.labels)
    return ":".join(given.get(key, defaults.SELINUX[key]) for key in keys)


def _linux(options: RunOptions, around: Surroundings, userns: str | tuple[int, int, int]) -> Linux:
    masked, readonly = _hidden(options, around)
    return Linux(
        namespaces=_namespaces(options, around, userns),
        time_offsets={clock: TimeOffset(*divmod(offset, 10**9)) for clock, offset in options.time_offsets},
        devices=tuple(device for device, _ in around.devices),
        cgroups_path=f"/pycontain/{around.id}",
        resources=resources.linux_resources(
            options.limits,
            around.numbers,
            resources.device_rules(around.devices, options.device_rules, privileged=options.privileged),
        ),
        rootfs_propagation="private",
        sysctl=options.sysctls,
        masked_paths=masked,
        readonly_paths=readonly,
        mount_label=_label(options, "user", "role", "filetype", "level"),
    )


def _namespaces(options: RunOptions, around: Surroundings, userns: str | tuple[int, int, int]) -> tuple[Namespace, ...]:
    """Return the namespaces to make and to join; one that is the host's is not in the list."""
    entries = [Namespace("mount")]
    for type_, mode, file in (
        ("uts", options.uts, "uts"),
        ("ipc", options.ipc, "ipc"),
        ("pid", options.pid, "pid"),
        ("network", options.network, "net"),
        ("cgroup", options.cgroupns, "cgroup"),
    ):
        if mode.startswith(namespaces.CONTAINER):
            entries.append(Namespace(type_, f"/proc/{around.peers[mode].pid}/ns/{file}"))
        elif mode != namespaces.HOST:
            entries.append(Namespace(type_))
    if userns == USERNS_CONTAINER:
        pid = next(iter(around.peers.values())).pid
        entries.append(Namespace("user", f"/proc/{pid}/ns/user"))
    elif userns != namespaces.HOST:
        entries.append(Namespace("user"))
    if options.time_offsets:
        entries.append(Namespace("time"))
    return tuple(entries)


def _hidden(options: RunOptions, around: Surroundings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (masked paths, read-only paths).

    Raises:
        UsageError: a path is to be unmasked that is not masked.
    """
    chosen = options.security
    masked: tuple[str, ...] = (*defaults.MASKED_PATHS, *around.thermal)
    readonly = defaults.READONLY_PATHS
    if options.privileged or security.ALL in chosen.unmask:
        masked, readonly = (), ()
    for path in chosen.unmask:
        if path not in (security.ALL, *masked, *readonly):
            raise UsageError(
                f"--security-opt: unmask={path}: is not masked", hint="masked are " + ", ".join((*masked, *readonly))
            )
    masked = tuple(path for path in masked if path not in chosen.unmask)
    readonly = tuple(path for path in readonly if path not in chosen.unmask)
    return (*masked, *(path for path in chosen.mask if path not in masked)), readonly


def _files(options: RunOptions, around: Surroundings, hostname: str) -> tuple[GeneratedFile, ...]:
    """Return the files of the container's network identity that are not those of another container."""
    files = [GeneratedFile("hostname", f"{hostname}\n")]
    if options.network.startswith(namespaces.CONTAINER):
        return tuple(files)
    host_network = options.network == namespaces.HOST
    text = (
        netfiles.host_hosts(around.hosts, options.add_hosts)
        if host_network
        else netfiles.hosts(hostname, options.domainname, options.add_hosts)
    )
    files.append(GeneratedFile("hosts", text))
    resolv = netfiles.resolv_conf(around.resolv_conf, options.dns, host_network=host_network)
    files.append(GeneratedFile("resolv.conf", resolv))
    return tuple(files)


def _fallback_refused(options: RunOptions) -> str:
    """Return the option with which an identity-mapped user namespace would be too weak, "" where there is none."""
    for name in options.cap_add:
        if name in defaults.CAPS_BEYOND_FALLBACK:
            return f"--cap-add {name}"
    if options.security.unmask:
        return f"--security-opt unmask={options.security.unmask[0]}"
    for mount in options.mounts:
        if mount.source.startswith(("/proc", "/sys")) and not mount.readonly:
            return f"a writable mount of {mount.source}"
    return ""


def _state_options(
    options: RunOptions, hostname: str, volumes: tuple[mounts.VolumeUse, ...], around: Surroundings
) -> dict[str, Any]:
    """Return what later commands need to know of the options; plain values, ready for JSON."""
    return {
        "hostname": hostname,
        "tty": options.tty,
        "interactive": options.interactive,
        "detach": options.detach,
        "remove": options.remove,
        "stop_signal": options.stop_signal,
        "stop_timeout_s": options.stop_timeout_s,
        "timeout_s": options.timeout_s,
        "user": options.user,
        "uid": around.identity.uid,
        "gid": around.identity.gid,
        "group_add": list(options.group_add),
        "log": options.log.asdict(),
        "volumes": [volume.name for volume in volumes],
        "anonymous_volumes": [volume.name for volume in volumes if volume.anonymous],
        "privileged": options.privileged,
        "rootfs": options.rootfs,
        "network": options.network,
        "userns": options.userns,
        "limits": options.limits.asdict(),
        "joined": namespaces.owners(options, {mode: peer.id for mode, peer in around.peers.items()}),
    }


def _notes(options: RunOptions, userns: str | tuple[int, int, int]) -> tuple[str, ...]:
    """Return one line for each thing that the chosen host namespaces take away under a user namespace."""
    if userns == namespaces.HOST:
        return ()
    notes = []
    for option, mode, what in (
        ("--pid", options.pid, "/proc"),
        ("--network", options.network, "/sys"),
        ("--ipc", options.ipc, "/dev/mqueue and /dev/shm"),
        ("--cgroupns", options.cgroupns, "/sys/fs/cgroup"),
    ):
        if mode == namespaces.HOST:
            notes.append(
                f"{option} host: with a user namespace {what} is the host's, read-only, and nothing of the host can"
                " be changed through it (--userns host lifts this)"
            )
    return tuple(notes)
