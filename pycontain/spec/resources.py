"""What ``linux.resources`` of config.json may say: limits and device rules. [lean]

None, or an empty collection, is "not given". Sizes are bytes, times are microseconds, -1 is "no limit". As in Docker's
and containerd's documents 0 is "not given" too wherever a limit of nothing would make no sense: everywhere but in
``pids.limit``, ``cpu.idle``, ``cpu.burst``, ``memory.swappiness``, huge pages, rdma and throttle rates.

Source: config-linux.md#control-groups
"""

from __future__ import annotations

from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class DeviceRule(Record):
    """One entry of the ordered device list: ``type`` is a, b or c; a major or minor of None is any.

    ``access`` is a subset of ``rwm``. A rule of type ``a`` is for every device and every access.

    Source: config-linux.md#allowed-device-list
    """

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


class Memory(Record):
    """``swap`` is memory and swap together, as in cgroup v1. Source: config-linux.md#memory"""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool = False
    use_hierarchy: bool | None = None
    check_before_update: bool = False


class Cpu(Record):
    """``cpus`` and ``mems`` are lists such as ``0-3,7``. Source: config-linux.md#cpu"""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


class Pids(Record):
    """``limit`` -1 is no limit, 0 is that no process may be forked. Source: config-linux.md#pids"""

    limit: int | None = None


class WeightDevice(Record):
    """Weight of one block device, 10 to 1000."""

    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(Record):
    """Rate of one block device: bytes or operations per second."""

    major: int
    minor: int
    rate: int


class BlockIO(Record):
    """Source: config-linux.md#block-io"""

    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = ()


class HugepageLimit(Record):
    """``page_size`` is written as the kernel writes it: ``2MB``, ``1GB``. Source: config-linux.md#huge-page-limits"""

    page_size: str
    limit: int


class InterfacePriority(Record):
    """Priority of traffic through one network interface."""

    name: str
    priority: int


class Network(Record):
    """Only cgroup v1 has it. Source: config-linux.md#network"""

    class_id: int | None = None
    priorities: tuple[InterfacePriority, ...] = ()


class Rdma(Record):
    """Limits of one RDMA device. Source: config-linux.md#rdma"""

    hca_handles: int | None = None
    hca_objects: int | None = None


class LinuxResources(Record):
    """``linux.resources``; ``rdma`` is keyed by device, ``unified`` by interface file of cgroup v2."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = None
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: Mapping[str, Rdma] = {}
    unified: Mapping[str, str] = {}
