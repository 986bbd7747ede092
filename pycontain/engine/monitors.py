"""The cgroup that all monitors share, outside of the caller's session and of every container. [lean]"""

from __future__ import annotations

import os

from pycontain.cgroups import host
from pycontain.cgroups.cgroup import Cgroup, locate
from pycontain.errors import HostError

PATH = "/pycontain/monitors"


def join() -> None:
    """Move this single-threaded process there; a host that gives us no cgroup keeps it where it is."""
    cgroup = Cgroup(locate(host.usable(host.probe_host()), PATH))
    if not cgroup.paths.exists:
        return
    for _attempt in range(10):
        try:
            cgroup.ensure()
            _enter(cgroup)
            return
        except FileNotFoundError:
            continue  # the last monitor before us has just taken the cgroup away
        except HostError:
            return


def leave() -> None:
    """Move this process to the roots of its hierarchies, so that whoever comes last can remove the shared cgroup."""
    paths = locate(host.usable(host.probe_host()), PATH)
    for directory in paths.directories:
        root = os.path.dirname(os.path.dirname(directory))
        for name in ("tasks", "cgroup.procs"):
            try:
                _write(f"{root}/{name}", b"0")
                break
            except OSError:
                continue
        for path in (directory, os.path.dirname(directory)):
            try:
                os.rmdir(path)
            except OSError:
                break  # others are in it


def _enter(cgroup: Cgroup) -> None:
    for fd in cgroup.join_fds():
        os.write(fd, b"0")
        os.close(fd)
    if cgroup.paths.unified:
        _write(f"{cgroup.paths.unified}/cgroup.procs", b"0")


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
