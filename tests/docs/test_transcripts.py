"""Every transcript in README and the manual is true: its commands are run and print what it says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.documents import REPOSITORY, Transcript, fits, matches, table, transcripts
from harness import images, probe
from harness.cli import LAUNCHER, Cli
from harness.ordinary_user import OrdinaryUser

pytestmark = pytest.mark.runtime

ALL = transcripts()
RUN = [one for one in ALL if "shown" not in one.words]
MARK = "<<next command>>"
#: Begins a line that a host whose root is itself an overlay, as in a container, says at every run of @host.
NOTE = "pycontain: @host: owners cannot be shifted"


class Desk:
    """A directory with a root file system in ``rootfs``, and a shell in which ``pycontain`` keeps its things apart."""

    def __init__(self, cli: Cli, directory: Path) -> None:
        self.cli = cli
        self.directory = directory
        program = directory / "bin" / "pycontain"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {LAUNCHER} --root {cli.root} "$@"\n')
        program.chmod(0o755)

    def type(self, commands: list[str]) -> list[list[str]]:
        """Run commands in one shell and return the lines that each of them printed, errors among them."""
        script = ["exec 2>&1", f"export LC_ALL=C.UTF-8 PATH={self.directory}/bin:$PATH", f"cd {self.directory}"]
        for command in commands:
            # $? is the last command's for the next one
            script.append(f"(code=$?; echo; echo '{MARK}'; exit $code)")
            script.append(command)
        done = subprocess.run(
            [*self.cli.prefix, "bash", "-c", "\n".join(script)],
            env=self.cli.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            start_new_session=True,
        )
        parts = done.stdout.split(f"\n{MARK}\n")
        assert parts[0] == "", done.stdout
        assert len(parts) == len(commands) + 1, done.stdout
        # a newline of ours stands before the mark
        return [_lines(part.removesuffix("\n")) for part in parts[1:]]


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if not line.startswith(NOTE)] if text.strip("\n") else []


@pytest.fixture
def desk(pycontain: Cli, busybox: Path) -> Iterator[Desk]:
    directory = images.memory_directory("pycontain-docs-")
    try:
        (directory / "rootfs").symlink_to(busybox)
        yield Desk(pycontain, directory)
    finally:
        images.remove(directory)


@pytest.fixture
def users_desk(user: OrdinaryUser, busybox: Path) -> Desk:
    user.rootfs(busybox)
    desk = Desk(user.cli(), user.home)
    os.chown(user.home / "bin", user.uid, user.uid)
    return desk


@pytest.mark.parametrize("transcript", RUN, ids=str)
def test_transcript(transcript: Transcript, request: pytest.FixtureRequest) -> None:
    missing = [name for name in transcript.needs if not probe.has(name)]
    if missing:
        pytest.skip(f"this host lacks {', '.join(missing)}")
    desk: Desk = request.getfixturevalue("users_desk" if "user" in transcript.words else "desk")
    printed = desk.type([command.text for command in transcript.commands])
    for command, lines in zip(transcript.commands, printed, strict=True):
        assert matches(command.expected, lines), f"$ {command.text}\n" + "\n".join(lines)


ISOLATION = table(REPOSITORY / "README.md", "| what | how | command inside")


def test_what_is_isolated(desk: Desk) -> None:
    printed = desk.type([f"pycontain run --rm @host -- sh -c '{row[2]}'" for row in ISOLATION])
    wrong = [(row, lines) for row, lines in zip(ISOLATION, printed, strict=True) if not fits(row[3], " ".join(lines))]
    assert wrong == []


def test_something_is_run() -> None:
    assert len(ISOLATION) > 10
    assert sum(one.document == "README.md" for one in RUN) > 4
    assert len(RUN) > 0.8 * len(ALL)
