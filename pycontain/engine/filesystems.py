"""What the file system at a path is good for. [lean]"""

from __future__ import annotations

import os

from pycontain.kernel import _sys
from pycontain.kernel.constants import OVERLAYFS_SUPER_MAGIC

# linux/magic.h and the kernel in which the file system learned to be mounted with shifted owners.
_SHIFTS_SINCE = {
    0xEF53: (5, 12),  # ext4
    0x58465342: (5, 12),  # xfs
    0x9123683E: (5, 15),  # btrfs
    0xF2F52010: (5, 18),  # f2fs
    0xE0F5E1E2: (5, 19),  # erofs
    0x01021994: (6, 3),  # tmpfs
    0x73717368: (6, 2),  # squashfs
}
# These never can; others are tried.
_NEVER_SHIFTS = {OVERLAYFS_SUPER_MAGIC: "overlay", 0x6969: "nfs", 0x9FA0: "proc", 0x01021997: "9p", 0xFE534D42: "smb"}


def cannot_shift(path: str, kernel: tuple[int, int]) -> str:
    """Return why the file system of ``path`` cannot be mounted with shifted owners on this kernel, "" if it may."""
    magic = _magic(path)
    if magic in _NEVER_SHIFTS:
        return f"owners cannot be shifted on {_NEVER_SHIFTS[magic]} ({path})"
    since = _SHIFTS_SINCE.get(magic, (5, 12))
    if kernel < since:
        return f"owners can be shifted on the file system of {path} only since Linux {since[0]}.{since[1]}"
    return ""


def is_overlay(path: str) -> bool:
    """Whether ``path``, or the nearest directory above that exists, lies on an overlay."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return _magic(path) == OVERLAYFS_SUPER_MAGIC


def _magic(path: str) -> int:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return _sys.fstatfs_type(fd)
    finally:
        os.close(fd)
