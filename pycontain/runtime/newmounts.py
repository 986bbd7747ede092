"""Detached mounts of new file systems and of the null device, which nobody's mount table shows. [lean]"""

from __future__ import annotations

import os
import stat

from pycontain.errors import StageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.ops import NewFilesystem


_NULL = os.makedev(1, 3)
_CLONE = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC


def new_filesystem(op: NewFilesystem) -> int:
    """Return a detached mount of a new file system."""
    return new_mount(op.fstype, op.source or op.fstype, op.options, op.attr_set)


def is_null(status: os.stat_result) -> bool:
    """Tell whether a file is the null device."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL


def guarded_null() -> int:
    """Return a detached mount of the host's null device through which its mode and owner cannot be changed.

    Raises:
        StageError: what lies there is something else.
    """
    tree = _sys.open_tree(AT_FDCWD, "/dev/null", _CLONE)
    if not is_null(os.fstat(tree)):
        raise StageError(
            "the host's /dev/null is not the null device",
            stage="host",
            hint="mend it: rm /dev/null && mknod -m 666 /dev/null c 1 3",
        )
    # a device can be written to on a read-only mount
    attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
    _sys.mount_setattr(tree, "", AT_EMPTY_PATH, attr_set=attributes)
    return tree


def empty_directory(options: tuple[tuple[str, str], ...] = ()) -> int:
    """Return a detached, empty, read-only tmpfs that shows nothing and takes nothing."""
    attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
    return new_mount("tmpfs", "tmpfs", (("mode", "0555"), ("size", "0"), ("nr_inodes", "2"), *options), attributes)


def has_long(options: tuple[tuple[str, str], ...]) -> bool:
    """Return whether fsconfig(2) does not take a value, which may have 255 bytes; ``runtime.longdata`` does."""
    return any(len(os.fsencode(value)) > 255 for _, value in options)


def new_mount(fstype: str, source: str, options: tuple[tuple[str, str], ...], attributes: int = 0) -> int:
    """Return a detached mount of a new file system; ``attributes`` are MOUNT_ATTR_* of mount_setattr(2)."""
    if has_long(options):
        from pycontain.runtime import longdata

        return longdata.new(new_mount, fstype, source, options, attributes)
    context = _sys.fsopen(fstype)
    try:
        _sys.fsconfig_set_string(context, "source", source)
        for key, value in options:
            if value:
                _sys.fsconfig_set_string(context, key, value)
            else:
                _sys.fsconfig_set_flag(context, key)
        _sys.fsconfig_create(context)
        return _sys.fsmount(context, 0, attributes)
    finally:
        os.close(context)
