"""The host stage: makes mount trees as open descriptors, none of them visible in anybody's mount table.

Run by the maker in a private mount namespace when it is privileged, otherwise by init in its user namespace. One
function per op class, found in :data:`MAKERS`.
"""

from __future__ import annotations

import errno
import os
import stat

from pycontain.errors import HostError, StageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    CLONE_NEWNS,
    MNT_DETACH,
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_REC,
    MS_SLAVE,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    SOCK_SEQPACKET,
    WEXITED,
)
from pycontain.plan.capabilities import SYS_ADMIN
from pycontain.plan.facts import USERNS_CUSTOM, UserNamespace
from pycontain.plan.ops import DevTree, MaskLayer, OpenDirectory, OpenTree, Overlay
from pycontain.runtime import rootpath
from pycontain.runtime.newmounts import new_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from pycontain.plan.ops import Op
    from pycontain.spec.ids import IDMapping

    T = TypeVar("T", bound=Op)

NOBODY = 65534
# The requirement by which a caller recognises that shifting owners is what failed.
IDMAP = "idmapped mounts"
ROOT_PATH = "root.path"


def enter_private_mounts() -> None:
    """Leave the caller's mount namespace for a copy that still sees new mounts of the host but shows it none."""
    _sys.unshare(CLONE_NEWNS)


def _hint(op: Op, error: OSError) -> str:
    if isinstance(op, Overlay) and error.errno == errno.EINVAL:
        return "overlays can be stacked two deep at most: a container in a container needs its root on a volume"
    if isinstance(op, OpenTree) and error.errno == errno.ENOENT:
        return f"is {op.source} there?"
    return ""


class Trees:
    """The trees of one container by name. Close with :meth:`close`, or hand the descriptors over.

    ``staging`` is an empty directory, needed for overlays. ``userns_fd`` is the container's user namespace, -1 when
    there is none or when this process is in it already.
    """

    def __init__(self, userns: UserNamespace, staging: str, userns_fd: int = -1) -> None:
        self.userns_fd = userns_fd
        self._userns = userns
        self._staging = staging
        self.fds: dict[str, int] = {}
        self.attached: set[str] = set()
        self._stage = -1
        self._mappings: dict[tuple[tuple[IDMapping, ...], tuple[IDMapping, ...]], int] = {}

    def make(self, ops: tuple[Op, ...]) -> None:
        """Make every tree, those that stay shared with the host first.

        Raises:
            StageError: one failed; names the op and what asked for it.
            HostError: a file system cannot shift owners.
        """
        shared = [op for op in ops if isinstance(op, OpenTree) and op.shared]
        for tree in shared:
            self._make(tree)
        # from here on nothing that we attach can reach the host, and what the host mounts still reaches us
        _sys.mount(None, "/", None, MS_REC | MS_SLAVE, None)
        overlays = [index for index, op in enumerate(ops) if isinstance(op, Overlay)]
        for index, op in enumerate(ops):
            if op not in shared:
                self._make(op)
            if overlays and index == overlays[-1]:
                # before any bind is cloned: the layers must not be part of what it shows
                self._drop_stage()

    def _make(self, op: Op) -> None:
        try:
            MAKERS[type(op)](self, op)
        except OSError as error:
            raise StageError(
                f"{op.describe()}: {error.filename or ''}: {error.strerror}",
                stage="host",
                op=type(op).__name__,
                spec_path=op.spec_path,
                errno=error.errno or 0,
                hint=_hint(op, error),
            ) from error

    def mapping(self, maps: tuple[tuple[IDMapping, ...], tuple[IDMapping, ...]]) -> int:
        """Return a descriptor of a user namespace with these maps, or the container's where they are empty.

        Raises:
            HostError: it cannot be made.
        """
        if not maps[0]:
            return self.userns_fd
        if maps not in self._mappings:
            from pycontain.runtime.idmap import open_userns

            self._mappings[maps] = open_userns(UserNamespace(USERNS_CUSTOM, *maps))
        return self._mappings[maps]

    def owner(self, uid: int, gid: int) -> tuple[int, int]:
        """Return the ids, as this process sees them, of a user and group of the container."""
        if self.userns_fd < 0:
            return uid, gid
        return self._userns.host_uid(uid), self._userns.host_gid(gid)

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()
        for fd in self._mappings.values():
            os.close(fd)
        self._mappings.clear()
        self._drop_stage()

    def _drop_stage(self) -> None:
        """Detach what was attached for the overlays: each has its own hold on its layers."""
        if self._stage >= 0:
            _sys.umount2(self._staging, MNT_DETACH)
            os.close(self._stage)
            self._stage = -1

    def attach_for_overlay(self, name: str) -> str:
        """Attach a tree in this mount namespace and return a path to it: kernels before 6.5 take no detached lower."""
        fd = self.fds[name]
        if name in self.attached:
            return f"/proc/self/fd/{fd}"
        stage = self._open_stage()
        os.mkdir(name, 0o755, dir_fd=stage)
        _sys.move_mount(fd, "", stage, name, MOVE_MOUNT_F_EMPTY_PATH)
        return f"/proc/self/fd/{fd}"

    def empty_lower(self) -> str:
        """Return a path to an empty directory: an overlay without an upper layer wants two lower ones."""
        return f"/proc/self/fd/{self._open_stage()}/empty"

    def _open_stage(self) -> int:
        if self._stage < 0:
            self._stage = new_mount("tmpfs", "pycontain", (("mode", "0755"), ("size", "1m")))
            _sys.move_mount(self._stage, "", AT_FDCWD, self._staging, MOVE_MOUNT_F_EMPTY_PATH)
            os.mkdir("empty", 0o755, dir_fd=self._stage)
        return self._stage


_CLONE = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC

# The function that makes an op's tree, by the op's class.
MAKERS: dict[type[Op], Callable[[Trees, Any], None]] = {}


def _makes(kind: type[T]) -> Callable[[Callable[[Trees, T], None]], Callable[[Trees, T], None]]:
    def register(function: Callable[[Trees, T], None]) -> Callable[[Trees, T], None]:
        MAKERS[kind] = function
        return function

    return register


@_makes(OpenTree)
def _open_tree(trees: Trees, op: OpenTree) -> None:
    recursive = AT_RECURSIVE if op.recursive else 0
    if op.inside_pid:
        fd = _open_tree_of(op.inside_pid, op.source, recursive)
    elif op.within:
        fd = _open_tree_within(op.within, op.source, recursive)
    else:
        fd = _sys.open_tree(AT_FDCWD, op.source, _CLONE | recursive)
    try:
        if op.idmap:
            _shift_owners(trees, op, fd)
        set_attributes(fd, op.attr_set, op.attr_clr, op.implied_clr)
        if op.tree_set or op.tree_clr:
            _sys.mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=op.tree_set, attr_clr=op.tree_clr)
        if op.propagation:
            set_propagation(fd, op.propagation)
    except BaseException:
        os.close(fd)
        raise
    trees.fds[op.name] = fd


def set_attributes(fd: int, attr_set: int, attr_clr: int, implied_clr: int = 0) -> None:
    """Change MOUNT_ATTR_* of one mount; ``implied_clr`` is left as it is where a user namespace has it locked.

    Source: mount_namespaces(7) "Restrictions on mount namespaces"
    """
    if not (attr_set or attr_clr or implied_clr):
        return
    try:
        _sys.mount_setattr(fd, "", AT_EMPTY_PATH, attr_set=attr_set, attr_clr=attr_clr | implied_clr)
    except PermissionError:
        if not implied_clr:
            raise
        if attr_set or attr_clr:
            _sys.mount_setattr(fd, "", AT_EMPTY_PATH, attr_set=attr_set, attr_clr=attr_clr)


def set_propagation(fd: int, propagation: int) -> None:
    """Change how a mount propagates, with all below where ``propagation`` has MS_REC."""
    deep = AT_RECURSIVE if propagation & MS_REC else 0
    _sys.mount_setattr(fd, "", AT_EMPTY_PATH | deep, propagation=propagation & ~MS_REC)


def _open_tree_within(directory: str, source: str, recursive: int) -> int:
    """Clone a mount below a directory in which containers write: what they planted there must not lead out of it."""
    root = os.open(directory, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = rootpath.open_path(root, source.removeprefix(directory))
        try:
            return _sys.open_tree(found, "", _CLONE | AT_EMPTY_PATH | recursive)
        finally:
            os.close(found)
    finally:
        os.close(root)


def _open_tree_of(pid: int, source: str, recursive: int) -> int:
    """Clone a mount of another container: only from inside its mount namespace is that allowed."""
    ours, theirs = _sys.socketpair(SOCK_SEQPACKET)
    child, pidfd = _sys.clone3(0)
    if child == 0:
        try:
            namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            _sys.setns(namespace, CLONE_NEWNS)
            _sys.sendmsg(theirs, b"T", (_sys.open_tree(AT_FDCWD, source, _CLONE | recursive),))
        except OSError as error:
            _sys.sendmsg(theirs, str(error.errno).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        data, fds, _ = _sys.recvmsg(ours, 64, 1)
    finally:
        os.close(ours)
        _sys.waitid_pidfd(pidfd, WEXITED)
        os.close(pidfd)
    if not fds:
        number = int(data or errno.ECHILD)
        raise OSError(number, os.strerror(number), source)
    return fds[0]


@_makes(OpenDirectory)
def _open_directory(trees: Trees, op: OpenDirectory) -> None:
    trees.fds[op.name] = os.open(op.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    trees.attached.add(op.name)


def _shift_owners(trees: Trees, op: OpenTree, fd: int) -> None:
    deep = AT_RECURSIVE if op.idmap == "ridmap" else 0
    userns_fd = trees.mapping(op.maps)
    if userns_fd < 0:
        raise HostError(f"{op.source}: only root of the host can shift owners", requirement=IDMAP)
    try:
        _sys.mount_setattr(fd, "", AT_EMPTY_PATH | deep, attr_set=MOUNT_ATTR_IDMAP, userns_fd=userns_fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM):
            raise
        below = ", or on one that is mounted below it" if op.recursive else ""
        raise HostError(
            f"{op.source}: owners cannot be shifted on this file system ({_filesystem(op.source)}){below}",
            requirement=IDMAP if op.spec_path == ROOT_PATH else "",
            hint="use a directory on ext4, xfs or btrfs, or no user namespace (--userns host)",
        ) from error


def _filesystem(path: str) -> str:
    """Return the type of the file system of a path, from the mount table."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            if fields[2] == number:
                return fields[fields.index("-") + 1]
    return "unknown"


@_makes(Overlay)
def _overlay(trees: Trees, op: Overlay) -> None:
    lowers = [trees.attach_for_overlay(name) for name in op.lowers]
    if not op.upper and len(lowers) == 1:
        lowers.append(trees.empty_lower())
    options = [("lowerdir", ":".join(lowers))]
    upper, work = _layers_in_memory(trees, op) if op.memory_bytes else (op.upper, op.work)
    layers = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in (upper, work) if path]
    if layers:
        # by descriptor: the container reads these options in its mountinfo, and the paths are none of its business
        upper, work = (f"/proc/self/fd/{fd}" for fd in layers)
        # What a layer holds is lost with the state at the next boot: nothing is gained by syncing it.
        options += [("upperdir", upper), ("workdir", work), ("volatile", ""), ("index", "off")]
    if op.userxattr:
        options.append(("userxattr", ""))
    try:
        if not op.public_only:
            trees.fds[op.name] = new_mount("overlay", "pycontain", tuple(options))
            return
        with _Nobody():
            trees.fds[op.name] = new_mount("overlay", "pycontain", tuple(options), MOUNT_ATTR_RDONLY)
    finally:
        for fd in layers:
            os.close(fd)


def _layers_in_memory(trees: Trees, op: Overlay) -> tuple[str, str]:
    """Make a tmpfs for upper and work, the former with the mode and owner of the directory that it stands for."""
    name = f"{op.name}.memory"
    trees.fds[name] = new_mount("tmpfs", "pycontain", (("mode", "0755"), ("size", str(op.memory_bytes))))
    path = trees.attach_for_overlay(name)
    status = os.stat(op.upper)
    for directory in ("upper", "work"):
        os.mkdir(f"{path}/{directory}")
    os.chmod(f"{path}/upper", stat.S_IMODE(status.st_mode))
    os.chown(f"{path}/upper", status.st_uid, status.st_gid)
    return f"{path}/upper", f"{path}/work"


class _Nobody:
    """Within: the effective ids of nobody, no groups, no capability but the one to mount."""

    def __enter__(self) -> None:
        self._groups = os.getgroups()
        self._egid = os.getegid()
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        _effective, permitted, inheritable = _sys.capget()
        _sys.capset(1 << SYS_ADMIN, permitted, inheritable)

    def __exit__(self, *_exc: object) -> None:
        os.seteuid(0)
        os.setegid(self._egid)
        os.setgroups(self._groups)


@_makes(MaskLayer)
def _mask_layer(trees: Trees, op: MaskLayer) -> None:
    uid, gid = trees.owner(0, 0)
    if op.directory:
        os.makedirs(op.directory, 0o755, exist_ok=True)
        fd = _sys.open_tree(AT_FDCWD, op.directory, _CLONE)
    else:
        options = (("mode", "0755"), ("size", "1m"), ("uid", str(uid)), ("gid", str(gid)))
        fd = new_mount("tmpfs", "pycontain", options)
    trees.fds[op.name] = fd
    attribute = "user.overlay.opaque" if op.userxattr else "trusted.overlay.opaque"
    root = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path, mode in op.empty:
            parent, name = _parent(root, path, uid, gid)
            os.mkdir(name, dir_fd=parent)
            directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
            os.fchmod(directory, mode)
            os.fchown(directory, uid, gid)
            os.setxattr(directory, attribute, b"y")
            os.close(directory)
            os.close(parent)
        for path, target in op.links:
            os.symlink(target, path.strip("/"), dir_fd=root)
        for path in op.absent:
            parent, name = _parent(root, path, uid, gid)
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
            os.close(parent)
    finally:
        os.close(root)


def _parent(root: int, path: str, uid: int, gid: int) -> tuple[int, str]:
    """Return a descriptor of the directory above ``path`` in a layer that is ours alone, and the last name."""
    *parents, name = path.strip("/").split("/")
    fd = os.dup(root)
    for part in parents:
        try:
            os.mkdir(part, 0o755, dir_fd=fd)
            os.chown(part, uid, gid, dir_fd=fd)
        except FileExistsError:
            pass
        below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd, name


@_makes(DevTree)
def _dev_tree(trees: Trees, op: DevTree) -> None:
    fd = new_mount("tmpfs", "tmpfs", op.options, op.attr_set)
    trees.fds[op.name] = fd
    root_uid, root_gid = trees.owner(0, 0)
    os.chown(".", root_uid, root_gid, dir_fd=fd)
    for device in op.devices:
        _make_parents(fd, device.path, root_uid, root_gid)
        kind = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}[device.kind]
        os.mknod(device.path, kind, os.makedev(device.major, device.minor), dir_fd=fd)
        # mknod's mode is cut by the umask
        os.chmod(device.path, device.mode, dir_fd=fd)
        os.chown(device.path, *trees.owner(device.uid, device.gid), dir_fd=fd)
    for path in op.directories:
        if path:
            _make_parents(fd, path + "/", root_uid, root_gid)
    for name, target in op.links:
        os.symlink(target, name, dir_fd=fd)
        os.chown(name, root_uid, root_gid, dir_fd=fd, follow_symlinks=False)


def _make_parents(fd: int, path: str, uid: int, gid: int) -> None:
    parts = path.split("/")[:-1]
    for end in range(1, len(parts) + 1):
        name = "/".join(parts[:end])
        try:
            os.mkdir(name, 0o755, dir_fd=fd)
            os.chown(name, uid, gid, dir_fd=fd)
        except FileExistsError:
            pass
