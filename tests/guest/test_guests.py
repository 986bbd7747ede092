"""The part of the suite marked ``guest``, under pure cgroup v2 and kernel 6.1: one test here for each test there.

A skip inside is a skip here with the guest's name, and a test that no guest would run is a failure.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest
from harness import guests
from harness.images import REPOSITORY, rootfs
from harness.probe import requires

#: What each guest needs of the host, with the Debian packages.
NEEDS = {
    "uml": requires("root", "program:linux.uml", "program:busybox"),
    "qemu": requires("root", "program:qemu-system-x86_64", "program:busybox"),
}


@functools.cache
def _selected(guest: str) -> tuple[str, ...]:
    return tuple(guests.selection(guest))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "inner" in metafunc.fixturenames:
        rows = [
            pytest.param(guest, inner, id=f"{guest}-{inner.removeprefix('tests/')}", marks=NEEDS[guest])
            for guest in guests.NAMES
            for inner in _selected(guest)
        ]
        metafunc.parametrize(("guest", "inner"), rows)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function from a guest's name to the results of its one run."""
    rootfs("busybox")  # a guest's writes are dropped: what it needs must be built outside

    @functools.cache
    def of(guest: str) -> dict[str, dict[str, Any]]:
        return guests.run(guest, _selected(guest), tmp_path_factory.mktemp(guest))

    return of


@pytest.mark.timeout(sum(guests.TIME_LIMITS_S.values()) + 60)
def test_in_guest(guest: str, inner: str, results: Any) -> None:
    ran = results(guest)
    result = ran.get(inner)
    assert result is not None, f"{inner} never reported from {guest}:\n{ran['']['output']}"
    if result["outcome"] == "skipped":
        pytest.skip(f"in {guest}: {result['text']}")
    assert result["outcome"] == "passed", f"in {guest}, {result['seconds']:.1f} s:\n{result['text']}"


@pytest.mark.parametrize("guest", [pytest.param(name, marks=mark) for name, mark in NEEDS.items()])
def test_nothing_ran_that_is_not_shown(guest: str, results: Any) -> None:
    ran = results(guest)
    assert set(ran) - {""} == set(_selected(guest)), ran[""]["output"]


def test_every_inner_test_runs_in_some_guest(results: Any) -> None:
    present = [name for name in guests.NAMES if all(_met(name))]
    if not present:
        pytest.skip("this host lacks the programs of every guest")
    outcomes: dict[str, set[str]] = {}
    for guest in present:
        for inner in _selected(guest):
            outcomes.setdefault(inner, set()).add(results(guest).get(inner, {}).get("outcome", "missing"))
    assert [inner for inner, seen in outcomes.items() if seen == {"skipped"}] == []


def _met(guest: str) -> list[bool]:
    from harness import probe

    return [probe.has(name) for name in NEEDS[guest].args]


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
