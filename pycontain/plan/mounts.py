"""The spec's ``mounts`` and devices as operations: binds are cloned by the host stage, the rest is made by init."""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.plan.devices import DEFAULT_DEVICES, DEFAULT_LINKS, compile_nodes, listed
from pycontain.plan.facts import UNIFIED
from pycontain.plan.ops import Attach, DevTree, NewFilesystem, OpenTree, ReadonlyMount, Remount
from pycontain.spec.mount_options import (
    MOUNT_ATTR_RDONLY,
    MS_I_VERSION,
    MS_PRIVATE,
    MS_REMOUNT,
    MS_UNBINDABLE,
    parse_options,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.facts import HostFacts
    from pycontain.plan.ops import Op
    from pycontain.spec.mount_options import MountFlags
    from pycontain.spec.mounts import Mount
    from pycontain.spec.runtime import Spec


# options of mount(8) by which SELinux labels a file system
_LABELS = ("context", "fscontext", "defcontext", "rootcontext")


def compile_mounts(spec: Spec, facts: HostFacts) -> tuple[list[Op], list[Op]]:
    """Return host operations (trees) and init operations (attachments), in the order of the spec.

    Raises:
        SpecError: a mount that cannot be made, with its JSON path.
    """
    host: list[Op] = []
    init: list[Op] = []
    last: list[Op] = []
    own_dev = False
    for index, mount in enumerate(spec.mounts):
        path = f"mounts[{index}]"
        flags = parse_options(mount.options, f"{path}.options")
        if flags.set & MS_REMOUNT:
            made: tuple[list[Op], list[Op]] = [], [_remount(mount, flags, path)]
        elif flags.bind:
            made = _bind(mount, flags, f"bind{index}", path, facts)
        elif mount.type in ("cgroup", "cgroup2"):
            namespace = spec.linux.namespace("cgroup")
            joined = namespace is not None and namespace.path is not None
            made = _cgroup(mount, flags, path, facts, joined=joined, label=spec.linux.mount_label)
        elif mount.type == "tmpfs" and mount.destination.rstrip("/") == "/dev":
            made = _dev(spec, flags, path, facts)
            own_dev = True
        else:
            ours = own_dev and mount.destination.startswith("/dev/")
            made = [], _fresh(mount, flags, path, facts, ours=ours, label=spec.linux.mount_label)
        host += made[0]
        init += made[1]
        if _is_read_only_tmpfs(mount, flags):
            below = mount.destination.rstrip("/") + "/"
            # mount points of later mounts are to be made in it
            holds = any(other.destination.startswith(below) for other in spec.mounts[index + 1 :])
            (last if holds else init).append(ReadonlyMount(path, mount.destination))
    if facts.mount_order:
        host, init = _in_order(host, init)
    nodes = compile_nodes(spec, facts)
    return [*host, *nodes[0]], [*init, *nodes[1], *last]


def labelled(options: tuple[tuple[str, str], ...], label: str | None) -> tuple[tuple[str, str], ...]:
    """Return the options of a new file system that give all in it a label, unless they have one themselves.

    Source: mount(8) "context=", which may stand in quotes there: the comma is in a label too
    """
    found = tuple((key, value.strip('"') if key in _LABELS else value) for key, value in options)
    if not label or any(key in _LABELS for key, _ in found):
        return found
    return (*found, ("context", label))


def _in_order(host: list[Op], init: list[Op]) -> tuple[list[Op], list[Op]]:
    """Let what the host stage makes be renewed when it is attached; what nobody may copy becomes so afterwards."""
    late = {op.name: op.propagation for op in host if isinstance(op, OpenTree) and op.propagation & MS_UNBINDABLE}
    host = [op.replace(propagation=0) if isinstance(op, OpenTree) and op.name in late else op for op in host]
    attached: list[Op] = []
    for op in init:
        if isinstance(op, Attach) and op.fresh is None:
            op = op.replace(renew=True, propagation=late.get(op.name, op.propagation))
        attached.append(op)
    return host, attached


def _attributes(flags: MountFlags) -> int:
    """Return the attributes of a new mount, below which nothing lies yet: words with r mean the same as without."""
    return (flags.attr_set & ~flags.rec_attr_clr) | flags.rec_attr_set


def _is_read_only_tmpfs(mount: Mount, flags: MountFlags) -> bool:
    new = mount.type == "tmpfs" and not flags.bind and not flags.set & MS_REMOUNT
    return new and bool(_attributes(flags) & MOUNT_ATTR_RDONLY)


def _remount(mount: Mount, flags: MountFlags, path: str) -> Remount:
    return Remount(
        path,
        mount.destination,
        flags.bind,
        flags=0 if flags.bind else flags.set,
        data=flags.data_text(),
        attr_set=flags.attr_set if flags.bind else 0,
        attr_clr=flags.attr_clr if flags.bind else 0,
        implied_clr=flags.implied_clr,
        tree_set=flags.rec_attr_set,
        tree_clr=flags.rec_attr_clr,
        propagation=flags.propagation,
    )


def _bind(mount: Mount, flags: MountFlags, name: str, path: str, facts: HostFacts) -> tuple[list[Op], list[Op]]:
    if not mount.source:
        raise SpecError(f"{path}.source", "a bind mount needs a source")
    idmap = ""
    if mount.uid_mappings or (flags.idmap and (facts.userns.idmap or facts.idmap_mounts)):
        idmap = "ridmap" if flags.idmap_recursive else "idmap"
    pid, source = _split_foreign(mount.source)
    tree = OpenTree(
        path,
        name,
        source,
        recursive=flags.recursive,
        attr_set=flags.attr_set,
        attr_clr=flags.attr_clr,
        tree_set=flags.rec_attr_set,
        tree_clr=flags.rec_attr_clr,
        idmap=idmap,
        propagation=flags.propagation,
        inside_pid=pid,
        within=_volume_above(source, facts.volumes),
        implied_clr=flags.implied_clr,
        maps=(mount.uid_mappings, mount.gid_mappings),
    )
    return [tree], [Attach(path, name, mount.destination)]


def _split_foreign(source: str) -> tuple[int, str]:
    """Return (pid, path inside) of /proc/PID/root/PATH, which is in another mount namespace; else (0, source)."""
    parts = source.split("/", 4)
    if len(parts) == 5 and parts[:2] == ["", "proc"] and parts[2].isdigit() and parts[3] == "root":
        return int(parts[2]), f"/{parts[4]}"
    return 0, source


def _volume_above(source: str, volumes: str) -> str:
    """Return the volume that ``source`` lies in, "" where it is none or a volume itself, in which no link can be."""
    name, _, rest = source.removeprefix(f"{volumes}/").partition("/_data/")
    if not volumes or not source.startswith(f"{volumes}/") or "/" in name or not rest:
        return ""
    return f"{volumes}/{name}/_data"


def _fresh(mount: Mount, flags: MountFlags, path: str, facts: HostFacts, *, ours: bool, label: str | None) -> list[Op]:
    """Return the operations for a new file system; ``ours``: its mount point lies in a file system made by us."""
    if not mount.type:
        raise SpecError(f"{path}.type", "the type of the file system is missing")
    # Read-only is a property of this mount, not of the file system: its other mounts may need to write.
    options = tuple(option for option in flags.filesystem_options() if option[0] not in ("ro", "rw"))
    if mount.type == "devpts":
        options = tuple(option for option in options if option[0] != "gid" or _has_gid(facts, option[1]))
    # something may have to be written to a tmpfs first
    attributes = _attributes(flags) & ~(MOUNT_ATTR_RDONLY if mount.type == "tmpfs" else 0)
    # the kernel labels what is in procfs and sysfs itself, and mqueue has no option for it
    options = labelled(options, "" if mount.type in ("proc", "sysfs", "mqueue") else label)
    top = (label or "") if mount.type == "mqueue" else ""
    fresh = NewFilesystem(path, mount.type, mount.type, mount.source or mount.type, options, attributes, top)
    ops: list[Op] = [
        Attach(
            path,
            "",
            mount.destination,
            fresh=fresh,
            inherit=_inherits_mode(mount, options) and not ours,
            copy_up=flags.tmpcopyup,
            propagation=flags.propagation,
        )
    ]
    if flags.set & MS_I_VERSION:
        # fsconfig(2) has no name for it
        ops.append(Remount(path, mount.destination, bind=False, flags=flags.set))
    return ops


def _inherits_mode(mount: Mount, options: tuple[tuple[str, str], ...]) -> bool:
    return mount.type == "tmpfs" and all(key != "mode" for key, _ in options)


def _has_gid(facts: HostFacts, gid: str) -> bool:
    # devpts wants gid=5 (tty); a user namespace with one user has no such group, and devpts works without it
    return facts.userns.host_gid(int(gid)) >= 0


def _cgroup(
    mount: Mount, flags: MountFlags, path: str, facts: HostFacts, *, joined: bool, label: str | None
) -> tuple[list[Op], list[Op]]:
    """The container's own cgroup as a bind: its root is the cgroup namespace's, and mounting anew costs 7 ms.

    Where that namespace is ``joined`` only the kernel knows its root: then each hierarchy is mounted anew, from inside.
    """
    if flags.data:
        where = f"{path}.options[{mount.options.index(flags.data[0])}]"
        raise SpecError(where, f"{flags.data[0]!r} means nothing here: the container sees its own cgroup")
    host: list[Op] = []
    init: list[Op] = []
    destination = mount.destination.rstrip("/")
    attributes = _attributes(flags)
    # recursive: on a hybrid host nothing lies below, on v2 nothing may be hidden
    for tree, directory in facts.cgroup_trees:
        name = "" if joined else f"cgroup.{tree}"
        propagation = flags.propagation or MS_PRIVATE
        if not joined:
            host.append(OpenTree(path, name, directory, attr_set=attributes, propagation=propagation))
        if tree and not init:
            options = labelled((("mode", "0755"), ("size", "64k")), label)
            empty = NewFilesystem(path, "tmpfs", "tmpfs", "tmpfs", options, attributes & ~MOUNT_ATTR_RDONLY)
            init.append(Attach(path, "", destination, fresh=empty))
        # a hierarchy of no controller is mounted by its name alone
        place = f"{destination}/{tree.removeprefix('name=')}" if tree else destination
        fresh = _hierarchy(path, tree, directory, attributes, facts) if joined else None
        init.append(Attach(path, name, place, fresh=fresh, propagation=flags.propagation if joined else 0))
    if len(init) > len(facts.cgroup_trees) and attributes & MOUNT_ATTR_RDONLY:
        init.append(ReadonlyMount(path, destination))
    return host, init


def _hierarchy(path: str, tree: str, directory: str, attributes: int, facts: HostFacts) -> NewFilesystem:
    """Return a mount of one hierarchy of cgroups. Source: cgroups(7), "Mounting v1 controllers"."""
    if tree in ("", UNIFIED):
        return NewFilesystem(path, "cgroup2", "cgroup2", "cgroup2", (), attributes)
    if tree.startswith("name="):
        words: tuple[tuple[str, str], ...] = (("none", ""), ("name", tree.removeprefix("name=")))
    else:
        # of controllers that are mounted together all have to be named
        words = tuple((other, "") for other, place in facts.cgroup_trees if place == directory)
    return NewFilesystem(path, "cgroup", "cgroup", "cgroup", words, attributes)


def _dev(spec: Spec, flags: MountFlags, path: str, facts: HostFacts) -> tuple[list[Op], list[Op]]:
    """/dev made by the host stage: inside a user namespace device nodes cannot be made, nor opened as owner."""
    given = tuple(device.replace(path=device.path[5:]) for device in listed(spec) if device.path.startswith("/dev/"))
    taken = {device.path for device in given}
    devices = (*(device for device in DEFAULT_DEVICES if device.path not in taken), *given)
    directories = tuple(
        mount.destination[5:].strip("/") for mount in spec.mounts if mount.destination.startswith("/dev/")
    )
    options = tuple(option for option in flags.filesystem_options() if option[0] not in ("ro", "rw"))
    nodes = devices if facts.privileged else ()
    attributes = _attributes(flags) & ~MOUNT_ATTR_RDONLY
    options = labelled(options, spec.linux.mount_label)
    host: list[Op] = [DevTree(path, "dev", nodes, DEFAULT_LINKS, directories, options, attributes)]
    inherit = all(key != "mode" for key, _ in options)
    init: list[Op] = [
        Attach(path, "dev", "/dev", inherit=inherit, copy_up=flags.tmpcopyup, propagation=flags.propagation)
    ]
    for device in () if facts.privileged else devices:
        # Without privilege nodes cannot be made: those of the host are bound one by one.
        host.append(OpenTree(path, f"dev.{device.path}", f"/dev/{device.path}"))
        init.append(Attach(path, f"dev.{device.path}", f"/dev/{device.path}"))
    return host, init
