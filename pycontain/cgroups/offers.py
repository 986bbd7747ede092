"""Which controllers a layout offers to us, in which version, and why others are not among them."""

from __future__ import annotations

from pycontain.cgroups.host import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.cgroups.layout import CgroupLayout


def offered(layout: CgroupLayout) -> dict[str, str]:
    """Return where each controller is, by its name in version 2: ``v2``, or ``v1`` and the mount point."""
    found = {
        "io" if name == "blkio" else name: f"v1, {hierarchy.mountpoint}"
        for name, hierarchy in layout.v1.items()
        if not name.startswith("name=")
    }
    if layout.unified is not None:
        directory = layout.unified.directory(layout.unified.base or "/")
        found.update(dict.fromkeys(read(f"{directory}/cgroup.controllers").split(), "v2"))
    return found


def lacking(layout: CgroupLayout, name: str) -> str:
    """Return why a controller, named as in version 2, cannot be used, "" where it can."""
    if name in offered(layout):
        return ""
    old = "blkio" if name == "io" else name
    return layout.unusable.get(old) or layout.unusable.get("unified") or "not offered here"
