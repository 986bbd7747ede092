"""Who in a container could seize a process that comes in with the host's rights. [lean]

A container's first process is made in the pid namespace that it joins, and has every right until its root is closed.
In a user namespace it cannot be traced from inside until it executes its program: its memory belongs to the host's.
With the host's users CAP_SYS_PTRACE inside is all that it takes. Source: ptrace(2) "Ptrace access mode checking"
"""

from __future__ import annotations

import os

from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.plan.capabilities import NAMES, SYS_PTRACE, mask
from pycontain.plan.facts import USERNS_HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.state import Entry, State


def find(entry: Entry, state: State) -> int:
    """Return a process that may trace others in a container's pid namespace with the host's users, 0 for none.

    One that has every right of this process anyway, as in a privileged container, is none. The container itself counts
    by its configuration: its processes may come and go faster than one can look.
    """
    if state.userns.get("kind") != USERNS_HOST:
        return 0
    from pycontain.engine import config  # few runs join others

    pid = state.pid
    _effective, ours, _inheritable = _sys.capget()
    process = config.load(entry).process
    sets = process.capabilities if process is not None else None
    if sets is not None and _could_seize(mask(sets.bounding, len(NAMES) - 1), ours):
        return pid
    pids, users = _inode(str(pid), "pid"), _inode("self", "user")
    for name in os.listdir("/proc"):
        if name.isdigit():
            for task in _tasks(name):
                try:
                    inside = _inode(task, "pid") == pids and _inode(task, "user") == users
                    if inside and _could_seize(_rights(task), ours):
                        return int(name)
                except (FileNotFoundError, ProcessLookupError, PermissionError):
                    continue  # it has ended, or has more rights than whoever a container can be made by
    return 0


def _could_seize(rights: int, ours: int) -> bool:
    return bool(rights >> SYS_PTRACE & 1 and ours & ~rights)


def _tasks(process: str) -> list[str]:
    """Return the threads of a process, as names below /proc: each has rights of its own."""
    try:
        return [f"{process}/task/{thread}" for thread in os.listdir(f"/proc/{process}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has ended


def refusal(what: str, tracer: int) -> HostError:
    """Return the error for a container that would come in where ``tracer`` is; ``what`` is how it was asked for."""
    return HostError(
        f"{what}: process {tracer} in there has CAP_SYS_PTRACE and the host's users, so it could seize this container"
        " before it is closed",
        hint="make that container without --userns host or without --cap-add SYS_PTRACE",
    )


def _inode(task: str, kind: str) -> int:
    return os.stat(f"/proc/{task}/ns/{kind}").st_ino


def _rights(task: str) -> int:
    """Return the capabilities that a thread has or may get by executing a program."""
    rights = 0
    with open(f"/proc/{task}/status", "rb") as file:
        for line in file:
            if line.startswith((b"CapPrm:", b"CapBnd:")):
                rights |= int(line.split()[1], 16)
    return rights
