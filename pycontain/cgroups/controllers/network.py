"""Class and priority of network traffic: two controllers that only cgroup v1 has. [lean]

Source: config-linux.md#network; cgroup-v1/net_cls.rst, net_prio.rst
"""

from __future__ import annotations

from pycontain.cgroups.setting import Setting
from pycontain.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import LinuxResources

_PATH = "linux.resources.network"


def v1(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings of net_cls and net_prio."""
    network = resources.network
    if network is None:
        return ()
    found = []
    if network.class_id is not None:
        found.append(Setting("net_cls", "net_cls.classid", str(network.class_id), f"{_PATH}.classID"))
    for index, entry in enumerate(network.priorities):
        value = f"{entry.name} {entry.priority}"
        found.append(Setting("net_prio", "net_prio.ifpriomap", value, f"{_PATH}.priorities[{index}]"))
    return tuple(found)


def v2(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return nothing, or refuse.

    Raises:
        HostError: a class or a priority is given.
    """
    for setting in v1(resources):
        raise HostError(
            f"{setting.label}: cgroup v2 has no {setting.controller}",
            requirement=f"cgroup v1: {setting.controller}",
            hint="match the container with nftables' socket cgroupv2 instead",
        )
    return ()
