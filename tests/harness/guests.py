"""Tests run again inside the guests: which, how, and what came of each.

A test marked ``guest`` (or lying in ``tests/guest/inside``) runs a second time under another kernel. The guest boots
once per session, at its begin, and runs beside the tests of the host; the inner pytest writes one JSON line per phase
of a test to a file that the host sees at once, so that results survive a guest that hangs.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.images import REPOSITORY

#: Seconds that a guest may take, boot and all, beside the rest of the suite; QEMU without KVM is about ten times slower
#: than the host.
TIME_LIMITS_S = {"uml": 1200, "qemu": 2400}

NAMES = tuple(TIME_LIMITS_S)

#: What each guest needs of the host, as :mod:`harness.probe` names it.
NEEDS = {
    "uml": ("root", "program:linux.uml", "program:busybox"),
    "qemu": ("root", "program:qemu-system-x86_64", "program:busybox"),
}


class GuestReport:
    """Plugin of the inner pytest: appends each phase's report to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Append one line; a skip's text is its reason."""
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        line = {
            "test": report.nodeid,
            "when": report.when,
            "outcome": report.outcome,
            "text": text,
            "seconds": round(report.duration, 3),
            "output": "\n".join(f"-- {title}\n{content}" for title, content in report.sections),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


@functools.cache
def selection(guest: str) -> tuple[str, ...]:
    """Return the node ids of the tests that run inside ``guest``, as a collection there would find them.

    Raises:
        RuntimeError: the collection itself fails.
    """
    environment = {**os.environ, "PYCONTAIN_GUEST": guest}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--no-header", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 5):
        raise RuntimeError(f"collecting the tests of guest {guest} failed:\n{done.stdout}{done.stderr}")
    return tuple(line for line in done.stdout.splitlines() if "::" in line)


def keep_marked(items: list[pytest.Item], guest: str) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return ``items`` split into those that run in ``guest`` and the others."""
    chosen: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        mark = item.get_closest_marker("guest")
        inside = mark is not None and (not mark.args or guest in mark.args) and not item.get_closest_marker("host")
        (chosen if inside else others).append(item)
    return chosen, others


class Guest:
    """A guest that runs tests while others run here, at the lowest priority: it uses what they leave idle."""

    def __init__(self, name: str, tests: Iterable[str], directory: Path) -> None:
        """Boot ``name`` and have it run ``tests``: files or node ids."""
        self._directory = directory
        self._output = directory / "output"
        self._results: dict[str, dict[str, Any]] = {}
        script = REPOSITORY / "tests" / "guest" / "run_in_guest.sh"
        inner = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *sorted(tests)]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["nice", "-n", "19", "sh", str(script), name, *inner],
                cwd=REPOSITORY,
                env={**os.environ, "KEEP_DIR": str(directory), "GUEST_TIMEOUT": str(TIME_LIMITS_S[name])},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def results(self) -> dict[str, dict[str, Any]]:
        """Wait for the end and return ``{node id: result}``.

        A result has ``outcome`` (passed, failed, skipped), ``text`` and ``seconds``; a test that never reported is
        absent. The key ``""`` holds the exit code and the guest's whole output.
        """
        if not self._results:
            code = self._process.wait()
            output = self._output.read_text(errors="replace")
            self._results = {**read(self._directory / "report"), "": {"code": code, "output": output}}
        return self._results

    def close(self) -> None:
        """End it if it still runs: it was not waited for."""
        while self._process.poll() is None:
            for pid in _session(self._process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.1)


def _session(leader: int) -> list[int]:
    """Return the processes of a session."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(ProcessLookupError):
            if os.getsid(pid) == leader:
                found.append(pid)
    return found


def read(report: Path) -> dict[str, dict[str, Any]]:
    """Return ``{node id: result}`` from the lines that :class:`GuestReport` wrote; without a file nothing ran."""
    results: dict[str, dict[str, Any]] = {}
    for line in report.read_text().splitlines() if report.exists() else []:
        _merge(results, json.loads(line))
    return results


def _merge(results: dict[str, dict[str, Any]], phase: dict[str, Any]) -> None:
    """Fold one phase (setup, call, teardown) into its test's result: the worst outcome counts."""
    rank = {"passed": 0, "skipped": 1, "failed": 2}
    result = results.setdefault(phase["test"], {"outcome": "passed", "text": "", "seconds": 0.0})
    result["seconds"] += phase["seconds"]
    if rank[phase["outcome"]] > rank[result["outcome"]]:
        result["outcome"] = phase["outcome"]
    if phase["text"]:
        result["text"] += f"[{phase['when']}] {phase['text']}\n{phase['output']}"
