"""Huge pages. [lean] Source: config-linux.md#huge-page-limits; cgroup-v2.rst "HugeTLB"

Both the pages in use and the pages reserved by mmap(2) are limited, the second where the kernel can (5.7): a process is
then refused with ENOMEM by mmap instead of being killed by SIGBUS when it touches a page.
"""

from __future__ import annotations

from pycontain.cgroups.setting import Setting
from pycontain.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import LinuxResources

_PATH = "linux.resources.hugepageLimits"


def v2(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings of cgroup v2."""
    return _settings(resources, "max")


def v1(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings of cgroup v1."""
    return _settings(resources, "limit_in_bytes")


def _settings(resources: LinuxResources, file: str) -> tuple[Setting, ...]:
    found = []
    for index, entry in enumerate(resources.hugepage_limits):
        path = f"{_PATH}[{index}]"
        if not (entry.page_size[:-2].isdecimal() and entry.page_size[-2:] in ("KB", "MB", "GB")):
            raise SpecError(f"{path}.pageSize", f"{entry.page_size!r} is not a size such as 2MB")
        if entry.limit < 0:
            raise SpecError(f"{path}.limit", f"{entry.limit} is negative")
        prefix, value = f"hugetlb.{entry.page_size}", str(entry.limit)
        found.append(Setting("hugetlb", f"{prefix}.{file}", value, path))
        found.append(Setting("hugetlb", f"{prefix}.rsvd.{file}", value, path, optional=True))
    return tuple(found)
