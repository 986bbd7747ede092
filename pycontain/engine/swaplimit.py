"""The limit of swap that ``-m`` alone implies, on kernels that do not count swap: docker drops it, and so do we. [lean]

``--memory-swap`` said by name is never dropped: that it cannot be enforced is an error there.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pycontain.cgroups.cgroup import Cgroup
    from pycontain.cgroups.setting import Setting
    from pycontain.spec.resources import LinuxResources
    from pycontain.spec.runtime import Spec

NOTE = "this kernel does not count swap: memory is limited, swap is not (boot with swapaccount=1)"
_PATH = "linux.resources.memory.swap"


def is_implied(limits: Mapping[str, Any]) -> bool:
    """Tell whether options, as in the state file, limit memory and say nothing of swap."""
    return limits.get("memory") is not None and limits.get("memory_swap") is None


def uncounted(cgroup: Cgroup, settings: tuple[Setting, ...]) -> bool:
    """Tell whether the settings limit swap, and the cgroup, which has been made, cannot."""
    for setting in settings:
        if setting.path == _PATH and not setting.optional:
            return not cgroup.directory(setting.controller).read_or(setting.file, "")
    return False


def without(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """Return the settings but the limit of swap."""
    return tuple(setting for setting in settings if setting.path != _PATH)


def without_swap(resources: LinuxResources) -> LinuxResources:
    """Return the resources without a limit of swap."""
    memory = resources.memory
    return resources if memory is None else resources.replace(memory=memory.replace(swap=None))


def spec_without_swap(spec: Spec) -> Spec:
    """Return the configuration without a limit of swap, so that a restart asks for none."""
    resources = spec.linux.resources
    return spec if resources is None else spec.replace(linux=spec.linux.replace(resources=without_swap(resources)))
