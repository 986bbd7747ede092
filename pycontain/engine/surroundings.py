"""What of this host and of the root file system decides a container's configuration: read here, once. [lean]

:func:`gather` only reads. :mod:`pycontain.engine.generate` turns options and surroundings into a Spec without looking
at anything else.
"""

from __future__ import annotations

import os
import stat

from pycontain.engine import mountargs, namespaces, netfiles, rootfiles, tracers, users
from pycontain.engine.hostroot import system_mounts, top_level
from pycontain.engine.names import new_id
from pycontain.engine.users import Identity
from pycontain.errors import HostError, UsageError, WrongState
from pycontain.kernel import _sys
from pycontain.plan.rootfs import DIRECTORY, HOST, HOST_PUBLIC, RootSource
from pycontain.record import Record
from pycontain.runtime import probe, state
from pycontain.sizes import CPU_PERIOD_US
from pycontain.spec.linux import Device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pycontain.engine.deviceargs import DeviceArg
    from pycontain.engine.limits import Limits
    from pycontain.engine.options import RunOptions
    from pycontain.runtime.settings import Settings

_THERMAL = "/sys/devices/system/cpu/cpu{}/thermal_throttle"
# Source: moby/moby daemon/pkg/oci/devices: what a privileged container is not given of the host's /dev
_NO_DEVICES = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx"))


class Peer(Record):
    """A running container whose namespaces are joined; ``userns`` and ``options`` as in its state file.

    ``tracer`` is a process that could seize one with the host's rights in its pid namespace, 0 where there is none.
    """

    id: str
    pid: int
    pid_start: int
    hostname: str
    directory: str
    userns: dict[str, Any]
    options: dict[str, Any]
    tracer: int = 0


class Surroundings(Record):
    """Facts for :func:`pycontain.engine.generate.generate`.

    ``directory`` is the container's state directory, ``data`` the data directory. ``devices`` are host devices with
    their place inside; ``numbers`` the (major, minor) of devices with a rate limit, by path. ``volume_names`` has a
    name for each mount of kind VOLUME in order. ``thermal`` are paths to mask. ``peers`` are keyed by mode
    (``container:NAME``). ``capabilities`` is the mask of those that this process has.
    """

    id: str
    name: str
    directory: str
    data: str
    rootless: bool
    root: RootSource
    identity: Identity
    hostname: str
    hosts: str = ""
    resolv_conf: str = ""
    devices: tuple[tuple[Device, str], ...] = ()
    numbers: dict[str, tuple[int, int]] = {}  # noqa: RUF012  (records are never mutated)
    volume_names: tuple[str, ...] = ()
    thermal: tuple[str, ...] = ()
    mqueue: bool = True
    apparmor: bool = False
    selinux: bool = False
    peers: dict[str, Peer] = {}  # noqa: RUF012
    init_program: str = ""
    capabilities: int = -1


def gather(settings: Settings, options: RunOptions, container_id: str, name: str) -> Surroundings:
    """Return what ``generate`` needs to know.

    Raises:
        UsageError: the root, a bind source, a device or the user does not exist.
        HostError: this host lacks what an option needs.
        NotFound, WrongState: a container to be joined does not exist or does not run.
    """
    root = find_root(settings, options, container_id)
    _check_cpus(options)
    for mount in options.mounts:
        if mount.kind == mountargs.BIND:
            _check_source(mount.source)
    for included in options.host_include:
        if not os.path.lexists(included):
            raise UsageError(
                f"--host-include: {included}: no such file or directory", hint="for example /home/me/project"
            )
    limits = options.limits
    return Surroundings(
        id=container_id,
        name=name,
        directory=f"{settings.state}/containers/{container_id}",
        data=settings.data,
        rootless=settings.rootless,
        root=root,
        identity=identify(root.path, options.user or _default_user(options.userns), options.group_add),
        hostname=os.uname().nodename,
        hosts=netfiles.read_host_file("/etc/hosts") if options.network == namespaces.HOST else "",
        resolv_conf=netfiles.read_host_file("/etc/resolv.conf") if options.network == namespaces.HOST else "",
        devices=tuple(_all_devices()) if options.privileged else _different(_devices(options.devices)),
        numbers=device_numbers(limits),
        volume_names=tuple(one.source or new_id() for one in options.mounts if one.kind == mountargs.VOLUME),
        thermal=_thermal_paths(),
        mqueue=os.path.isdir("/dev/mqueue"),
        apparmor=netfiles.read_host_file("/sys/module/apparmor/parameters/enabled").startswith("Y"),
        selinux=probe.selinux_enabled(),
        peers={mode: _peer(settings, mode, pids=mode == options.pid) for mode in namespaces.joined_modes(options)},
        init_program=_init_program() if options.init else "",
        capabilities=_sys.capget()[1],
    )


def find_root(settings: Settings, options: RunOptions, container_id: str) -> RootSource:
    """Return where the root comes from.

    Raises:
        UsageError: it does not exist or is not a directory.
    """
    overlay = "" if options.writable else f"{settings.data}/overlay/{container_id}"
    text = options.rootfs
    if text in ("@host", "@host:public"):
        kind = HOST if text == "@host" else HOST_PUBLIC
        mounts, links = top_level() if settings.rootless else (system_mounts(), ())
        include = tuple(map(os.path.normpath, options.host_include))
        return RootSource(kind, "/", overlay, include=include, mounts=mounts, links=links)
    if text.startswith("@"):
        raise UsageError(f"ROOTFS: {text!r} is unknown", hint="@host, @host:public, or a directory such as ./rootfs")
    path = os.path.realpath(text)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        cause = (error.strerror or "").lower()
        raise UsageError(
            f"ROOTFS: {text}: {cause}", hint="a directory with a root file system, or @host for this machine's own"
        ) from error
    if not stat.S_ISDIR(mode):
        raise UsageError(
            f"ROOTFS: {text}: not a directory", hint="unpack it first: mkdir rootfs && tar -xf FILE -C rootfs"
        )
    if path == "/":
        raise UsageError("ROOTFS: / is this machine's own root", hint="use @host, which leaves it unchanged")
    return RootSource(DIRECTORY, path, overlay, writable=options.writable)


def _default_user(userns: str) -> str:
    """Return who runs the command where nobody is named: root, or the caller, whose id ``keep-id`` keeps."""
    return f"{os.geteuid()}:{os.getegid()}" if userns == namespaces.USERNS_KEEP_ID else ""


def identify(root: str, user: str, group_add: tuple[str, ...]) -> Identity:
    """Return who ``-u`` is in the root file system at the host directory ``root``.

    Raises:
        UsageError: no such user or group there.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        passwd, group = rootfiles.read(root_fd, "etc/passwd"), rootfiles.read(root_fd, "etc/group")
    finally:
        os.close(root_fd)
    return users.resolve(user, group_add, passwd, group)


def _check_cpus(options: RunOptions) -> None:
    """Refuse more CPUs than there are, as docker does.

    Raises:
        UsageError: names the number.
    """
    quota, period, count = options.limits.cpu_quota_us, options.limits.cpu_period_us, os.cpu_count() or 1
    most = count * (period or CPU_PERIOD_US)
    if quota is None or quota <= most:
        return
    if period == CPU_PERIOD_US:
        raise UsageError(f"--cpus: this machine has {count} CPUs only", hint=f"a number from 0.01 to {count}")
    raise UsageError(
        f"--cpu-quota: {quota} is more than the {count} CPUs of this machine have in a period",
        hint=f"at most {most} microseconds",
    )


def _check_source(path: str) -> None:
    try:
        os.stat(path)
    except OSError as error:
        cause = (error.strerror or "").lower()
        raise UsageError(
            f"volume from {path}: {cause}", hint=f"make it first: mkdir -p {path}; nothing is made on the host unasked"
        ) from error


def _device(path: str, destination: str) -> Device | None:
    status = os.stat(path)
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    return Device(
        destination,
        kind,
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
    )


def _devices(wanted: tuple[DeviceArg, ...]) -> Iterator[tuple[Device, str]]:
    """Yield (device, access) for ``--device``; a directory stands for the devices in it.

    Raises:
        UsageError: missing, or no device.
    """
    for one in wanted:
        try:
            device = _device(one.source, one.destination)
            if device is not None:
                yield device, one.access
                continue
            if not os.path.isdir(one.source):
                raise UsageError(f"--device: {one.source}: not a device", hint="bind a file or directory with -v")
            inner = list(_all_devices(one.source))
        except OSError as error:
            cause = (error.strerror or "").lower()
            raise UsageError(f"--device: {one.source}: {cause}", hint="list them: ls -l /dev") from error
        for found, _access in inner:
            yield found.replace(path=one.destination + found.path[len(one.source) :]), one.access


def _different(devices: Iterator[tuple[Device, str]]) -> tuple[tuple[Device, str], ...]:
    """Return the devices.

    Raises:
        UsageError: two are to be at one place.
    """
    found: dict[str, tuple[Device, str]] = {}
    for device, access in devices:
        if device.path in found:
            raise UsageError(
                f"--device: two devices at {device.path}", hint="choose another place: --device HOST:PLACE"
            )
        found[device.path] = device, access
    return tuple(found.values())


def _all_devices(directory: str = "/dev") -> Iterator[tuple[Device, str]]:
    """Yield every device node below a directory of the host, for ``--privileged`` and a directory of ``--device``."""
    with os.scandir(directory) as entries:
        names = sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in entries)
    for name, is_directory, is_link in names:
        path = f"{directory}/{name}"
        if name in _NO_DEVICES or is_link:
            continue
        if is_directory:
            yield from _all_devices(path)
            continue
        try:
            device = _device(path, path)
        except FileNotFoundError:
            continue
        if device is not None:
            yield device, "rwm"


def device_numbers(limits: Limits) -> dict[str, tuple[int, int]]:
    """Return (major, minor) of each device with a rate limit, by path.

    Raises:
        UsageError: one is no block device.
    """
    found = {}
    for option, rates in (
        ("--device-read-bps", limits.read_bps),
        ("--device-write-bps", limits.write_bps),
        ("--device-read-iops", limits.read_iops),
        ("--device-write-iops", limits.write_iops),
    ):
        for rate in rates:
            found[rate.path] = _device_number(option, rate.path)
    return found


def _device_number(option: str, path: str) -> tuple[int, int]:
    hint = "list block devices: lsblk"
    try:
        device = _device(path, path)
    except OSError as error:
        raise UsageError(f"{option}: {path}: {(error.strerror or '').lower()}", hint=hint) from error
    if device is None or device.type != "b" or device.major is None or device.minor is None:
        raise UsageError(f"{option}: {path}: not a block device", hint=hint)
    return device.major, device.minor


def _thermal_paths() -> tuple[str, ...]:
    """Return the thermal files of every CPU, which tell of other containers' load; most virtual machines have none."""
    if not os.path.exists(_THERMAL.format(0)):
        return ()
    return tuple(filter(os.path.exists, map(_THERMAL.format, range(os.cpu_count() or 1))))


def _peer(settings: Settings, mode: str, *, pids: bool) -> Peer:
    reference = mode.removeprefix(namespaces.CONTAINER)
    entry = state.Store(settings).find(reference)
    loaded = entry.load()
    status = entry.status(loaded)
    if status not in (state.RUNNING, state.PAUSED):
        raise WrongState(f"{mode}: container {reference!r} is {status}", hint=f"start it: pycontain start {reference}")
    return Peer(
        id=loaded.id,
        pid=loaded.pid,
        pid_start=loaded.pid_start,
        hostname=str(loaded.options.get("hostname", "")),
        directory=entry.directory,
        userns=loaded.userns,
        options=loaded.options,
        tracer=tracers.find(entry, loaded) if pids else 0,
    )


def _init_program() -> str:
    """Return the path of the static reaper that is installed with the package.

    Raises:
        HostError: it is not there.
    """
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "reaper", "pycontain-init")
    if not os.path.exists(path):
        raise HostError(f"--init: {path} is missing", requirement="reaper", hint="install pycontain again")
    return path
