"""Looks into namespaces that a container is to join. [lean]"""

from __future__ import annotations

import os

from pycontain.errors import HostError, SpecError
from pycontain.kernel import _sys
from pycontain.kernel.constants import CLONE_NEWUSER, WEXITED
from pycontain.lean_json import child_path
from pycontain.plan.namespaces import PROC_NAMES
from pycontain.runtime import probe
from pycontain.spec.ids import IDMapping
from pycontain.spec.sysctl import sysctl_namespace, sysctl_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.runtime import Spec

    Maps = tuple[tuple[IDMapping, ...], tuple[IDMapping, ...]]


def check_sysctls(spec: Spec) -> None:
    """Refuse parameters of a namespace that is joined by path and turns out to be the runtime's own.

    Raises:
        SpecError: the parameter would be set for the host.
    """
    for name in spec.linux.sysctl:
        kind = sysctl_namespace(sysctl_path(name) or "")
        entry = spec.linux.namespace(kind or "")
        if kind is not None and entry is not None and entry.path is not None and is_own(kind, entry.path):
            rule = f"{entry.path} is the host's {kind} namespace"
            raise SpecError(child_path("linux.sysctl", name), rule, hint="set it on the host with sysctl(8)")


def is_own(kind: str, path: str) -> bool:
    """Return whether a path is the runtime's own namespace of a type."""
    try:
        return os.path.samefile(path, f"/proc/self/ns/{PROC_NAMES.get(kind, kind)}")
    except OSError:
        return False  # the attempt to join it will tell


def maps_of(spec: Spec, path: str) -> tuple[Maps, bool]:
    """Return the uid and gid maps of the user namespace that a configuration joins, and whether it has setgroups.

    Raises:
        HostError: the path is no user namespace, or may not be entered.
        SpecError: the configuration has other maps.
    """
    found, setgroups = _read_maps(path)
    for name, given, real in zip(
        ("uidMappings", "gidMappings"), (spec.linux.uid_mappings, spec.linux.gid_mappings), found, strict=True
    ):
        if given and _sorted(given) != _sorted(real):
            raise SpecError(f"linux.{name}", f"is not the map of the user namespace {path}")
    return found, setgroups


def _sorted(rows: tuple[IDMapping, ...]) -> list[tuple[int, int, int]]:
    return sorted((row.container_id, row.host_id, row.size) for row in rows)


def _read_maps(path: str) -> tuple[Maps, bool]:
    """Return the uid and gid maps of a user namespace, as the host's ids, and whether setgroups is allowed there.

    A process in the namespace is looked at from outside, because what it reads itself is relative to itself.

    Raises:
        HostError: the path is no user namespace, or may not be entered.
    """
    ready, told = os.pipe()
    done, finish = os.pipe()
    pid, pidfd = _sys.clone3(0)
    if pid == 0:
        try:
            os.close(finish)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            _sys.setns(fd, CLONE_NEWUSER)
            os.write(told, b"\0")
            os.read(done, 1)
        except OSError as error:
            os.write(told, str(error.errno).encode())
        finally:
            os._exit(0)
    os.close(told)
    os.close(done)
    try:
        said = os.read(ready, 16)
        if said != b"\0":
            reason = os.strerror(int(said)).lower() if said else "the process that joins it has died"
            raise HostError(f"join user namespace {path}: {reason}")
        maps = _read(f"/proc/{pid}/uid_map"), _read(f"/proc/{pid}/gid_map")
        return maps, not probe.setgroups_denied(f"/proc/{pid}")
    finally:
        os.close(finish)
        os.close(ready)
        _sys.waitid_pidfd(pidfd, WEXITED)
        os.close(pidfd)


def _read(path: str) -> tuple[IDMapping, ...]:
    with open(path, encoding="utf-8") as file:
        return tuple(IDMapping(*map(int, line.split())) for line in file)
