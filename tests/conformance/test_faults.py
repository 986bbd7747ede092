"""A system call that fails, whichever it is: the command works all the same, or says so in one line and leaves nothing.

``PYCONTAIN_SOAK=N`` lets N times as many calls fail (make soak); with about 110 it is all of them.
"""

from __future__ import annotations

import os
import random

import pytest
from harness.disturb import Report, disturbed, points
from harness.oci import Oci
from harness.probe import requires
from harness.subjects import COMMANDS, Subject

pytestmark = requires("root")

SOAK = int(os.environ.get("PYCONTAIN_SOAK", "1"))
#: How many calls of each command fail in one run of the suite.
EACH = 30


def judge(oci: Oci, name: str, report: Report) -> None:
    """Fail unless a command with a failing call has kept its word."""
    assert not any("Traceback" in line for line in report.said)
    if report.code:
        assert len(report.said) == 1
        if name in ("create", "run"):
            # what fails has undone what it had made
            assert oci.left() == []
        return
    assert report.said == []
    if name == "delete":
        assert oci.left() == []
        return
    if name == "create":
        assert oci.state("c")["status"] == "created"
        oci.ok("start", "c")
    if name == "exec":
        assert report.stdout == "alive\n"
    assert oci.state("c")["status"] == "running"
    assert oci.ok("exec", "c", "echo", "alive") == "alive\n"


def fail(subject: Subject, name: str, at: int, error: str) -> Report:
    """Run a command with one failing call; a container that only exec was used on stays for the next."""
    report = disturbed(subject.prepare(name), at, None, error)
    try:
        judge(subject.oci, name, report)
        if name != "exec" or report.code:
            subject.clear()
    except AssertionError as failed:
        raise AssertionError(f"{name}: call {at} with {error}: {report}") from failed
    return report


@pytest.mark.timeout(300 * SOAK)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_call_that_fails(oci: Oci, name: str) -> None:
    """L2: EMFILE ENOSPC ENOMEM EIO EINTR, in every process of a command and at any of its calls."""
    subject = Subject(oci)
    stops = fail(subject, name, 0, "EIO").stops
    assert {">openat", ">read", ">close"} <= set(stops)
    chosen = list(points(stops, random.Random(name)))
    failed = sum(fail(subject, name, at, error).code != 0 for at, error in chosen[: EACH * SOAK])
    assert failed, "no failure was noticed"
