"""Rules of ``linux``, without resources and seccomp. Source: config-linux.md.

[lean]
"""

from __future__ import annotations

from itertools import pairwise

from pycontain.errors import SpecError
from pycontain.lean_json import child_path, quoted
from pycontain.spec.number_list import parse_number_list
from pycontain.spec.rules.rule import require
from pycontain.spec.sysctl import sysctl_namespace, sysctl_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.ids import IDMapping
    from pycontain.spec.linux import Device
    from pycontain.spec.rules.rule import Rule
    from pycontain.spec.runtime import Spec

_MAX_MAPPINGS = 340  # UID_GID_MAP_MAX_EXTENTS, user_namespaces(7)
_MAX_MAP = 4095  # less than a page, user_namespaces(7)
_LAST_ID = 0xFFFFFFFF  # (uid_t) -1 cannot be mapped
# types.h: 12 and 20 bits of dev_t
_MAX_MAJOR, _MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1


def _namespaces(spec: Spec, path: str, warnings: list[str]) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(spec.linux.namespaces):
        at = f"linux.namespaces[{index}]"
        require(entry.type not in seen, f"{at}.type", f"{entry.type} is given twice")
        seen.add(entry.type)
        if entry.path is not None:
            require(entry.path.startswith("/"), f"{at}.path", f"{quoted(entry.path)} is not an absolute path")


def _time_offsets(spec: Spec, path: str, warnings: list[str]) -> None:
    offsets, namespace = spec.linux.time_offsets, spec.linux.namespace("time")
    if not offsets:
        return
    at = "linux.timeOffsets"
    require(namespace is not None, at, "needs a time namespace", hint='add {"type": "time"} to linux.namespaces')
    require(namespace is None or namespace.path is None, at, "cannot change the clocks of an existing namespace")
    for clock, offset in offsets.items():
        # config-linux.md leaves the names open; timens_offsets has these two
        require(clock in ("monotonic", "boottime"), child_path(at, clock), "is neither monotonic nor boottime")
        where = f"{at}.{clock}.nanosecs"
        require(offset.nanosecs < 1_000_000_000, where, f"{offset.nanosecs} is a second or more")


def _mappings(spec: Spec, path: str, warnings: list[str]) -> None:
    linux = spec.linux
    user = linux.namespace("user")
    for name, rows in (("uidMappings", linux.uid_mappings), ("gidMappings", linux.gid_mappings)):
        at = f"linux.{name}"
        if user is None:
            hint = 'add {"type": "user"} to linux.namespaces'
            require(not rows, at, "needs a user namespace", hint=hint)
        else:
            require(rows or user.path is not None, at, "is required for a new user namespace")
        check_mappings(rows, at)
    if user is not None and user.path is None and spec.process is not None:
        ids = spec.process.user
        _require_mapped(ids.uid, linux.uid_mappings, "process.user.uid", "linux.uidMappings")
        _require_mapped(ids.gid, linux.gid_mappings, "process.user.gid", "linux.gidMappings")
        for index, gid in enumerate(ids.additional_gids):
            _require_mapped(gid, linux.gid_mappings, f"process.user.additionalGids[{index}]", "linux.gidMappings")


def _require_mapped(number: int, rows: tuple[IDMapping, ...], path: str, where: str) -> None:
    inside = any(row.container_id <= number < row.container_id + row.size for row in rows)
    require(inside, path, f"{number} is not mapped by {where}")


def check_mappings(rows: tuple[IDMapping, ...], path: str) -> None:
    """Check the rows of one map. Raises: SpecError: too many, empty, beyond 32 bits, or overlapping rows."""
    require(len(rows) <= _MAX_MAPPINGS, path, f"has {len(rows)} entries, the kernel takes {_MAX_MAPPINGS}")
    length = sum(len(f"{row.container_id} {row.host_id} {row.size}\n") for row in rows)
    require(length <= _MAX_MAP, path, f"is {length} bytes as text, the kernel takes {_MAX_MAP}")
    for index, row in enumerate(rows):
        require(row.size > 0, f"{path}[{index}].size", "is 0")
        for name, first in (("containerID", row.container_id), ("hostID", row.host_id)):
            rule = f"{first} and {row.size} ids from there reach beyond {_LAST_ID - 1}"
            require(first + row.size <= _LAST_ID, f"{path}[{index}].{name}", rule)
    for side in ("container_id", "host_id"):
        starts = sorted((getattr(row, side), row.size, index) for index, row in enumerate(rows))
        for (first, size, one), (second, _, other) in pairwise(starts):
            require(first + size <= second, f"{path}[{max(one, other)}]", f"overlaps with {path}[{min(one, other)}]")


def _devices(spec: Spec, path: str, warnings: list[str]) -> None:
    seen: dict[str, Device] = {}
    for index, device in enumerate(spec.linux.devices):
        at = f"linux.devices[{index}]"
        require(device.path.startswith("/"), f"{at}.path", f"{quoted(device.path)} is not an absolute path")
        if device.type != "p":
            for name, number, most in (("major", device.major, _MAX_MAJOR), ("minor", device.minor, _MAX_MINOR)):
                if number is None:
                    raise SpecError(f"{at}.{name}", f"is required for a device of type {device.type}")
                require(0 <= number <= most, f"{at}.{name}", f"{number} is not from 0 to {most}")
        other = seen.setdefault(device.path, device)
        same = (other.type, other.major, other.minor) == (device.type, device.major, device.minor)
        require(same, f"{at}.path", f"{quoted(device.path)} is listed before as another device")


def _net_devices(spec: Spec, path: str, warnings: list[str]) -> None:
    at, seen = "linux.netDevices", set[str]()
    if not spec.linux.net_devices:
        return
    require(spec.linux.namespace("network") is not None, at, "needs a network namespace")
    for name, device in spec.linux.net_devices.items():
        where = child_path(at, name)
        require(_is_device_name(name), where, f"{quoted(name)} cannot be the name of a network device")
        inside = name if device.name is None else device.name
        # the kernel fills in one %d, and nothing else that begins with %
        template = inside.count("%") == 1 and inside.endswith("%d")
        usable = _is_device_name(inside) and (template or "%" not in inside)
        require(usable, f"{where}.name", f"{quoted(inside)} cannot be the name of a network device")
        require(template or inside not in seen, f"{where}.name", f"{quoted(inside)} is given twice")
        seen.add(inside)


def _is_device_name(name: str) -> bool:
    """Source: dev_valid_name() of net/core/dev.c."""
    if not name or len(name.encode()) > 15 or name in (".", ".."):
        return False
    return not any(char in "/:" or char.isspace() for char in name)


def _cgroups_path(spec: Spec, path: str, warnings: list[str]) -> None:
    text = spec.linux.cgroups_path
    if text is not None:
        require(".." not in text.split("/"), "linux.cgroupsPath", f"{quoted(text)} has a component ..")


def _sysctl(spec: Spec, path: str, warnings: list[str]) -> None:
    for name, value in spec.linux.sysctl.items():
        at = child_path("linux.sysctl", name)
        file = sysctl_path(name)
        if file is None:
            raise SpecError(at, "is no name of a kernel parameter")
        namespace = sysctl_namespace(file)
        if namespace is None:
            hint = "set it on the host with sysctl(8)"
            raise SpecError(at, "belongs to the host, not to a namespace", hint=hint)
        article = "an" if namespace == "ipc" else "a"
        require(spec.linux.namespace(namespace), at, f"needs {article} {namespace} namespace")
        require(file != "kernel/hostname", at, "is set by the property hostname", hint="use hostname")
        if file == "kernel/domainname" and spec.domainname is not None:
            require(value == spec.domainname, at, "contradicts the property domainname")


def _hidden_paths(spec: Spec, path: str, warnings: list[str]) -> None:
    linux = spec.linux
    for name, paths in (("maskedPaths", linux.masked_paths), ("readonlyPaths", linux.readonly_paths)):
        require(not paths or linux.namespace("mount"), f"linux.{name}", "needs a mount namespace")
        for index, entry in enumerate(paths):
            require(entry.startswith("/"), f"linux.{name}[{index}]", f"{quoted(entry)} is not an absolute path")
    if linux.namespace("mount") is None:
        terminal = spec.process is not None and spec.process.terminal
        require(not spec.root.readonly, "root.readonly", "needs a mount namespace")
        require(not linux.rootfs_propagation, "linux.rootfsPropagation", "needs a mount namespace")
        require(not terminal, "process.terminal", "needs a mount namespace")


def _intel_rdt(spec: Spec, path: str, warnings: list[str]) -> None:
    rdt, at = spec.linux.intel_rdt, "linux.intelRdt"
    if rdt is None:
        return
    if rdt.clos_id is not None:
        usable = rdt.clos_id == "/" or (rdt.clos_id not in (".", "..") and not any(c in "/\n" for c in rdt.clos_id))
        require(usable, f"{at}.closID", f'{quoted(rdt.clos_id)} is neither "/" nor the name of a directory')
    if rdt.mem_bw_schema is not None:
        where = f"{at}.memBwSchema"
        require(rdt.mem_bw_schema.startswith("MB:"), where, "does not start with MB:")
        require("\n" not in rdt.mem_bw_schema, where, "has more than one line")
    if rdt.l3_cache_schema is not None:
        where = f"{at}.l3CacheSchema"
        require("\n" not in rdt.l3_cache_schema, where, "has more than one line")
        if not rdt.l3_cache_schema.startswith("L3:"):
            warnings.append(f"{where}: does not start with L3:")
    for index, line in enumerate(rdt.schemata):
        require("\n" not in line, f"{at}.schemata[{index}]", "has more than one line")


def _personality(spec: Spec, path: str, warnings: list[str]) -> None:
    personality = spec.linux.personality
    if personality is not None:
        require(not personality.flags, "linux.personality.flags", "has entries, but no flags are defined")


def _memory_policy(spec: Spec, path: str, warnings: list[str]) -> None:
    policy, at = spec.linux.memory_policy, "linux.memoryPolicy"
    if policy is None:
        return
    mode, flags = policy.mode, policy.flags
    nodes = parse_number_list(policy.nodes or "", f"{at}.nodes")
    if mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        require(not nodes, f"{at}.nodes", f"{mode} takes no nodes")
    elif mode != "MPOL_PREFERRED":
        require(nodes, f"{at}.nodes", f"{mode} needs at least one node")
    # set_mempolicy(2) ERRORS, EINVAL
    relative, static = "MPOL_F_RELATIVE_NODES" in flags, "MPOL_F_STATIC_NODES" in flags
    where = f"{at}.flags"
    require(not (relative and static), where, "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other")
    require(nodes or not (relative or static), where, "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES need nodes")
    balanced = mode in ("MPOL_BIND", "MPOL_PREFERRED_MANY") or "MPOL_F_NUMA_BALANCING" not in flags
    require(balanced, where, f"{mode} cannot be used with MPOL_F_NUMA_BALANCING")


LINUX_RULES: tuple[Rule, ...] = (
    ("N5", "namespaces MUST NOT name a type twice; N2: their paths MUST be absolute", _namespaces),
    ("N6", "timeOffsets are for a new time namespace", _time_offsets),
    ("U1", "id mappings are for a user namespace, do not overlap, and map the process's user", _mappings),
    ("D3", "devices have absolute paths, and major and minor unless they are fifos", _devices),
    ("R4", "netDevices are for a network namespace and have usable names", _net_devices),
    ("G1", "cgroupsPath stays where it begins", _cgroups_path),
    ("N8", "sysctl names parameters of the container's own namespaces", _sysctl),
    ("R1", "maskedPaths and R2 readonlyPaths MUST be absolute; what changes mounts needs a namespace", _hidden_paths),
    ("R3", "intelRdt's schemata MUST be single lines, memBwSchema MUST start with MB:", _intel_rdt),
    ("P12", "personality has no flags", _personality),
    ("P15", "memoryPolicy's nodes and flags fit its mode", _memory_policy),
)
