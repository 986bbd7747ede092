"""cp between a container and the host: names as docker's, owners, streams, containers that run and that do not."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from harness.cli import Cli, describe
from harness.ordinary_user import OrdinaryUser
from harness.probe import requires

FILL = (
    "mkdir -p /d/e; echo hi >/d/e/f; ln -s f /d/e/l; ln /d/e/f /d/h; mkfifo /d/p; ln -s /etc /d/abs;"
    " chown 5:6 /d/h; chmod 4755 /d/h; truncate -s 1G /d/holes; echo end >>/d/holes; echo ready; sleep 1000"
)


@pytest.fixture
def filled(pycontain: Cli, busybox: Path) -> str:
    """Return the name of a running container with files of every kind in /d."""
    pycontain.ok("run", "-d", "--name", "one", busybox, "sh", "-c", FILL)
    while "ready" not in pycontain.ok("logs", "one"):
        pass
    return "one"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return a directory with a file and a directory with one."""
    (tmp_path / "src" / "sub").mkdir(parents=True)
    (tmp_path / "src" / "sub" / "one").write_text("1\n")
    (tmp_path / "file").write_text("file\n")
    return tmp_path


def names(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


ALL = ["abs", "e", "e/f", "e/l", "h", "holes", "p"]


@pytest.mark.parametrize("state", ["running", "stopped", "paused"])
def test_out(pycontain: Cli, filled: str, tmp_path: Path, state: str) -> None:
    if state == "stopped":
        pycontain.ok("stop", "-t", "0", filled)
    elif state == "paused":
        pycontain.ok("pause", filled)
    goal = tmp_path / "new"
    pycontain.ok("cp", f"{filled}:/d", goal)
    assert names(goal) == ALL
    assert (goal / "e" / "f").read_text() == "hi\n"
    assert os.readlink(goal / "abs") == "/etc"
    assert (goal / "h").stat().st_ino == (goal / "e" / "f").stat().st_ino
    assert stat.S_ISFIFO((goal / "p").stat().st_mode)
    holes = (goal / "holes").stat()
    assert holes.st_size == 2**30 + 4
    assert holes.st_blocks * 512 < 2**20
    # what came is the caller's: neither a stranger's nor a program with a stranger's rights
    info = (goal / "h").stat()
    assert (info.st_uid, info.st_mode & 0o7777) == (os.geteuid(), 0o755)


def test_names_of_what_comes_out(pycontain: Cli, filled: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    pycontain.ok("cp", f"{filled}:/d", there)
    assert names(there) == sorted(["d", *(f"d/{name}" for name in ALL)])
    pycontain.ok("cp", f"{filled}:/d/e/.", there)
    assert (there / "f").read_text() == "hi\n"
    pycontain.ok("cp", f"{filled}:d/e/f", there / "other")
    assert (there / "other").read_text() == "hi\n"
    pycontain.ok("cp", f"{filled}:/etc/passwd", there / "other")
    assert (there / "other").read_text().startswith("root:")
    pycontain.ok("cp", f"{filled}:/d/e/l", there)
    assert os.readlink(there / "l") == "f"
    pycontain.ok("cp", "-L", f"{filled}:/d/e/l", there / "followed")
    assert (there / "followed").read_text() == "hi\n"
    for source, goal, text in (
        (":/d/e/f", there / "no" / "x", "no such file or directory"),
        (":/d/e/f", f"{there}/nothing/", "there is no such directory"),
        (":/d/e", there / "other", "is a file; a directory cannot take its place"),
        (":/nothing", there / "x", "/nothing: no such file or directory"),
        (":/d/e/f/.", there / "x", "/d/e/f/.: not a directory"),
    ):
        assert text in pycontain.fails("cp", f"{filled}{source}", goal)
    assert not (there / "x").exists()


@requires("root")
def test_owners(pycontain: Cli, filled: str, here: Path) -> None:
    pycontain.ok("cp", "-a", f"{filled}:/d/h", here / "kept")
    info = (here / "kept").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (5, 6, 0o4755)
    os.chown(here / "file", 1000, 1001)
    (here / "file").chmod(0o2750)
    pycontain.ok("cp", here / "file", f"{filled}:/roots")
    pycontain.ok("cp", "--archive", here / "file", f"{filled}:/same")
    told = pycontain.ok("exec", filled, "stat", "-c", "%u:%g %a", "/roots", "/same")
    assert told == "0:0 2750\n1000:1001 2750\n"
    os.chown(here / "file", 3_000_000_000, 0)
    assert "cannot belong to 3000000000:0 there" in pycontain.fails("cp", "-a", here / "file", f"{filled}:/same")


@pytest.mark.parametrize("state", ["running", "created", "stopped"])
def test_into(pycontain: Cli, busybox: Path, here: Path, state: str) -> None:
    pycontain.ok("create", "--name", "one", busybox, "sleep", "1000")
    if state != "created":
        pycontain.ok("start", "one")
    if state == "stopped":
        pycontain.ok("stop", "-t", "0", "one")
    pycontain.ok("cp", here / "file", "one:/etc")
    pycontain.ok("cp", here / "file", "one:renamed")
    pycontain.ok("cp", here / "src", "one:/etc")
    pycontain.ok("cp", here / "src", "one:/new")
    pycontain.ok("cp", f"{here}/src/.", "one:/new")
    assert "/etc/file: is a file" in pycontain.fails("cp", here / "src", "one:/etc/file")
    assert "/no: there is no such directory" in pycontain.fails("cp", here / "file", "one:/no/file")
    if state != "running":
        pycontain.ok("start", "one")
    script = "cat /etc/file /renamed /etc/src/sub/one /new/sub/one; ls /new"
    assert pycontain.ok("exec", "one", "sh", "-c", script) == "file\nfile\n1\n1\nsub\n"


def test_mounts_of_a_container(pycontain: Cli, busybox: Path, here: Path) -> None:
    """They are there while it runs; afterwards nothing is written below them unnoticed."""
    (here / "volume").mkdir(mode=0o755)
    words = ["-v", f"{here}/volume:/v", "-v", "named:/n", "-v", f"{here}/src:/ro:ro", "--tmpfs", "/t"]
    pycontain.ok("run", "-d", "--name", "one", *words, busybox, "sleep", "1000")
    for place in ("v", "n", "t"):
        pycontain.ok("cp", here / "file", f"one:/{place}/x")
        pycontain.ok("cp", f"one:/{place}/x", here / f"back-{place}")
        assert (here / f"back-{place}").read_text() == "file\n"
    assert (here / "volume" / "x").read_text() == "file\n"
    assert "read-only file system" in pycontain.fails("cp", here / "file", "one:/ro/x")
    pycontain.ok("stop", "-t", "0", "one")
    text = "what is mounted at /v is not there while the container does not run"
    assert text in pycontain.fails("cp", here / "file", "one:/v/y")
    assert text in pycontain.fails("cp", "one:/v/x", here / "y")
    assert "/v" in pycontain.run("cp", "one:/", here / "whole", check=True).stderr
    pycontain.ok("rm", "one")
    pycontain.ok("volume", "rm", "named")


def test_read_only_root(pycontain: Cli, busybox: Path, here: Path) -> None:
    pycontain.ok("run", "-d", "--name", "one", "--read-only", busybox, "sleep", "1000")
    assert "read-only file system" in pycontain.fails("cp", here / "file", "one:/x")
    pycontain.ok("stop", "-t", "0", "one")
    assert "is read-only" in pycontain.fails("cp", here / "file", "one:/x")


def _bytes(cli: Cli, *words: str, input: bytes = b"") -> bytes:
    done = subprocess.run(cli.argv(*words), input=input, capture_output=True, timeout=60, env=cli.environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_streams(pycontain: Cli, filled: str) -> None:
    data = _bytes(pycontain, "cp", f"{filled}:/d", "-")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [one.name for one in archive] == ["d", *(f"d/{name}" for name in ALL)]
        assert (archive.getmember("d/e/f").uid, archive.getmember("d/e/f").mode) == (5, 0o4755)
        assert archive.getmember("d/h").linkname == "d/e/f"
    pycontain.ok("exec", filled, "mkdir", "/copy")
    _bytes(pycontain, "cp", "-", f"{filled}:/copy", input=data)
    told = pycontain.ok("exec", filled, "stat", "-c", "%u:%g %a %h", "/copy/d/e/f")
    assert told == "5:6 4755 2\n"
    assert _bytes(pycontain, "cp", f"{filled}:/copy/d", "-") == data
    assert "there is no such directory" in pycontain.fails("cp", "-", f"{filled}:/none")
    assert "damaged archive" in pycontain.fails("cp", "-", f"{filled}:/copy", input="no archive" * 1000)


def test_words_that_are_wrong(pycontain: Cli, filled: str, here: Path) -> None:
    assert "between containers" in pycontain.fails("cp", f"{filled}:/a", "two:/b")
    assert "neither path" in pycontain.fails("cp", here / "file", here / "other")
    assert "the path is missing" in pycontain.fails("cp", here / "file", f"{filled}:")
    assert "no such container" in pycontain.fails("cp", here / "file", "nobody:/x")
    assert "no such file" in pycontain.fails("cp", here / "nothing", f"{filled}:/x")
    assert "DEST is missing" in pycontain.fails("cp", here / "file")


def test_the_reader_of_a_stream_goes(pycontain: Cli, filled: str) -> None:
    script = '"$@" | head -c 10 >/dev/null; echo "${PIPESTATUS[0]}"'
    words = ["bash", "-c", script, "sh", *pycontain.argv("cp", f"{filled}:/", "-")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=pycontain.environment())
    assert (done.stdout, done.stderr) == ("141\n", ""), describe(done)


@pytest.mark.parametrize("state", ["running", "stopped"])
@pytest.mark.parametrize("fixture", ["user", "user_with_subids"])
def test_ordinary_user(request: pytest.FixtureRequest, busybox: Path, fixture: str, state: str) -> None:
    account: OrdinaryUser = request.getfixturevalue(fixture)
    cli, root = account.cli(), account.rootfs(busybox)
    cli.ok("run", "-d", "--name", "one", root, "sh", "-c", "echo 1 >/x; chmod 600 /x; sleep 1000")
    while cli.run("exec", "one", "test", "-s", "/x").returncode:
        pass
    if state == "stopped":
        cli.ok("stop", "-t", "0", "one")
    goal = account.home / "goal"
    cli.ok("cp", "one:/x", goal)
    assert (goal.read_text(), goal.stat().st_uid) == ("1\n", account.uid)
    cli.ok("cp", goal, "one:/y")
    if state == "stopped":
        cli.ok("start", "one")
    assert cli.ok("exec", "one", "stat", "-c", "%u %a", "/y") == "0 600\n"


@requires("shifted-host")
@pytest.mark.parametrize("state", ["running", "stopped"])
def test_host(pycontain: Cli, tmp_path: Path, state: str) -> None:
    script = "echo made >/usr/local/made; sleep 1000"
    pycontain.ok("run", "-d", "--name", "one", "@host", "--", "/bin/sh", "-c", script)
    while pycontain.run("exec", "one", "test", "-s", "/usr/local/made").returncode:
        pass
    if state == "stopped":
        pycontain.ok("stop", "-t", "0", "one")
    pycontain.ok("cp", "one:/usr/local/made", tmp_path / "made")
    assert (tmp_path / "made").read_text() == "made\n"
    # what @host hides is not shown to who copies either
    assert "no such file" in pycontain.fails("cp", "one:/etc/shadow", tmp_path / "shadow")
