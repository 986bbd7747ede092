"""Capabilities, limits, names, scheduling: what a process sets on itself before it becomes a program."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontain.kernel import _sys
from pycontain.kernel import constants as c
from pycontain.plan.process import RLIMITS

InChild = Callable[..., object]
USER = 0 if os.geteuid() == 0 else c.CLONE_NEWUSER


def status(field: str) -> str:
    """Return one field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{field}:"))


def test_capget_agrees_with_proc() -> None:
    assert _sys.capget() == tuple(int(status(name), 16) for name in ("CapEff", "CapPrm", "CapInh"))


def test_capset_sets_all_three_above_and_below_bit_31(in_child: InChild) -> None:
    def drop() -> list[str]:
        keep = 1 << c.CAP_KILL | 1 << 39
        _sys.capset(1 << c.CAP_KILL, keep, keep)
        return [status(name) for name in ("CapEff", "CapPrm", "CapInh")]

    assert in_child(drop, USER) == ["0000000000000020", "0000008000000020", "0000008000000020"]


def test_prctl_sets_ambient_and_name(in_child: InChild) -> None:
    def ambient() -> list[object]:
        bit = 1 << c.CAP_KILL
        _sys.capset(bit, bit, bit)
        _sys.prctl(c.PR_CAP_AMBIENT, c.PR_CAP_AMBIENT_RAISE, c.CAP_KILL)
        _sys.set_name("pycontain:[INIT]x")
        is_set = _sys.prctl(c.PR_CAP_AMBIENT, c.PR_CAP_AMBIENT_IS_SET, c.CAP_KILL)
        return [is_set, status("CapAmb"), Path("/proc/self/comm").read_text()]

    assert in_child(ambient, USER) == [1, "0000000000000020", "pycontain:[INIT\n"]


def test_prlimit_returns_the_old_and_takes_infinity(in_child: InChild) -> None:
    def limit() -> list[object]:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        _sys.prlimit(0, RLIMITS["RLIMIT_NOFILE"], 100, hard)
        old = _sys.prlimit(os.getpid(), RLIMITS["RLIMIT_NOFILE"], 200, hard)
        core = _sys.prlimit(0, RLIMITS["RLIMIT_CORE"], 0, 0)
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        return [old == (100, hard), resource.getrlimit(resource.RLIMIT_NOFILE)[0], len(core)]

    assert in_child(limit) == [True, 200, 2]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard == resource.RLIM_INFINITY:
        assert _sys.prlimit(0, RLIMITS["RLIMIT_FSIZE"], soft, -1) == (soft, -1)


def test_names_of_the_host(in_child: InChild) -> None:
    def names() -> list[str]:
        _sys.sethostname("inside")
        _sys.setdomainname("example")
        return [os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text()]

    assert in_child(names, USER | c.CLONE_NEWUTS) == ["inside", "example\n"]


def test_link_up_brings_up_loopback(in_child: InChild) -> None:
    def up() -> str:
        _sys.link_up("lo")
        return Path("/proc/net/if_inet6").read_text().split()[-1] if has_ipv6 else "lo"

    has_ipv6 = Path("/proc/net/if_inet6").exists()
    assert in_child(up, USER | c.CLONE_NEWNET) == "lo"


@pytest.mark.parametrize("name", ["nosuch", "a name beyond fifteen bytes"])
def test_link_up_names_a_missing_interface(name: str) -> None:
    with pytest.raises(OSError, match=name) as caught:
        _sys.link_up(name)
    assert caught.value.errno == errno.ENODEV


def test_scheduling(in_child: InChild) -> None:
    def batch() -> list[object]:
        _sys.sched_setattr(0, c.SCHED_BATCH, 5, 0, c.SCHED_FLAG_RESET_ON_FORK, 0, 0, 0)
        _sys.ioprio_set(c.IOPRIO_WHO_PROCESS, 0, c.IOPRIO_CLASS_IDLE << c.IOPRIO_CLASS_SHIFT)
        return [os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)]

    assert in_child(batch) == [os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, 5]


def test_scheduling_error_shows_all_operands() -> None:
    with pytest.raises(OSError, match="sched_setattr") as caught:
        _sys.sched_setattr(0, c.SCHED_DEADLINE, 0, 0, 0, 3, 2, 1)
    assert caught.value.filename.endswith("policy=6, nice=0, priority=0, flags=0x0, runtime=3, deadline=2, period=1)")


def test_personality_returns_the_old(in_child: InChild) -> None:
    query = 0xFFFFFFFF

    def linux32() -> list[int]:
        return [_sys.personality(c.PER_LINUX32), _sys.personality(query)]

    assert in_child(linux32) == [_sys.personality(query), c.PER_LINUX32]


def test_memory_policy(in_child: InChild) -> None:
    def policy() -> list[str]:
        _sys.set_mempolicy(c.MPOL_BIND, b"\x01")
        bound = Path("/proc/self/numa_maps").read_text().split()[1]
        _sys.set_mempolicy(c.MPOL_DEFAULT, b"")
        return [bound, Path("/proc/self/numa_maps").read_text().split()[1]]

    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("the kernel has no NUMA")
    assert in_child(policy) == ["bind:0", "default"]


def test_session_keyring(in_child: InChild) -> None:
    def join() -> bool:
        return _sys.keyctl_join_session() != _sys.keyctl_join_session("pycontain-test")

    answer = in_child(join)
    if isinstance(answer, str) and "Function not implemented" in answer:
        pytest.skip("the kernel has no keyrings")
    assert answer is True
