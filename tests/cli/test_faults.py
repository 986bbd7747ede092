"""A system call that fails, whichever it is: the command works all the same, or says so in one line and a hint.

Nothing is left after ``rm -f`` and ``prune``. ``PYCONTAIN_SOAK=N`` lets N times as many calls fail (make soak).
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.disturb import Report, disturbed, points
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root")]

SOAK = int(os.environ.get("PYCONTAIN_SOAK", "1"))
#: How many calls of each command fail in one run of the suite.
EACH = 20

COMMANDS = {
    "run --rm": ["run", "--rm", "ROOT", "--", "/bin/echo", "alive"],
    "run -d": ["run", "-d", "--name", "it", "ROOT", "--", "/bin/sleep", "1000"],
    "exec": ["exec", "it", "/bin/echo", "alive"],
    "rm -f": ["rm", "-f", "it"],
}


def judge(cli: Cli, name: str, report: Report) -> None:
    """Fail unless a command with a failing call has kept its word."""
    assert not any("Traceback" in line for line in report.said)
    if report.code:
        assert len([line for line in report.said if not line.startswith("hint: ")]) == 1
        return
    if name in ("run --rm", "exec"):
        assert report.stdout == "alive\n"
    if name == "rm -f":
        assert cli.containers() == []
    if name in ("run -d", "exec"):
        assert cli.ok("exec", "it", "/bin/echo", "alive") == "alive\n"


def fail(cli: Cli, root: Path, name: str, at: int, error: str) -> Report:
    """Run a command with one failing call; a container that only exec was used on stays for the next."""
    words = [str(root) if word == "ROOT" else word for word in COMMANDS[name]]
    if name in ("exec", "rm -f") and not cli.containers():
        cli.ok("run", "-d", "--name", "it", root, "--", "/bin/sleep", "1000")
    report = disturbed(cli.argv(*words), at, None, error)
    try:
        judge(cli, name, report)
        if name != "exec" or report.code:
            cli.remove_all()
            assert cli.containers() == []
            assert cli.leftovers() == []
    except AssertionError as failed:
        raise AssertionError(f"{name}: call {at} with {error}: {report}") from failed
    return report


@pytest.mark.timeout(300 * SOAK)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_call_that_fails(pycontain: Cli, busybox: Path, name: str) -> None:
    """EMFILE ENOSPC ENOMEM EIO EINTR, in every process of a command and at any of its calls."""
    stops = fail(pycontain, busybox, name, 0, "EIO").stops
    assert {">openat", ">read", ">close"} <= set(stops)
    chosen = list(points(stops, random.Random(name)))
    failed = sum(fail(pycontain, busybox, name, at, error).code != 0 for at, error in chosen[: EACH * SOAK])
    assert failed, "no failure was noticed"
