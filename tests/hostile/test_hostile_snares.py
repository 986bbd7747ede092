"""Processes of a container that stop or trace whatever comes in hold up nobody on the host for ever."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from harness import programs
from harness.cli import Cli, describe
from harness.probe import requires
from harness.waiting import until

pytestmark = [pytest.mark.runtime, requires("root", "program:gcc")]


@pytest.fixture
def snare(root: Path) -> Path:
    """Compile snare.c into the root, as /snare."""
    programs.build(Path(__file__).with_name("snare.c"), root / "snare")
    return root


def lay(pycontain: Cli, root: Path, *words: str, options: tuple[str, ...] = ()) -> None:
    """Start a container ``snare`` whose first process lies in wait."""
    script = f"sleep 1000 & exec /snare {' '.join(words)}" if words[0] == "keep" else f"/snare {' '.join(words)}"
    pycontain.ok("run", "-d", "--name", "snare", *options, root, "--", "/bin/sh", "-c", script)
    until(lambda: "ready" in pycontain.ok("logs", "snare"))


HOST = ("--userns", "host", "--cap-add", "SYS_PTRACE")


@pytest.mark.parametrize(("how", "options"), [("stop", ()), ("stop", HOST), ("trace", HOST)])
def test_who_comes_in_is_not_held_for_ever(pycontain: Cli, snare: Path, how: str, options: tuple[str, ...]) -> None:
    lay(pycontain, snare, how, options=options)
    caught = 0
    for _ in range(4):
        started = time.monotonic()
        # a program that runs is theirs to stop, and nobody waits for it here
        done = pycontain.run("exec", "-d", "snare", "/bin/true", timeout=40)
        assert time.monotonic() - started < 30
        assert done.returncode in (0, 125), describe(done)
        caught += done.returncode == 125 and "stopped before its program began" in done.stderr
    # control: somebody was caught, or the snare is none
    assert caught > 0
    pycontain.ok("rm", "-f", "snare")


def test_who_joins_is_not_held_for_ever(pycontain: Cli, snare: Path, busybox: Path) -> None:
    lay(pycontain, snare, "stop")
    for detached in ([], ["-d"]):
        words = ["run", *detached, "--pid", "container:snare", busybox, "--", "/bin/true"]
        done = pycontain.run(*words, timeout=60)
        assert done.returncode in (125, 137), describe(done)


@pytest.mark.parametrize(("signal", "code"), [(9, 137), (0, 0)])
def test_the_end_of_a_program_is_seen_though_its_tracer_keeps_it(
    pycontain: Cli, snare: Path, signal: int, code: int
) -> None:
    lay(pycontain, snare, "keep", "victim")
    with pycontain.popen("exec", "snare", "/snare", "die", str(signal)) as command:
        out, error = command.communicate(timeout=30)
    assert (command.returncode, out) == (code, ""), error
    # control: it was traced to its end, and is there as long as its tracer is
    names = pycontain.ok("exec", "snare", "/bin/sh", "-c", "cat /proc/[0-9]*/stat")
    assert "(victim) Z" in names
