"""The step before init for containers that join namespaces or shift clocks: a short-lived process that enters first.

Joining a pid namespace and entering a new time namespace both count for *children* only (pid_namespaces(7),
time_namespaces(7)), so this process enters them, makes init as its own sibling (CLONE_PARENT) and goes.
"""

from __future__ import annotations

import errno
import os
import struct

from pycontain.errors import HostError, StageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import CLONE_NEWTIME, CLONE_NEWUSER, CLONE_PARENT, PR_SET_DUMPABLE
from pycontain.plan.namespaces import CLONE_FLAGS
from pycontain.runtime import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pycontain.plan.namespaces import Namespaces

_PID = "=i"


def refused(error: OSError) -> HostError:
    """Return the error of a call that was to make new namespaces, with what may help."""
    hints = {
        errno.ENOSPC: "too many nested namespaces: sysctl user.max_user_namespaces (and its siblings)",
        errno.EUSERS: "user namespaces are nested too deep",
        errno.EPERM: "user namespaces may be forbidden here: pycontain doctor",
        errno.EAGAIN: "a limit on processes was met: ulimit -u, or pids.max of the cgroup",
    }
    return HostError(
        f"new namespaces: {(error.strerror or '').lower()}", hint=hints.get(error.errno or 0, "pycontain doctor")
    )


def open_joined(spaces: Namespaces) -> tuple[tuple[int, int], ...]:
    """Return (descriptor, CLONE_NEW* flag) for each namespace to join, each verified to be of its type.

    Raises:
        HostError: a path is no namespace of that type. Source: ioctl_ns(2) NS_GET_NSTYPE
    """
    opened: list[tuple[int, int]] = []
    try:
        for kind, path in spaces.join:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                opened.append((fd, CLONE_FLAGS[kind]))
                found = _sys.ns_type(fd)
            except OSError as error:
                raise HostError(f"join {kind} namespace {path}: {(error.strerror or '').lower()}") from error
            if found != CLONE_FLAGS[kind]:
                raise HostError(f"join {kind} namespace {path}: it is a namespace of another type")
    except HostError:
        for fd, _ in opened:
            os.close(fd)
        raise
    return tuple(opened)


def enter(spaces: Namespaces, joined: tuple[tuple[int, int], ...], report_fd: int, *, users_first: bool) -> None:
    """Join, set the clocks, make init and exit; returns only in init.

    ``report_fd`` gets init's process id as the runtime sees it. ``users_first``: this process is in the container's
    user namespace already.
    """
    # what is joined may have no /proc
    offsets = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC) if spaces.time_offsets else -1
    for fd, flag in joined:
        _sys.setns(fd, flag)
        os.close(fd)
    flags = spaces.clone & ~CLONE_NEWUSER if users_first else spaces.clone
    if flags & CLONE_NEWTIME:
        _sys.unshare(CLONE_NEWTIME)
        flags &= ~CLONE_NEWTIME
        if offsets >= 0:
            _write_offsets(offsets, spaces.time_offsets)
    if any(flag == CLONE_NEWUSER for _, flag in joined):
        # what has just been joined gave every capability in that namespace, to an id that means nothing there
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    # whatever the change of ids made of it (fs.suid_dumpable): init is visible in there from its first moment
    _sys.prctl(PR_SET_DUMPABLE, 0)
    pid, _ = _sys.clone3(flags | CLONE_PARENT, -1, 0)
    if pid == 0:
        os.close(report_fd)
        return
    report_pid(report_fd, pid)


def report_pid(fd: int, pid: int) -> NoReturn:
    """Tell the runtime the process id of the one that goes on, and exit."""
    os.write(fd, struct.pack(_PID, pid))
    os._exit(0)


def read_report(fd: int) -> int:
    """Return init's process id from the pipe.

    Raises:
        StageError: the entering process died before it made init.
        HostError: somebody inside has named a process that is no child of ours: it would be signalled in its place.
    """
    data = os.read(fd, struct.calcsize(_PID))
    if len(data) != struct.calcsize(_PID):
        raise StageError("the process that joins namespaces has died", stage="entry")
    pid = int(struct.unpack(_PID, data)[0])
    if processes.parent(pid) != os.getpid():
        raise HostError(f"process {pid} was not made by the one that joins namespaces")
    return pid


def _write_offsets(fd: int, lines: tuple[str, ...]) -> None:
    try:
        os.write(fd, "".join(lines).encode())
    except OSError as error:
        raise HostError(
            f"time offsets {' '.join(''.join(lines).split())}: {(error.strerror or '').lower()}",
            hint="the shifted clock may not be negative nor beyond about 146 years",
        ) from error
    finally:
        os.close(fd)
