"""What this host has of what a plan needs: read or tried, as ``doctor`` does, and asked once each."""

from __future__ import annotations

import os
import resource
import shutil

from pycontain.cgroups.host import probe_host, usable
from pycontain.cgroups.offers import lacking
from pycontain.kernel import _sys
from pycontain.plan import needs
from pycontain.plan.capabilities import NAMES
from pycontain.plan.namespaces import CLONE_FLAGS, PROC_NAMES
from pycontain.plan.process import RLIMITS
from pycontain.runtime import probe, trials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.plan.needs import Need


class Abilities:
    """What one look at the host has found; nothing is changed by it.

    ``made`` are directories in which the container's own files are made: they need not be there before.
    """

    def __init__(self, made: tuple[str, ...] = ()) -> None:
        self._made = made
        self._known: dict[Need, str] = {}
        self._cgroups = usable(probe_host())
        self._ways: dict[str, Callable[[str], str]] = {
            needs.CAPABILITY: _capability,
            needs.CGROUP: self._cgroup,
            needs.CONTROLLER: lambda name: lacking(self._cgroups, name),
            needs.FILESYSTEM: _filesystem,
            needs.FILE: self._file,
            needs.IDMAP: self._idmap,
            needs.LIMIT: _limit,
            needs.NAMESPACE: _namespace,
            needs.PROGRAM: lambda name: "" if shutil.which(name) else "it is not installed",
            needs.SECCOMP: _seccomp,
            needs.SECURITY: _security,
        }

    def lack(self, need: Need) -> str:
        """Return why this host does not have what is needed, "" where it has."""
        if need not in self._known:
            self._known[need] = self._ways[need.kind](need.name)
        return self._known[need]

    def _cgroup(self, _name: str) -> str:
        if self._cgroups.mode != "none":
            return ""
        return "; ".join(dict.fromkeys(self._cgroups.unusable.values())) or "none is mounted"

    def _file(self, path: str) -> str:
        if any(path.startswith(f"{directory}/") for directory in self._made):
            return ""
        try:
            os.stat(path)
        except OSError as error:
            return (error.strerror or "").lower()
        return ""

    def _idmap(self, path: str) -> str:
        # an ordinary user's namespace has ids of its own: nothing is shifted
        if not os.path.exists(path) or not probe.is_privileged():
            return ""
        return trials.attempt(trials.idmapped_mount(path))


def _capability(name: str) -> str:
    return "" if _sys.capget()[0] >> NAMES.index(name) & 1 else "this user does not have it"


def filesystems() -> tuple[str, ...]:
    """Return the types of file systems that the kernel has at this moment. Source: proc_filesystems(5)"""
    with open("/proc/filesystems", encoding="utf-8") as file:
        return tuple(line.split("\t")[-1].strip() for line in file)


def _filesystem(name: str) -> str:
    if name in filesystems():
        return ""
    try:
        # the kernel loads the module that it is in, if there is one
        os.close(_sys.fsopen(name))
    except OSError as error:
        return f"the kernel does not have it ({(error.strerror or '').lower()})"
    return ""


def _limit(name: str) -> str:
    key, _, number = name.partition(" ")
    wanted = int(number)
    _, hard = resource.getrlimit(RLIMITS[key])
    raised = hard != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > hard)
    if not raised or not _capability("CAP_SYS_RESOURCE"):
        return ""
    return f"it is {hard} here, and this user does not have CAP_SYS_RESOURCE"


def _namespace(kind: str) -> str:
    if not os.path.exists(f"/proc/self/ns/{PROC_NAMES.get(kind, kind)}"):
        return "the kernel does not have it"
    return trials.attempt(trials.user_namespace_with_map if kind == "user" else trials.namespace(CLONE_FLAGS[kind]))


def _seccomp(_name: str) -> str:
    return "" if os.path.exists("/proc/sys/kernel/seccomp/actions_avail") else "the kernel does not have them"


def _security(name: str) -> str:
    active = probe.apparmor_enabled() if name == "AppArmor" else probe.selinux_enabled()
    return "" if active else "it is not active"
