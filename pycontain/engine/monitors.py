"""The cgroup that all monitors share, outside of the caller's session and of every container. [lean]"""

from __future__ import annotations

import errno
import os

from pycontain.cgroups.cgroup import Cgroup
from pycontain.engine import placement
from pycontain.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.settings import Settings


def join(settings: Settings) -> None:
    """Move this single-threaded process there; a host that gives us no cgroup keeps it where it is."""
    cgroup = Cgroup(placement.place(settings, placement.MONITORS))
    if not cgroup.paths.exists:
        return
    for _attempt in range(10):
        try:
            cgroup.ensure()
            _enter(cgroup)
            return
        except HostError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            # the last monitor before us has just taken the cgroup away, or one of its directories


def leave(settings: Settings) -> None:
    """Move this process to the roots of its hierarchies, so that whoever comes last can remove the shared cgroup."""
    paths = placement.place(settings, placement.MONITORS, make=False)
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
    fds = cgroup.join_fds()
    try:
        for fd in fds:
            os.write(fd, b"0")
    finally:
        for fd in fds:
            os.close(fd)
    if cgroup.paths.unified:
        _write(f"{cgroup.paths.unified}/cgroup.procs", b"0")


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
