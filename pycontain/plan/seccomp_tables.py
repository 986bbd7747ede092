"""Architectures as seccomp sees them, and the system call numbers of each. [lean]

Tables are read from :mod:`pycontain.plan.data` when an architecture is asked for, never before.
"""

from __future__ import annotations

from itertools import count

from pycontain.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

X86_64 = "SCMP_ARCH_X86_64"
X86 = "SCMP_ARCH_X86"
X32 = "SCMP_ARCH_X32"
AARCH64 = "SCMP_ARCH_AARCH64"
ARM = "SCMP_ARCH_ARM"

# AUDIT_ARCH_* of linux/audit.h; x32 shares the one of x86_64 and marks its numbers with X32_BIT (asm/unistd.h)
AUDIT_ARCH = {X86_64: 0xC000003E, X86: 0x40000003, AARCH64: 0xC00000B7, ARM: 0x40000028}
X32_BIT = 0x40000000
# x32 is absent: its arguments are compared as 32 bits, as libseccomp does
WIDE = (X86_64, AARCH64)
# Architectures that a kernel of the given one can run programs of; others never reach its filters.
RUNS_ON = {X86_64: (X86_64, X86, X32), X86: (X86,), AARCH64: (AARCH64, ARM), ARM: (ARM,)}
_MACHINES = {
    "x86_64": X86_64,
    "i386": X86,
    "i486": X86,
    "i586": X86,
    "i686": X86,
    "aarch64": AARCH64,
    "armv6l": ARM,
    "armv7l": ARM,
    "armv8l": ARM,
}

# Calls that i386 also reaches through socketcall(2) and ipc(2), and their first argument there.
# Source: linux/net.h SYS_*, linux/ipc.h
_MULTIPLEXED = (
    ("socketcall", 1, "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom"),
    ("socketcall", 13, "shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"),
    ("ipc", 1, "semop semget semctl semtimedop"),
    ("ipc", 11, "msgsnd msgrcv msgget msgctl"),
    ("ipc", 21, "shmat shmdt shmget shmctl"),
)
MULTIPLEXED = {
    name: (call, number)
    for call, first, names in _MULTIPLEXED
    for name, number in zip(names.split(), count(first), strict=False)
}


def native_arch(machine: str) -> str:
    """Return the seccomp architecture of ``os.uname().machine``.

    Raises:
        HostError: there is no system call table for it.
    """
    try:
        return _MACHINES[machine]
    except KeyError:
        hint = "run without a seccomp profile: --security-opt seccomp=unconfined"
        raise HostError(f"seccomp: {machine}: no table of system calls", requirement="seccomp", hint=hint) from None


def numbers(arch: str, x86_64: dict[str, int] | None = None) -> dict[str, int]:
    """Return name -> number of one of the architectures above; numbers of x32 have X32_BIT set.

    x32 is made from ``x86_64``, which is read where it is not given.
    """
    if arch == X86_64:
        from pycontain.plan.data.syscalls_x86_64 import RUNS
    elif arch == X86:
        from pycontain.plan.data.syscalls_x86 import RUNS
    elif arch == AARCH64:
        from pycontain.plan.data.syscalls_aarch64 import RUNS
    elif arch == ARM:
        from pycontain.plan.data.syscalls_arm import RUNS
    else:
        return _x32(x86_64 or numbers(X86_64))
    table: dict[str, int] = {}
    for first, names in RUNS:
        table.update(zip(names.split(), count(first), strict=False))
    table.pop("-", None)
    return table


def _x32(x86_64: dict[str, int]) -> dict[str, int]:
    from pycontain.plan.data.syscalls_x32 import ABSENT, RUNS

    table = {name: number | X32_BIT for name, number in x86_64.items()}
    for name in ABSENT.split():
        del table[name]
    for first, names in RUNS:
        table.update(zip(names.split(), count(first | X32_BIT), strict=False))
    return table


def unknown_syscalls(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``names`` that no architecture has: misspelt, or newer than our tables. Reads every table."""
    from pycontain.plan.data.syscalls_foreign import NAMES

    known = set(NAMES.split()).union(*(numbers(arch) for arch in (X86_64, X86, AARCH64, ARM)))
    return tuple(name for name in names if name not in known)
