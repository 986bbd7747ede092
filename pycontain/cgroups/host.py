"""The cgroup layout of this host, narrowed to what this process may use. [lean]

A hierarchy is usable where we may make directories: at its mount point (root, or root of a container that was given its
cgroups read-write), else in our own cgroup (a scope that systemd delegated to us). ``base`` of each hierarchy says
which.
"""

from __future__ import annotations

import os

from pycontain.cgroups.layout import CgroupLayout, Hierarchy, compose, probe

DELEGATE_HINT = "systemd-run --user --scope -p Delegate=yes pycontain …"


def probe_host() -> CgroupLayout:
    """Return what is mounted here, whether or not we may use it."""
    return probe(read("/proc/self/mountinfo"), read("/proc/self/cgroup"))


def usable(layout: CgroupLayout) -> CgroupLayout:
    """Return ``layout`` with the hierarchies in which we may make cgroups, each with its ``base``."""
    unusable: dict[str, str] = {}
    unified = None
    if layout.unified is not None:
        unified, reason = _usable(layout.unified, ("cgroup.procs", "cgroup.subtree_control"))
        if unified is None:
            unusable["unified"] = reason
    decided: dict[str, tuple[Hierarchy | None, str]] = {}
    v1: dict[str, Hierarchy] = {}
    for controller, hierarchy in layout.v1.items():
        if hierarchy.mountpoint not in decided:
            decided[hierarchy.mountpoint] = _usable(hierarchy, ("tasks",))
        found, reason = decided[hierarchy.mountpoint]
        if found is None:
            unusable[controller] = reason
        else:
            v1[controller] = found
    return compose(unified, v1, unusable)


def _usable(hierarchy: Hierarchy, files: tuple[str, ...]) -> tuple[Hierarchy | None, str]:
    """Return the hierarchy with its base, or None and why not."""
    root = hierarchy.directory("/")
    if _writable(root, ()):
        return hierarchy.replace(base="/"), ""
    if hierarchy.own is not None and _writable(hierarchy.directory(hierarchy.own), files):
        return hierarchy.replace(base=hierarchy.own), ""
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        return None, f"{root} is mounted read-only"
    own = root if hierarchy.own is None else hierarchy.directory(hierarchy.own)
    return None, f"{own} is not delegated to uid {os.geteuid()}"


def _writable(directory: str, files: tuple[str, ...]) -> bool:
    """Return whether we may make a cgroup in ``directory`` and move a process from it into there."""
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True) and all(
        os.access(f"{directory}/{name}", os.W_OK, effective_ids=True) for name in files
    )


def read(path: str) -> str:
    """Return the text of a file of the kernel's."""
    with open(path, "rb", 0) as file:
        return file.read().decode(errors="surrogateescape")
