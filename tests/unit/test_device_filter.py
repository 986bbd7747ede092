"""The device program, run by an interpreter of our own and compared with models of what it should mean."""

from __future__ import annotations

import itertools
import struct

import pytest
from harness.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from pycontain.engine.resources import device_rules
from pycontain.errors import SpecError
from pycontain.plan.device_filter import (
    DEFAULT_RULES,
    DENY_ALL,
    allows_everything,
    build,
    container_rules,
    normalize,
)
from pycontain.spec.resources import DeviceRule

BITS = {"m": 1, "r": 2, "w": 4}
TYPES = {"b": 1, "c": 2}
ALLOW_ALL = DeviceRule(allow=True)


def bits(access: str) -> int:
    return sum(BITS[letter] for letter in set(access))


def run(program: bytes, kind: str, major: int, minor: int, access: int) -> bool:
    """Interpret the few instructions that the builder emits, on a context as the kernel would pass it."""
    context = struct.pack("=III", access << 16 | TYPES[kind], major, minor)
    code = [struct.unpack("=BBhi", program[at : at + 8]) for at in range(0, len(program), 8)]
    registers: list[int | None] = [None] * 11
    at = 0
    for _ in range(10_000):
        opcode, pair, offset, constant = code[at]
        to, source = pair & 15, pair >> 4
        at += 1
        if opcode == 0x61:
            assert source == 1
            registers[to] = struct.unpack_from("=I", context, offset)[0]
        elif opcode == 0xBF:
            registers[to] = registers[source]
        elif opcode == 0xB7:
            registers[to] = constant
        elif opcode in (0x54, 0x57):
            registers[to] = (registers[to] or 0) & constant
        elif opcode == 0x74:
            registers[to] = (registers[to] or 0) >> constant
        elif opcode in (0x15, 0x55):
            assert registers[to] is not None, "a register is read before it is set"
            assert offset >= 0, "a jump goes backwards"
            if (registers[to] == constant) == (opcode == 0x15):
                at += offset
        elif opcode == 0x95:
            assert registers[0] in (0, 1)
            return bool(registers[0])
        else:
            raise AssertionError(f"opcode {opcode:#x}")
    raise AssertionError("no exit")


class V1:
    """security/device_cgroup.c: a default and exceptions from it, removed and merged only for the very same device."""

    def __init__(self) -> None:
        self.default = True
        self.exceptions: dict[tuple[str, int | None, int | None], int] = {}

    def write(self, rule: DeviceRule) -> None:
        if rule.type == "a":
            self.default, self.exceptions = rule.allow, {}
            return
        key = (rule.type, rule.major, rule.minor)
        if rule.allow == self.default:
            left = self.exceptions.pop(key, 0) & ~bits(rule.access)
            if left:
                self.exceptions[key] = left
        else:
            self.exceptions[key] = self.exceptions.get(key, 0) | bits(rule.access)

    def allows(self, kind: str, major: int, minor: int, access: int) -> bool:
        matching = [
            allowed
            for (k, a, b), allowed in self.exceptions.items()
            if k == kind and a in (None, major) and b in (None, minor)
        ]
        if self.default:
            return not any(access & denied for denied in matching)
        return any(not access & ~allowed for allowed in matching)


def last_match(rules: tuple[DeviceRule, ...], kind: str, major: int, minor: int, bit: int) -> bool:
    """The plain reading of an ordered list, for an access of one bit."""
    verdict = True
    for rule in rules:
        if rule.type == "a" or (
            rule.type == kind
            and rule.major in (None, major)
            and rule.minor in (None, minor)
            and bits(rule.access) & bit
        ):
            verdict = rule.allow
    return verdict


numbers = st.one_of(st.none(), st.sampled_from([1, 2, 5]))
rules_of_one_kind = st.builds(
    DeviceRule,
    allow=st.booleans(),
    type=st.sampled_from("bc"),
    major=numbers,
    minor=numbers,
    access=st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"]),
)
any_rule = st.one_of(rules_of_one_kind, rules_of_one_kind, rules_of_one_kind, st.builds(DeviceRule, st.booleans()))
rule_lists = st.lists(any_rule, max_size=7).map(tuple)
REQUESTS = tuple(itertools.product("bc", (1, 2, 3), (1, 5), range(1, 8)))


def has_exception_from_exception(rules: tuple[DeviceRule, ...]) -> bool:
    first, *rest = normalize(rules)
    return any(rule.allow == first.allow for rule in rest)


@given(rule_lists)
@examples(100)
def test_program_equals_cgroup_v1(rules: tuple[DeviceRule, ...]) -> None:
    if has_exception_from_exception(rules):
        return
    program = build(rules)
    kernel = V1()
    for rule in rules:
        kernel.write(rule)
    for request in REQUESTS:
        assert run(program, *request) == kernel.allows(*request), request


@given(rule_lists)
@examples(100)
def test_program_is_the_plain_reading_and_never_laxer(rules: tuple[DeviceRule, ...]) -> None:
    program = build(rules)
    for kind, major, minor, access in REQUESTS:
        plain = all(last_match(rules, kind, major, minor, bit) for bit in (1, 2, 4) if access & bit)
        got = run(program, kind, major, minor, access)
        assert plain or not got, (kind, major, minor, access)
        if access in (1, 2, 4):
            assert got == plain, (kind, major, minor, access)


@given(rule_lists)
def test_normal_form_says_the_same_again(rules: tuple[DeviceRule, ...]) -> None:
    once = normalize(rules)
    assert once[0].type == "a"
    assert len(once) <= len(rules) + 1
    twice = normalize(once)
    assert len(twice) <= len(once)
    programs = build(once), build(twice)
    for kind, major, minor, access in itertools.product("bc", (0, 1, 2, 7), (0, 1, 2, 7), (1, 2, 4)):
        verdicts = {run(program, kind, major, minor, access) for program in programs}
        assert len(verdicts) == 1, (kind, major, minor, access)


def test_an_access_of_nothing_is_hit_by_no_deny_rule() -> None:
    program = build((ALLOW_ALL, DeviceRule(False, "c", 1, 3)))
    assert run(program, "c", 1, 3, 0)
    assert not run(build((DENY_ALL,)), "c", 1, 3, 0)


def test_partial_deny_hits_a_wider_access() -> None:
    program = build((ALLOW_ALL, DeviceRule(False, "c", 1, 5, "w")))
    assert run(program, "c", 1, 5, BITS["r"])
    assert not run(program, "c", 1, 5, BITS["r"] | BITS["w"])
    assert run(program, "b", 1, 5, BITS["w"])


def test_hole_in_a_wildcard() -> None:
    rules = (DENY_ALL, DeviceRule(True, "c", 1), DeviceRule(False, "c", 1, 5, "w"))
    program = build(rules)
    assert has_exception_from_exception(rules)
    assert run(program, "c", 1, 5, BITS["r"])
    assert not run(program, "c", 1, 5, BITS["w"])
    assert run(program, "c", 1, 3, 7)


def test_rules_for_the_same_device_add_up() -> None:
    rules = normalize((DENY_ALL, DeviceRule(True, "c", 1, 3, "r"), DeviceRule(True, "c", 1, 3, "w")))
    assert rules == (DENY_ALL, DeviceRule(True, "c", 1, 3, "rw"))


def test_a_container_without_rules_has_the_default_devices_only() -> None:
    program = build(container_rules(()))
    for minor in (3, 5, 7, 8, 9):
        assert run(program, "c", 1, minor, 7)
    assert run(program, "c", 136, 12, 7)
    assert run(program, "b", 8, 0, BITS["m"])
    assert not run(program, "b", 8, 0, BITS["r"] | BITS["m"])
    assert not run(program, "c", 1, 1, BITS["r"])
    assert not run(program, "c", 5, 1, BITS["r"])


def test_a_bundle_s_list_says_what_is_allowed() -> None:
    """Whether or not it begins by denying everything, and without taking away what every container has."""
    tun = DeviceRule(True, "c", 10, 200)
    for rules in ((DENY_ALL, tun), (tun,), (tun, DeviceRule(False, "c", 1, 3))):
        program = build(container_rules(rules))
        assert run(program, "c", 10, 200, 6), rules
        assert run(program, "c", 1, 3, 6), rules
        assert not run(program, "b", 8, 0, 2), rules
    assert run(build(container_rules((ALLOW_ALL, DeviceRule(False, "b", 8)))), "c", 10, 200, 6)


def test_docker_s_list_needs_nothing_beside_it() -> None:
    for privileged in (True, False):
        rules = device_rules((), (), privileged=privileged)
        assert container_rules(rules) == normalize(rules)


def test_privileged_needs_no_program() -> None:
    assert allows_everything(container_rules((ALLOW_ALL,)))
    assert allows_everything(())
    assert not allows_everything(container_rules(()))
    assert len(container_rules(())) == len(DEFAULT_RULES) + 1


def test_minus_one_is_any() -> None:
    written = container_rules((DeviceRule(True, "c", -1, 7, "r"), DeviceRule(False, "b", 8, -1)))
    assert written == container_rules((DeviceRule(True, "c", None, 7, "r"), DeviceRule(False, "b", 8, None)))
    assert allows_everything(container_rules((DeviceRule(True, "a", -1, -1),)))


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (DeviceRule(True, "u", 1, 3), "linux.resources.devices[1].type"),
        (DeviceRule(True, "c", 1, 3, "rx"), "linux.resources.devices[1].access"),
        (DeviceRule(True, "c", 1, 3, ""), "linux.resources.devices[1].access"),
        (DeviceRule(True, "c", 4096, 3), "linux.resources.devices[1].major"),
        (DeviceRule(True, "c", 1, 1 << 20), "linux.resources.devices[1].minor"),
        (DeviceRule(True, "c", -2, 1), "linux.resources.devices[1].major"),
        (DeviceRule(True, "a", 1, 3), "linux.resources.devices[1]"),
    ],
)
def test_wrong_rules_are_named(rule: DeviceRule, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        build((DENY_ALL, rule))
    assert caught.value.path == path
