"""The library in this process, with a root directory of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.cli import Cli
from harness.waiting import until

import pycontain as library

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def launcher() -> Iterator[None]:
    """Have this process's launcher there before a test is looked at for what it leaves: it would stay until we end."""
    with pytest.raises(library.UsageError):
        library.run("/no/such", ["true"])
    yield
    os.kill(launcher_of(os.getpid()), signal.SIGKILL)
    until(lambda: not servants(os.getpid()))


@pytest.fixture
def run(pycontain: Cli, busybox: Path, launcher: None) -> Run:
    """Return ``pycontain.run`` on a busybox root, whose store must be empty at the end."""

    def call(*command: str, **options: Any) -> library.Result:
        result = library.run(busybox, command, store=pycontain.root, **options)
        assert pycontain.leftovers() == []
        return result

    return call


class Program:
    """A Python program that uses the library, in a process of its own; ``print`` speaks to the test."""

    def __init__(self, text: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", text, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def output(self, timeout: float = 60) -> str:
        """Return what it prints until it ends, which it must do well."""
        out, err = self.process.communicate(timeout=timeout)
        assert (self.process.returncode, err) == (0, ""), out
        return out


def servants(owner: int) -> list[int]:
    """Return the launcher of a process and its makers: those that hold a pidfd of it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text() == "pycontain-launc\n" and f"Pid:\t{owner}\n" in (path.parent / "fdinfo/4").read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue  # gone meanwhile
    return found


def launcher_of(owner: int) -> int:
    """Return the launcher of a process: the one of its servants that no other one has made."""
    parents = {}
    for pid in servants(owner):
        try:
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # a maker that has just done its work
    (pid,) = (pid for pid, parent in parents.items() if parent not in parents)
    return pid


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    """Return a function that starts a :class:`Program`; what still runs at the end is killed."""
    started: list[Program] = []

    def start(text: str, *arguments: object) -> Program:
        started.append(Program(text, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()
        until(lambda one=one: not servants(one.process.pid))
