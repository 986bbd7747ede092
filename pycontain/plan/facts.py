"""What the host can do and what was decided for this container before compiling; filled in by runtime.probe."""

from __future__ import annotations

from pycontain.record import Record
from pycontain.spec.ids import IDMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# How the container's users relate to the host's.
USERNS_HOST = "host"
USERNS_AUTO = "auto"
USERNS_IDENTITY = "identity"
USERNS_CUSTOM = "custom"
USERNS_SINGLE = "single"
USERNS_JOINED = "joined"

# The name of cgroup v2 where v1 is beside it.
UNIFIED = "unified"


class UserNamespace(Record):
    """The user namespace of a container.

    ``kind`` is one of USERNS_*. The maps are written as they stand; empty with USERNS_HOST and USERNS_JOINED.
    ``idmap`` tells that host trees are shifted by idmapped mounts (they are not where the ids are the same).
    ``setgroups`` is false in a namespace that exists and in which that call is denied: user_namespaces(7).
    """

    kind: str
    uid_map: tuple[IDMapping, ...] = ()
    gid_map: tuple[IDMapping, ...] = ()
    idmap: bool = False
    setgroups: bool = True

    @property
    def has_groups(self) -> bool:
        """Whether processes can be given other groups than they have."""
        return self.setgroups and self.kind != USERNS_SINGLE

    @property
    def new(self) -> bool:
        """Whether the container gets a user namespace of its own."""
        return self.kind not in (USERNS_HOST, USERNS_JOINED)

    def host_uid(self, uid: int) -> int:
        """Return the host's id of a container's user id, or -1 when it has none."""
        return _map(self.uid_map, uid) if self.uid_map else uid

    def host_gid(self, gid: int) -> int:
        """Return the host's id of a container's group id, or -1 when it has none."""
        return _map(self.gid_map, gid) if self.gid_map else gid

    def is_mapped(self, uid: int, gid: int) -> bool:
        """Whether a user and group of the host have ids in the container: its root may change what is theirs."""
        return _has(self.uid_map, uid) and _has(self.gid_map, gid)


def saved_users(saved: Mapping[str, Any]) -> UserNamespace:
    """Return the user namespace of which ``saved`` is the record as a dict, as a state file has it."""
    return UserNamespace(
        kind=saved["kind"],
        uid_map=tuple(IDMapping(**row) for row in saved["uid_map"]),
        gid_map=tuple(IDMapping(**row) for row in saved["gid_map"]),
        idmap=saved["idmap"],
        setgroups=saved["setgroups"],
    )


def _has(mappings: tuple[IDMapping, ...], number: int) -> bool:
    return not mappings or any(m.host_id <= number < m.host_id + m.size for m in mappings)


def _map(mappings: tuple[IDMapping, ...], number: int) -> int:
    for mapping in mappings:
        if mapping.container_id <= number < mapping.container_id + mapping.size:
            return mapping.host_id + number - mapping.container_id
    return -1


class HostFacts(Record):
    """Facts that a plan depends on; nothing else of the host does.

    ``kernel`` is (major, minor). ``privileged`` tells that the runtime may mount on the host (root with
    CAP_SYS_ADMIN). ``cgroup_trees`` are ``(name below /sys/fs/cgroup, host directory of the container's cgroup)``:
    name "" is the one of pure v2, UNIFIED that beside v1, ``name=...`` one of v1 without a controller. ``volumes`` is
    the directory of all volumes, "" where there are none. ``capabilities`` is the mask of those that the container's
    processes can have at all. ``idmap_mounts`` tells that the owners of a mount that says ``idmap`` are shifted even
    where the root's are not. ``selinux``: mounts can be given labels.
    ``mount_order`` tells that the container's list of mounts is to have new file systems in the spec's order.
    """

    kernel: tuple[int, int]
    arch: str
    privileged: bool
    userns: UserNamespace
    cgroup_trees: tuple[tuple[str, str], ...] = ()
    apparmor: bool = False
    last_capability: int = 40
    capabilities: int = -1
    volumes: str = ""
    idmap_mounts: bool = False
    selinux: bool = False
    mount_order: bool = False
