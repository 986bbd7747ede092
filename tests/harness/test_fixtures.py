"""The suite's fixtures and the guests' report fail where they should: each is run by a pytest of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import guests

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def leak_check() -> None:
    """Stand in for the suite's own: the inner pytest takes the same lock."""


def _pytest(directory: Path, source: str, **env: str) -> str:
    (directory / "test_inner.py").write_text(source)
    options = ["-p", "conftest", "-p", "no:cacheprovider", "-rA", "-c", os.devnull, "--rootdir", str(directory)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(directory)],
        env={**os.environ, "PYTHONPATH": str(TESTS), **env},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


def test_a_test_that_leaves_a_process_fails(tmp_path: Path) -> None:
    source = """
import subprocess
kept = []
def test_leaves():
    kept.append(subprocess.Popen(["sleep", "60"]))
def test_takes_away():
    kept.pop().kill()
"""
    output = _pytest(tmp_path, source)
    assert "ERROR test_inner.py::test_leaves - AssertionError: left on the host" in output
    assert "2 passed" in output
    assert "ERROR test_inner.py::test_takes_away - AssertionError: left on the host:" not in output


def test_a_tidy_test_passes(tmp_path: Path) -> None:
    output = _pytest(tmp_path, "import subprocess\ndef test_tidy():\n    subprocess.run(['true'])\n")
    assert "1 passed" in output
    assert "error" not in output


def test_a_missing_ability_is_named(tmp_path: Path) -> None:
    source = """
from harness.probe import requires
@requires("program:sh", "program:no-such-program")
def test_needs(): pass
"""
    assert "this host lacks program:no-such-program" in _pytest(tmp_path, source)


def test_an_unknown_ability_is_an_error() -> None:
    from harness.probe import requires

    with pytest.raises(ValueError, match="no probe for 'cgruop2'"):
        requires("cgruop2")


def test_guest_report_tells_each_outcome(tmp_path: Path) -> None:
    source = """
import pytest
pytestmark = pytest.mark.guest
def test_good(): print("shown")
def test_bad(): assert 1 == 2
def test_skipped(): pytest.skip("the reason")
@pytest.fixture(autouse=True)
def leak_check(): pass
@pytest.fixture
def torn(): yield; raise RuntimeError("in teardown")
def test_torn(torn): pass
@pytest.mark.guest("qemu")
def test_elsewhere(): pass
"""
    report = tmp_path / "report"
    _pytest(tmp_path, source, PYCONTAIN_GUEST="uml", PYCONTAIN_GUEST_REPORT=str(report))
    results = guests.read(report)
    assert {name.rpartition("::")[2]: result["outcome"] for name, result in results.items()} == {
        "test_good": "passed",
        "test_bad": "failed",
        "test_skipped": "skipped",
        "test_torn": "failed",
    }
    text = json.dumps(results)
    assert all(word in text for word in ("assert 1 == 2", "the reason", "in teardown"))
