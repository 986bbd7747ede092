"""Filters in the kernel itself: loaded without privilege by a child, which then makes the calls."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable

import pytest

from pycontain.plan.seccomp import compile_filter
from pycontain.plan.seccomp_profile import default_profile
from pycontain.plan.seccomp_tables import X32_BIT, native_arch, numbers
from pycontain.spec.seccomp import LinuxSeccomp, LinuxSeccompArg, LinuxSyscall

MACHINE = os.uname().machine
pytestmark = pytest.mark.skipif(MACHINE not in ("x86_64", "aarch64"), reason=f"no numbers for {MACHINE}")
NATIVE = native_arch(MACHINE) if MACHINE in ("x86_64", "aarch64") else ""
MAJOR, MINOR = (int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1


class Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def call(number: int, *args: int) -> int:
    """Return what a system call returns, an error as its negative number."""
    result = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(arg) for arg in args))
    return -ctypes.get_errno() if result == -1 else int(result)


def load(program: bytes, flags: int = 0) -> int:
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    argument = ctypes.byref(Program(len(program) // 8, program))
    result = LIBC.syscall(ctypes.c_long(numbers(NATIVE)["seccomp"]), SECCOMP_SET_MODE_FILTER, flags, argument)
    return -ctypes.get_errno() if result else 0


def in_child(body: Callable[[], list[int]]) -> tuple[list[int], int]:
    """Return what ``body`` returned in a child, and the child's wait status."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, ",".join(map(str, body())).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    return [int(word) for word in text.split(",") if word], os.waitpid(pid, 0)[1]


def test_default_profile() -> None:
    compiled = compile_filter(default_profile(frozenset(["CAP_SYS_CHROOT"]), NATIVE, (MAJOR, MINOR)), NATIVE)
    table = numbers(NATIVE)
    calls = [
        ("unshare", (0x10000000,), -errno.EPERM),
        ("clone3", (0, 0), -errno.ENOSYS),
        ("keyctl", (0, -1, 0), -errno.EPERM),
        ("personality", (0x0040000,), -errno.EPERM),
        ("socket", (38, 5, 0), -errno.EPERM),
        ("socket", (1 << 20, 1, 0), -errno.EAFNOSUPPORT),
        ("listns", (0, 0, 0, 0), -errno.ENOSYS),
        ("getppid", (), os.getpid()),
    ]

    def body() -> list[int]:
        loaded = load(compiled.program, compiled.flags)
        others = [call(1000), call(table["personality"], 0xFFFFFFFF)]
        return [loaded, *others, *(call(table[name], *args) for name, args, _ in calls)]

    (loaded, unknown, personality, *results), status = in_child(body)
    assert (loaded, status) == (0, 0)
    assert unknown == -errno.ENOSYS
    assert personality >= 0, "asking is allowed"
    assert results == [expected for _, _, expected in calls]


def test_arguments_of_64_bits() -> None:
    args = (LinuxSeccompArg(1, 0x2_0000_0001, op="SCMP_CMP_GE"), LinuxSeccompArg(0, 0x1_0000_0003, op="SCMP_CMP_LT"))
    rules = (LinuxSyscall(("getpgid",), "SCMP_ACT_ERRNO", 77, args),)
    program = compile_filter(LinuxSeccomp("SCMP_ACT_ALLOW", syscalls=rules), NATIVE).program
    number = numbers(NATIVE)["getpgid"]
    low, high, bound = 0x1_0000_0002, 0x1_0000_0003, 0x2_0000_0001

    def body() -> list[int]:
        return [
            load(program),
            *(call(number, *args) for args in ((low, bound), (0, 1 << 63), (high, bound), (0, bound - 1))),
        ]

    (loaded, *results), status = in_child(body)
    assert (loaded, status) == (0, 0)
    assert [result == -77 for result in results] == [True, True, False, False]


@pytest.mark.skipif(MACHINE != "x86_64", reason="x32 is an ABI of x86_64")
def test_numbers_of_an_architecture_that_is_left_out_kill() -> None:
    program = compile_filter(LinuxSeccomp("SCMP_ACT_ALLOW"), NATIVE).program

    def body() -> list[int]:
        load(program)
        return [call(X32_BIT | numbers(NATIVE)["getpid"])]

    results, status = in_child(body)
    assert results == []
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGSYS


def test_a_profile_that_allows_next_to_nothing() -> None:
    rules = (LinuxSyscall(("write", "exit_group"), "SCMP_ACT_ALLOW"),)
    program = compile_filter(LinuxSeccomp("SCMP_ACT_KILL_PROCESS", syscalls=rules), NATIVE).program

    def body() -> list[int]:
        load(program)
        LIBC.syscall(ctypes.c_long(numbers(NATIVE)["getppid"]))
        return [1]

    results, status = in_child(body)
    assert results == []
    assert os.WIFSIGNALED(status)


def test_longest_program_is_taken() -> None:
    names = list(numbers(NATIVE))
    args = tuple(LinuxSeccompArg(i, 0x1_0000_0000 + i, 0, "SCMP_CMP_GT") for i in (1, 2))

    def program(count: int) -> bytes:
        rules = tuple(LinuxSyscall((name,), "SCMP_ACT_ERRNO", i, args) for i, name in enumerate(names[-count:]))
        return compile_filter(LinuxSeccomp("SCMP_ACT_ALLOW", syscalls=rules), NATIVE).program

    long = program(290)
    assert 3000 < len(long) // 8 <= 4096
    assert in_child(lambda: [load(long)]) == ([0], 0)
