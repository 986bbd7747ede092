"""Which mounts of this host carry its system, for ``@host``: an overlay does not cross them. [lean]"""

from __future__ import annotations

import os

from pycontain.cgroups.layout import unescape
from pycontain.plan.rootfs import SystemMount

_MOUNTINFO = "/proc/self/mountinfo"
# Directories that belong to the system; /home, /srv, /mnt, /media and their like are somebody's data.
_SYSTEM = ("/usr", "/var", "/opt", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Never part of the view, as the leave-out list of @host says
_LEFT_OUT = ("/var/log", "/var/backups", "/var/spool", "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd")
_LEFT_OUT_MORE = ("/var/lib/pycontain", "/var/lib/lxc", "/var/lib/lxd", "/var/lib/kubelet", "/var/run", "/var/tmp")
# Top-level directories that are made anew for a container, or are not the system's
_NOT_SYSTEM = frozenset(
    f"/{name}"
    for name in ("proc", "sys", "dev", "run", "tmp", "home", "root", "mnt", "media", "srv", "boot", "lost+found")
)
_DISKS = frozenset(
    (
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "f2fs",
        "bcachefs",
        "erofs",
        "squashfs",
        "overlay",
        "jfs",
        "reiserfs",
    )
)


def system_mounts(mountinfo: str | None = None) -> tuple[SystemMount, ...]:
    """Return the disk mounts below "/" that carry the system, outermost first; a later mount hides an earlier one.

    Source: proc_pid_mountinfo(5)
    """
    if mountinfo is None:
        with open(_MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
            mountinfo = file.read()
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if len(fields) < 10 or "-" not in fields:
            continue
        path, fstype = unescape(fields[4]), fields[fields.index("-") + 1]
        if _is_below(path, _SYSTEM) and not _is_below(path, _LEFT_OUT + _LEFT_OUT_MORE):
            found.pop(path, None)
            if fstype in _DISKS and os.path.isdir(path):
                found[path] = fstype
    return tuple(SystemMount(path, path) for path in sorted(found))


def top_level(mountinfo: str | None = None) -> tuple[tuple[SystemMount, ...], tuple[tuple[str, str], ...]]:
    """Return the system's directories in "/" and its links as (name, target), for a view made without privilege.

    A user namespace can neither clone nor overlay a directory with other mounts below, which "/" always has.
    """
    if mountinfo is None:
        with open(_MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
            mountinfo = file.read()
    points = [unescape(line.split(" ")[4]) for line in mountinfo.splitlines()]
    directories: list[SystemMount] = []
    links: list[tuple[str, str]] = []
    for entry in sorted(os.scandir("/"), key=lambda entry: entry.name):
        if entry.is_symlink():
            links.append((f"/{entry.name}", os.readlink(entry.path)))
        elif entry.is_dir() and entry.path not in _NOT_SYSTEM and os.access(entry.path, os.R_OK | os.X_OK):
            nested = any(point.startswith(f"{entry.path}/") for point in points)
            directories.append(SystemMount(entry.path, entry.path, nested))
    return tuple(directories), tuple(links)


def _is_below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)
