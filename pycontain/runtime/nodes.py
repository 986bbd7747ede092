"""Makes device nodes in directories that somebody else may have filled. [lean]"""

from __future__ import annotations

import os
import stat

from pycontain.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.ops import Device

KINDS = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def make(directory: int, name: str, device: Device) -> None:
    """Make a node in an open directory; the same device that is there already stays as it is.

    Raises:
        SpecError: something else is there.
    """
    number = 0 if device.kind == "p" else os.makedev(device.major, device.minor)
    try:
        os.mknod(name, KINDS[device.kind] | 0o600, number, dir_fd=directory)
    except FileExistsError:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_IFMT(found.st_mode) != KINDS[device.kind] or (device.kind != "p" and found.st_rdev != number):
            raise SpecError("linux.devices", f"{device.path} is there, but is another file") from None
        return
    os.chown(name, device.uid, device.gid, dir_fd=directory, follow_symlinks=False)
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        # mknod's mode is cut by the umask
        os.chmod(f"/proc/self/fd/{fd}", device.mode)
    finally:
        os.close(fd)


def link(directory: int, name: str, target: str) -> None:
    """Make a symbolic link in an open directory; what is there already is the root's own and stays."""
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        pass
