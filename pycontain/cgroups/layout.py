"""Which cgroup hierarchies this process sees, where they are mounted, and where in them it is. Pure. [lean]

Nothing here opens a file: :mod:`pycontain.cgroups.host` reads ``/proc/self/mountinfo`` and ``/proc/self/cgroup``.

Three worlds: *v2* (one hierarchy with every controller), *v1* (a hierarchy per controller, or per few), *hybrid* (v1,
and a cgroup v2 hierarchy beside it that holds the rest of the controllers, often none). A named hierarchy of v1
(``name=systemd``) has no controller but is joined all the same, or systemd would still count the process as its own.

Source: cgroups(7), proc_pid_mountinfo(5), cgroup_namespaces(7)
"""

from __future__ import annotations

from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    _Mount = tuple[str, str, str, str]  # file system type, root, mount point, options of the super block


class Hierarchy(Record):
    """One mounted hierarchy.

    ``own`` is our own cgroup as a path below ``mountpoint`` ("/" is the mount itself), None where it cannot be seen
    there. ``base`` is below which path containers go unless they name an absolute one.
    """

    mountpoint: str
    own: str | None
    base: str = "/"

    def directory(self, path: str) -> str:
        """Return the directory of cgroup ``path``: from the mount point if absolute, else from ``base``."""
        below = path if path.startswith("/") else f"{self.base}/{path}"
        return "/".join([self.mountpoint.rstrip("/"), *[part for part in below.split("/") if part]]) or "/"


class CgroupLayout(Record):
    """``mode`` is v2, hybrid, v1 or none. ``v1`` is keyed by controller; those mounted together share a hierarchy.

    ``unusable`` says, for a controller (or ``unified``), why its hierarchy was left out.
    """

    mode: str
    unified: Hierarchy | None = None
    v1: Mapping[str, Hierarchy] = {}
    unusable: Mapping[str, str] = {}

    def v1_hierarchies(self) -> tuple[Hierarchy, ...]:
        """Return each v1 hierarchy once."""
        found: dict[str, Hierarchy] = {}
        for hierarchy in self.v1.values():
            found.setdefault(hierarchy.mountpoint, hierarchy)
        return tuple(found.values())


NONE = CgroupLayout("none")


def compose(
    unified: Hierarchy | None, v1: Mapping[str, Hierarchy], unusable: Mapping[str, str] | None = None
) -> CgroupLayout:
    """Return the layout of these hierarchies, with its mode."""
    has_controllers = any(not name.startswith("name=") for name in v1)
    modes = ("v1", "hybrid") if has_controllers else ("none", "v2")
    return CgroupLayout(modes[unified is not None], unified, v1, unusable or {})


def probe(proc_self_mountinfo: str, proc_self_cgroup: str) -> CgroupLayout:
    """Return the layout that the texts of these two files describe.

    Of several mounts of a hierarchy (bind mounts, a container's) the one that shows our own cgroup and most around it
    wins; a mount hidden below another one does not count. Lines that make no sense are skipped.
    """
    if " - cgroup" not in proc_self_mountinfo:
        return NONE
    own_paths = _own_paths(proc_self_cgroup)
    mounts = _visible_cgroup_mounts(proc_self_mountinfo)
    unified = _best([mount for mount in mounts if mount[0] == "cgroup2"], own_paths.get(""))
    v1: dict[str, Hierarchy] = {}
    for names, own in own_paths.items():
        controllers = names.split(",") if names else []
        found = _best([mount for mount in mounts if mount[0] == "cgroup" and _holds(mount, controllers)], own)
        if found is not None:
            for controller in controllers:
                v1[controller] = found
    return compose(unified, v1)


def _holds(mount: _Mount, controllers: list[str]) -> bool:
    options = mount[3].split(",")
    return bool(controllers) and all(controller in options for controller in controllers)


def _own_paths(text: str) -> dict[str, str]:
    """Return {controller list: path}; the key of cgroup v2 is empty."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if number.isdigit() and colon and path.startswith("/") and bool(names) != (number == "0"):
            paths[names] = path.removesuffix(" (deleted)")
    return paths


def _visible_cgroup_mounts(text: str) -> list[_Mount]:
    """Return the mounts of both file systems that a path look-up reaches."""
    table: dict[str, tuple[str, str]] = {}  # id → parent, mount point
    covers: dict[str, list[tuple[str, str]]] = {}  # parent → ids and mount points of what is mounted in it
    candidates: list[tuple[str, _Mount]] = []
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ", 5)
        if not dash or len(fields) < 6:
            continue
        number, parent, _, root, mountpoint, _ = fields
        table[number] = parent, mountpoint
        covers.setdefault(parent, []).append((number, mountpoint))
        if right.startswith(("cgroup ", "cgroup2 ")):
            fstype, _, options = right.partition(" ")
            mount = (fstype, unescape(root), unescape(mountpoint), options.rpartition(" ")[2])
            candidates.append((number, mount))
    return [mount for number, mount in candidates if _visible(number, table, covers)]


def _visible(number: str, table: dict[str, tuple[str, str]], covers: dict[str, list[tuple[str, str]]]) -> bool:
    """Return whether nothing is mounted over the mount or over a directory on the way to it."""
    if any(mountpoint == table[number][1] for _, mountpoint in covers.get(number, ())):
        return False
    seen: set[str] = set()
    while number in table and number not in seen:
        seen.add(number)
        parent, mountpoint = table[number]
        for other, place in covers.get(parent, ()):
            if other not in (number, parent) and mountpoint.startswith(place.rstrip("/") + "/"):
                return False
        number = parent
    return True


def unescape(path: str) -> str:
    """Undo mountinfo's octal escapes of space, tab, newline and backslash."""
    if "\\" not in path:
        return path
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(escape, character)
    return path


def _best(mounts: list[_Mount], own: str | None) -> Hierarchy | None:
    """Return the hierarchy of the mount that shows our own cgroup and, of those, the most of the hierarchy."""
    best: tuple[bool, int] | None = None
    found = None
    for _, root, mountpoint, _ in mounts:
        below = _below(root, own)
        rank = (below is None, len(root))
        if best is None or rank < best:
            best, found = rank, Hierarchy(mountpoint, below)
    return found


def _below(root: str, own: str | None) -> str | None:
    """Return ``own`` as seen from a mount of ``root``, None if it is not in it.

    Both are relative to our cgroup namespace; one outside of it begins with ``/..`` and then shows too much or nothing.
    """
    if own is None or own.startswith("/..") or root.startswith("/.."):
        return None
    root = root.rstrip("/")
    if own == root or not root:
        return own if not root else "/"
    return own[len(root) :] if own.startswith(root + "/") else None
