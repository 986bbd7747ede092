"""Names of kernel parameters in ``linux.sysctl``, and the namespace that each needs.

[lean]
"""

from __future__ import annotations

# ipc/ipc_sysctl.c: the parameters that every ipc namespace has for itself
_IPC = (
    "kernel/msg_next_id", "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/sem_next_id",
    "kernel/shm_next_id", "kernel/shm_rmid_forced", "kernel/shmall", "kernel/shmmax", "kernel/shmmni",
)  # fmt: skip
_UTS = ("kernel/domainname", "kernel/hostname")
_PREFIXES = (("fs/mqueue/", "ipc"), ("net/", "network"), ("user/", "user"))
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.@+")


def sysctl_path(name: str) -> str | None:
    """Return the file of a parameter below /proc/sys, None where the name is none.

    As in sysctl(8) the first separator decides: ``net.ipv4.conf.eth0/1.forwarding`` and
    ``net/ipv4/conf/eth0.1/forwarding`` are the same file.
    """
    first = min((index for index in (name.find("."), name.find("/")) if index >= 0), default=-1)
    if first < 0:
        return None
    if name[first] == ".":
        name = name.replace("/", "\0").replace(".", "/").replace("\0", ".")
    for part in name.split("/"):
        if part in ("", ".", "..") or not all(char in _CHARACTERS for char in part):
            return None
    return name


def sysctl_namespace(path: str) -> str | None:
    """Return the type of namespace that has its own copy of a parameter, None for a parameter of the whole host."""
    if path in _IPC:
        return "ipc"
    if path in _UTS:
        return "uts"
    for prefix, namespace in _PREFIXES:
        if path.startswith(prefix):
            return namespace
    return None
