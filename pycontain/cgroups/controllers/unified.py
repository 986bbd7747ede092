"""Interface files of cgroup v2 named by the config itself, written last and as they are. [lean]

Source: config-linux.md#unified
"""

from __future__ import annotations

from pycontain.cgroups.setting import Setting
from pycontain.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import LinuxResources

_PATH = "linux.resources.unified"
# writing these moves processes of anybody's into the container, which is no limit
_FORBIDDEN = ("cgroup.procs", "cgroup.threads")


def v2(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings; the controller is the part of the name before the first dot.

    Raises:
        SpecError: a name that is not one of an interface file.
    """
    found = []
    for file, value in resources.unified.items():
        controller, dot, rest = file.partition(".")
        if "/" in file or not (controller and dot and rest) or "\0" in file + value:
            raise SpecError(f"{_PATH}.{file}", "is not an interface file such as memory.high")
        if file in _FORBIDDEN:
            raise SpecError(f"{_PATH}.{file}", "is not a limit")
        found.append(Setting(controller, file, value, f"{_PATH}.{file}"))
    return tuple(found)
