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

    _Entry = tuple[bool, str, int | None, int | None, int]  # allow, type, major, minor, bits of the access
    _Instruction = tuple[int, int, int, int, int]  # opcode, destination and source register, jump, constant

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
_ALL_BITS = 7
_TYPES = {"b": 1, "c": 2}
# The kernel's dev_t inside: 12 bits of major, 20 of minor (include/linux/kdev_t.h).
_MAX_MAJOR = (1 << 12) - 1
_MAX_MINOR = (1 << 20) - 1


def container_rules(rules: tuple[DeviceRule, ...]) -> tuple[DeviceRule, ...]:
    """Return what holds in a container whose config lists ``rules``: nothing, then the list, then the defaults.

    As in runc, a list is one of what is allowed even if it does not begin by denying everything, and it cannot take the
    default devices away. A config without a list asks for no filter: its caller does not come here.
    """
    return normalize((DENY_ALL, *rules, *DEFAULT_RULES))


def allows_everything(rules: tuple[DeviceRule, ...]) -> bool:
    """Return whether ``rules`` forbid nothing, so that no program is needed."""
    default, exceptions = _reduce(rules)
    return default and not exceptions


def normalize(rules: Iterable[DeviceRule], path: str = "linux.resources.devices") -> tuple[DeviceRule, ...]:
    """Return the shortest equivalent list; its first entry is the default, of type ``a``.

    A list that does not begin with a default begins in a cgroup where everything is allowed.

    Raises:
        SpecError: a rule has an unknown type or access, or a number that no device has; named below ``path``.
    """
    default, exceptions = _reduce(rules, path)
    found = [DeviceRule(default)]
    for allow, kind, major, minor, bits in exceptions:
        access = "".join(letter for letter in "rwm" if bits & _ACCESS_BITS[letter])
        found.append(DeviceRule(allow, kind, major, minor, access))
    return tuple(found)


def _reduce(rules: Iterable[DeviceRule], path: str = "linux.resources.devices") -> tuple[bool, list[_Entry]]:
    """Return the default, and exceptions from it and from each other in order."""
    default = True
    entries: list[_Entry] = []
    for index, rule in enumerate(rules):
        # Docker writes -1 for "any"
        major = None if rule.major == -1 else rule.major
        minor = None if rule.minor == -1 else rule.minor
        bits = _check(rule, major, minor, path, index)
        if rule.type == "a":
            default = rule.allow
            entries = []
        else:
            entries = _with(entries, default, (rule.allow, rule.type, major, minor, bits))
    return default, entries


def _check(rule: DeviceRule, major: int | None, minor: int | None, path: str, index: int) -> int:
    """Return the bits of a rule's access.

    Raises:
        SpecError: the rule is wrong.
    """
    bits = 0
    for letter in rule.access:
        bits |= _ACCESS_BITS.get(letter, 8)
    path = f"{path}[{index}]"
    if rule.type not in ("a", "b", "c"):
        raise SpecError(f"{path}.type", f"{rule.type!r} is not one of a, b, c")
    if not 0 < bits < 8:
        raise SpecError(f"{path}.access", f"{rule.access!r} is not made of r, w and m")
    if rule.type == "a" and (major is not None or minor is not None):
        raise SpecError(path, "a rule of type a is for all devices and takes no numbers", hint="say type c or b")
    if major is not None and not 0 <= major <= _MAX_MAJOR:
        raise SpecError(f"{path}.major", f"{major} is not between 0 and {_MAX_MAJOR}")
    if minor is not None and not 0 <= minor <= _MAX_MINOR:
        raise SpecError(f"{path}.minor", f"{minor} is not between 0 and {_MAX_MINOR}")
    return bits


def _with(entries: list[_Entry], default: bool, new: _Entry) -> list[_Entry]:
    """Return ``entries`` with one more rule, in one pass: every start of a container comes here a dozen times."""
    allow, kind, major, minor, bits = new
    kept: list[_Entry] = []
    # indices in ``kept``: the last rule that says otherwise of a device that is ours too; one for the same device
    contradicted = same = -1
    for entry in entries:
        its_allow, its_kind, its_major, its_minor, its_bits = entry
        if its_kind == kind:
            if its_major == major and its_minor == minor:
                if its_allow == allow:
                    same = len(kept)
                elif its_bits & bits:
                    if not its_bits & ~bits:
                        continue
                    entry = (its_allow, kind, major, minor, its_bits & ~bits)
            elif (
                its_allow != allow
                and its_bits & bits
                and (major is None or its_major is None or its_major == major)
                and (minor is None or its_minor is None or its_minor == minor)
            ):
                contradicted = len(kept)
        kept.append(entry)
    if allow == default and contradicted < 0:
        return kept
    if same > contradicted:
        kept[same] = (allow, kind, major, minor, kept[same][4] | bits)
    else:
        kept.append(new)
    return kept


# Opcodes and registers. Source: include/uapi/linux/bpf.h
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

    The rules are tried from the last to the first. Registers hold what is asked: type, access, major, minor.
    """
    default, exceptions = _reduce(rules)
    code: list[_Instruction] = [
        (_LDX_W, _TYPE, _R1, 0, 0),  # access_type: access << 16 | type
        (_MOV64_X, _ACCESS, _TYPE, 0, 0),
        (_RSH32_K, _ACCESS, 0, 0, 16),
        (_AND32_K, _TYPE, 0, 0, 0xFFFF),
        (_LDX_W, _MAJOR, _R1, 4, 0),
        (_LDX_W, _MINOR, _R1, 8, 0),
    ]
    for entry in reversed(exceptions):
        code += _block(entry)
    code += _verdict(default)
    pack, fields = struct.Struct("=BBhi").pack, 0 if _LITTLE_ENDIAN else 4
    # the two registers share a byte in the order of the machine's bit fields
    return b"".join(
        [pack(opcode, to << fields | source << (4 - fields), jump, value) for opcode, to, source, jump, value in code]
    )


_LITTLE_ENDIAN = struct.pack("=H", 1) == b"\1\0"


def _verdict(allow: bool) -> tuple[_Instruction, _Instruction]:
    return (_MOV64_K, _R0, 0, 0, int(allow)), (_EXIT, 0, 0, 0, 0)


def _block(entry: _Entry) -> list[_Instruction]:
    """Return one rule: tests that jump behind the block when the rule does not apply, then the verdict."""
    allow, kind, major, minor, bits = entry
    # any of a deny rule's bits (none of them is not hit), all of an allow rule's
    scratch: tuple[tuple[int, int, int], ...] = ()
    if not allow:
        scratch = ((_MOV64_X, _ACCESS, 0), (_AND64_K, 0, bits), (_JEQ_K, 0, 0))
    elif bits != _ALL_BITS:
        scratch = ((_MOV64_X, _ACCESS, 0), (_AND64_K, 0, _ALL_BITS & ~bits), (_JNE_K, 0, 0))
    # instructions between a test and what is behind the block
    left = 2 + len(scratch) + (major is not None) + (minor is not None)
    code: list[_Instruction] = [(_JNE_K, _TYPE, 0, left, _TYPES[kind])]
    for register, number in ((_MAJOR, major), (_MINOR, minor)):
        if number is not None:
            left -= 1
            code.append((_JNE_K, register, 0, left, number))
    for opcode, source, value in scratch:
        code.append((opcode, _SCRATCH, source, 2 if opcode in (_JEQ_K, _JNE_K) else 0, value))
    code += _verdict(allow)
    return code
