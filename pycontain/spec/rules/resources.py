"""Rules of ``linux.resources``, which ``update --resources`` obeys too. Source: config-linux.md#control-groups.

[lean]
"""

from __future__ import annotations

from pycontain.lean_json import child_path, quoted
from pycontain.spec.rules.rule import below, require

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import LinuxResources
    from pycontain.spec.rules.rule import Rule


def _device_rules(resources: LinuxResources, path: str, warnings: list[str]) -> None:
    for index, rule in enumerate(resources.devices):
        at = below(path, f"devices[{index}]")
        letters = bool(rule.access) and all(char in "rwm" for char in rule.access)
        require(letters, f"{at}.access", f"{quoted(rule.access)} is not made of the letters r, w and m")
        for name, number in (("major", rule.major), ("minor", rule.minor)):
            # -1 is how older writers say "any"; the kernel has 32 bits for each
            require(number is None or -1 <= number < 1 << 32, f"{at}.{name}", f"{number} is no device number")


def _memory(resources: LinuxResources, path: str, warnings: list[str]) -> None:
    memory, path = resources.memory, below(path, "memory")
    if memory is None:
        return
    for name, value in (
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
        ("kernel", memory.kernel),
        ("kernelTCP", memory.kernel_tcp),
    ):
        require(value is None or value >= -1, f"{path}.{name}", f"{value} is neither a size nor -1 for unlimited")
    if memory.swappiness is not None:
        require(memory.swappiness <= 100, f"{path}.swappiness", f"{memory.swappiness} is not from 0 to 100")
    limit, swap = memory.limit or 0, memory.swap or 0
    hint = "swap is memory and swap together"
    require(limit <= 0 or swap <= 0 or swap >= limit, f"{path}.swap", f"{swap} is below the limit {limit}", hint=hint)
    require(limit >= 0 or swap <= 0, f"{path}.swap", "cannot be limited where memory is unlimited", hint=hint)


def _cpu(resources: LinuxResources, path: str, warnings: list[str]) -> None:
    cpu, path = resources.cpu, below(path, "cpu")
    if cpu is None:
        return
    quota, burst = cpu.quota or 0, cpu.burst or 0
    require(quota <= 0 or burst <= quota, f"{path}.burst", f"{burst} is above the quota {quota}")
    require(cpu.idle in (None, 0, 1), f"{path}.idle", f"{cpu.idle} is neither 0 nor 1")
    for name, text in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        # the kernel's own list format has more than 0-3,7 (strides, blanks), so that only letters are wrong here
        letters = all(char in "0123456789-,:/ " for char in text)
        require(letters, f"{path}.{name}", f"{quoted(text)} is no list such as 0-3,7")


def _pids(resources: LinuxResources, path: str, warnings: list[str]) -> None:
    limit = resources.pids.limit if resources.pids is not None else None
    at = below(path, "pids.limit")
    require(limit is None or limit >= -1, at, f"{limit} is neither a number of tasks nor -1 for unlimited")


def _block_io(resources: LinuxResources, path: str, warnings: list[str]) -> None:
    if resources.block_io is None:
        return
    for index, device in enumerate(resources.block_io.weight_device):
        given = device.weight is not None or device.leaf_weight is not None
        require(given, below(path, f"blockIO.weightDevice[{index}]"), "has neither weight nor leafWeight")


def _hugepages(resources: LinuxResources, path: str, warnings: list[str]) -> None:
    seen: set[str] = set()
    for index, limit in enumerate(resources.hugepage_limits):
        at, size = below(path, f"hugepageLimits[{index}].pageSize"), limit.page_size
        number = size[:-2]
        usable = size[-2:] in ("KB", "MB", "GB") and number.isascii() and number.isdigit() and number[0] != "0"
        require(usable, at, f"{quoted(size)} is no size such as 2MB")
        require(size not in seen, at, f"{size} is given twice")
        seen.add(size)


def _rdma(resources: LinuxResources, path: str, warnings: list[str]) -> None:
    for name, limits in resources.rdma.items():
        given = limits.hca_handles is not None or limits.hca_objects is not None
        require(given, child_path(below(path, "rdma"), name), "has neither hcaHandles nor hcaObjects")


def _unified(resources: LinuxResources, path: str, warnings: list[str]) -> None:
    for name in resources.unified:
        controller, dot, file = name.partition(".")
        usable = controller.isidentifier() and dot and file and "/" not in name and name.isascii()
        at = child_path(below(path, "unified"), name)
        require(usable, at, "is no file of a controller, such as memory.high")


RESOURCES_RULES: tuple[Rule, ...] = (
    ("G7", "device rules have an access made of r, w and m", _device_rules),
    ("G5", "memory limits are sizes or -1, and swap includes memory", _memory),
    ("G4", "cpu.burst MUST be no larger than a positive quota", _cpu),
    ("G5", "pids.limit is a number or -1", _pids),
    ("G5", "weightDevice MUST have weight or leafWeight", _block_io),
    ("G11", "hugepageLimits name sizes of pages", _hugepages),
    ("G5", "rdma MUST have hcaHandles or hcaObjects", _rdma),
    ("G6", "unified names files of controllers", _unified),
)
