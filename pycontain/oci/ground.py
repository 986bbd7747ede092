"""The ground that CRIU restores a container on: a root that is a mount, with every mount point, and what comes on them.

All of it lies in a mount namespace of the runtime's own and goes with it.
"""

from __future__ import annotations

import os
import stat

from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    CLD_EXITED,
    CLONE_NEWNS,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    WEXITED,
)
from pycontain.oci.images import MASK
from pycontain.oci.mountinfo import mount_table
from pycontain.plan.ops import Attach, Console, DevTree, MakeNodes, OpenTree, PivotRoot
from pycontain.plan.plan import Plan
from pycontain.runtime import nodes, rootpath
from pycontain.runtime.idmap import open_userns
from pycontain.runtime.newmounts import guarded_null
from pycontain.runtime.trees import Trees

_CLONE = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE


class Ground:
    """``root`` is the path to give CRIU; ``sources`` is where each mount from outside comes from, by its name.

    ``directory`` is the container's; the process is in a mount namespace of its own.
    """

    def __init__(self, plan: Plan, directory: str) -> None:
        self.root = f"{directory}/criu-root"
        self.sources: dict[str, str] = {}
        self._plan = plan
        self._directory = directory
        self._walk = f"{directory}/criu-walk"
        self._clones = dict(plan.outer_mounts)
        self._memory: list[str] = []
        self._mounted: list[str] = []

    def __enter__(self) -> Ground:
        try:
            self._prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        for path in reversed(self._mounted):
            _unmount(path)
        self._mounted.clear()
        os.chmod(self._directory, 0o700)

    def _prepare(self) -> None:
        users = open_userns(self._plan.userns) if self._plan.userns.uid_map else -1
        if users >= 0:
            # CRIU binds what lies in it as the container's root, who is nobody here
            os.chmod(self._directory, 0o711)
        trees = Trees(self._plan.userns, self._directory, users)
        try:
            made = [op for op in self._plan.host if isinstance(op, OpenTree) and op.name == "root"]
            trees.make((*made, *self._clones.values()))
            root = trees.fds["root"]
            self._mount(root, self.root)
            null = guarded_null()
            self.sources[MASK] = self._place(null)
            os.close(null)
            walked = _sys.open_tree(root, "", _CLONE)
            self._mount(walked, self._walk)
            try:
                for op in self._plan.init:
                    if isinstance(op, Attach):
                        self._attach(walked, op, trees)
                    elif isinstance(op, Console) and not self._in_memory("/dev/console"):
                        os.close(rootpath.make_mount_point(walked, "/dev/console", directory=False, links=False))
                    elif isinstance(op, MakeNodes):
                        _make_nodes(walked, op)
            finally:
                os.close(walked)
                self._mounted.remove(self._walk)
                _unmount(self._walk)
        finally:
            trees.close()
            if users >= 0:
                os.close(users)

    def _attach(self, root: int, op: Attach, trees: Trees) -> None:
        """Make one mount point, and find out what its path is when no link is in it."""
        target = "/" + op.target.strip("/")
        clone = self._clones.get(op.target)
        if self._in_memory(target):
            # CRIU fills file systems in memory itself, mount points and all
            if clone is not None:
                self.sources[target] = self._place(trees.fds[clone.name])
            return
        if clone is None:
            os.close(rootpath.make_mount_point(root, target, directory=True))
            if (op.fresh is not None and op.fresh.fstype == "tmpfs") or self._is_dev(op):
                self._memory.append(target)
            return
        tree = trees.fds[clone.name]
        place = rootpath.make_mount_point(root, target, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
        path = os.readlink(f"/proc/self/fd/{place}")
        _sys.move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
        os.close(place)
        copy = _sys.open_tree(tree, "", _CLONE)
        source = self._place(copy)
        os.close(copy)
        self.sources[path.removeprefix(self._walk)] = source
        if isinstance(clone, OpenTree) and clone.recursive:
            for mount in mount_table(os.getpid()):
                if mount.path.startswith(f"{path}/"):
                    self.sources[mount.path.removeprefix(self._walk)] = source + mount.path.removeprefix(path)

    def _in_memory(self, target: str) -> bool:
        return any(target.startswith(f"{path}/") for path in self._memory)

    def _is_dev(self, op: Attach) -> bool:
        return any(isinstance(one, DevTree) and one.name == op.name for one in self._plan.host)

    def _place(self, tree: int) -> str:
        """Mount a detached tree where CRIU finds it, and return the path: a bind of it keeps its flags and owners."""
        path = f"{self._directory}/criu-{len(self._mounted)}"
        self._mount(tree, path)
        return path

    def _mount(self, tree: int, path: str) -> None:
        """Mount a tree in the container's directory."""
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.mkdir(path, 0o755)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        _sys.move_mount(tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH)
        self._mounted.append(path)


def finish_root(plan: Plan, pid: int) -> None:
    """Make the root that process ``pid`` has what the plan says: CRIU leaves that to whoever gives it the mount.

    Raises:
        HostError: it cannot be changed.
    """
    op = next((op for op in plan.init if isinstance(op, PivotRoot)), None)
    if op is None or not (op.propagation or op.readonly):
        return
    child, pidfd = _sys.clone3(0)
    if child == 0:
        code = 1
        try:
            _sys.setns(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), CLONE_NEWNS)
            if op.propagation:
                _sys.mount(None, "/", None, op.propagation, None)
            if op.readonly:
                _sys.mount_setattr(AT_FDCWD, "/", 0, attr_set=MOUNT_ATTR_RDONLY)
            code = 0
        except OSError as error:
            code = error.errno or 1
        finally:
            os._exit(code)
    ended = _sys.waitid_pidfd(pidfd, WEXITED)
    os.close(pidfd)
    if ended is None or ended[1:] != (CLD_EXITED, 0):
        reason = os.strerror(ended[2]).lower() if ended is not None else ""
        raise HostError(
            f"the container's root cannot be changed to what root.readonly and rootfsPropagation say: {reason}"
        )


def _unmount(path: str) -> None:
    _sys.umount2(path, MNT_DETACH)
    if os.path.isdir(path):
        os.rmdir(path)
    else:
        os.unlink(path)


def _make_nodes(root: int, op: MakeNodes) -> None:
    for device in op.devices:
        parent, _, name = device.path.rpartition("/")
        directory = rootpath.make_directory(root, parent or "/")
        try:
            nodes.make(directory, name, device)
        finally:
            os.close(directory)
