"""RDMA devices: one file, the same in both generations. [lean] Source: config-linux.md#rdma"""

from __future__ import annotations

from pycontain.cgroups.setting import Setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import LinuxResources


def v2(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings, one line per device."""
    found = []
    for device, limits in resources.rdma.items():
        words = [device]
        if limits.hca_handles is not None:
            words.append(f"hca_handle={limits.hca_handles}")
        if limits.hca_objects is not None:
            words.append(f"hca_object={limits.hca_objects}")
        if len(words) > 1:
            found.append(Setting("rdma", "rdma.max", " ".join(words), f"linux.resources.rdma.{device}"))
    return tuple(found)


v1 = v2
