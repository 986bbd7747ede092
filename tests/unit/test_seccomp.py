"""Compiled seccomp filters: what they answer, compared with a plain reading of the profile and with libseccomp.

libseccomp 2.5 has faults of its own, so it is asked only where it answers what was asked for: several rules about one
call with inequalities or with several conditions make it forget rules or load the wrong argument, and with x32 beside
x86_64 the two share code that they must not share. There the plain reading alone judges.
"""

from __future__ import annotations

import ctypes
import random

import pytest
from harness.examples import examples
from hypothesis import given
from hypothesis import strategies as st
from unit.seccomp_model import Model
from unit.seccomp_oracle import ALLOW, AUDIT, ENOSYS, KILL, X32_BIT, Interpreter, Reference, Refused, load_library

from pycontain.errors import SpecError
from pycontain.plan.seccomp import compile_filter
from pycontain.plan.seccomp_profile import default_profile
from pycontain.plan.seccomp_tables import (
    AARCH64,
    ARM,
    MULTIPLEXED,
    RUNS_ON,
    X32,
    X86,
    X86_64,
    numbers,
    unknown_syscalls,
)
from pycontain.spec.seccomp import ACTIONS, OPERATORS, LinuxSeccomp, LinuxSeccompArg, LinuxSyscall

LIBRARY = load_library()
needs_libseccomp = pytest.mark.skipif(LIBRARY is None, reason="libseccomp.so.2 is missing")
EPERM = 0x50001
DOCKER_CAPS = frozenset(
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
# numbers at the edges of what filters tell apart
EDGES = {0, X32_BIT - 1, X32_BIT, 2 * X32_BIT - 1, 2 * X32_BIT, 3 * X32_BIT, 2**32 - 2, 2**32 - 1}
ARGUMENTS = (0, 8, 38, 39, 40, 41, 0x10000000, 0x20008, 0xFFFFFFFF, 1 << 32, (1 << 32) + 39, 2**64 - 1)

# -- random profiles ------------------------------------------------------------------------------------------------

NAMES = (
    "read",
    "clone",
    "socket",
    "shmat",
    "send",
    "accept4",
    "personality",
    "chown32",
    "socketcall",
    "nosuch",
    "futex",
)
VALUES = st.sampled_from([0, 1, 5, 2**31, 2**32 - 1, 2**32, 2**32 + 5, (5 << 32) + 1, 2**64 - 2**32, 2**64 - 1])
SOME_ACTIONS = st.sampled_from([action for action in ACTIONS if action != "SCMP_ACT_NOTIFY"])
NEAR = st.builds(lambda value, step: (value + step) % 2**64, VALUES, st.sampled_from([-1, 0, 1]))


def conditions(operators: tuple[str, ...]) -> st.SearchStrategy[LinuxSeccompArg]:
    return st.builds(LinuxSeccompArg, st.integers(0, 3), VALUES, VALUES, st.sampled_from(operators))


def rules(
    names: st.SearchStrategy[tuple[str, ...]], args: st.SearchStrategy[list[LinuxSeccompArg]]
) -> st.SearchStrategy[LinuxSyscall]:
    return st.builds(
        lambda names, action, number, args: LinuxSyscall(
            names, action, number if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else None, tuple(args)
        ),
        names,
        SOME_ACTIONS,
        st.sampled_from([None, 3]),
        args,
    )


def profiles(
    syscalls: st.SearchStrategy[list[LinuxSyscall]], arches: tuple[str, ...]
) -> st.SearchStrategy[LinuxSeccomp]:
    return st.builds(
        LinuxSeccomp,
        default_action=SOME_ACTIONS,
        architectures=st.lists(st.sampled_from(arches), unique=True).map(tuple),
        syscalls=syscalls.map(tuple),
    )


SEVERAL_NAMES = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple)
ANY_RULES = st.lists(rules(SEVERAL_NAMES, st.lists(conditions(OPERATORS), max_size=3)), max_size=5)
# one rule about each call, as complicated as may be; or several simple ones about the same call
LONE_RULES = st.lists(st.sampled_from(NAMES), unique=True, max_size=4).flatmap(
    lambda names: st.tuples(
        *(
            rules(st.just((name,)), st.lists(conditions(OPERATORS), max_size=3, unique_by=lambda arg: arg.index))
            for name in names
        )
    )
)
SIMPLE_RULES = st.lists(
    rules(SEVERAL_NAMES, st.lists(conditions(("SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ")), max_size=1)), max_size=5
)


def interesting_numbers(profile: LinuxSeccomp, arch: str) -> set[int]:
    table = numbers(arch)
    named = {table[name] for rule in profile.syscalls for name in rule.names if name in table}
    return named | {102, 117, max(named, default=0) + 1} | EDGES


@given(st.sampled_from(list(RUNS_ON)), profiles(ANY_RULES, tuple(AUDIT)), st.lists(NEAR, min_size=24, max_size=24))
@examples(30)
def test_random_profiles_do_what_they_say(native: str, profile: LinuxSeccomp, values: list[int]) -> None:
    try:
        filter_ = Interpreter(compile_filter(profile, native).program)
    except SpecError as error:
        if "another action" not in error.rule:
            raise
        return
    model = Model(profile, native)
    for arch in AUDIT:
        for number in interesting_numbers(profile, arch):
            for i in range(0, 24, 6):
                args = values[i : i + 6]
                assert filter_.run(AUDIT[arch], number, args) in model.verdicts(arch, number, args)


@needs_libseccomp
@given(
    st.sampled_from(list(RUNS_ON)),
    profiles(st.one_of(LONE_RULES, SIMPLE_RULES), (X86_64, X86, AARCH64, ARM)),
    st.lists(NEAR, min_size=24, max_size=24),
)
@examples(30)
def test_random_profiles_do_what_libseccomp_does(native: str, profile: LinuxSeccomp, values: list[int]) -> None:
    assert LIBRARY
    profile = profile.replace(architectures=tuple(a for a in profile.architectures if a in RUNS_ON[native]))
    try:
        reference = Reference(LIBRARY, profile, native)
    except Refused:
        return
    filter_ = Interpreter(compile_filter(profile, native).program)
    for arch in reference.arches:
        for number in interesting_numbers(profile, arch):
            for i in range(0, 24, 6):
                args = values[i : i + 6]
                assert filter_.run(AUDIT[arch], number, args) == reference.run(arch, number, args)


# -- the default profile --------------------------------------------------------------------------------------------


def without_newer(library: ctypes.CDLL, profile: LinuxSeccomp) -> LinuxSeccomp:
    """Return the profile without the calls that libseccomp numbers otherwise than we do, because it is older."""
    reference = Reference(library, LinuxSeccomp("SCMP_ACT_KILL"), X86_64)
    newer = {
        name
        for arch in AUDIT
        for name, number in numbers(arch).items()
        if reference.number(name, arch) != number and not (arch == X86 and name in MULTIPLEXED)
    }
    kept = [rule.replace(names=tuple(name for name in rule.names if name not in newer)) for rule in profile.syscalls]
    return profile.replace(syscalls=tuple(rule for rule in kept if rule.names))


@needs_libseccomp
@pytest.mark.parametrize("caps", [DOCKER_CAPS, frozenset(), DOCKER_CAPS | {"CAP_SYS_ADMIN", "CAP_SYS_PTRACE"}])
@pytest.mark.parametrize("native", RUNS_ON)
def test_default_profile_does_what_libseccomp_does(native: str, caps: frozenset[str]) -> None:
    assert LIBRARY
    profile = without_newer(LIBRARY, default_profile(caps, native, (6, 18)))
    profile = profile.replace(architectures=tuple(a for a in profile.architectures if a in RUNS_ON[native]))
    reference = Reference(LIBRARY, profile, native)
    filter_ = Interpreter(compile_filter(profile, native).program)
    choice = random.Random(native)
    for arch in reference.arches:
        with_arguments = {numbers(arch).get(name) for name in ("clone", "personality", "socket", "socketcall")}
        first = X32_BIT if arch == X32 else 0
        for number in {*range(first, first + 600), *EDGES, *(choice.getrandbits(32) for _ in range(50))}:
            for value in ARGUMENTS if number in with_arguments else ARGUMENTS[:1]:
                args = (value, *(choice.getrandbits(64) for _ in range(5)))
                assert filter_.run(AUDIT[arch], number, args) == reference.run(arch, number, args), (arch, hex(number))


@pytest.mark.parametrize("native", RUNS_ON)
def test_default_profile_does_what_it_says(native: str) -> None:
    """With the calls that libseccomp here may not know."""
    profile = default_profile(DOCKER_CAPS, native, (6, 18))
    filter_ = Interpreter(compile_filter(profile, native).program)
    model = Model(profile, native)
    for arch in model.arches:
        for number in {*numbers(arch).values(), *EDGES}:
            for value in ARGUMENTS if number in map(numbers(arch).get, ("clone", "personality", "socket")) else (0,):
                args = (value,) * 6
                assert {filter_.run(AUDIT[arch], number, args)} == model.verdicts(arch, number, args)


def verdict(name: str, *args: int, caps: frozenset[str] = DOCKER_CAPS, arch: str = X86_64) -> int:
    filter_ = Interpreter(compile_filter(default_profile(caps, X86_64, (6, 18)), X86_64).program)
    return filter_.run(AUDIT[arch], numbers(arch)[name], (*args, 0, 0, 0, 0, 0, 0)[:6])


def test_default_profile_by_example() -> None:
    assert verdict("read") == verdict("read", arch=X86) == verdict("read", arch=X32) == ALLOW
    assert verdict("unshare") == verdict("keyctl") == verdict("io_uring_setup") == EPERM
    assert verdict("clone3") == ENOSYS
    assert verdict("clone", 0x10000000) == EPERM, "CLONE_NEWUSER"
    assert verdict("clone", 0x01200011) == ALLOW, "fork"
    assert verdict("socket", 38) == EPERM, "AF_ALG"
    assert verdict("socket", 1 << 32 | 38) == ALLOW, "libseccomp compares all 64 bits, the kernel takes the low ones"
    assert verdict("personality", 0x0008) == ALLOW
    assert verdict("personality", 0x0040000) == EPERM, "ADDR_NO_RANDOMIZE"
    assert verdict("statmount") == verdict("mseal") == verdict("removexattrat") == ALLOW, "newer than libseccomp 2.5"
    assert verdict("open_tree_attr") == verdict("listns") == ENOSYS, "newer than the profile"
    assert verdict("unshare", caps=DOCKER_CAPS | {"CAP_SYS_ADMIN"}) == ALLOW


def test_default_profile_is_short() -> None:
    profile = default_profile(DOCKER_CAPS, X86_64, (6, 18))
    assert len(compile_filter(profile, X86_64).program) // 8 < 330
    assert len(compile_filter(profile.replace(architectures=()), X86_64).program) // 8 < 95


# -- rules of their own ---------------------------------------------------------------------------------------------


def compiled(*syscalls: LinuxSyscall, default: str = "SCMP_ACT_ERRNO", arches: tuple[str, ...] = ()) -> Interpreter:
    profile = LinuxSeccomp(default, architectures=arches, syscalls=syscalls)
    return Interpreter(compile_filter(profile, X86_64).program)


@pytest.mark.parametrize(("default", "newer"), [
    ("SCMP_ACT_ERRNO", ENOSYS), ("SCMP_ACT_KILL", ENOSYS), ("SCMP_ACT_KILL_PROCESS", ENOSYS), ("SCMP_ACT_TRAP", ENOSYS),
    ("SCMP_ACT_ALLOW", 0x7FFF0000), ("SCMP_ACT_LOG", 0x7FFC0000), ("SCMP_ACT_TRACE", 0x7FF00001),
])  # fmt: skip
def test_calls_newer_than_the_profile(default: str, newer: int) -> None:
    filter_ = compiled(LinuxSyscall(("openat2",), "SCMP_ACT_KILL_THREAD"), default=default)
    assert filter_.run(AUDIT[X86_64], numbers(X86_64)["openat2"]) == KILL
    assert filter_.run(AUDIT[X86_64], numbers(X86_64)["openat2"] + 1) == newer


def test_foreign_architectures_are_killed() -> None:
    filter_ = compiled(LinuxSyscall(("openat2",), "SCMP_ACT_ALLOW"))
    assert filter_.run(AUDIT[X86], numbers(X86)["openat2"]) == KILL
    assert filter_.run(AUDIT[X86_64], numbers(X32)["openat2"]) == KILL
    assert filter_.run(AUDIT[X86_64], 2**32 - 1) == EPERM, "a tracer's way to skip a call"


def test_i386_reaches_sockets_through_socketcall() -> None:
    filter_ = compiled(LinuxSyscall(("socket", "openat2"), "SCMP_ACT_ALLOW"), arches=(X86,))
    socketcall, socket = numbers(X86)["socketcall"], numbers(X86)["socket"]
    assert filter_.run(AUDIT[X86], socketcall, (1, 0, 0, 0, 0, 0)) == ALLOW
    assert filter_.run(AUDIT[X86], socketcall, (2, 0, 0, 0, 0, 0)) == EPERM
    assert filter_.run(AUDIT[X86], socket) == ALLOW


@pytest.mark.parametrize(
    ("action", "errno_ret", "value"),
    [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x80000000),
        ("SCMP_ACT_TRAP", None, 0x30000),
        ("SCMP_ACT_ERRNO", None, 0x50001),
        ("SCMP_ACT_ERRNO", 0, 0x50000),
        ("SCMP_ACT_ERRNO", 4095, 0x50FFF),
        ("SCMP_ACT_NOTIFY", None, 0x7FC00000),
        ("SCMP_ACT_TRACE", None, 0x7FF00001),
        ("SCMP_ACT_TRACE", 65535, 0x7FF0FFFF),
        ("SCMP_ACT_LOG", None, 0x7FFC0000),
    ],
)
def test_actions(action: str, errno_ret: int | None, value: int) -> None:
    filter_ = compiled(LinuxSyscall(("read",), action, errno_ret), default="SCMP_ACT_ALLOW")
    assert filter_.run(AUDIT[X86_64], 0) == value


def test_flags() -> None:
    def flags(*names: str, action: str = "SCMP_ACT_LOG", absent: bool = False) -> int:
        rule = LinuxSyscall(("read",), action)
        profile = LinuxSeccomp("SCMP_ACT_ALLOW", flags=None if absent else names, syscalls=(rule,))
        return compile_filter(profile, X86_64).flags

    prefix = "SECCOMP_FILTER_FLAG_"
    assert flags(absent=True) == 4
    assert flags() == flags(f"{prefix}TSYNC") == 0
    assert flags(f"{prefix}LOG", f"{prefix}SPEC_ALLOW") == 6
    assert flags(f"{prefix}WAIT_KILLABLE_RECV", action="SCMP_ACT_NOTIFY") == 8 | 32


def test_unresolved_names() -> None:
    names = ("read", "chown32", "riscv_hwprobe", "raed")
    profile = LinuxSeccomp("SCMP_ACT_ALLOW", syscalls=(LinuxSyscall(names, "SCMP_ACT_LOG"),))
    unresolved = compile_filter(profile, X86_64).unresolved
    assert unresolved == ("chown32", "riscv_hwprobe", "raed")
    assert unknown_syscalls(unresolved) == ("raed",)


LOG = "SCMP_ACT_LOG"
ARG = LinuxSeccompArg(0, 1)


@pytest.mark.parametrize(
    ("profile", "path"),
    [
        (LinuxSeccomp("ALLOW"), "p.defaultAction"),
        (LinuxSeccomp("SCMP_ACT_NOTIFY"), "p.defaultAction"),
        (LinuxSeccomp("SCMP_ACT_ALLOW", 1), "p.defaultErrnoRet"),
        (LinuxSeccomp(LOG, architectures=(X86, "x86")), "p.architectures[1]"),
        (LinuxSeccomp(LOG, flags=("LOG",)), "p.flags[0]"),
        (LinuxSeccomp(LOG, flags=("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",)), "p.flags"),
        (LinuxSeccomp(LOG, syscalls=(LinuxSyscall(("read",), "KILL"),)), "p.syscalls[0].action"),
        (LinuxSeccomp(LOG, syscalls=(LinuxSyscall(("read",), "SCMP_ACT_KILL", 1),)), "p.syscalls[0].errnoRet"),
        (LinuxSeccomp(LOG, syscalls=(LinuxSyscall(("read",), "SCMP_ACT_ERRNO", 4096),)), "p.syscalls[0].errnoRet"),
        (LinuxSeccomp(LOG, syscalls=(LinuxSyscall(("write",), "SCMP_ACT_NOTIFY"),)), "p.syscalls[0].action"),
        *(
            (
                LinuxSeccomp(LOG, syscalls=(LinuxSyscall(("read",), "SCMP_ACT_TRAP", None, (arg,)),)),
                f"p.syscalls[0].{at}",
            )
            for arg, at in (
                (ARG.replace(op="=="), "args[0].op"),
                (ARG.replace(index=6), "args[0].index"),
                (ARG.replace(value=-1), "args[0].value"),
                (ARG.replace(value_two=1 << 64), "args[0].valueTwo"),
            )
        ),
        (
            LinuxSeccomp(
                LOG,
                syscalls=(
                    LinuxSyscall(("read",), "SCMP_ACT_TRAP", None, (ARG,)),
                    LinuxSyscall(("read",), "SCMP_ACT_ALLOW", None, (ARG,)),
                ),
            ),
            "p.syscalls[1]",
        ),
    ],
)
def test_wrong_profiles(profile: LinuxSeccomp, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        compile_filter(profile, X86_64, path="p")
    assert caught.value.path == path


def test_program_of_any_length() -> None:
    """Jumps that do not reach their target, up to the kernel's limit."""

    def profile(count: int) -> LinuxSeccomp:
        names = list(numbers(X86_64))[:count]
        args = tuple(LinuxSeccompArg(i, 0x1_0000_0000 + i, 0, "SCMP_CMP_GT") for i in (1, 2))
        rules = [LinuxSyscall((name,), "SCMP_ACT_ERRNO", i, args) for i, name in enumerate(names)]
        return LinuxSeccomp("SCMP_ACT_ALLOW", syscalls=tuple(rules))

    long = profile(300)
    program = compile_filter(long, X86_64).program
    assert len(program) // 8 > 3000
    filter_, model = Interpreter(program), Model(long, X86_64)
    for number in range(0, 310, 3):
        for args in ((0,) * 6, (1 << 40,) * 6):
            assert {filter_.run(AUDIT[X86_64], number, args)} == model.verdicts(X86_64, number, args)
    with pytest.raises(SpecError, match="BPF instructions"):
        compile_filter(profile(380), X86_64)
