"""The interface files of both generations of cgroups as cgroupspy controllers and descriptors. Not for the start path.

cgroupspy brings the model (a controller is a class, a file is a descriptor that knows its syntax) and the controllers of
cgroup v1. Here are those it lacks (freezer, pids, hugetlb and all of v2), and corrections of those it has: two names of
blkio files end in a blank, no file may say ``max``, an empty table is an error, writing opens with ``O_CREAT | O_TRUNC``.

::

    MemoryV2(directory).max            64 MiB as an int, None for "max"
    MemoryV2(directory).max = None     writes "max"
    assign(MemoryV2(directory), "memory.max", "67108864")     by file name, through the same syntax

Source: cgroup-v2.rst, cgroup-v1/*.rst; cgroupspy.readthedocs.io
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pycontain.cgroups.directory import Directory

    # what cgroupspy, which has no types, looks like from here

    class BaseFileInterface:
        filename: bytes
        readonly: bool
        writeonly: bool

        def __init__(self, filename: str, readonly: bool | None = None, writeonly: bool | None = None) -> None: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...
        def __set__(self, instance: Any, value: Any) -> None: ...
        def sanitize_get(self, value: str) -> Any: ...
        def sanitize_set(self, value: Any) -> Any: ...

    class IntegerFile(BaseFileInterface): ...

    class FlagFile(BaseFileInterface): ...

    class DictFile(BaseFileInterface): ...

    class CommaDashSetFile(BaseFileInterface): ...

    class MultiLineIntegerFile(BaseFileInterface): ...

    class TypedFile(BaseFileInterface):
        def __init__(self, filename: str, contenttype: type, *, many: bool = False) -> None: ...

    class DeviceThrottle: ...

    class Controller:
        def __init__(self, node: Directory) -> None: ...

    class CpuController(Controller): ...

    class CpuAcctController(Controller): ...

    class CpuSetController(Controller): ...

    class MemoryController(Controller): ...

    class BlkIOController(Controller): ...

    class DevicesController(Controller): ...

    class NetClsController(Controller): ...

    class NetPrioController(Controller): ...
else:
    from cgroupspy.contenttypes import DeviceThrottle
    from cgroupspy.controllers import (
        BlkIOController,
        Controller,
        CpuAcctController,
        CpuController,
        CpuSetController,
        DevicesController,
        MemoryController,
        NetClsController,
        NetPrioController,
    )
    from cgroupspy.interfaces import (
        BaseFileInterface,
        CommaDashSetFile,
        DictFile,
        FlagFile,
        IntegerFile,
        MultiLineIntegerFile,
        TypedFile,
    )

# What cgroup v1's memory files say for "no limit": the largest whole number of pages.
_NO_LIMIT_V1 = (1 << 63) - (1 << 16)


class LimitFile(IntegerFile):
    """A number, or None for no limit: ``max`` (v2), -1 or the largest number of pages (v1)."""

    def __init__(self, filename: str, word: str = "max") -> None:
        super().__init__(filename)
        self.word = word

    def sanitize_get(self, value: str) -> int | None:
        if value.strip() in ("max", "-1"):
            return None
        number = int(value)
        return None if number >= _NO_LIMIT_V1 else number

    def sanitize_set(self, value: int | None) -> str:
        return self.word if value is None else str(int(value))


class Counter(IntegerFile):
    """A number that only the kernel writes."""

    readonly = True


class Table(DictFile):
    """Lines of a word and a number; other lines (there are some) are left out."""

    readonly = True

    def sanitize_get(self, value: str) -> dict[str, int]:
        found = {}
        for line in value.splitlines():
            key, _, number = line.strip().rpartition(" ")
            if key and number.isdecimal():
                found[key] = int(number)
        return found


class WeightTable(Table):
    """``default 100`` and ``8:0 200``; a bare number is the default."""

    readonly = False

    def sanitize_get(self, value: str) -> dict[str, int]:
        return {"default": int(value)} if value.strip().isdecimal() else super().sanitize_get(value)

    def sanitize_set(self, value: dict[str, int]) -> str:
        return "\n".join(f"{key} {number}" for key, number in value.items())


class DeviceWeights(WeightTable):
    """cgroup v1's ``8:0 200``; the default has a file of its own."""


class NestedTable(BaseFileInterface):
    """Lines of a key and ``word=number`` pairs; ``max`` is None. Numbers with a point are floats."""

    def sanitize_get(self, value: str) -> dict[str, dict[str, int | float | None]]:
        return {
            key: {name: _number(text) for name, _, text in (pair.partition("=") for pair in pairs)}
            for key, *pairs in (line.split() for line in value.splitlines() if line.strip())
        }

    def sanitize_set(self, value: dict[str, dict[str, int | None]]) -> str:
        return "\n".join(
            " ".join([key, *(f"{name}={'max' if number is None else number}" for name, number in pairs.items())])
            for key, pairs in value.items()
        )


def _number(text: str) -> int | float | None:
    if text == "max":
        return None
    return float(text) if "." in text else int(text)


class BandwidthFile(BaseFileInterface):
    """``cpu.max``: quota and period in microseconds, None for no quota and for "leave the period as it is"."""

    def sanitize_get(self, value: str) -> tuple[int | None, int | None]:
        quota, _, period = value.partition(" ")
        return (None if quota == "max" else int(quota)), (int(period) if period else None)

    def sanitize_set(self, value: tuple[int | None, int | None]) -> str:
        quota, period = value
        return ("max" if quota is None else str(quota)) + ("" if period is None else f" {period}")


class Words(BaseFileInterface):
    """Words between blanks."""

    readonly = True

    def sanitize_get(self, value: str) -> tuple[str, ...]:
        return tuple(value.split())


class Text(BaseFileInterface):
    """One word, such as FROZEN."""

    def sanitize_get(self, value: str) -> str:
        return value.strip()

    def sanitize_set(self, value: str) -> str:
        return value


class DeviceOperations(BaseFileInterface):
    """blkio's ``8:0 Read 4096`` lines as {device: {operation: number}}."""

    readonly = True

    def sanitize_get(self, value: str) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for line in value.splitlines():
            words = line.split()
            if len(words) == 3:
                found.setdefault(words[0], {})[words[1]] = int(words[2])
        return found


class Access:
    """Reads and writes below the descriptor of a :class:`Directory` instead of by path. To be mixed in before a Controller."""

    node: Directory

    def get_property(self, filename: bytes) -> str:
        """Return what the file says."""
        return self.node.read(filename.decode()).strip()

    def set_property(self, filename: bytes, value: object) -> None:
        """Write one value; never creates a file."""
        self.node.write(filename.decode(), str(value))

    @classmethod
    def interfaces(cls) -> dict[str, BaseFileInterface]:
        """Return every descriptor by attribute name, inherited ones too (cgroupspy's list_interfaces leaves those out)."""
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
        names = {
            "limit": LimitFile(f"{prefix}.limit_in_bytes"),
            "usage": Counter(f"{prefix}.usage_in_bytes"),
            "failcnt": IntegerFile(f"{prefix}.failcnt"),
            "peak": Counter(f"{prefix}.max_usage_in_bytes"),
            "reserved_limit": LimitFile(f"{prefix}.rsvd.limit_in_bytes"),
        }
        return type("HugetlbV1", (HugetlbV1,), dict(names))
    names = {
        "limit": LimitFile(f"{prefix}.max"),
        "usage": Counter(f"{prefix}.current"),
        "limit_events": Table(f"{prefix}.events"),
        "reserved_limit": LimitFile(f"{prefix}.rsvd.max"),
        "reserved": Counter(f"{prefix}.rsvd.current"),
    }
    return type("HugetlbV2", (HugetlbV2,), dict(names))


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

