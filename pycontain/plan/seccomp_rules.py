"""What a profile's rules mean: values of actions, conditions on arguments, which rule is asked first. [lean]

The meaning is libseccomp's, as runc uses it:

* A rule without conditions decides its calls alone; of several the first one counts.
* Conditions of one rule hold together, unless two are about the same argument: then each is a rule of its own.
* Rules of one call with the same action are alternatives. With different actions the order matters, and it is not
  that of the document: higher arguments first; equality, then upper bounds (low ones first), then lower bounds (high
  ones first).
* 32-bit architectures, x32 among them, compare the low words only.
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.plan.seccomp_bpf import JEQ, JGE, JGT
from pycontain.spec.seccomp import ACTIONS, MAX_ARGUMENT, OPERATORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pycontain.plan.seccomp_bpf import Program
    from pycontain.spec.seccomp import LinuxSeccomp, LinuxSeccompArg

    # (argument, operator, value, mask): mask is all ones but with SCMP_CMP_MASKED_EQ
    Condition = tuple[int, str, int, int]
    Conditions = tuple[Condition, ...]
    # a test of one word (offset, mask, jump, value, negated), or of a 64-bit argument (offset, operator, value)
    Test = tuple[int, int, int, int, bool] | tuple[int, str, int]

# linux/seccomp.h: SECCOMP_RET_*
RET_KILL_THREAD = 0x00000000
RET_ERRNO = 0x00050000
ENOSYS = RET_ERRNO | 38
EPERM = 1
_VALUES = {
    "SCMP_ACT_KILL": RET_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": RET_ERRNO,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
# the kernel cuts errno at MAX_ERRNO; a tracer gets SECCOMP_RET_DATA whole
_LARGEST_RETURN = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 0xFFFF}
_ARGS = 16  # offsetof(struct seccomp_data, args)
_LOW = 0xFFFFFFFF
_ALL = 0xFFFFFFFFFFFFFFFF


class Rule:
    """One entry of ``syscalls``; ``alternatives`` is empty for a rule without conditions."""

    __slots__ = ("action", "alternatives", "names", "path")

    def __init__(self, path: str, names: tuple[str, ...], action: int, alternatives: tuple[Conditions, ...]) -> None:
        self.path = path
        self.names = names
        self.action = action
        self.alternatives = alternatives


def action_value(action: str, errno_ret: int | None, path: str, errno_path: str) -> int:
    """Return what a filter returns to the kernel for an action.

    Raises:
        SpecError: unknown action, or ``errno_ret`` with an action that takes none, or out of range.
    """
    value = _VALUES.get(action)
    if value is None:
        raise SpecError(path, f'"{action}" is not one of {", ".join(ACTIONS)}')
    largest = _LARGEST_RETURN.get(action)
    if largest is None:
        if errno_ret is not None:
            raise SpecError(errno_path, f"{action} takes no errno", hint="only SCMP_ACT_ERRNO and SCMP_ACT_TRACE do")
        return value
    if errno_ret is None:
        return value | EPERM
    if not 0 <= errno_ret <= largest:
        raise SpecError(errno_path, f"{errno_ret} is not in 0 to {largest}")
    return value | errno_ret


def read_rules(profile: LinuxSeccomp, path: str) -> list[Rule]:
    """Return the profile's rules, checked; ``path`` is the profile's JSON path.

    Raises:
        SpecError: a value is unknown or out of range.
    """
    rules = []
    for i, entry in enumerate(profile.syscalls):
        where = f"{path}syscalls[{i}]"
        action = action_value(entry.action, entry.errno_ret, f"{where}.action", f"{where}.errnoRet")
        if entry.action == "SCMP_ACT_NOTIFY" and "write" in entry.names:
            # as in runc: whoever hands the listener over from inside the filter must be able to write
            raise SpecError(f"{where}.action", "SCMP_ACT_NOTIFY cannot be used for write")
        alternatives: tuple[Conditions, ...] = ()
        if entry.args:
            conditions = tuple(_condition(arg, f"{where}.args[{k}]") for k, arg in enumerate(entry.args))
            if len({condition[0] for condition in conditions}) < len(conditions):
                alternatives = tuple((condition,) for condition in conditions)
            else:
                alternatives = (tuple(sorted(conditions)),)
        rules.append(Rule(where, entry.names, action, alternatives))
    return rules


def _condition(arg: LinuxSeccompArg, path: str) -> Condition:
    if arg.op not in OPERATORS:
        raise SpecError(f"{path}.op", f'"{arg.op}" is not one of {", ".join(OPERATORS)}')
    if not 0 <= arg.index <= MAX_ARGUMENT:
        raise SpecError(f"{path}.index", f"{arg.index} is not in 0 to {MAX_ARGUMENT}")
    for name, value in (("value", arg.value), ("valueTwo", arg.value_two)):
        if not 0 <= value <= _ALL:
            raise SpecError(f"{path}.{name}", f"{value} is not an unsigned 64-bit number")
    if arg.op == "SCMP_CMP_MASKED_EQ":
        return (arg.index, arg.op, arg.value_two & arg.value, arg.value)
    return (arg.index, arg.op, arg.value, _ALL)


def narrowed(conditions: Conditions, wide: bool) -> Conditions:
    """Return what an architecture compares of the conditions: without those that always hold, low words unless wide."""
    if not wide:
        conditions = tuple((arg, op, value & _LOW, mask & _LOW) for arg, op, value, mask in conditions)
    return tuple(condition for condition in conditions if condition[3])


# -- order ------------------------------------------------------------------------------------------------------

_RANK = {"SCMP_CMP_LE": 1, "SCMP_CMP_LT": 1, "SCMP_CMP_GE": 2, "SCMP_CMP_GT": 2}
# which comparison decides: LT is GE the other way round
_DECIDES = {"SCMP_CMP_NE": "SCMP_CMP_EQ", "SCMP_CMP_LT": "SCMP_CMP_GE", "SCMP_CMP_LE": "SCMP_CMP_GT"}


class Ordered:
    """The conditional rules of one system call on one architecture, in the order in which they are asked."""

    __slots__ = ("_keys", "rules", "wide")

    def __init__(self, wide: bool) -> None:
        self.rules: list[tuple[Conditions, int]] = []
        self._keys: list[list[tuple[int, int, str, int, int]]] = []
        self.wide = wide

    def add(self, conditions: Conditions, action: int, path: str) -> None:
        """Put a rule in its place; one that an earlier rule with fewer conditions covers says nothing.

        Raises:
            SpecError: the same conditions ask for another action already.
        """
        for others, _ in self.rules:
            if others == conditions[: len(others)] and len(others) < len(conditions):
                return
        for others, other in self.rules:
            if others == conditions:
                if other != action:
                    raise SpecError(path, "the same conditions have another action in an earlier rule")
                return
        key = self._key(conditions)
        place = next((i for i, other in enumerate(self._keys) if _precedes(key, other)), len(self.rules))
        self.rules.insert(place, (conditions, action))
        self._keys.insert(place, key)

    def _key(self, conditions: Conditions) -> list[tuple[int, int, str, int, int]]:
        """Return (word, rank, deciding comparison, value, mask) for each word compared; high words are odd."""
        key = []
        for arg, op, value, mask in conditions:
            rank = _RANK.get(op, 0)
            decides = _DECIDES.get(op, op)
            if self.wide:
                key.append((2 * arg + 1, rank, "SCMP_CMP_GT" if rank else decides, value >> 32, mask >> 32))
            key.append((2 * arg, rank, decides, value & _LOW, mask & _LOW))
        return key


def _precedes(new: list[tuple[int, int, str, int, int]], old: list[tuple[int, int, str, int, int]]) -> bool:
    """Tell whether a new rule is asked before an old one; where nothing decides, the old one stays first."""
    for (word, rank, decides, value, mask), (word2, rank2, decides2, value2, mask2) in zip(new, old, strict=False):
        if word != word2:
            return word > word2
        if decides == decides2 and value == value2 and mask == mask2:
            continue
        if rank != rank2:
            return rank < rank2
        return value < value2 if rank == 1 else value > value2
    return False


# -- code -------------------------------------------------------------------------------------------------------


def tests(conditions: Conditions, wide: bool) -> tuple[Test, ...]:
    """Return the tests that must succeed one after the other for the conditions to hold."""
    result: list[Test] = []
    for arg, op, value, mask in conditions:
        offset = _ARGS + 8 * arg
        low, high = value & _LOW, value >> 32
        if op in ("SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"):
            if wide and mask >> 32:
                result.append((offset + 4, mask >> 32, JEQ, high, False))
            if mask & _LOW:
                result.append((offset, mask & _LOW, JEQ, low, False))
        elif wide and not (high == 0 and op in ("SCMP_CMP_LT", "SCMP_CMP_LE")):
            result.append((offset, op, value))
        else:
            if wide:
                result.append((offset + 4, _LOW, JEQ, 0, False))
            result.append((offset, _LOW, _JUMPS[op], low, op in _DECIDES))
    return tuple(result)


_JUMPS = {
    "SCMP_CMP_NE": JEQ,
    "SCMP_CMP_GT": JGT,
    "SCMP_CMP_LE": JGT,
    "SCMP_CMP_GE": JGE,
    "SCMP_CMP_LT": JGE,
}


def write_rules(program: Program, rules: Iterable[tuple[tuple[Test, ...], int]], otherwise: int) -> int:
    """Write rules of one system call, asked in their order; return the position of the first instruction.

    ``otherwise`` is the position for what no rule is about. Neighbours that begin with the same test share it, and
    neighbours that look at the same word load it once.
    """
    groups: list[tuple[Test | None, list[tuple[tuple[Test, ...], int]]]] = []
    for sequence, action in rules:
        if not sequence:
            groups.append((None, [(sequence, action)]))
            break
        if groups and groups[-1][0] == sequence[0]:
            groups[-1][1].append((sequence[1:], action))
        else:
            groups.append((sequence[0], [(sequence[1:], action)]))
    position = otherwise
    for i in range(len(groups) - 1, -1, -1):
        test, members = groups[i]
        if test is None:
            position = program.ret(members[0][1])
            continue
        success = write_rules(program, members, position)
        if len(test) == 3:
            position = _write_wide(program, *test, success, position)
            continue
        offset, mask, jump, value, negated = test
        position = program.branch(jump, value, *((position, success) if negated else (success, position)))
        before = groups[i - 1] if i else None
        # the group before leaves the word in the accumulator, unless its success goes on to other words
        if not (before and before[0] and len(before[0]) == 5 and before[0][:2] == test[:2] and not before[1][0][0]):
            program.entry(position)
            position = program.load(offset, mask)
    return position


def _write_wide(program: Program, offset: int, op: str, value: int, success: int, failure: int) -> int:
    """Write a comparison of a 64-bit argument that no sequence of tests of its words can express."""
    low, high = value & _LOW, value >> 32
    yes, no = (failure, success) if op in _DECIDES else (success, failure)
    position = program.branch(_JUMPS[op], low, yes, no)
    program.entry(position)
    low_word = program.load(offset)
    if op == "SCMP_CMP_NE":
        position = program.branch(JEQ, high, low_word, no)
    elif high == 0:
        position = program.branch(JEQ, high, low_word, yes)
    else:
        position = program.branch(JEQ, high, low_word, no)
        position = program.branch(JGT, high, yes, position)
    program.entry(position)
    return program.load(offset + 4)
