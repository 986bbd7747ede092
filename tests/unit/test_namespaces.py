"""Which namespaces are made, joined, shared with the host, and made late."""

from __future__ import annotations

import itertools
import os
import re

import pytest
from unit.golden_plans import AUTO, HYBRID, NO_USERNS, V2

from pycontain.kernel import constants
from pycontain.plan.facts import HostFacts, UserNamespace
from pycontain.plan.namespaces import CLONE_FLAGS, PROC_NAMES, Namespaces, compile_namespaces
from pycontain.spec.linux import Linux, Namespace, TimeOffset
from pycontain.spec.root import Root
from pycontain.spec.runtime import Spec

KINDS = ("mount", "uts", "ipc", "pid", "network", "cgroup")


def compiled(
    *entries: Namespace, userns: UserNamespace = NO_USERNS, trees: tuple[tuple[str, str], ...] = V2, **linux: object
) -> Namespaces:
    spec = Spec(oci_version="1.2.0", root=Root("/r"), linux=Linux(namespaces=entries, **linux))  # type: ignore[arg-type]
    return compile_namespaces(spec, HostFacts((6, 18), "x86_64", True, userns, trees))


def test_flags_are_the_kernel_s() -> None:
    names = {"mount": "NS", "network": "NET"}
    for kind, flag in CLONE_FLAGS.items():
        assert getattr(constants, f"CLONE_NEW{names.get(kind, kind.upper())}") == flag
        assert os.path.exists(f"/proc/self/ns/{PROC_NAMES.get(kind, kind)}")


@pytest.mark.parametrize("count", range(len(KINDS) + 1))
def test_what_is_listed_is_new_and_nothing_else(count: int) -> None:
    for kinds in itertools.combinations(KINDS, count):
        spaces = compiled(*map(Namespace, kinds))
        assert {kind for kind in CLONE_FLAGS if spaces.has_new(kind)} == set(kinds)
        assert spaces.clone | spaces.late == sum(CLONE_FLAGS[kind] for kind in kinds)
        assert spaces.clone & spaces.late == 0
        assert not spaces.needs_entry
        for kind in KINDS:
            assert spaces.inherits(kind) == (kind not in kinds)


def test_user_namespace_is_that_of_the_decision() -> None:
    assert compiled(Namespace("mount"), userns=AUTO).has_new("user")
    assert not compiled(Namespace("mount"), userns=NO_USERNS).has_new("user")


def test_user_namespace_is_joined_first() -> None:
    """Without it, entering the others takes privilege over the user namespace that owns them: setns(2)."""
    entries = [Namespace("ipc", "/i"), Namespace("pid", "/p"), Namespace("user", "/u"), Namespace("mount")]
    for order in itertools.permutations(entries):
        spaces = compiled(*order)
        assert spaces.join[0] == ("user", "/u")
        assert set(spaces.join[1:]) == {("ipc", "/i"), ("pid", "/p")}
        assert spaces.needs_entry
        assert spaces.joins("pid")
        assert not spaces.joins("mount")
        assert not spaces.has_new("user")


@pytest.mark.parametrize(("trees", "late"), [(V2, False), ((), False), (HYBRID, True)])
def test_cgroup_namespace_comes_late_where_init_enters_cgroups_itself(
    trees: tuple[tuple[str, str], ...], late: bool
) -> None:
    spaces = compiled(Namespace("cgroup"), Namespace("mount"), trees=trees)
    assert spaces.has_new("cgroup")
    assert bool(spaces.late & CLONE_FLAGS["cgroup"]) == late
    assert bool(spaces.clone & CLONE_FLAGS["cgroup"]) == (not late)


def test_network_namespace_is_made_by_init_while_the_runtime_goes_on() -> None:
    assert compiled(Namespace("network"), Namespace("pid")).late == CLONE_FLAGS["network"]
    assert compiled(Namespace("network", "/proc/1/ns/net"), Namespace("pid")).late == 0


def test_joined_cgroup_namespace_is_never_unshared() -> None:
    spaces = compiled(Namespace("cgroup", "/proc/1/ns/cgroup"), trees=HYBRID)
    assert (spaces.late, spaces.clone) == (0, 0)


def test_clocks_need_a_process_that_enters_first() -> None:
    offsets = {"monotonic": TimeOffset(-2, 500_000_000), "boottime": TimeOffset(3600, 0)}
    spaces = compiled(Namespace("time"), time_offsets=offsets)
    assert spaces.needs_entry
    assert spaces.time_offsets == ("boottime 3600 0\n", "monotonic -2 500000000\n")
    # the kernel's own form: timens_offsets takes <clock> <seconds> <nanoseconds>, nanoseconds never negative
    assert all(re.fullmatch(r"(monotonic|boottime) -?\d+ \d+\n", line) for line in spaces.time_offsets)
