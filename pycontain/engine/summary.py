"""This installation in numbers, for ``info``; and the names that a shell completes."""

from __future__ import annotations

import os
import platform

import pycontain
from pycontain.cgroups.host import probe_host
from pycontain.engine.volumes import list_volumes
from pycontain.errors import PycontainError
from pycontain.runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.runtime.settings import Settings


def container_words(settings: Settings, begun: str) -> tuple[str, ...]:
    """Return what a container may be called that begins so: names, or short ids where no name does."""
    store = state.Store(settings)
    try:
        names = sorted(os.listdir(store.names))
    except OSError:
        return ()
    found = tuple(name for name in names if name.startswith(begun))
    return found or tuple(one[:12] for one in sorted(store.ids()) if begun and one.startswith(begun))


def versions() -> dict[str, str]:
    """Return versions of the program and of what it stands on."""
    host = os.uname()
    return {
        "version": pycontain.__version__,
        "python": platform.python_version(),
        "kernel": host.release,
        "architecture": host.machine,
    }


def installation(settings: Settings) -> dict[str, Any]:
    """Return where things are, how many there are, and what the host is."""
    return {
        **versions(),
        "containers": _counts(settings),
        "volumes": len(list_volumes(settings)),
        "state": settings.state,
        "data": settings.data,
        "rootless": settings.rootless,
        "cgroup_mode": probe_host().mode,
        "cgroup_manager": settings.cgroup_manager,
        "system": _system(),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


def _counts(settings: Settings) -> dict[str, int]:
    store = state.Store(settings)
    counts = {"total": 0, state.RUNNING: 0, state.PAUSED: 0, state.STOPPED: 0, state.CREATED: 0}
    for container_id in store.ids():
        counts["total"] += 1
        entry = state.Entry(store, container_id)
        try:
            status = entry.status(entry.load())
        except PycontainError:
            status = "damaged"
        counts[status] = counts.get(status, 0) + 1
    return counts


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""
