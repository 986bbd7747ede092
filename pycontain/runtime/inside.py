"""The init stage's operations: one function per op class, found in :data:`APPLIERS`. All paths by descriptor."""

from __future__ import annotations

import errno
import os
import stat

from pycontain.errors import SpecError, StageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    DEVPTS_SUPER_MAGIC,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_REMOUNT,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    PROC_SUPER_MAGIC,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)
from pycontain.plan.ops import (
    Attach,
    AttachRoot,
    AwaitHooks,
    ChangeRoot,
    Console,
    EnterRoot,
    JoinKeyring,
    LoopbackUp,
    MakeDirectory,
    MakeNodes,
    MaskPaths,
    NewFilesystem,
    PivotRoot,
    ReadonlyMount,
    ReadonlyPaths,
    Remount,
    RunHooks,
    SetDomainname,
    SetHostname,
    Sysctl,
)
from pycontain.runtime import hooks, mountpoints, nodes, rootpath
from pycontain.runtime.channel import HOOKED, HOOKS, TERMINAL
from pycontain.runtime.newmounts import empty_directory, guarded_null, has_long, new_filesystem
from pycontain.runtime.trees import set_attributes, set_propagation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, TypeVar

    from pycontain.plan.ops import Op
    from pycontain.plan.plan import Plan
    from pycontain.runtime.channel import Channel

    T = TypeVar("T", bound=Op)

_CLONE = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
_MOVE = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
# What every old root has. Not "/": a mount there would be dropped in place of the old root.
_OLD_DIRECTORY, _OLD_FILE = "/proc/fs", "/proc/version"


class Inside:
    """What init has in its hands: the trees by name, the new root, and later the terminal."""

    EARLY: ClassVar[frozenset[type]] = frozenset((LoopbackUp, SetHostname, SetDomainname, JoinKeyring))

    def __init__(self, plan: Plan, channel: Channel) -> None:
        self.plan = plan
        self.channel = channel
        self.trees: dict[str, int] = {}
        # new file systems, in the order in which they will be attached
        self.fresh: list[int] = []
        self.root = -1
        self.terminal = -1
        self._procfs = -1
        self.covers: dict[bool, int] = {}

    @property
    def procfs(self) -> int:
        """A procfs of our own that nobody can have mounted over: the only way in which init writes to /proc."""
        if self._procfs < 0:
            self._procfs = new_filesystem(NewFilesystem("", "proc", "proc"))
            if _sys.fstatfs_type(self._procfs) != PROC_SUPER_MAGIC:
                raise StageError("procfs is not a procfs", stage="init")
        return self._procfs

    def move(self, tree: int, target: int) -> None:
        """Attach a detached tree on the file or directory that ``target`` (O_PATH) is."""
        _sys.move_mount(tree, "", target, "", _MOVE)


def preload(ops: tuple[Op, ...]) -> None:
    """Load the modules that few plans need, while modules can be loaded."""
    for op in ops:
        if isinstance(op, Attach):
            if op.copy_up:
                import pycontain.runtime.copying
            if op.fresh is not None and has_long(op.fresh.options):
                import pycontain.runtime.longdata
        elif isinstance(op, PivotRoot) and not op.pivot:
            import pycontain.runtime.moveroot  # noqa: F401


# The function that applies an op, by the op's class.
APPLIERS: dict[type[Op], Callable[[Inside, Any], None]] = {}


def _applies(kind: type[T]) -> Callable[[Callable[[Inside, T], None]], Callable[[Inside, T], None]]:
    def register(function: Callable[[Inside, T], None]) -> Callable[[Inside, T], None]:
        APPLIERS[kind] = function
        return function

    return register


@_applies(LoopbackUp)
def _loopback_up(_inside: Inside, _op: LoopbackUp) -> None:
    _sys.link_up("lo")


@_applies(SetHostname)
def _set_hostname(_inside: Inside, op: SetHostname) -> None:
    _sys.sethostname(op.name)


@_applies(SetDomainname)
def _set_domainname(_inside: Inside, op: SetDomainname) -> None:
    _sys.setdomainname(op.name)


@_applies(JoinKeyring)
def _join_keyring(_inside: Inside, op: JoinKeyring) -> None:
    try:
        _sys.keyctl_join_session(op.name)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # a kernel without keys has no keyring to leave
            raise


@_applies(AttachRoot)
def _attach_root(inside: Inside, op: AttachRoot) -> None:
    """Attach on "/" or at a path: absolute paths of this process stay the old ones."""
    inside.root = inside.trees.pop(op.name)
    _sys.move_mount(inside.root, "", AT_FDCWD, op.path, MOVE_MOUNT_F_EMPTY_PATH)


def make_fresh(inside: Inside, op: Attach) -> None:
    """Make the file system that ``op`` will attach: it needs the container's namespaces, but not its root."""
    assert op.fresh is not None
    made = new_filesystem(op.fresh)
    inside.fresh.append(made)
    if op.fresh.label:
        top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=made)
        os.setxattr(top, "security.selinux", op.fresh.label.encode())
        os.close(top)


@_applies(Attach)
def _attach(inside: Inside, op: Attach) -> None:
    fresh = op.fresh
    if fresh is not None:
        if not inside.fresh:
            make_fresh(inside, op)
        tree = inside.fresh.pop(0)
        directory = True
    else:
        tree = inside.trees.pop(op.name)
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    # a link in the place of /proc or /sys would lead our own writes elsewhere
    links = fresh is None or fresh.fstype not in ("proc", "sysfs")
    found = True
    try:
        try:
            target = rootpath.open_path(inside.root, op.target, links=links)
        except FileNotFoundError:
            found = False
            target = rootpath.make_mount_point(inside.root, op.target, directory=directory)
    except OSError as error:
        raise SpecError(
            op.spec_path,
            f"the mount point {op.target} cannot be used in this root: {(error.strerror or '').lower()}",
            hint="it is made where it is missing, but not below a read-only or kernel's own file system",
        ) from error
    if stat.S_ISDIR(os.fstat(target).st_mode) != directory:
        raise SpecError(
            op.spec_path,
            f"{op.target} is {'not ' if directory else ''}a directory in the container's root",
            hint="a directory can be mounted only on a directory, a file only on a file",
        )
    mountpoints.check(inside.root, target, op.target, tree, op.spec_path)
    if found and (op.copy_up or op.inherit):
        mountpoints.take_over(target, tree, content=op.copy_up)
    if op.renew:
        tree = _renewed(tree, directory=directory)
    inside.move(tree, target)
    if op.propagation:
        set_propagation(tree, op.propagation)
    os.close(target)
    os.close(tree)


def _renewed(tree: int, *, directory: bool) -> int:
    """Return a copy of a mount from the host stage, made now, or the mount itself where none can be made.

    A mount of another mount namespace cannot be copied: it is attached to the old root first, and goes with that.
    """
    try:
        _sys.move_mount(tree, "", AT_FDCWD, _OLD_DIRECTORY if directory else _OLD_FILE, MOVE_MOUNT_F_EMPTY_PATH)
        copy = _sys.open_tree(tree, "", _CLONE | AT_EMPTY_PATH | AT_RECURSIVE)
    except OSError:
        return tree
    os.close(tree)
    return copy


@_applies(MakeNodes)
def _make_nodes(inside: Inside, op: MakeNodes) -> None:
    for device in op.devices:
        parent, _, name = device.path.rpartition("/")
        directory = rootpath.make_directory(inside.root, parent or "/")
        try:
            nodes.make(directory, name, device)
        finally:
            os.close(directory)
    for path, target in op.links:
        parent, _, name = path.rpartition("/")
        directory = rootpath.make_directory(inside.root, parent)
        try:
            nodes.link(directory, name, target)
        finally:
            os.close(directory)


@_applies(Remount)
def _remount(inside: Inside, op: Remount) -> None:
    target = rootpath.open_path(inside.root, op.target)
    if op.bind:
        set_attributes(target, op.attr_set, op.attr_clr, op.implied_clr)
    else:
        _sys.mount(None, f"/proc/self/fd/{target}", None, op.flags | MS_REMOUNT, op.data or None)
    if op.tree_set or op.tree_clr:
        deep = AT_EMPTY_PATH | AT_RECURSIVE
        _sys.mount_setattr(target, "", deep, attr_set=op.tree_set, attr_clr=op.tree_clr)
    if op.propagation:
        set_propagation(target, op.propagation)
    os.close(target)


@_applies(Console)
def _console(inside: Inside, op: Console) -> None:
    master, slave = open_terminal(inside.root, inside.plan.process.uid)
    if op.rows and op.columns:
        _sys.tty_set_size(slave, op.rows, op.columns)
    target = rootpath.make_mount_point(inside.root, "/dev/console", directory=False, links=False)
    tree = _sys.open_tree(slave, "", _CLONE | AT_EMPTY_PATH)
    inside.move(tree, target)
    for fd in (target, tree):
        os.close(fd)
    inside.channel.send(TERMINAL, (), (master,))
    os.close(master)
    inside.terminal = slave


def open_terminal(root: int, uid: int) -> tuple[int, int]:
    """Return (master, slave) of a new pseudo-terminal of the container's devpts, owned by one of its users."""
    pts = rootpath.open_path(root, "/dev/pts", os.O_DIRECTORY)
    try:
        if _sys.fstatfs_type(pts) != DEVPTS_SUPER_MAGIC:
            raise StageError("/dev/pts is not a devpts: a terminal needs one", stage="init", op="Console")
        master, slave = _sys.openpty_at(pts)
    finally:
        os.close(pts)
    os.fchown(slave, uid, -1)
    return master, slave


@_applies(MaskPaths)
def _mask_paths(inside: Inside, op: MaskPaths) -> None:
    for path in op.paths:
        try:
            target = rootpath.open_path(inside.root, path)
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            continue
        directory = stat.S_ISDIR(os.fstat(target).st_mode)
        if directory not in inside.covers:
            # one cover for all files and one for all directories: the first is attached, the others are its clones
            tree = inside.covers[directory] = empty_directory(op.options) if directory else guarded_null()
            inside.move(tree, target)
        else:
            tree = _sys.open_tree(inside.covers[directory], "", _CLONE | AT_EMPTY_PATH)
            inside.move(tree, target)
            os.close(tree)
        os.close(target)


@_applies(ReadonlyPaths)
def _readonly_paths(inside: Inside, op: ReadonlyPaths) -> None:
    for path in op.paths:
        try:
            target = rootpath.open_path(inside.root, path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        tree = _sys.open_tree(target, "", _CLONE | AT_EMPTY_PATH | AT_RECURSIVE)
        _sys.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=MOUNT_ATTR_RDONLY)
        inside.move(tree, target)
        os.close(tree)
        os.close(target)


@_applies(ReadonlyMount)
def _readonly_mount(inside: Inside, op: ReadonlyMount) -> None:
    target = rootpath.open_path(inside.root, op.path)
    _sys.mount_setattr(target, "", AT_EMPTY_PATH, attr_set=MOUNT_ATTR_RDONLY)
    os.close(target)


_SYSCTL_HINTS = {
    errno.EINVAL: "the kernel does not take this value: compare the host's, sysctl KEY",
    errno.ENOENT: "a namespace of this kernel has no such setting: look below /proc/sys in a container",
    errno.EISDIR: "that is a directory of settings: ls /proc/sys",
    errno.EACCES: "in a namespace it can only be read",
    errno.EPERM: "in a namespace it can only be read",
}


@_applies(Sysctl)
def _sysctl(inside: Inside, op: Sysctl) -> None:
    path = "sys/" + op.key.replace(".", "/")
    resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
    try:
        fd = _sys.openat2(inside.procfs, path, os.O_WRONLY | os.O_CLOEXEC, 0, resolve)
        try:
            os.write(fd, op.value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise StageError(
            f"{op.describe()}: {(error.strerror or '').lower()}",
            stage="init",
            op="Sysctl",
            spec_path=op.spec_path,
            errno=error.errno or 0,
            hint=_SYSCTL_HINTS.get(error.errno or 0, ""),
        ) from error


@_applies(MakeDirectory)
def _make_directory(inside: Inside, op: MakeDirectory) -> None:
    path = os.path.normpath(op.path)
    try:
        os.close(rootpath.make_directory(inside.root, path))
    except OSError as error:
        raise SpecError(op.spec_path, f"{op.path}: {(error.strerror or '').lower()}") from error


@_applies(AwaitHooks)
def _await_hooks(inside: Inside, _op: AwaitHooks) -> None:
    inside.channel.send(HOOKS)
    inside.channel.receive(HOOKED)


@_applies(RunHooks)
def _run_hooks(inside: Inside, op: RunHooks) -> None:
    assert inside.plan.hook_state is not None, "compile_plan has seen to it"
    state = inside.plan.hook_state.document("created", os.getpid())
    hooks.run_all(op.hooks, state, op.spec_path)


@_applies(EnterRoot)
def _enter_root(inside: Inside, op: EnterRoot) -> None:
    inside.root = os.open(op.path, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


@_applies(ChangeRoot)
def _change_root(inside: Inside, _op: ChangeRoot) -> None:
    os.fchdir(inside.root)
    os.chroot(".")
    os.close(inside.root)
    inside.root = -1


@_applies(PivotRoot)
def _pivot_root(inside: Inside, op: PivotRoot) -> None:
    os.fchdir(inside.root)
    if op.pivot:
        _sys.pivot_root(".", ".")
        _sys.umount2(".", MNT_DETACH)
    else:
        from pycontain.runtime.moveroot import move_root  # preload() has loaded it

        move_root(inside.root, inside.procfs)
    os.chdir("/")
    if op.propagation:
        _sys.mount(None, "/", None, op.propagation, None)
    if op.readonly:
        _sys.mount_setattr(inside.root, "", AT_EMPTY_PATH, attr_set=MOUNT_ATTR_RDONLY)
    os.close(inside.root)
    inside.root = -1
