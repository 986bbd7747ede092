"""Looks into a user namespace that a container is to join. [lean]"""

from __future__ import annotations

import os

from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import CLONE_NEWUSER, WEXITED
from pycontain.spec.ids import IDMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    Maps = tuple[tuple[IDMapping, ...], tuple[IDMapping, ...]]


def maps_of(path: str) -> Maps:
    """Return the uid and gid maps of a user namespace, as the host's ids.

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
        return _read(f"/proc/{pid}/uid_map"), _read(f"/proc/{pid}/gid_map")
    finally:
        os.close(finish)
        os.close(ready)
        _sys.waitid_pidfd(pidfd, WEXITED)
        os.close(pidfd)


def _read(path: str) -> tuple[IDMapping, ...]:
    with open(path, encoding="utf-8") as file:
        return tuple(IDMapping(*map(int, line.split())) for line in file)
