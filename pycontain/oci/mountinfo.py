"""What a process has mounted, and on which mount a file lies. Source: proc_pid_mountinfo(5), proc_pid_fdinfo(5)"""

from __future__ import annotations

import os

from pycontain.record import Record
from pycontain.runtime import rootpath


class MountPoint(Record):
    """One line of a mountinfo file: where, which device (major:minor), which part of its file system."""

    id: int
    path: str
    device: str
    root: str


def mount_table(pid: int) -> list[MountPoint]:
    """Return the mounts that a process sees."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        rows = [line.split(" ", 5) for line in file]
    return [MountPoint(int(row[0]), unescape(row[4]), row[2], unescape(row[3])) for row in rows]


def unescape(text: str) -> str:
    """Return a path in which the kernel has written some characters as a backslash and three octal digits."""
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def mount_id_below(root: int, target: str) -> int:
    """Return the mount that a path below a root, an open directory, leads to.

    Raises:
        OSError: it leads nowhere.
    """
    fd = rootpath.open_path(root, target)
    try:
        return mount_id(os.getpid(), fd)
    finally:
        os.close(fd)


def mount_id(pid: int, fd: int) -> int:
    """Return the mount of a process's open file."""
    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="utf-8") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("mnt_id:")), -1)
