"""Why a limit cannot be had: the kernel's bare errno turned into a sentence with a cure. Imported only when needed."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pycontain.cgroups.controllers.cpuset import parse_list
from pycontain.cgroups.directory import Directory
from pycontain.errors import HostError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pycontain.cgroups.cgroup import CgroupPaths
    from pycontain.cgroups.setting import Refused, Setting

# what a kernel was built or booted without when a file is missing, by the beginning of its name
_MISSING = (
    ("memory.memsw.", "boot with swapaccount=1 (the kernel needs CONFIG_MEMCG_SWAP)"),
    ("memory.swap.", "boot with swapaccount=1 (the kernel needs CONFIG_SWAP and CONFIG_MEMCG_SWAP)"),
    ("memory.kmem.", "cgroup v1's limit of kernel memory is gone from this kernel: leave it out"),
    ("cpu.rt_", "the kernel needs CONFIG_RT_GROUP_SCHED"),
    ("cpu.cfs_burst", "the kernel must be 5.14 or later"),
    ("cpu.max.burst", "the kernel must be 5.14 or later"),
    ("cpu.idle", "the kernel must be 5.15 or later"),
    ("io.weight", "the kernel needs CONFIG_BLK_CGROUP_IOCOST or the BFQ scheduler (CONFIG_BFQ_GROUP_IOSCHED)"),
    ("io.max", "the kernel needs CONFIG_BLK_DEV_THROTTLING"),
    ("blkio.bfq.", "the kernel needs the BFQ scheduler (CONFIG_BFQ_GROUP_IOSCHED)"),
    ("blkio.leaf_weight", "it went away with the CFQ scheduler in Linux 5.0: use blockIO.weight"),
    ("blkio.throttle.", "the kernel needs CONFIG_BLK_DEV_THROTTLING"),
)


def explain(refused: Refused, directory: Directory) -> HostError:
    """Return the error for a setting that could not be written."""
    setting, cause = refused.setting, refused.cause
    # an alternative that was tried as well is named by the error
    file = os.path.basename(str(cause.filename or setting.file))
    requirement = f"cgroup:{setting.controller}:{file}"
    number = cause.errno
    if number == errno.ENOENT:
        return HostError(
            f"{setting.label}: this kernel has no {file}", requirement=requirement, hint=_missing(file, directory)
        )
    if number == errno.EBUSY and setting.controller == "memory":
        return _below_usage(setting, directory, requirement)
    if number in (errno.ENODEV, errno.ENXIO) and setting.controller in ("io", "blkio"):
        device = setting.value.removeprefix("default").split()[0]
        return HostError(
            f"{setting.label}: no block device {device} here",
            requirement=requirement,
            hint="a whole disk is meant, not a partition: lsblk -d shows their numbers",
        )
    reason = (cause.strerror or "").lower()
    return HostError(
        f"{setting.label}: write {setting.value!r} to {cause.filename or file}: {reason}",
        requirement=requirement,
        hint=_refusal_hint(setting, number, directory),
    )


def _missing(file: str, directory: Directory) -> str:
    if file.startswith("hugetlb."):
        sizes = sorted({name.split(".")[1] for name in os.listdir(directory.path) if name.startswith("hugetlb.")})
        return f"page sizes here: {', '.join(sizes) or 'none'}"
    return next((hint for prefix, hint in _MISSING if file.startswith(prefix)), "")


def _below_usage(setting: Setting, directory: Directory, requirement: str) -> HostError:
    usage = directory.read_or("memory.usage_in_bytes", "") or directory.read_or("memory.current", "?")
    return HostError(
        f"{setting.label}: {setting.value} is below the present use of {usage} bytes, and not enough can be reclaimed",
        requirement=requirement,
        hint="choose a higher limit, or end processes first",
    )


def _refusal_hint(setting: Setting, number: int | None, directory: Directory) -> str:
    if number == errno.EINVAL and setting.file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
        limit = directory.read_or("memory.limit_in_bytes", "?")
        both = directory.read_or("memory.memsw.limit_in_bytes", "?")
        return f"memory+swap may not be less than memory (now {both} and {limit}): give memory.swap too"
    if number == errno.EINVAL and setting.controller == "cpu":
        return "a cgroup may not get more than the one above it; an idle one (cpu.idle) takes no shares"
    if setting.controller == "cpuset":
        parent = os.path.dirname(directory.path)
        have = _list_of(parent, setting.file)
        return f"the cgroup above has {setting.file.partition('.')[2]} {have}"
    if number in (errno.EOPNOTSUPP, errno.EINVAL) and setting.file.startswith("memory.kmem."):
        return "this kernel no longer limits kernel memory alone: leave it out"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "let systemd delegate a cgroup: systemd-run --user --scope -p Delegate=yes pycontain …"
    return ""


def _list_of(path: str, file: str) -> str:
    """Return the processors or nodes that a cgroup really has, in either generation."""
    name = file.partition(".")[2]
    with Directory(path) as directory:
        for candidate in (f"{file}.effective", f"cpuset.effective_{name}", file):
            text = directory.read_or(candidate, "")
            if text:
                return text
    return ""


def check_cpuset(paths: CgroupPaths, wanted: Iterable[Setting]) -> None:
    """Raise HostError for processors or nodes that the cgroup above does not have.

    cgroup v2 would take them and quietly use what there is.
    """
    parent = os.path.dirname(paths.v1.get("cpuset", paths.unified))
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    for setting in wanted:
        if setting.controller != "cpuset" or setting.file not in ("cpuset.cpus", "cpuset.mems"):
            continue
        have = _effective(parent, setting.file)
        try:
            lacking = parse_list(setting.value, setting.path) - parse_list(have, setting.path) if have else set()
        except SpecError:
            # a list in unified, in a form of the kernel's that we do not know
            continue
        if lacking:
            what = "processor" if setting.file == "cpuset.cpus" else "memory node"
            first = str(min(lacking))
            which = first if setting.value.strip() == first else f"{first} of {setting.value.strip()}"
            raise HostError(
                f"{setting.label}: {what} {which} is not available in {parent}",
                requirement=f"cgroup:cpuset:{setting.file}",
                hint=f"available: {have}",
            )


def _effective(path: str, file: str) -> str:
    """Return the list of the nearest cgroup at or above ``path`` that has the controller."""
    while path not in ("", "/"):
        have = _list_of(path, file)
        if have:
            return have
        path = os.path.dirname(path)
    return ""
