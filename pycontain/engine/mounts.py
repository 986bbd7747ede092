"""The mounts of a container: docker's own and the user's, as entries of ``mounts`` in the Spec. [lean]"""

from __future__ import annotations

from pycontain.engine import mountargs, namespaces
from pycontain.engine.options import DEFAULT_SHM_BYTES
from pycontain.errors import UsageError
from pycontain.record import Record
from pycontain.spec.mounts import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.engine.mountargs import VolumeMount
    from pycontain.engine.options import RunOptions
    from pycontain.engine.surroundings import Surroundings

_QUIET = ("nosuid", "noexec", "nodev")
# A recursive bind that nobody can change anything through, not even below it
_HOST_VIEW = ("rbind", "rro", "rslave", *_QUIET)
# Places that are the runtime's: a user's mount there would break what confines the container.
_RESERVED = ("/proc", "/sys", "/dev", "/dev/pts", "/sys/fs/cgroup")


class VolumeUse(Record):
    """A volume that this container uses: made when missing; filled from the root below when new, with ``copy_up``."""

    name: str
    destination: str
    anonymous: bool = False
    copy_up: bool = True
    labels: tuple[tuple[str, str], ...] = ()


def default_mounts(options: RunOptions, around: Surroundings, *, limited: bool) -> tuple[Mount, ...]:
    """Return the mounts that every container has, in order.

    ``limited``: the container has a user namespace of its own. There the kernel refuses new instances of file systems
    that show a namespace of the host; the host's are bound instead, recursively and read-only.
    """
    access = "rw" if options.privileged else "ro"
    cgroup = Mount("/sys/fs/cgroup", "cgroup", "cgroup", (access, *_QUIET))
    if options.cgroupns == namespaces.HOST:
        view = ("rbind", "rw", "rslave", *_QUIET) if options.privileged and not limited else _HOST_VIEW
        cgroup = Mount("/sys/fs/cgroup", "bind", "/sys/fs/cgroup", view)
    return (
        _host_view("/proc") if limited and options.pid == namespaces.HOST else Mount("/proc", "proc", "proc", _QUIET),
        Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        Mount(
            "/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
        ),
        _host_view("/sys")
        if limited and options.network == namespaces.HOST
        else Mount("/sys", "sysfs", "sysfs", (*_QUIET, access)),
        cgroup,
        *_ipc_mounts(options, around, limited=limited),
        *_file_mounts(options, around),
    )


def _host_view(path: str) -> Mount:
    return Mount(path, "bind", path, _HOST_VIEW)


def _ipc_mounts(options: RunOptions, around: Surroundings, *, limited: bool) -> tuple[Mount, ...]:
    """Return /dev/mqueue and /dev/shm: own, the host's, or those of the container that is joined."""
    mqueue = Mount("/dev/mqueue", "mqueue", "mqueue", _QUIET)
    if options.ipc == namespaces.HOST:
        if not limited:
            return mqueue, Mount("/dev/shm", "bind", "/dev/shm", ("rbind", "rslave", *_QUIET))
        return (_host_view("/dev/mqueue"), _host_view("/dev/shm")) if around.mqueue else (_host_view("/dev/shm"),)
    if options.ipc.startswith(namespaces.CONTAINER):
        # In the other container's mount namespace: whoever opens this must enter that first.
        source = f"/proc/{around.peers[options.ipc].pid}/root/dev/shm"
        return mqueue, Mount("/dev/shm", "bind", source, ("rbind", *_QUIET))
    size = DEFAULT_SHM_BYTES if options.shm_size is None else options.shm_size
    return mqueue, Mount("/dev/shm", "tmpfs", "shm", (*_QUIET, "mode=1777", f"size={size}"))


def _file_mounts(options: RunOptions, around: Surroundings) -> tuple[Mount, ...]:
    """Return the binds of /etc/resolv.conf, /etc/hostname and /etc/hosts."""
    flags = ("bind", "rprivate", *_QUIET, "ro" if options.readonly else "rw")
    # on the disk: root inside may make them as large as it likes, and the state is on a tmpfs that the host lives on
    files, network = f"{around.data}/files", around.id
    if options.network.startswith(namespaces.CONTAINER):
        network = around.peers[options.network].id
    return (
        Mount("/etc/resolv.conf", "bind", f"{files}/{network}/resolv.conf", flags),
        Mount("/etc/hostname", "bind", f"{files}/{around.id}/hostname", flags),
        Mount("/etc/hosts", "bind", f"{files}/{network}/hosts", flags),
    )


def init_mount(program: str, destination: str) -> tuple[Mount, ...]:
    """Return the read-only bind of the reaper, nothing without ``--init``."""
    return (Mount(destination, "bind", program, ("bind", "ro", "rprivate", "nosuid", "nodev")),) if program else ()


def user_mounts(
    options: RunOptions, around: Surroundings, *, idmap: bool
) -> tuple[tuple[Mount, ...], tuple[VolumeUse, ...]]:
    """Return the mounts of ``-v``, ``--mount`` and ``--tmpfs``, parents before what lies in them, and their volumes.

    ``idmap``: trees of the host appear with shifted owners unless the user said ``noidmap``.

    Raises:
        UsageError: a place that is the runtime's, or ``idmap`` where it cannot be had.
    """
    entries: list[Mount] = []
    volumes: list[VolumeUse] = []
    names = iter(around.volume_names)
    for mount in options.mounts:
        if mount.destination in _RESERVED and not options.privileged:
            hint = "unmask single paths: --security-opt unmask=PATH"
            raise UsageError(f"mount at {mount.destination}: that place is the runtime's own", hint=hint)
        if mount.kind == mountargs.TMPFS:
            entries.append(_tmpfs(mount))
            continue
        if mount.idmap and not idmap:
            cause = "an ordinary user cannot shift owners" if around.rootless else "there is no user namespace"
            raise UsageError(f"mount at {mount.destination}: idmap: {cause}", hint="leave idmap out")
        source = mount.source
        if mount.kind == mountargs.VOLUME:
            name = next(names)
            volumes.append(VolumeUse(name, mount.destination, not mount.source, mount.copy_up, mount.labels))
            source = "/".join(filter(None, (f"{around.data}/volumes/{name}/_data", mount.subpath)))
        entries.append(_bind(mount, source, idmap=idmap and mount.idmap is not False))
    entries.sort(key=lambda entry: entry.destination.count("/"))
    return tuple(entries), tuple(volumes)


def _bind(mount: VolumeMount, source: str, *, idmap: bool) -> Mount:
    words = ["rbind" if mount.recursive else "bind"]
    # One plain word about a bind's flags turns off those that are not named; the words with r leave what the source
    # forbids (nosuid, nodev, noexec, and being read-only) forbidden.
    if mount.readonly:
        words.append("ro" if mount.recursive and not mount.readonly_recursive else "rro")
    words.append(mount.propagation or ("rprivate" if mount.recursive else "private"))
    words += [f"r{word}" for word in mount.flags]
    if idmap:
        words.append("ridmap" if mount.recursive else "idmap")
    return Mount(mount.destination, "bind", source, tuple(words))


def _tmpfs(mount: VolumeMount) -> Mount:
    words = (*mount.flags, *mount.tmpfs_data, "ro" if mount.readonly else "rw")
    return Mount(mount.destination, "tmpfs", "tmpfs", words)


def merge(base: tuple[Mount, ...], user: tuple[Mount, ...], last: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """Return all mounts in order; a user's mount takes the place of ours at the same destination."""
    taken = {mount.destination for mount in user}
    return (*(mount for mount in base if mount.destination not in taken), *user, *last)
