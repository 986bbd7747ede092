"""The container's root as operations: a directory below an overlay, a directory as it is, or the host's own root."""

from __future__ import annotations

from pycontain.plan.ops import Attach, MaskLayer, OpenDirectory, OpenTree, Overlay
from pycontain.plan.rootfs import DIRECTORY, HOST, SystemMount
from pycontain.spec.mount_options import MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY, MS_PRIVATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.facts import HostFacts
    from pycontain.plan.ops import Op
    from pycontain.plan.rootfs import RootSource

READ_ONLY_TREE = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV

# What @host leaves out: directories are shown empty with this mode …
HOST_EMPTY = (
    ("/home", 0o755),
    ("/root", 0o700),
    ("/tmp", 0o1777),
    ("/var/tmp", 0o1777),
    ("/run", 0o755),
    ("/mnt", 0o755),
    ("/media", 0o755),
    ("/srv", 0o755),
    ("/var/log", 0o755),
    ("/var/backups", 0o755),
    ("/var/spool", 0o755),
    ("/var/mail", 0o755),
    ("/var/lib/docker", 0o755),
    ("/var/lib/containerd", 0o755),
    ("/var/lib/containers", 0o755),
    ("/var/lib/pycontain", 0o755),
    ("/var/lib/lxc", 0o755),
    ("/var/lib/machines", 0o755),
    ("/var/lib/libvirt", 0o755),
    ("/var/lib/private", 0o755),
    ("/var/lib/apt/lists/partial", 0o755),
    ("/var/cache/apt/archives/partial", 0o755),
    ("/var/cache/ldconfig", 0o755),
    ("/etc/ssl/private", 0o755),
    ("/etc/sudoers.d", 0o755),
)
# … and files are not there. The lock files are here so that the package manager can make its own.
HOST_ABSENT = (
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/krb5.keytab",
    "/etc/.pwd.lock",
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
    "/var/cache/debconf/passwords.dat",
)


def compile_root(root: RootSource, facts: HostFacts) -> tuple[list[Op], list[Op]]:
    """Return host operations that make the tree "root" (and trees of further system mounts), and their attachments."""
    if root.kind == DIRECTORY:
        return _directory(root, facts), []
    return _host(root, facts)


def _directory(root: RootSource, facts: HostFacts) -> list[Op]:
    if root.writable:
        idmap = "ridmap" if facts.userns.idmap else ""
        how = root.propagation
        return [OpenTree("root.path", "root", root.path, recursive=True, idmap=idmap, propagation=how)]
    return [
        _lower("lower", root.path, facts, MOUNT_ATTR_RDONLY, shifted=facts.userns.idmap),
        _writable(root, "root", ("lower",), userxattr=not facts.privileged),
    ]


def _host(root: RootSource, facts: HostFacts) -> tuple[list[Op], list[Op]]:
    """The host's root at the bottom, what hides parts of it above, the container's own layer on top.

    The bottom is an overlay of its own, read with the credentials of nobody: whatever is not listed above either,
    only what every user of the host may read comes through it. @host:public is not shifted, so plain ownership
    keeps what is not public, unless the container's root is the host's. What the user asked for by name comes as a
    read-only bind.
    """
    shifted = root.kind == HOST and facts.userns.idmap
    guarded = root.kind == HOST or facts.userns.host_uid(0) == 0
    host = _overlays(root, facts, SystemMount(root.path, "/"), "root", (shifted, guarded))
    if not facts.privileged:
        host = _skeleton(root)
    attachments: list[Op] = []
    for number, mount in enumerate(root.mounts):
        name = f"system{number}"
        if mount.nested and not facts.privileged:
            host.append(OpenTree("root.path", name, mount.path, recursive=True, tree_set=MOUNT_ATTR_RDONLY))
        else:
            host += _overlays(root, facts, mount, name, (shifted, guarded))
        attachments.append(Attach("root.path", name, mount.target))
    for number, path in enumerate(root.include):
        name = f"include{number}"
        idmap = "idmap" if facts.userns.idmap else ""
        host.append(OpenTree("root.path", name, path, idmap=idmap, attr_set=READ_ONLY_TREE, propagation=MS_PRIVATE))
        attachments.append(Attach("root.path", name, path))
    return host, attachments


def _skeleton(root: RootSource) -> list[Op]:
    """Without privilege the root is empty but for links: its directories are attached one by one."""
    own = f"{root.overlay}/root"
    empty = tuple((path, mode) for path, mode in HOST_EMPTY if path.count("/") == 1)
    mask = MaskLayer("root.path", "root.mask", empty, (), f"{own}/mask", userxattr=True, links=root.links)
    return [mask, _writable(root, "root", ("root.mask",), userxattr=True)]


def _overlays(root: RootSource, facts: HostFacts, mount: SystemMount, name: str, how: tuple[bool, bool]) -> list[Op]:
    """Return the operations for one mount; ``how`` tells whether its owners are shifted and whether it is guarded."""
    shifted, guarded = how
    userxattr = not facts.privileged
    own = f"{root.overlay}/{name}"
    empty, absent = _hidden_below(mount.target)
    mask, lower = f"{name}.mask", f"{name}.lower"
    ops: list[Op] = [
        MaskLayer("root.path", mask, empty, absent, f"{own}/mask" if userxattr else "", userxattr),
        _lower(lower, mount.path, facts, READ_ONLY_TREE, shifted=shifted),
    ]
    if guarded and facts.privileged:
        ops.append(Overlay("root.path", f"{name}.public", (lower,), public_only=True, userxattr=userxattr))
        lower = f"{name}.public"
    ops.append(_writable(root, name, (mask, lower), userxattr=userxattr))
    return ops


def _lower(name: str, path: str, facts: HostFacts, attributes: int, *, shifted: bool) -> Op:
    if not facts.privileged:
        return OpenDirectory("root.path", name, path)
    return OpenTree("root.path", name, path, idmap="idmap" if shifted else "", attr_set=attributes)


def _hidden_below(target: str) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Return the hidden directories and files below a mount point, relative to it."""
    prefix = target.rstrip("/") + "/"
    cut = len(prefix) - 1
    return (
        tuple((path[cut:], mode) for path, mode in HOST_EMPTY if path.startswith(prefix)),
        tuple(path[cut:] for path in HOST_ABSENT if path.startswith(prefix)),
    )


def _writable(root: RootSource, name: str, lowers: tuple[str, ...], *, userxattr: bool) -> Overlay:
    """Return the overlay that the container sees: the given layers and, on top, its own."""
    own = f"{root.overlay}/{name}"
    return Overlay(
        "root.path",
        name,
        lowers,
        f"{own}/upper",
        f"{own}/work",
        userxattr=userxattr,
        memory_bytes=root.memory_bytes,
    )
