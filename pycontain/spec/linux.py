"""What only Linux has: ``linux`` in config.json; resources and seccomp have modules of their own.

[lean]
"""

from __future__ import annotations

from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pycontain.spec.ids import IDMapping
    from pycontain.spec.resources import LinuxResources
    from pycontain.spec.seccomp import LinuxSeccomp

NAMESPACE_TYPES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
DEVICE_TYPES = ("c", "b", "u", "p")
CLOCKS = ("monotonic", "boottime")
# the specification has the words without r; runc and crun take the recursive ones too, and engines write them
PROPAGATIONS = ("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable")
PERSONALITY_DOMAINS = ("LINUX", "LINUX32")
MEMORY_POLICY_MODES = (
    "MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
)  # fmt: skip
MEMORY_POLICY_FLAGS = ("MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES")


class Namespace(Record):
    """``type`` is one of :data:`NAMESPACE_TYPES`; ``path`` is None where a new namespace is to be made."""

    type: str
    path: str | None = None


class TimeOffset(Record):
    """Offset of one clock of a time namespace."""

    secs: int = 0
    nanosecs: int = 0


class Device(Record):
    """A node to make. Source: config-linux.md#devices.

    ``type`` is c, b, u or p; ``major`` and ``minor`` are None only for p; the ids are those of the container.
    """

    path: str
    type: str
    major: int | None = None
    minor: int | None = None
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class NetDevice(Record):
    """``name`` is the name inside the container (it may end in ``%d``), None to keep the host's."""

    name: str | None = None


class IntelRdt(Record):
    """Cache and memory bandwidth through resctrl. Source: config-linux.md#intelrdt."""

    clos_id: str | None = None
    l3_cache_schema: str | None = None
    mem_bw_schema: str | None = None
    schemata: tuple[str, ...] = ()
    enable_monitoring: bool = False


class MemoryPolicy(Record):
    """Arguments of set_mempolicy(2); ``nodes`` is a list such as ``0-3,7``."""

    mode: str
    nodes: str | None = None
    flags: tuple[str, ...] = ()


class Personality(Record):
    """``domain`` is LINUX or LINUX32."""

    domain: str
    flags: tuple[str, ...] = ()


class Linux(Record):
    """Everything but resources and seccomp. Source: config-linux.md.

    ``time_offsets`` is keyed by clock, ``net_devices`` by the device's name on the host.
    """

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
    time_offsets: Mapping[str, TimeOffset] = {}
    devices: tuple[Device, ...] = ()
    net_devices: Mapping[str, NetDevice] = {}
    cgroups_path: str | None = None
    resources: LinuxResources | None = None
    rootfs_propagation: str | None = None
    seccomp: LinuxSeccomp | None = None
    sysctl: Mapping[str, str] = {}
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str | None = None
    personality: Personality | None = None
    intel_rdt: IntelRdt | None = None
    memory_policy: MemoryPolicy | None = None

    def namespace(self, type: str) -> Namespace | None:
        """Return the entry for a namespace type, None where the container inherits the runtime's."""
        for entry in self.namespaces:
            if entry.type == type:
                return entry
        return None
