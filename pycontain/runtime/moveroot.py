"""Entering the new root without pivot_root(2), which the initial ramdisk refuses: it is moved over the old one.

The old root stays below, out of reach of path look-ups; its procfs and sysfs are taken away, or what the kernel shows
of them would let a user namespace mount its own in full (mount_too_revealing() of fs/namespace.c).
"""

from __future__ import annotations

import errno
import os

from pycontain.cgroups.layout import unescape
from pycontain.kernel import _sys
from pycontain.kernel.constants import AT_FDCWD, MNT_DETACH, MOVE_MOUNT_F_EMPTY_PATH
from pycontain.runtime.newmounts import empty_directory


def move_root(root: int, procfs: int) -> None:
    """Move the mount ``root``, which is attached somewhere, to "/" and make it the root of this process.

    ``procfs`` is a procfs of the caller's own.

    Raises:
        OSError: the kernel refuses.
    """
    own = os.readlink(f"self/fd/{root}", dir_fd=procfs).rstrip("/") + "/"
    for place in _revealing(procfs):
        if place.startswith(own):
            continue
        try:
            _sys.umount2(place, MNT_DETACH)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
            # locked together with its parent: it can only be hidden
            cover = empty_directory()
            _sys.move_mount(cover, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH)
            os.close(cover)
    _sys.move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)
    os.chroot(".")


def _revealing(procfs: int) -> list[str]:
    """Return where procfs and sysfs are mounted whole, the innermost first."""
    found = []
    text = b""
    fd = os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=procfs)
    while data := os.read(fd, 1 << 16):
        text += data
    os.close(fd)
    for line in os.fsdecode(text).splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if right.split(" ", 1)[0] in ("proc", "sysfs") and fields[3] == "/":
            found.append(unescape(fields[4]))
    return found[::-1]
