"""Number of processes and threads: one file, the same in both generations. [lean] Source: config-linux.md#pids"""

from __future__ import annotations

from pycontain.cgroups.setting import Setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import LinuxResources


def v2(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings; any limit below 0 is none."""
    if resources.pids is None or resources.pids.limit is None:
        return ()
    limit = resources.pids.limit
    return (Setting("pids", "pids.max", "max" if limit < 0 else str(limit), "linux.resources.pids.limit"),)


v1 = v2
