"""Block devices: weights and rates; ``io`` in cgroup v2, ``blkio`` in v1. [lean]

A weight (10 to 1000) goes to the BFQ scheduler where the kernel has it, else (v2) to io.weight (1 to 10000)::

    io.weight = 1 + (weight - 10) * 9999 / 990

Source: config-linux.md#block-io; cgroup-v2.rst "IO"; block/bfq-iosched.rst
"""

from __future__ import annotations

from pycontain.cgroups.setting import Setting
from pycontain.errors import HostError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import BlockIO, LinuxResources, ThrottleDevice

_PATH = "linux.resources.blockIO"
_LEAST, _MOST = 10, 1000


def v2(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings of cgroup v2."""
    io = resources.block_io
    if io is None:
        return ()
    if io.leaf_weight or any(device.leaf_weight for device in io.weight_device):
        raise HostError(
            "blockIO.leafWeight: cgroup v2 has no weight for a cgroup's own processes beside its children",
            requirement="cgroup v1: blkio",
            hint="only blockIO.weight can be used",
        )
    found = []
    if io.weight:
        path = f"{_PATH}.weight"
        _check_weight(io.weight, path)
        found.append(_weight_v2("", io.weight, path))
    for index, device in enumerate(io.weight_device):
        if device.weight:
            path = f"{_PATH}.weightDevice[{index}]"
            _check_weight(device.weight, path)
            found.append(_weight_v2(f"{device.major}:{device.minor} ", device.weight, path))
    for key, word, throttle, path in _throttles(io):
        # 0 takes a limit of cgroup v1 away; v2 has a word for it
        found.append(Setting("io", "io.max", f"{key} {word}={throttle.rate or 'max'}", path))
    return tuple(found)


def v1(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings of cgroup v1; CFQ's files went away with Linux 5.0, then BFQ's serve."""
    io = resources.block_io
    if io is None:
        return ()
    found = []
    if io.weight:
        found.append(_weight_v1("weight", "", io.weight, f"{_PATH}.weight"))
    if io.leaf_weight:
        found.append(Setting("blkio", "blkio.leaf_weight", str(io.leaf_weight), f"{_PATH}.leafWeight"))
    for index, device in enumerate(io.weight_device):
        path, key = f"{_PATH}.weightDevice[{index}]", f"{device.major}:{device.minor} "
        if device.weight:
            found.append(_weight_v1("weight_device", key, device.weight, path))
        if device.leaf_weight:
            found.append(Setting("blkio", "blkio.leaf_weight_device", f"{key}{device.leaf_weight}", path))
    for key, word, throttle, path in _throttles(io):
        file = f"blkio.throttle.{_V1_FILES[word]}_device"
        found.append(Setting("blkio", file, f"{key} {throttle.rate}", path))
    return tuple(found)


_V1_FILES = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}


def _throttles(io: BlockIO) -> list[tuple[str, str, ThrottleDevice, str]]:
    """Return (device, cgroup v2's word, limit, path) for every rate."""
    found = []
    for word, name, devices in (
        ("rbps", "throttleReadBpsDevice", io.throttle_read_bps_device),
        ("wbps", "throttleWriteBpsDevice", io.throttle_write_bps_device),
        ("riops", "throttleReadIOPSDevice", io.throttle_read_iops_device),
        ("wiops", "throttleWriteIOPSDevice", io.throttle_write_iops_device),
    ):
        for index, device in enumerate(devices):
            found.append((f"{device.major}:{device.minor}", word, device, f"{_PATH}.{name}[{index}]"))
    return found


def _weight_v2(device: str, weight: int, path: str) -> Setting:
    """Return one weight; ``device`` is empty or ``major:minor`` and a space."""
    converted = 1 + (weight - _LEAST) * 9999 // 990
    return Setting(
        "io",
        "io.bfq.weight",
        f"{device}{weight}",
        path,
        instead=Setting("io", "io.weight", f"{device or 'default '}{converted}", path),
    )


def _weight_v1(file: str, device: str, weight: int, path: str) -> Setting:
    _check_weight(weight, path)
    value = f"{device}{weight}"
    return Setting("blkio", f"blkio.{file}", value, path, instead=Setting("blkio", f"blkio.bfq.{file}", value, path))


def _check_weight(weight: int, path: str) -> None:
    if not _LEAST <= weight <= _MOST:
        raise SpecError(path, f"weight {weight} is not between {_LEAST} and {_MOST}")
