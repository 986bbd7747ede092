"""What a seccomp profile says, read word by word: slow, without ranges, jumps or shared tests."""

from __future__ import annotations

from collections.abc import Sequence

from unit.seccomp_oracle import ENOSYS, KILL, VALUES, X32_BIT

from pycontain.plan.seccomp_tables import MULTIPLEXED, RUNS_ON, WIDE, X32, X86, X86_64, numbers
from pycontain.spec.seccomp import LinuxSeccomp, LinuxSeccompArg


def value_of(action: str, errno_ret: int | None) -> int:
    number = (1 if errno_ret is None else errno_ret) if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0
    return int(VALUES[action] | number)


def holds(arg: LinuxSeccompArg, value: int, bits: int) -> bool:
    low = (1 << bits) - 1
    value, first, second = value & low, arg.value & low, arg.value_two & low
    return {
        "SCMP_CMP_NE": value != first,
        "SCMP_CMP_LT": value < first,
        "SCMP_CMP_LE": value <= first,
        "SCMP_CMP_EQ": value == first,
        "SCMP_CMP_GE": value >= first,
        "SCMP_CMP_GT": value > first,
        "SCMP_CMP_MASKED_EQ": value & first == second & first,
    }[arg.op]


class Model:
    """Tells which verdicts a profile permits for a call: several where rules of one call contradict each other."""

    def __init__(self, profile: LinuxSeccomp, native: str) -> None:
        self.profile = profile
        self.arches = [arch for arch in RUNS_ON[native] if arch == native or arch in profile.architectures]
        self.tables = {arch: numbers(arch) for arch in self.arches}
        self.largest = {arch: self._largest_number(arch) for arch in self.arches}
        self.rules = {arch: self._rules(arch) for arch in self.arches}
        self.default = value_of(profile.default_action, profile.default_errno_ret)

    def verdicts(self, arch: str, number: int, args: Sequence[int]) -> set[int]:
        if X86_64 in self.arches and arch in (X86_64, X32):
            arch = X32 if number & X32_BIT else X86_64
        if number > self.largest.get(arch, 0) > 0:
            return {ENOSYS}
        if arch in (X86_64, X32) and X86_64 in self.tables and X32 not in self.tables and number >= X32_BIT:
            return {self.default if number == 0xFFFFFFFF else KILL}
        if arch not in self.tables:
            return {KILL}
        rules = self.rules[arch].get(number, [])
        bits = 64 if arch in WIDE else 32
        for action, alternatives in rules:
            if any(not [arg for arg in args_ if not _always(arg, bits)] for args_ in alternatives):
                return {action}
        matching = {
            action
            for action, alternatives in rules
            if any(all(holds(arg, args[arg.index], bits) for arg in args_) for args_ in alternatives)
        }
        return matching or {self.default}

    def _largest_number(self, arch: str) -> int:
        """Return the largest number that the profile names; 0 where newer calls are nothing special."""
        if self.profile.default_action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"):
            return 0
        names = {name for rule in self.profile.syscalls for name in rule.names}
        if arch == X86:
            names -= set(MULTIPLEXED)
        return max((self.tables[arch].get(name, 0) for name in names), default=0)

    def _rules(self, arch: str) -> dict[int, list[tuple[int, list[list[LinuxSeccompArg]]]]]:
        """Return what rules say of each number: actions, each with the alternatives under which it is taken."""
        table = self.tables[arch]
        result: dict[int, list[tuple[int, list[list[LinuxSeccompArg]]]]] = {}
        for rule in self.profile.syscalls:
            action = value_of(rule.action, rule.errno_ret)
            if action == value_of(self.profile.default_action, self.profile.default_errno_ret):
                continue
            repeated = len({arg.index for arg in rule.args}) < len(rule.args)
            alternatives = [[arg] for arg in rule.args] if repeated else [list(rule.args)]
            for name in rule.names:
                if name in table:
                    result.setdefault(table[name], []).append((action, alternatives))
                if arch == X86 and name in MULTIPLEXED:
                    call, first = MULTIPLEXED[name]
                    through = [[LinuxSeccompArg(0, first), *(a for a in args if a.index)] for args in alternatives]
                    result.setdefault(table[call], []).append((action, through))
        return result


def _always(arg: LinuxSeccompArg, bits: int) -> bool:
    return arg.op == "SCMP_CMP_MASKED_EQ" and not arg.value & ((1 << bits) - 1)
