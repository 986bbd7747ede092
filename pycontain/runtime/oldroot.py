"""The root of a container that has ended, mounted where nobody else sees it."""

from __future__ import annotations

import os

from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    AT_FDCWD,
    CLONE_NEWNS,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_PRIVATE,
    MS_REC,
    O_PATH,
)
from pycontain.plan.ops import Attach, OpenDirectory, OpenTree, Overlay
from pycontain.plan.roots import compile_root
from pycontain.runtime import rootpath
from pycontain.runtime.trees import Trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.facts import HostFacts
    from pycontain.plan.ops import Op
    from pycontain.plan.rootfs import RootSource

_TREE = O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class StoppedRoot:
    """The root that a container had. ``staging`` is a directory to mount it on; ``facts`` tell its user namespace.

    Without ``write`` its own layer becomes the uppermost of those that are only read: nothing changes on disk, and the
    container may be started meanwhile.
    """

    def __init__(self, root: RootSource, facts: HostFacts, staging: str, *, write: bool) -> None:
        self._userns = facts.userns
        self._privileged = facts.privileged
        self._staging = staging
        ops, attachments = compile_root(root, facts)
        self._ops = tuple(ops if write else (one for op in ops for one in _read_only(op, facts.privileged)))
        self._attachments = [op for op in attachments if isinstance(op, Attach)]

    def make(self, userns_fd: int) -> int:
        """Mount the root in a mount namespace of this process's own and return a descriptor of it.

        Raises:
            PycontainError: it cannot be mounted; something of it may be gone.
        """
        if self._privileged:
            _sys.unshare(CLONE_NEWNS)
        _sys.mount(None, "/", None, MS_REC | MS_PRIVATE, None)
        trees = Trees(self._userns, self._staging, userns_fd)
        trees.make(self._ops)
        _sys.move_mount(trees.fds["root"], "", AT_FDCWD, self._staging, MOVE_MOUNT_F_EMPTY_PATH)
        root = os.open(self._staging, _TREE)
        for op in self._attachments:
            target = rootpath.open_path(root, op.target)
            _sys.move_mount(trees.fds[op.name], "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
            os.close(target)
        return root


def _read_only(op: Op, privileged: bool) -> tuple[Op, ...]:
    """Return an operation as it is, or an overlay that is written to as one that is not."""
    if not isinstance(op, Overlay) or not op.upper:
        return (op,)
    name = f"{op.name}.own"
    layer: Op = OpenTree(op.spec_path, name, op.upper) if privileged else OpenDirectory(op.spec_path, name, op.upper)
    return (layer, op.replace(lowers=(name, *op.lowers), upper="", work="", memory_bytes=0))
