"""What a seccomp filter answers: an interpreter of classic BPF, and libseccomp used as runc uses it."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from pycontain.plan.seccomp_tables import AARCH64, ARM, X32, X86, X86_64
from pycontain.spec.seccomp import OPERATORS, LinuxSeccomp

AUDIT = {X86_64: 0xC000003E, X32: 0xC000003E, X86: 0x40000003, AARCH64: 0xC00000B7, ARM: 0x40000028}
TOKENS = {**AUDIT, X32: 0x4000003E}
X32_BIT = 1 << 30
ALLOW, KILL, ENOSYS = 0x7FFF0000, 0, 0x50026
VALUES = {
    "SCMP_ACT_KILL": KILL,
    "SCMP_ACT_KILL_THREAD": KILL,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": ALLOW,
}
OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE


class Interpreter:
    """Runs a program on made-up system calls; refuses what the kernel's checker would refuse."""

    def __init__(self, program: bytes) -> None:
        self.code = list(struct.iter_unpack("<HBBI", program))
        assert 0 < len(self.code) <= 4096
        for at, (code, yes, no, value) in enumerate(self.code):
            far = value if code == 0x05 else max(yes, no) if code & 7 == 5 else 0
            assert at + 1 + far < len(self.code) or code == 0x06, f"instruction {at} leads out of the program"

    def run(self, audit_arch: int, number: int, args: Sequence[int] = (0,) * 6) -> int:
        words = struct.unpack("<16I", struct.pack("<IIQ6Q", number, audit_arch, 0, *args))
        code, at, accumulator = self.code, 0, 0
        while True:
            operation, yes, no, value = code[at]
            at += 1
            if operation == 0x35:
                at += yes if accumulator >= value else no
            elif operation == 0x15:
                at += yes if accumulator == value else no
            elif operation == 0x25:
                at += yes if accumulator > value else no
            elif operation == 0x06:
                return int(value)
            elif operation == 0x20:
                assert value % 4 == 0
                accumulator = words[value // 4]
            elif operation == 0x54:
                accumulator &= value
            elif operation == 0x05:
                at += value
            else:
                raise AssertionError(f"instruction {operation:#x} is not one that seccomp takes")


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def load_library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    for name in ("arch_add", "arch_remove", "attr_set", "rule_add_array", "export_bpf", "release"):
        getattr(library, f"seccomp_{name}").argtypes = {
            "arch_add": [ctypes.c_void_p, ctypes.c_uint32],
            "arch_remove": [ctypes.c_void_p, ctypes.c_uint32],
            "attr_set": [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32],
            "rule_add_array": [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p],
            "export_bpf": [ctypes.c_void_p, ctypes.c_int],
            "release": [ctypes.c_void_p],
        }[name]
    return library


class Refused(Exception):
    """libseccomp does not take a rule beside those it has."""


class Reference:
    """A profile as runc has it compiled: libseccomp's program behind runc's answer to unknown numbers."""

    def __init__(self, library: ctypes.CDLL, profile: LinuxSeccomp, native: str) -> None:
        self._library = library
        self.arches = list(dict.fromkeys((native, *profile.architectures)))
        self._default = _value(profile.default_action, profile.default_errno_ret)
        self._largest = {arch: self._find_largest(profile, arch) for arch in self.arches}
        self._refuse = profile.default_action not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
        self.program = self._compile(profile)
        self._interpreter = Interpreter(self.program)

    def number(self, name: str, arch: str) -> int:
        """Return a number of one architecture, negative where it has none; -1: libseccomp does not know the name."""
        return int(self._library.seccomp_syscall_resolve_name_arch(TOKENS[arch], name.encode()))

    def run(self, arch: str, number: int, args: Sequence[int] = (0,) * 6) -> int:
        """Return the verdict; the number counts, not whether ``arch`` is X86_64 or X32."""
        if self._refuse:
            if arch in (X86_64, X32):
                arch = X32 if number & X32_BIT else X86_64
            if number > self._largest.get(arch, -1) >= 0:
                return ENOSYS
        return self._interpreter.run(AUDIT[arch], number, args)

    def _find_largest(self, profile: LinuxSeccomp, arch: str) -> int:
        numbers = [self.number(name, arch) for rule in profile.syscalls for name in rule.names]
        # runc begins to count with 0, so that a profile about number 0 alone has no largest number
        return max(numbers, default=-1) or -1

    def _compile(self, profile: LinuxSeccomp) -> bytes:
        library = self._library
        context = library.seccomp_init(ctypes.c_uint32(self._default))
        try:
            for arch in self.arches:
                assert library.seccomp_arch_add(context, TOKENS[arch]) in (0, -errno.EEXIST)
            for token in set(TOKENS.values()) - {TOKENS[arch] for arch in self.arches}:
                library.seccomp_arch_remove(context, token)
            if any(number >= 0 for number in self._largest.values()):
                # runc asks for the tree with many rules only; without it libseccomp 2.5 forgets to load the number
                # where the first call of x86_64 with x32 is one that they do not have
                library.seccomp_attr_set(context, OPTIMIZE, 2)
            for rule in profile.syscalls:
                action = _value(rule.action, rule.errno_ret)
                conditions = [_Comparison(a.index, 1 + OPERATORS.index(a.op), a.value, a.value_two) for a in rule.args]
                repeated = len({a.index for a in rule.args}) < len(rule.args)
                for name in rule.names if action != self._default else ():
                    for part in [[c] for c in conditions] if repeated else [conditions]:
                        self._add(context, action, name, part)
            return self._export(context)
        finally:
            library.seccomp_release(context)

    def _add(self, context: int, action: int, name: str, conditions: list[_Comparison]) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            return
        array = (_Comparison * len(conditions))(*conditions)
        code = self._library.seccomp_rule_add_array(context, action, number, len(conditions), array)
        if code:
            raise Refused(f"{name}: {os.strerror(-code)}")

    def _export(self, context: int) -> bytes:
        fd = os.memfd_create("bpf")
        try:
            assert self._library.seccomp_export_bpf(context, fd) == 0
            return os.pread(fd, 1 << 20, 0)
        finally:
            os.close(fd)


def _value(action: str, errno_ret: int | None) -> int:
    number = (1 if errno_ret is None else errno_ret) if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0
    return int(VALUES[action] | number)
