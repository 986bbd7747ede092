"""The tables of system call numbers, compared with libseccomp's, which comes from other hands."""

from __future__ import annotations

import pytest
from unit.seccomp_oracle import AUDIT, Reference, load_library

from pycontain.errors import HostError
from pycontain.plan.seccomp_tables import (
    AARCH64,
    ARM,
    MULTIPLEXED,
    RUNS_ON,
    X32,
    X32_BIT,
    X86,
    X86_64,
    native_arch,
    numbers,
)
from pycontain.spec.seccomp import LinuxSeccomp

LIBRARY = load_library()
NEWEST = {"mseal": 462, "removexattrat": 466, "open_tree_attr": 467, "file_setattr": 469, "listns": 470}


@pytest.mark.skipif(LIBRARY is None, reason="libseccomp.so.2 is missing")
@pytest.mark.parametrize("arch", AUDIT)
def test_numbers_are_those_of_libseccomp(arch: str) -> None:
    assert LIBRARY
    reference = Reference(LIBRARY, LinuxSeccomp("SCMP_ACT_KILL"), X86_64)
    theirs = {name: reference.number(name, arch) for name in numbers(arch)}
    different = {name for name, number in numbers(arch).items() if theirs[name] != number}
    # theirs has -1 for a name that no architecture has: newer than the library
    older = {name for name in different if theirs[name] == -1}
    assert older <= {
        name for name, number in numbers(arch).items() if 335 <= number & ~X32_BIT <= 336 or number & ~X32_BIT >= 450
    }
    expected = (
        set(MULTIPLEXED) if arch == X86 else {"map_shadow_stack", "memfd_secret"} if arch in (X32, ARM) else set()
    )
    assert different - older <= expected


@pytest.mark.parametrize("arch", AUDIT)
def test_newest_calls_have_one_number_everywhere(arch: str) -> None:
    bit = X32_BIT if arch == X32 else 0
    assert {name: numbers(arch)[name] - bit for name in NEWEST} == NEWEST
    assert "-" not in numbers(arch)


@pytest.mark.parametrize("arch", AUDIT)
def test_numbers_are_used_once(arch: str) -> None:
    assert len(set(numbers(arch).values())) == len(numbers(arch))


def test_examples() -> None:
    assert [numbers(arch)["openat"] for arch in (X86_64, X86, AARCH64, ARM)] == [257, 295, 56, 322]
    assert numbers(X32)["execve"] == X32_BIT | 520
    assert numbers(X32)["read"] == X32_BIT
    assert "uselib" not in numbers(X32)
    assert "open" not in numbers(AARCH64)
    assert numbers(ARM)["set_tls"] == 0xF0005


def test_native_arch() -> None:
    assert native_arch("x86_64") == X86_64
    assert native_arch("armv7l") == ARM
    assert set(RUNS_ON) == {X86_64, X86, AARCH64, ARM}
    with pytest.raises(HostError, match="alpha"):
        native_arch("alpha")
