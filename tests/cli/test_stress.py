"""Many containers: at once and one after another; each does its work, and nothing of any is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness import leaks
from harness.cli import Cli

pytestmark = [pytest.mark.runtime]

AT_ONCE = 32
IN_SEQUENCE = 200


def test_many_at_once(pycontain: Cli, busybox: Path) -> None:
    """Different ranges of ids, different cgroups, different names: nobody gets in anybody's way."""
    script = "cut -c12-22 /proc/self/uid_map; hostname"
    running = [pycontain.popen("run", "--rm", busybox, "--", "/bin/sh", "-c", script) for _ in range(AT_ONCE)]
    said = [process.communicate(timeout=120) for process in running]
    assert [(process.returncode, err) for process, (_, err) in zip(running, said, strict=True)] == [(0, "")] * AT_ONCE
    ranges, names = zip(*(out.split() for out, _ in said), strict=True)
    assert len(set(ranges)) == len(set(names)) == AT_ONCE


def test_many_detached_at_once(pycontain: Cli, busybox: Path) -> None:
    running = [
        pycontain.popen("run", "-d", "--name", f"many{number}", busybox, "--", "/bin/sleep", "60")
        for number in range(AT_ONCE)
    ]
    ids = [process.communicate(timeout=120)[0].strip() for process in running]
    assert all(len(container) == 64 for container in ids)
    assert sorted(pycontain.ok("ps", "-q", "--no-trunc").split()) == sorted(ids)
    pycontain.ok("rm", "-f", *ids, timeout=120)
    assert pycontain.ok("ps", "-aq") == ""


def test_a_name_has_one_winner(pycontain: Cli, busybox: Path) -> None:
    running = [pycontain.popen("run", "-d", "--name", "same", busybox, "--", "/bin/sleep", "60") for _ in range(12)]
    said = [(process.communicate(timeout=120)[1], process.returncode) for process in running]
    losers = [err for err, code in said if code == 125]
    assert len(losers) == 11, said
    assert all("'same' is in use" in err for err in losers)
    pycontain.ok("rm", "-f", "same")


def test_many_in_sequence(pycontain: Cli, busybox: Path) -> None:
    before = leaks.take()
    open_files = len(os.listdir("/proc/self/fd"))
    for number in range(IN_SEQUENCE):
        assert pycontain.ok("run", "--rm", busybox, "--", "/bin/echo", str(number)) == f"{number}\n"
    assert len(os.listdir("/proc/self/fd")) == open_files
    if not os.environ.get("PYCONTAIN_TESTS_SHARED"):
        assert leaks.left_since(before) == []
    assert pycontain.leftovers() == []
