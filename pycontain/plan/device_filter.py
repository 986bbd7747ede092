"""From an ordered list of device rules to an eBPF program for cgroup v2. Pure. [lean]

The meaning of a list, the same for both generations of cgroups:

* A rule of type ``a`` sets the default for everything and forgets what came before.
* A deny rule hits an access that has *any* of its bits; an allow rule applies to an access that it covers *wholly*.
* The last rule that applies decides. Rules for the very same device are added up, as cgroup v1 does.

cgroup v1 keeps one default and exceptions from it, so it cannot make an exception from an exception ("allow ``c 1:*``,
then deny ``c 1:3``"): the kernel silently ignores the second rule and runc refuses it. The program can, and does;
:func:`normalize` leaves such rules visible (a rule after the first that agrees with the first) so that the writer for
v1 can refuse them.

Source: security/device_cgroup.c, include/uapi/linux/bpf.h (struct bpf_cgroup_dev_ctx);
config-linux.md#allowed-device-list
"""

from __future__ import annotations

import struct

from pycontain.errors import SpecError
from pycontain.spec.resources import DeviceRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DENY_ALL = DeviceRule(allow=False)

# What a container may always use: making any node, and the nodes of config-linux.md#default-devices with /dev/pts.
# The same list as runc's, appended after the config's own rules.
DEFAULT_RULES: tuple[DeviceRule, ...] = (
    DeviceRule(allow=True, type="c", access="m"),
    DeviceRule(allow=True, type="b", access="m"),
    DeviceRule(allow=True, type="c", major=1, minor=3),  # null
    DeviceRule(allow=True, type="c", major=1, minor=5),  # zero
    DeviceRule(allow=True, type="c", major=1, minor=7),  # full
    DeviceRule(allow=True, type="c", major=1, minor=8),  # random
    DeviceRule(allow=True, type="c", major=1, minor=9),  # urandom
    DeviceRule(allow=True, type="c", major=5, minor=0),  # tty
    DeviceRule(allow=True, type="c", major=5, minor=2),  # ptmx
    DeviceRule(allow=True, type="c", major=136),  # pts/*
)

# include/uapi/linux/bpf.h: BPF_DEVCG_ACC_*, BPF_DEVCG_DEV_*
_ACCESS_BITS = {"m": 1, "r": 2, "w": 4}
_TYPES = {"b": 1, "c": 2}
# The kernel's dev_t inside: 12 bits of major, 20 of minor (include/linux/kdev_t.h).
_MAX_MAJOR = (1 << 12) - 1
_MAX_MINOR = (1 << 20) - 1


def container_rules(rules: tuple[DeviceRule, ...]) -> tuple[DeviceRule, ...]:
    """Return what holds in a container whose config lists ``rules``: nothing, then the list, then the defaults."""
    return normalize((DENY_ALL, *rules, *DEFAULT_RULES))


def allows_everything(rules: tuple[DeviceRule, ...]) -> bool:
    """Return whether ``rules`` forbid nothing, so that no program is needed."""
    first, *rest = normalize(rules)
    return first.allow and not rest


def normalize(rules: Iterable[DeviceRule], path: str = "linux.resources.devices") -> tuple[DeviceRule, ...]:
    """Return the shortest equivalent list; its first entry is the default, of type ``a``.

    A list that does not begin with a default begins in a cgroup where everything is allowed.

    Raises:
        SpecError: a rule has an unknown type or access, or a number that no device has; named below ``path``.
    """
    default = True
    entries: list[DeviceRule] = []
    for index, rule in enumerate(rules):
        _check(rule, f"{path}[{index}]")
        if rule.type == "a":
            default = rule.allow
            entries = []
        else:
            _add(entries, default, rule)
    return (DeviceRule(allow=default), *entries)


def _check(rule: DeviceRule, path: str) -> None:
    if rule.type not in ("a", "b", "c"):
        raise SpecError(f"{path}.type", f"{rule.type!r} is not one of a, b, c")
    if not rule.access or any(bit not in _ACCESS_BITS for bit in rule.access):
        raise SpecError(f"{path}.access", f"{rule.access!r} is not made of r, w and m")
    if rule.type == "a" and (rule.major is not None or rule.minor is not None):
        raise SpecError(path, "a rule of type a is for all devices and takes no numbers", hint="say type c or b")
    for name, number, most in (("major", rule.major, _MAX_MAJOR), ("minor", rule.minor, _MAX_MINOR)):
        if number is not None and not 0 <= number <= most:
            raise SpecError(f"{path}.{name}", f"{number} is not between 0 and {most}")


def _add(entries: list[DeviceRule], default: bool, rule: DeviceRule) -> None:
    """Add one rule to ``entries``, which hold exceptions from ``default`` and exceptions from exceptions."""
    bits = _bits(rule.access)
    for index in range(len(entries) - 1, -1, -1):
        entry = entries[index]
        if entry.allow != rule.allow and _same_device(entry, rule):
            left = _bits(entry.access) & ~bits
            if left:
                entries[index] = _with_access(entry, left)
            else:
                del entries[index]
    contradicted = [index for index, entry in enumerate(entries) if entry.allow != rule.allow and _clash(entry, rule)]
    if rule.allow == default and not contradicted:
        return
    for index, entry in enumerate(entries):
        if entry.allow == rule.allow and _same_device(entry, rule) and all(i < index for i in contradicted):
            entries[index] = _with_access(entry, _bits(entry.access) | bits)
            return
    entries.append(_with_access(rule, bits))


def _bits(access: str) -> int:
    bits = 0
    for letter in access:
        bits |= _ACCESS_BITS[letter]
    return bits


def _with_access(rule: DeviceRule, bits: int) -> DeviceRule:
    access = "".join(letter for letter in "rwm" if bits & _ACCESS_BITS[letter])
    return DeviceRule(rule.allow, rule.type, rule.major, rule.minor, access)


def _same_device(one: DeviceRule, other: DeviceRule) -> bool:
    return (one.type, one.major, one.minor) == (other.type, other.major, other.minor)


def _clash(one: DeviceRule, other: DeviceRule) -> bool:
    """Return whether some access to some device is named by both."""
    return (
        one.type == other.type
        and (one.major is None or other.major is None or one.major == other.major)
        and (one.minor is None or other.minor is None or one.minor == other.minor)
        and bool(_bits(one.access) & _bits(other.access))
    )


# Instructions: opcode, destination and source register, jump offset, constant. Source: include/uapi/linux/bpf.h
_LDX_W = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_AND32_K = 0x54
_AND64_K = 0x57
_RSH32_K = 0x74
_MOV64_X = 0xBF
_MOV64_K = 0xB7
_JEQ_K = 0x15
_JNE_K = 0x55
_EXIT = 0x95
_R0, _R1, _TYPE, _ACCESS, _MAJOR, _MINOR, _SCRATCH = range(7)


def build(rules: Iterable[DeviceRule]) -> bytes:
    """Return the instructions of a ``BPF_PROG_TYPE_CGROUP_DEVICE`` program that returns 1 to allow, 0 to refuse.

    The rules are tried from the last to the first; registers hold what is asked: r2 type, r3 access, r4 major, r5
    minor.
    """
    first, *exceptions = normalize(rules)
    parts = [
        _instruction(_LDX_W, _TYPE, _R1, 0, 0),  # access_type: access << 16 | type
        _instruction(_MOV64_X, _ACCESS, _TYPE, 0, 0),
        _instruction(_RSH32_K, _ACCESS, 0, 0, 16),
        _instruction(_AND32_K, _TYPE, 0, 0, 0xFFFF),
        _instruction(_LDX_W, _MAJOR, _R1, 4, 0),
        _instruction(_LDX_W, _MINOR, _R1, 8, 0),
    ]
    parts += [_block(rule) for rule in reversed(exceptions)]
    parts.append(_verdict(first.allow))
    return b"".join(parts)


def _instruction(opcode: int, destination: int, source: int, offset: int, constant: int) -> bytes:
    """Return one ``struct bpf_insn`` in the machine's byte order."""
    registers = source << 4 | destination if _LITTLE_ENDIAN else destination << 4 | source
    return struct.pack("=BBhi", opcode, registers, offset, constant)


_LITTLE_ENDIAN = struct.pack("=H", 1) == b"\1\0"


def _verdict(allow: bool) -> bytes:
    return _instruction(_MOV64_K, _R0, 0, 0, int(allow)) + _instruction(_EXIT, 0, 0, 0, 0)


def _block(rule: DeviceRule) -> bytes:
    """Return one rule: tests that jump behind the block when the rule does not apply, then the verdict."""
    bits = _bits(rule.access)
    tests = [(_JNE_K, _TYPE, _TYPES[rule.type])]
    if rule.major is not None:
        tests.append((_JNE_K, _MAJOR, rule.major))
    if rule.minor is not None:
        tests.append((_JNE_K, _MINOR, rule.minor))
    code: list[tuple[int, int, int, int]] = [(opcode, register, 0, value) for opcode, register, value in tests]
    if not rule.allow:
        # any of the bits; none of them (also an access of nothing at all) is not hit
        code += [(_MOV64_X, _SCRATCH, _ACCESS, 0), (_AND64_K, _SCRATCH, 0, bits), (_JEQ_K, _SCRATCH, 0, 0)]
    elif bits != 7:
        code += [(_MOV64_X, _SCRATCH, _ACCESS, 0), (_AND64_K, _SCRATCH, 0, 7 & ~bits), (_JNE_K, _SCRATCH, 0, 0)]
    behind = len(code) + 2
    return b"".join(
        _instruction(opcode, register, source, behind - index - 1 if opcode in (_JEQ_K, _JNE_K) else 0, value)
        for index, (opcode, register, source, value) in enumerate(code)
    ) + _verdict(rule.allow)
