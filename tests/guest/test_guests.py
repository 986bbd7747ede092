"""The part of the suite marked ``guest``, under pure cgroup v2 and kernel 6.1: one test here for each test there.

A skip inside is a skip here with the guest's name, and a test that no guest would run is a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness.guests import NAMES, NEEDS, TIME_LIMITS_S, Guest, selection
from harness.images import REPOSITORY
from harness.probe import requires

pytestmark = pytest.mark.timeout(sum(TIME_LIMITS_S.values()) + 60)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "inner" in metafunc.fixturenames:
        rows = [
            pytest.param(guest, inner, id=f"{guest}-{inner.removeprefix('tests/')}", marks=requires(*NEEDS[guest]))
            for guest in NAMES
            for inner in selection(guest)
        ]
        metafunc.parametrize(("guest", "inner"), rows)


def test_in_guest(guest: str, inner: str, guests: dict[str, Guest]) -> None:
    ran = guests[guest].results()
    result = ran.get(inner)
    assert result is not None, f"{inner} never reported from {guest}:\n{ran['']['output']}"
    if result["outcome"] == "skipped":
        pytest.skip(f"in {guest}: {result['text']}")
    assert result["outcome"] == "passed", f"in {guest}, {result['seconds']:.1f} s:\n{result['text']}"


def test_every_inner_test_runs_in_some_guest(every_guest: dict[str, Guest]) -> None:
    if not every_guest:
        pytest.skip("this host lacks the programs of every guest")
    outcomes: dict[str, set[str]] = {}
    for guest in every_guest.values():
        for inner, result in guest.results().items():
            if inner:
                outcomes.setdefault(inner, set()).add(result["outcome"])
    assert [inner for inner, seen in outcomes.items() if seen == {"skipped"}] == []


def _met(guest: str) -> list[bool]:
    from harness import probe

    return [probe.has(name) for name in NEEDS[guest]]


def test_a_guest_leaves_the_host_alone(tmp_path: Path) -> None:
    """The guest's root is the host's below a throw-away overlay: this file must not come to be."""
    if not all(_met("uml")):
        pytest.skip("this host lacks user-mode-linux")
    import subprocess

    planted = REPOSITORY / "images" / f"planted-{os.getpid()}"
    script = str(REPOSITORY / "tests" / "guest" / "uml_run.sh")
    command = f"touch {planted} && test -e {planted} && echo planted"
    done = subprocess.run(["sh", script, "sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "planted"), done.stderr
    assert not planted.exists()
