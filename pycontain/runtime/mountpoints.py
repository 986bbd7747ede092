"""What a mount may cover, and what a new file system takes over from the directory that it covers.

Source: config.md#mounts; runc's checkProcMount (CVE-2019-16884, CVE-2019-19921)
"""

from __future__ import annotations

import os
import stat

from pycontain.errors import SpecError
from pycontain.kernel import _sys
from pycontain.kernel.constants import PROC_SUPER_MAGIC

# what programs such as lxcfs put their own view of the host's resources over
PROC_ENTRIES = frozenset(
    (
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "slabinfo",
        "stat",
        "swaps",
        "sys/crypto/fips_enabled",
        "sys/kernel/ns_last_pid",
        "uptime",
    )
)
_PROC = "/proc"


def check(root: int, target: int, path: str, tree: int, spec_path: str) -> None:
    """Refuse a mount that hides entries of /proc on which the confinement of processes rests.

    ``target`` is what ``path`` below ``root`` has led to, ``tree`` what is to be mounted there.

    Raises:
        SpecError: it is below /proc and not one of PROC_ENTRIES, or is /proc and no procfs.
    """
    if _sys.fstatfs_type(target) == PROC_SUPER_MAGIC:
        # a link may have led there
        place = _place(target).removeprefix(_place(root).rstrip("/"))
    else:
        place = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    if place == _PROC and _sys.fstatfs_type(tree) != PROC_SUPER_MAGIC:
        raise SpecError(f"{spec_path}.destination", f"{path}: only a proc file system can be mounted at /proc")
    if place.startswith(f"{_PROC}/") and place[len(_PROC) + 1 :] not in PROC_ENTRIES:
        raise SpecError(
            f"{spec_path}.destination",
            f"{path}: nothing can be mounted there",
            hint=f"below /proc only at: {', '.join(sorted(PROC_ENTRIES))}",
        )


def _place(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


def take_over(target: int, tree: int, *, content: bool) -> None:
    """Give the root of a new file system the mode of the directory ``target``; with ``content`` a copy of it all.

    Raises:
        OSError: something cannot be read or written.
    """
    if not content:
        os.chmod(".", stat.S_IMODE(os.fstat(target).st_mode), dir_fd=tree)
        return
    from pycontain.runtime.copying import copy_directory  # inside.preload() has loaded it

    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    source, goal = os.open(".", flags, dir_fd=target), os.open(".", flags, dir_fd=tree)
    try:
        copy_directory(source, goal)
    finally:
        os.close(source)
        os.close(goal)
