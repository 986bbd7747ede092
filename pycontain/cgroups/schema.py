"""The interface files of both generations of cgroups as cgroupspy controllers and descriptors. Not for the start path.

cgroupspy brings the model (a controller is a class, a file is a descriptor that knows its syntax) and the controllers
of cgroup v1. Here are those it lacks (freezer, pids, hugetlb, rdma and all of v2) and corrections of those it has;
reading and writing go below a directory's descriptor and never create a file, as cgroupspy's would.

::

    MemoryV2(directory).max            64 MiB as an int, None for "max"
    MemoryV2(directory).max = None     writes "max"
    assign(MemoryV2(directory), "memory.max", "67108864")     by file name, through the same syntax

Source: cgroup-v2.rst, cgroup-v1/*.rst; cgroupspy.readthedocs.io
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pycontain.cgroups.cgroupspy_types import (
    BaseFileInterface,
    BlkIOController,
    CommaDashSetFile,
    Controller,
    CpuAcctController,
    CpuController,
    CpuSetController,
    DevicesController,
    DeviceThrottle,
    FlagFile,
    IntegerFile,
    MemoryController,
    MultiLineIntegerFile,
    NetClsController,
    NetPrioController,
    TypedFile,
)
from pycontain.cgroups.interfaces import (
    BandwidthFile,
    Counter,
    DeviceOperations,
    DeviceWeights,
    LimitFile,
    NestedTable,
    Table,
    Text,
    WeightTable,
    Words,
)

if TYPE_CHECKING:
    from pycontain.cgroups.directory import Directory


class Access:
    """Reads and writes below a descriptor of a :class:`Directory`, not by path."""

    node: Directory

    def get_property(self, filename: bytes) -> str:
        """Return what the file says."""
        return self.node.read(filename.decode()).strip()

    def set_property(self, filename: bytes, value: object) -> None:
        """Write one value; never creates a file."""
        self.node.write(filename.decode(), str(value))

    @classmethod
    def interfaces(cls) -> dict[str, BaseFileInterface]:
        """Return every descriptor by attribute name, also inherited ones, which cgroupspy's list_interfaces misses."""
        found: dict[str, BaseFileInterface] = {}
        for base in reversed(cls.__mro__):
            found.update({name: value for name, value in vars(base).items() if isinstance(value, BaseFileInterface)})
        return found


class CpuV1(Access, CpuController):
    """cgroup v1 ``cpu``."""

    cfs_quota_us = LimitFile("cpu.cfs_quota_us", "-1")
    cfs_burst_us = IntegerFile("cpu.cfs_burst_us")
    idle = FlagFile("cpu.idle")
    stat = Table("cpu.stat")


class CpuAcctV1(Access, CpuAcctController):
    """cgroup v1 ``cpuacct``; ``acct_stat`` counts ticks."""

    usage_user = Counter("cpuacct.usage_user")
    usage_sys = Counter("cpuacct.usage_sys")


class CpuSetV1(Access, CpuSetController):
    """cgroup v1 ``cpuset``."""

    effective_cpus = CommaDashSetFile("cpuset.effective_cpus", readonly=True)
    effective_mems = CommaDashSetFile("cpuset.effective_mems", readonly=True)


class MemoryV1(Access, MemoryController):
    """cgroup v1 ``memory``."""

    limit_in_bytes = LimitFile("memory.limit_in_bytes", "-1")
    soft_limit_in_bytes = LimitFile("memory.soft_limit_in_bytes", "-1")
    memsw_limit_in_bytes = LimitFile("memory.memsw.limit_in_bytes", "-1")
    kmem_limit_in_bytes = LimitFile("memory.kmem.limit_in_bytes", "-1")
    kmem_usage_in_bytes = Counter("memory.kmem.usage_in_bytes")
    kmem_tcp_limit_in_bytes = LimitFile("memory.kmem.tcp.limit_in_bytes", "-1")
    kmem_tcp_usage_in_bytes = Counter("memory.kmem.tcp.usage_in_bytes")
    stat = Table("memory.stat")


class PidsV1(Access, Controller):
    """cgroup v1 ``pids``."""

    max = LimitFile("pids.max")
    current = Counter("pids.current")
    peak = Counter("pids.peak")
    events = Table("pids.events")


class FreezerV1(Access, Controller):
    """cgroup v1 ``freezer``."""

    state = Text("freezer.state")
    self_freezing = FlagFile("freezer.self_freezing", readonly=True)
    parent_freezing = FlagFile("freezer.parent_freezing", readonly=True)


class BlkIOV1(Access, BlkIOController):
    """cgroup v1 ``blkio``."""

    throttle_write_bps_device = TypedFile("blkio.throttle.write_bps_device", DeviceThrottle, many=True)
    throttle_write_iops_device = TypedFile("blkio.throttle.write_iops_device", DeviceThrottle, many=True)
    throttle_io_service_bytes = DeviceOperations("blkio.throttle.io_service_bytes_recursive")
    throttle_io_serviced = DeviceOperations("blkio.throttle.io_serviced_recursive")
    weight_device = DeviceWeights("blkio.weight_device")
    leaf_weight_device = DeviceWeights("blkio.leaf_weight_device")
    bfq_weight = IntegerFile("blkio.bfq.weight")
    bfq_weight_device = DeviceWeights("blkio.bfq.weight_device")


class DevicesV1(Access, DevicesController):
    """cgroup v1 ``devices``."""


class NetClsV1(Access, NetClsController):
    """cgroup v1 ``net_cls``."""


class NetPrioV1(Access, NetPrioController):
    """cgroup v1 ``net_prio``."""


class RdmaV1(Access, Controller):
    """``rdma``: the same in both generations."""

    max = NestedTable("rdma.max")
    current = NestedTable("rdma.current", readonly=True)


class CoreV2(Access):
    """What every cgroup of v2 has, whatever its controllers."""

    def __init__(self, node: Directory) -> None:
        self.node = node

    procs = MultiLineIntegerFile("cgroup.procs")
    controllers = Words("cgroup.controllers")
    subtree_control = Words("cgroup.subtree_control")
    type = Text("cgroup.type")
    freeze = FlagFile("cgroup.freeze")
    events = Table("cgroup.events")
    stat = Table("cgroup.stat")
    max_depth = LimitFile("cgroup.max.depth")
    max_descendants = LimitFile("cgroup.max.descendants")
    cpu_stat = Table("cpu.stat")
    cpu_pressure = NestedTable("cpu.pressure", readonly=True)
    memory_pressure = NestedTable("memory.pressure", readonly=True)
    io_pressure = NestedTable("io.pressure", readonly=True)


class CpuV2(CoreV2):
    """cgroup v2 ``cpu``; ``cpu.stat`` is there without it too."""

    weight = IntegerFile("cpu.weight")
    max = BandwidthFile("cpu.max")
    max_burst = IntegerFile("cpu.max.burst")
    idle = FlagFile("cpu.idle")


class CpuSetV2(CoreV2):
    """cgroup v2 ``cpuset``."""

    cpus = CommaDashSetFile("cpuset.cpus")
    mems = CommaDashSetFile("cpuset.mems")
    effective_cpus = CommaDashSetFile("cpuset.cpus.effective", readonly=True)
    effective_mems = CommaDashSetFile("cpuset.mems.effective", readonly=True)


class MemoryV2(CoreV2):
    """cgroup v2 ``memory``."""

    current = Counter("memory.current")
    peak = Counter("memory.peak")
    min = LimitFile("memory.min")
    low = LimitFile("memory.low")
    high = LimitFile("memory.high")
    max = LimitFile("memory.max")
    oom_group = FlagFile("memory.oom.group")
    memory_events = Table("memory.events")
    memory_stat = Table("memory.stat")
    swap_current = Counter("memory.swap.current")
    swap_max = LimitFile("memory.swap.max")
    swap_high = LimitFile("memory.swap.high")
    swap_events = Table("memory.swap.events")


class PidsV2(CoreV2):
    """cgroup v2 ``pids``."""

    max = LimitFile("pids.max")
    current = Counter("pids.current")
    peak = Counter("pids.peak")
    pids_events = Table("pids.events")


class IoV2(CoreV2):
    """cgroup v2 ``io``."""

    io_stat = NestedTable("io.stat", readonly=True)
    max = NestedTable("io.max")
    weight = WeightTable("io.weight")
    bfq_weight = WeightTable("io.bfq.weight")


class RdmaV2(CoreV2):
    """cgroup v2 ``rdma``."""

    max = NestedTable("rdma.max")
    current = NestedTable("rdma.current", readonly=True)


class HugetlbV1(Access, Controller):
    """cgroup v1 ``hugetlb`` of one page size: made by :func:`hugetlb`."""


class HugetlbV2(CoreV2):
    """cgroup v2 ``hugetlb`` of one page size: made by :func:`hugetlb`."""


V1: dict[str, type[Any]] = {
    "cpu": CpuV1,
    "cpuacct": CpuAcctV1,
    "cpuset": CpuSetV1,
    "memory": MemoryV1,
    "pids": PidsV1,
    "freezer": FreezerV1,
    "blkio": BlkIOV1,
    "devices": DevicesV1,
    "net_cls": NetClsV1,
    "net_prio": NetPrioV1,
    "rdma": RdmaV1,
}
V2: dict[str, type[Any]] = {
    "cgroup": CoreV2,
    "cpu": CpuV2,
    "cpuset": CpuSetV2,
    "memory": MemoryV2,
    "pids": PidsV2,
    "io": IoV2,
    "rdma": RdmaV2,
}


def hugetlb(generation: int, page_size: str) -> type[Any]:
    """Return the controller class for pages of one size, such as ``2MB``: the size is part of every file's name."""
    prefix = f"hugetlb.{page_size}"
    if generation == 1:
        names: dict[str, BaseFileInterface] = {
            "limit": LimitFile(f"{prefix}.limit_in_bytes"),
            "usage": Counter(f"{prefix}.usage_in_bytes"),
            "failcnt": IntegerFile(f"{prefix}.failcnt"),
            "peak": Counter(f"{prefix}.max_usage_in_bytes"),
            "reserved_limit": LimitFile(f"{prefix}.rsvd.limit_in_bytes"),
        }
        return type("HugetlbV1", (HugetlbV1,), names)
    names = {
        "limit": LimitFile(f"{prefix}.max"),
        "usage": Counter(f"{prefix}.current"),
        "limit_events": Table(f"{prefix}.events"),
        "reserved_limit": LimitFile(f"{prefix}.rsvd.max"),
        "reserved": Counter(f"{prefix}.rsvd.current"),
    }
    return type("HugetlbV2", (HugetlbV2,), names)


def page_sizes(directory: Directory, file: str) -> tuple[str, ...]:
    """Return the sizes of huge pages that have ``hugetlb.SIZE.file`` in the directory."""
    names = (name.split(".", 2) for name in os.listdir(directory.fd) if name.startswith("hugetlb."))
    return tuple(sorted(parts[1] for parts in names if parts[2] == file))


def controller(name: str, generation: int, directory: Directory, file: str = "") -> Any:
    """Return the controller ``name`` of a cgroup, None if the schema has none; ``file`` tells hugetlb its page size."""
    if name == "hugetlb":
        return hugetlb(generation, file.split(".")[1])(directory)
    found = (V1 if generation == 1 else V2).get(name)
    return None if found is None else found(directory)


def assign(controller: Any, file: str, text: str) -> None:
    """Write ``text`` into ``file`` through the descriptor that knows its syntax, or as it is if none does.

    Raises:
        ValueError: the text is not of the file's syntax.
        OSError: as open(2) and write(2), with the file's path.
    """
    for interface in controller.interfaces().values():
        if interface.filename == file.encode() and not interface.readonly:
            interface.__set__(controller, interface.sanitize_get(text))
            return
    controller.set_property(file.encode(), text)


def inspect(controller: Any) -> dict[str, Any]:
    """Return the value of every readable file of a controller, by attribute; what this kernel lacks is left out."""
    found = {}
    for name, interface in controller.interfaces().items():
        if interface.writeonly:
            continue
        try:
            found[name] = getattr(controller, name)
        except OSError:
            continue
    return found
