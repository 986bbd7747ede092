"""Standard input, output and error of a foreground process: the caller's where that is safe, never its terminal."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cli import Cli, describe
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root")]

BY_NAME = "echo out >/dev/stdout; echo err >/dev/stderr; echo again >/proc/self/fd/1"


@pytest.fixture(params=["run", "exec"])
def words(request: pytest.FixtureRequest, pycontain: Cli, busybox: Path) -> Iterator[list[str]]:
    """Return the words before a shell script, for a command in a container of its own and one in a running one."""
    if request.param == "run":
        yield ["run", "--rm", str(busybox), "--", "/bin/sh", "-c"]
    else:
        yield ["exec", request.getfixturevalue("container"), "/bin/sh", "-c"]


@pytest.mark.parametrize("user", ["root", "app"])
def test_streams_can_be_opened_by_name(pycontain: Cli, words: list[str], user: str) -> None:
    """As programs do that log to /dev/stdout: the pipes were made by a user that does not exist inside."""
    done = pycontain.run(words[0], "-u", user, *words[1:], BY_NAME)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\nagain\n", "err\n"), describe(done)


@pytest.mark.parametrize("user", ["root", "app"])
def test_a_file_is_reached_through_a_pipe(pycontain: Cli, words: list[str], tmp_path: Path, user: str) -> None:
    argv = pycontain.argv(words[0], "-u", user, *words[1:], f"{BY_NAME}; readlink /proc/$$/fd/1")
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=True)
    *lines, link = (tmp_path / "out").read_text().splitlines()
    assert (lines, (tmp_path / "err").read_text()) == (["out", "again"], "err\n")
    assert link.startswith("pipe:")
    assert (tmp_path / "out").stat().st_uid == os.geteuid()


def test_a_file_as_input(pycontain: Cli, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from a file\n")
    (tmp_path / "in").chmod(0o600)
    with (tmp_path / "in").open() as file:
        argv = pycontain.argv(words[0], "-i", *words[1:], "cat /dev/stdin")
        done = subprocess.run(argv, stdin=file, capture_output=True, text=True)
    assert done.stdout == "from a file\n", describe(done)


def test_the_terminal_stays_outside(pycontain: Cli, words: list[str]) -> None:
    """Whoever has it could read what is typed there, and type."""
    master, slave = pty.openpty()
    script = 'for fd in 0 1 2; do readlink /proc/$$/fd/$fd; [ -t $fd ] && echo terminal; done; echo "end of it"'
    with subprocess.Popen(
        pycontain.argv(words[0], "-i", *words[1:], script),
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    ) as command:  # fmt: skip
        os.close(slave)
        said = b""
        while b"end of it" not in said:
            said += os.read(master, 4096)
        assert command.wait(20) == 0
    os.close(master)
    assert said.count(b"pipe:") == 3
    assert b"terminal" not in said


def test_a_socket_stays_outside(pycontain: Cli, words: list[str]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        argv = pycontain.argv(*words, BY_NAME)
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, check=True, timeout=30)
        assert ours.recv(100) == b"out\nagain\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_trap(pycontain: Cli, words: list[str], tmp_path: Path, closed: str) -> None:
    """The next file that is opened would take the number."""
    argv = pycontain.argv(*words, "echo out; echo err >&2; exit 7")
    line = ["/bin/sh", "-c", f'"$@" {closed}', "sh", *argv]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert done.returncode == 7, describe(done)
    assert done.stdout == ("" if " >&-" in f" {closed}" else "out\n")
    assert done.stderr == ("" if "2>&-" in closed else "err\n")


def test_both_outputs_may_be_the_same_file(pycontain: Cli, words: list[str], tmp_path: Path) -> None:
    with (tmp_path / "both").open("ab") as both:
        argv = pycontain.argv(*words, "for i in 1 2 3; do echo $i; done; echo err >&2")
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=both, stderr=both, check=True)
    assert sorted((tmp_path / "both").read_text().split()) == ["1", "2", "3", "err"]


@pytest.mark.parametrize("user", ["root", "app"])
def test_a_named_fifo_stays_whose_it_is(pycontain: Cli, words: list[str], tmp_path: Path, user: str) -> None:
    """A pipe is given to the user inside; a FIFO that has a name is a file of somebody on the host."""
    fifos = {name: tmp_path / name for name in ("in", "out")}
    for fifo in fifos.values():
        os.mkfifo(fifo, 0o640)
        os.chown(fifo, 65533, 65532)
    ours = {name: os.open(fifo, os.O_RDWR) for name, fifo in fifos.items()}
    os.write(ours["in"], b"from a fifo\n")
    argv = pycontain.argv(words[0], "-i", "-u", user, *words[1:], "read line </dev/stdin; echo $line >/dev/stdout")
    with open(fifos["in"], "rb") as stdin, open(fifos["out"], "wb", buffering=0) as stdout:
        subprocess.run(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, check=True, timeout=30)
    assert os.read(ours["out"], 100) == b"from a fifo\n"
    for name, fifo in fifos.items():
        os.close(ours[name])
        assert (fifo.stat().st_uid, fifo.stat().st_gid) == (65533, 65532), name


def test_a_pipe_is_given(pycontain: Cli, busybox: Path) -> None:
    """Control for the test above: what can be seen there is seen where it is meant to happen."""
    reader, writer = os.pipe()
    argv = pycontain.argv("run", "--rm", busybox, "--", "/bin/true")
    subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, check=True, timeout=30)
    assert os.fstat(writer).st_uid >= 0x80000
    for fd in (reader, writer):
        os.close(fd)
