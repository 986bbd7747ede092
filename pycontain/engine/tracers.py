"""Who in a container could seize a process that comes in with the host's rights. [lean]

A container's first process is made in the pid namespace that it joins, and has every right until its root is closed.
In a user namespace it cannot be traced from inside until it executes its program: its memory belongs to the host's.
With the host's users CAP_SYS_PTRACE inside is all that it takes. Source: ptrace(2) "Ptrace access mode checking"
"""

from __future__ import annotations

import os

from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.plan.capabilities import SYS_PTRACE


def find(pid: int) -> int:
    """Return a process that may trace others in the pid namespace of ``pid`` with the host's users, 0 if there is none.

    One that has every right of this process anyway, as in a privileged container, is none.
    """
    _effective, ours, _inheritable = _sys.capget()
    pids, users = _inode(str(pid), "pid"), _inode("self", "user")
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if _inode(name, "pid") == pids and _inode(name, "user") == users:
                rights = _rights(name)
                if rights >> SYS_PTRACE & 1 and ours & ~rights:
                    return int(name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended, or has more rights than whoever a container can be made by
    return 0


def refusal(what: str, tracer: int) -> HostError:
    """Return the error for a container that would come in where ``tracer`` is; ``what`` is how it was asked for."""
    return HostError(
        f"{what}: process {tracer} in there has CAP_SYS_PTRACE and the host's users, so it could seize this container"
        " before it is closed",
        hint="make that container without --userns host or without --cap-add SYS_PTRACE",
    )


def _inode(process: str, kind: str) -> int:
    return os.stat(f"/proc/{process}/ns/{kind}").st_ino


def _rights(process: str) -> int:
    """Return the capabilities that a process has or may get by executing a program."""
    rights = 0
    with open(f"/proc/{process}/status", "rb") as file:
        for line in file:
            if line.startswith((b"CapPrm:", b"CapBnd:")):
                rights |= int(line.split()[1], 16)
    return rights
