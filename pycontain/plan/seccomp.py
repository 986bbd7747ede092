"""Compile a seccomp profile to the program that the kernel runs before every system call. [lean]

::

    arch = x86_64? ── number ── tree over ranges of numbers ──► ALLOW, ERRNO, … or rules on arguments ──► …
      │ no                      (x32: the numbers from 0x40000000 of the same tree)
    arch = i386? ──── number ── tree …
      │ no
    KILL

Numbers with the same verdict are one range, so Docker's profile has about a hundred ranges where libseccomp compares
with three hundred numbers. Ranges that hold many numbers lie near the root: the kernel runs a new filter once for
every number to learn which ones are always allowed, and that is most of the time that loading takes.

What a profile means is what runc makes of it with libseccomp (see :mod:`pycontain.plan.seccomp_rules`), including
runc's answer to system calls that are newer than the profile: with a default action that refuses, numbers above the
largest one that the profile names return ENOSYS, so that a C library falls back to an older call instead of failing.
Where libseccomp 2.5 forgets rules (several about one call, with inequalities or more than one condition), we do what
the profile says.
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.plan.seccomp_bpf import BPF_MAXINSNS, JEQ, Program, write_tree
from pycontain.plan.seccomp_filter import CompiledFilter
from pycontain.plan.seccomp_rules import (
    ENOSYS,
    RET_KILL_THREAD,
    Ordered,
    action_value,
    narrowed,
    read_rules,
    tests,
    write_rules,
)
from pycontain.plan.seccomp_tables import (
    AUDIT_ARCH,
    MULTIPLEXED,
    RUNS_ON,
    WIDE,
    X32,
    X32_BIT,
    X86,
    X86_64,
    numbers,
)
from pycontain.spec.seccomp import ARCHITECTURES, FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.seccomp_rules import Conditions, Rule
    from pycontain.spec.seccomp import LinuxSeccomp

# offsets in struct seccomp_data
_NUMBER = 0
_ARCH = 4
# linux/seccomp.h: SECCOMP_FILTER_FLAG_*. TSYNC has nothing to do: the filter is loaded by a process of one thread.
_FLAGS = {FLAGS[0]: 0, FLAGS[1]: 1 << 1, FLAGS[2]: 1 << 2, FLAGS[3]: 1 << 5}
_SPEC_ALLOW = 1 << 2
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE_RECV = 1 << 5
# With these default actions new system calls are not refused, so nothing stands in for ENOSYS. Source: runc
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
# above all numbers that kernels have so far, but for x32's and ARM's own
_TABLE_END = 512


class _Section:
    """The verdicts of one architecture by number: what the filter returns, or -1 - an index into the rule lists."""

    __slots__ = ("_conditional", "_table", "_through", "_wide", "largest", "verdicts")

    def __init__(self, arch: str, table: dict[str, int]) -> None:
        self.verdicts: dict[int, int] = {}
        # the largest number that the profile names, 0 without one: like runc, which overlooks a profile about number 0
        self.largest = 0
        self._conditional: dict[int, Ordered] = {}
        self._table = table
        self._through = MULTIPLEXED if arch == X86 else {}
        self._wide = arch in WIDE

    def take(self, rule: Rule, default: int) -> None:
        """Add what one rule says of this architecture."""
        table, verdicts = self._table, self.verdicts
        named = [number for number in map(table.get, rule.names) if number is not None]
        through = [name for name in rule.names if name in self._through] if self._through else []
        # libseccomp has other numbers for calls through socketcall(2) and ipc(2), so runc does not count them
        counted = set(named).difference(map(table.get, through)) if through else named
        self.largest = max(self.largest, *counted, 0)
        if rule.action == default:
            # says nothing, not even where a later rule is about the same call: runc skips it
            return
        alternatives = [narrowed(conditions, self._wide) for conditions in rule.alternatives]
        if alternatives and all(alternatives):
            for number in named:
                self._add(number, alternatives, rule)
        else:
            alternatives = []
            for number in named:
                verdicts.setdefault(number, rule.action)
        for name in through:
            call, first = self._through[name]
            # the call's arguments lie behind a pointer there; what a rule says of them is kept, but for the first one
            rests = [tuple(condition for condition in conditions if condition[0]) for conditions in alternatives]
            selects = (0, "SCMP_CMP_EQ", first, 0xFFFFFFFF)
            self._add(table[call], [(selects, *rest) for rest in rests or [()]], rule)

    def _add(self, number: int, alternatives: list[Conditions], rule: Rule) -> None:
        if number in self.verdicts:
            return
        ordered = self._conditional.get(number)
        if ordered is None:
            ordered = self._conditional[number] = Ordered(self._wide)
        for conditions in alternatives:
            ordered.add(conditions, rule.action, rule.path)

    def finish(self, lists: list[Ordered]) -> None:
        """Move the rules with conditions to ``lists``, but for calls that a rule without conditions decides."""
        for number, ordered in self._conditional.items():
            if number not in self.verdicts:
                lists.append(ordered)
                self.verdicts[number] = -len(lists)


def compile_filter(profile: LinuxSeccomp, native_arch: str, *, path: str = "linux.seccomp") -> CompiledFilter:
    """Return the program for a kernel of ``native_arch``, one of the keys of ``seccomp_tables.RUNS_ON``.

    Architectures that such a kernel cannot run are left out; the native one is always in. ``path`` is the profile's
    JSON path.

    Raises:
        SpecError: a value of the profile is wrong, or the program would be longer than the kernel takes.
    """
    prefix = f"{path}." if path else ""
    default = action_value(
        profile.default_action, profile.default_errno_ret, f"{prefix}defaultAction", f"{prefix}defaultErrnoRet"
    )
    if profile.default_action == "SCMP_ACT_NOTIFY":
        raise SpecError(f"{prefix}defaultAction", "SCMP_ACT_NOTIFY cannot be the default action")
    for i, arch in enumerate(profile.architectures):
        if arch not in ARCHITECTURES:
            raise SpecError(f"{prefix}architectures[{i}]", f'"{arch}" is not one of {", ".join(ARCHITECTURES)}')
    flags = _flags(profile, prefix)
    rules = read_rules(profile, prefix)
    tables: dict[str, dict[str, int]] = {}
    for arch in RUNS_ON[native_arch]:
        if arch == native_arch or arch in profile.architectures:
            tables[arch] = numbers(arch, tables.get(X86_64))
    program = _write(rules, tables, default, refuse=profile.default_action not in _PERMISSIVE)
    if len(program) > BPF_MAXINSNS:
        hint = "fewer conditions on arguments make it shorter"
        raise SpecError(path, f"needs {len(program)} BPF instructions, the kernel takes {BPF_MAXINSNS}", hint=hint)
    unresolved = [name for rule in rules for name in rule.names]
    for table in tables.values():
        unresolved = [name for name in unresolved if name not in table]
    return CompiledFilter(program=program.bytes(), flags=flags, unresolved=tuple(dict.fromkeys(unresolved)))


def _flags(profile: LinuxSeccomp, prefix: str) -> int:
    """Return the flags for seccomp(2); where the profile has no such member, runc's default."""
    listener = any(rule.action == "SCMP_ACT_NOTIFY" for rule in profile.syscalls)
    value = _NEW_LISTENER if listener else 0
    if profile.flags is None:
        return value | _SPEC_ALLOW
    for i, flag in enumerate(profile.flags):
        if flag not in _FLAGS:
            raise SpecError(f"{prefix}flags[{i}]", f'"{flag}" is not one of {", ".join(FLAGS)}')
        value |= _FLAGS[flag]
    if value & _WAIT_KILLABLE_RECV and not listener:
        raise SpecError(f"{prefix}flags", f"{FLAGS[3]} needs a rule with SCMP_ACT_NOTIFY")
    return value


def _write(rules: list[Rule], tables: dict[str, dict[str, int]], default: int, *, refuse: bool) -> Program:
    """Return the program: the choice of the architecture, then a tree for each, the native one first."""
    program = Program()
    lists: list[Ordered] = []
    root = program.ret(RET_KILL_THREAD)
    entries = []
    for arch in reversed(tables):
        if arch == X32:
            continue
        section = _section(rules, tables[arch], arch, default, lists)
        if arch == X86_64:
            x32 = _section(rules, tables[X32], X32, default, lists) if X32 in tables else None
            ranges = _ranges_x86_64(section, x32, default, refuse=refuse)
        else:
            ranges = _Ranges()
            ranges.add_section(section, 0, default, refuse=refuse)
        program.entry(_write_ranges(program, ranges, lists, default))
        entries.append((AUDIT_ARCH[arch], program.load(_NUMBER)))
    for audit_arch, entry in entries:
        root = program.branch(JEQ, audit_arch, entry, root)
    program.entry(root)
    program.load(_ARCH)
    return program


def _section(rules: list[Rule], table: dict[str, int], arch: str, default: int, lists: list[Ordered]) -> _Section:
    """Return what the rules say of one architecture's numbers; rules with conditions are added to ``lists``."""
    section = _Section(arch, table)
    for rule in rules:
        section.take(rule, default)
    section.finish(lists)
    return section


class _Ranges:
    """Ranges of numbers with equal verdicts: range i begins at ``starts[i]``, the last one ends at 2**32 - 1."""

    __slots__ = ("starts", "verdicts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.verdicts: list[int] = []

    def add(self, start: int, verdict: int) -> None:
        """Begin a range, unless the one before has the same verdict."""
        if not self.verdicts or self.verdicts[-1] != verdict:
            self.starts.append(start)
            self.verdicts.append(verdict)

    def add_section(self, section: _Section, start: int, default: int, *, refuse: bool) -> None:
        """Add the verdicts of one architecture, whose numbers begin at ``start``, up to the last number there is."""
        known = section.largest if refuse and section.largest > 0 else 0xFFFFFFFF
        following, last = start, None
        for number, verdict in sorted(section.verdicts.items()):
            if number > known:
                break
            if number != following:
                self.add(following, default)
                last = default
            following = number + 1
            if verdict != last:
                self.add(number, verdict)
                last = verdict
        if following <= known:
            self.add(following, default)
        if known < 0xFFFFFFFF:
            self.add(known + 1, ENOSYS)

    def weights(self) -> list[int]:
        """Return how many numbers below _TABLE_END each range holds, at least 1."""
        ends = [min(start, _TABLE_END) for start in self.starts[1:]] + [_TABLE_END]
        return [max(1, end - start) for start, end in zip(self.starts, ends, strict=True)]


def _ranges_x86_64(section: _Section, x32: _Section | None, default: int, *, refuse: bool) -> _Ranges:
    """Return the ranges of x86_64 with x32, or with what takes the place of x32 where the profile leaves it out.

    Numbers are looked at in quarters, as runc does: bit 30 tells x32, so bits 31 and 30 together make four.
    """
    ranges = _Ranges()
    ranges.add_section(section, 0, default, refuse=refuse)
    if x32:
        ranges.add_section(x32, X32_BIT, default, refuse=refuse)
    else:
        ranges.add(X32_BIT, RET_KILL_THREAD)
    unknown = default if x32 else RET_KILL_THREAD
    ranges.add(2 * X32_BIT, ENOSYS if refuse and section.largest > 0 else unknown)
    ranges.add(3 * X32_BIT, ENOSYS if refuse and x32 and x32.largest > 0 else unknown)
    if not x32:
        # a tracer sets -1 to have a system call skipped, and the filter sees that too. Source: seccomp(2)
        ranges.add(0xFFFFFFFF, default)
    return ranges


def _write_ranges(program: Program, ranges: _Ranges, lists: list[Ordered], default: int) -> int:
    """Write one architecture's tree and the rules on arguments that it leads to; return the position of its root."""
    written: dict[int, int] = {}

    def leaf(verdict: int) -> int:
        if verdict >= 0:
            return program.ret(verdict)
        if verdict not in written:
            ordered = lists[-1 - verdict]
            sequences = [(tests(conditions, ordered.wide), action) for conditions, action in ordered.rules]
            written[verdict] = write_rules(program, sequences, program.ret(default))
        return written[verdict]

    return write_tree(program, ranges.starts, ranges.verdicts, ranges.weights(), leaf)
