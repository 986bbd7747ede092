"""Limits and devices as ``linux.resources``. [lean]"""

from __future__ import annotations

from pycontain.spec.resources import BlockIO, Cpu, DeviceRule, LinuxResources, Memory, Pids, ThrottleDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pycontain.engine import deviceargs
    from pycontain.engine.limits import Limits, Throttle
    from pycontain.spec.linux import Device

# Everything is denied but making nodes and using these: null zero full random urandom tty console ptmx and ptys.
# Source: config-linux.md#default-devices; moby/moby daemon/pkg/oci/defaults.go
_DEFAULT_DEVICES = (
    DeviceRule(False, "a", None, None, "rwm"),
    DeviceRule(True, "c", None, None, "m"),
    DeviceRule(True, "b", None, None, "m"),
    DeviceRule(True, "c", 1, 3, "rwm"),
    DeviceRule(True, "c", 1, 5, "rwm"),
    DeviceRule(True, "c", 1, 7, "rwm"),
    DeviceRule(True, "c", 1, 8, "rwm"),
    DeviceRule(True, "c", 1, 9, "rwm"),
    DeviceRule(True, "c", 5, 0, "rwm"),
    DeviceRule(True, "c", 5, 1, "rwm"),
    DeviceRule(True, "c", 5, 2, "rwm"),
    DeviceRule(True, "c", 136, None, "rwm"),
)
_EVERYTHING = (DeviceRule(True, "a", None, None, "rwm"),)


def device_rules(
    devices: Iterable[tuple[Device, str]], rules: Iterable[deviceargs.DeviceRule], *, privileged: bool
) -> tuple[DeviceRule, ...]:
    """Return the ordered device list: docker's defaults, the devices given, the rules given."""
    if privileged:
        return _EVERYTHING
    return (
        *_DEFAULT_DEVICES,
        *(DeviceRule(True, device.type, device.major, device.minor, access) for device, access in devices),
        *(DeviceRule(True, rule.type, rule.major, rule.minor, rule.access) for rule in rules),
    )


def linux_resources(
    limits: Limits, numbers: Mapping[str, tuple[int, int]], rules: tuple[DeviceRule, ...] = ()
) -> LinuxResources:
    """Return the resources; memory without ``--memory-swap`` may swap as much again, as in docker."""
    memory = cpu = block_io = None
    swap = limits.memory_swap
    if limits.memory is not None and swap is None:
        swap = 2 * limits.memory
    if limits.memory is not None or limits.memory_reservation is not None:
        memory = Memory(limit=limits.memory, reservation=limits.memory_reservation, swap=swap)
    shares = limits.cpu_shares if limits.cpu_weight is None else shares_of_weight(limits.cpu_weight)
    cpu_values = (shares, limits.cpu_quota_us, limits.cpu_period_us)
    if any(value is not None for value in cpu_values) or limits.cpuset_cpus or limits.cpuset_mems:
        cpu = Cpu(
            shares=shares,
            quota=limits.cpu_quota_us,
            period=limits.cpu_period_us,
            cpus=limits.cpuset_cpus,
            mems=limits.cpuset_mems,
        )
    rates = (limits.read_bps, limits.write_bps, limits.read_iops, limits.write_iops)
    if limits.blkio_weight is not None or any(rates):
        read_bps, write_bps, read_iops, write_iops = (_throttles(rate, numbers) for rate in rates)
        block_io = BlockIO(
            weight=limits.blkio_weight,
            throttle_read_bps_device=read_bps,
            throttle_write_bps_device=write_bps,
            throttle_read_iops_device=read_iops,
            throttle_write_iops_device=write_iops,
        )
    pids = Pids(limit=limits.pids) if limits.pids is not None and limits.pids > 0 else None
    return LinuxResources(devices=rules, memory=memory, cpu=cpu, block_io=block_io, pids=pids)


def shares_of_weight(weight: int) -> int:
    """Return the cgroup v1 shares that become ``weight`` (1 to 10000) on cgroup v2, by halving the distance.

    The document has shares only; what they become grows with them, see pycontain.cgroups.controllers.cpu.
    """
    from pycontain.cgroups.controllers.cpu import shares_to_weight  # few runs say --cpu-weight

    low, high = 2, 262144
    while low < high:
        middle = (low + high) // 2
        if shares_to_weight(middle) < weight:
            low = middle + 1
        else:
            high = middle
    return low


def _throttles(rates: Iterable[Throttle], numbers: Mapping[str, tuple[int, int]]) -> tuple[ThrottleDevice, ...]:
    return tuple(ThrottleDevice(*numbers[one.path], one.rate) for one in rates)
