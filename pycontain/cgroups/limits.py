"""From ``linux.resources`` to the settings of the hierarchies that this host has. Pure. [lean]

A controller is bound to one hierarchy at a time: each part of the resources goes to cgroup v1 or v2 depending on where
its controller is, also within one hybrid host. Modules of controllers are imported as parts of the config ask for them.
"""

from __future__ import annotations

from pycontain.errors import HostError
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pycontain.cgroups.setting import Setting
    from pycontain.spec.resources import LinuxResources

    _Compile = Callable[[LinuxResources], tuple[Setting, ...]]


class Placement(Record):
    """Where each controller is, and why others are nowhere.

    ``unified`` is None where no cgroup v2 hierarchy can be used. ``where`` is a word for the message; ``reasons`` are
    keyed by controller, with ``unified`` for cgroup v2 as a whole.
    """

    v1: tuple[str, ...]
    unified: tuple[str, ...] | None
    where: str
    reasons: Mapping[str, str] = {}
    delegate: bool = False


def settings(resources: LinuxResources, placement: Placement) -> tuple[Setting, ...]:
    """Return what to write, in order.

    Raises:
        HostError: a limit needs a controller that is not here, or one that its generation cannot express.
        SpecError: a value that no kernel takes.
    """
    found: list[Setting] = []
    if resources.memory is not None:
        from pycontain.cgroups.controllers import memory

        found += _choose(resources, placement, "memory", memory.v1, memory.v2)
    if resources.cpu is not None:
        from pycontain.cgroups.controllers import cpu, cpuset

        found += _choose(resources, placement, "cpuset", cpuset.v1, cpuset.v2)
        found += _choose(resources, placement, "cpu", cpu.v1, cpu.v2)
    if resources.pids is not None:
        from pycontain.cgroups.controllers import pids

        found += _choose(resources, placement, "pids", pids.v1, pids.v2)
    if resources.block_io is not None:
        from pycontain.cgroups.controllers import io

        found += _choose(resources, placement, "blkio" if "blkio" in placement.v1 else "io", io.v1, io.v2)
    if resources.hugepage_limits:
        from pycontain.cgroups.controllers import hugetlb

        found += _choose(resources, placement, "hugetlb", hugetlb.v1, hugetlb.v2)
    if resources.rdma:
        from pycontain.cgroups.controllers import rdma

        found += _choose(resources, placement, "rdma", rdma.v1, rdma.v2)
    if resources.network is not None:
        found += _network(resources, placement)
    if resources.unified:
        found += _unified(resources, placement)
    return tuple(found)


def _choose(
    resources: LinuxResources, placement: Placement, controller: str, v1: _Compile, v2: _Compile
) -> tuple[Setting, ...]:
    if controller in placement.v1:
        return v1(resources)
    wanted = v2(resources)
    if wanted and controller not in (placement.unified or ()):
        raise unavailable(wanted[0].label, controller, placement)
    return wanted


def _network(resources: LinuxResources, placement: Placement) -> tuple[Setting, ...]:
    from pycontain.cgroups.controllers import network

    if placement.v1:
        wanted = network.v1(resources)
        for setting in wanted:
            if setting.controller not in placement.v1:
                raise unavailable(setting.label, setting.controller, placement)
        return wanted
    return network.v2(resources)


def _unified(resources: LinuxResources, placement: Placement) -> Iterable[Setting]:
    from pycontain.cgroups.controllers import unified

    wanted = unified.v2(resources)
    for setting in wanted:
        # files named cgroup.* belong to every cgroup
        if placement.unified is None or (setting.controller not in (*placement.unified, "cgroup")):
            raise unavailable(setting.label, setting.controller, placement)
    return wanted


def unavailable(label: str, controller: str, placement: Placement) -> HostError:
    """Return the error for a limit whose controller is not here, with the cure that fits the host."""
    reason = placement.reasons.get(controller, "")
    if not reason and controller in placement.v1:
        reason = "it is bound to cgroup v1 on this host"
    elif not reason and placement.unified is None:
        reason = placement.reasons.get("unified", "no cgroup hierarchy can be used")
    elif not reason:
        reason = f"it is not available in {placement.where}"
    return HostError(
        f"{label}: needs the cgroup controller {controller}: {reason}",
        requirement=f"cgroup:{controller}",
        hint=_cure(controller, placement),
    )


def _cure(controller: str, placement: Placement) -> str:
    if placement.delegate:
        return (
            "let systemd delegate it: systemd-run --user --scope -p Delegate=yes pycontain … "
            f"(and Delegate={controller} in user@.service if it is missing there)"
        )
    if placement.reasons.get(controller) or placement.reasons.get("unified"):
        return "run in a container or session whose cgroups are writable (docker run --privileged --cgroupns=private)"
    if controller in placement.v1:
        return "boot with systemd.unified_cgroup_hierarchy=1"
    if controller == "memory":
        return "boot with cgroup_enable=memory, or enable it in the cgroup.subtree_control of the cgroups above"
    return (
        f"enable it in the cgroup.subtree_control of the cgroups above (echo +{controller} > cgroup.subtree_control), "
        "or use a kernel that has it"
    )
