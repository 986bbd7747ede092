"""export: the whole tree, the same bytes for the same tree, owners and attributes as the container sees them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.ordinary_user import OrdinaryUser
from harness.probe import requires
from harness.waiting import until

SCRIPT = (
    "mkdir /d; echo hi >/d/f; ln /d/f /d/h; ln -s /etc/passwd /d/l; mkfifo /d/p; chown 7:8 /d/f; chmod 6755 /d/f;"
    " truncate -s 1G /d/holes; echo end >>/d/holes; mkdir /tmp/t; echo secret >/v/s; echo ready; sleep 1000"
)


def read(data: bytes) -> dict[str, tarfile.TarInfo]:
    """Return the members of an archive, none of which is there twice."""
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        members = archive.getmembers()
    found = {member.name: member for member in members}
    assert len(found) == len(members)
    return found


def exported(cli: Cli, name: str) -> bytes:
    done = subprocess.run(cli.argv("export", name), capture_output=True, timeout=100, env=cli.environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def one(pycontain: Cli, busybox: Path, tmp_path: Path) -> str:
    (tmp_path / "volume").mkdir()
    words = ["-v", f"{tmp_path}/volume:/v", "--tmpfs", "/tmp"]
    pycontain.ok("run", "-d", "--name", "one", *words, busybox, "sh", "-c", SCRIPT)
    until(lambda: "ready" in pycontain.ok("logs", "one"))
    return "one"


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_everything_is_there_but_what_is_mounted(pycontain: Cli, one: str, busybox: Path, state: str) -> None:
    if state == "stopped":
        pycontain.ok("stop", "-t", "0", one)
    data = exported(pycontain, one)
    found = read(data)
    assert list(found) == sorted(found, key=lambda name: [part.encode() for part in name.split("/")])
    assert {"bin/busybox", "etc/passwd", "d/f", "d/l", "d/p", "v", "proc", "dev", "tmp", "etc/hosts"} <= set(found)
    below = {name for name in found if name.startswith(("v/", "proc/", "dev/", "tmp/", "sys/"))}
    # other tests have made places for mounts in this root
    assert below <= {str(path.relative_to(busybox)) for path in busybox.rglob("*")}
    assert found["etc/hosts"].size == 0
    info = found["d/f"]
    assert (info.uid, info.gid, info.mode, info.size) == (7, 8, 0o6755, 3)
    assert (found["d/h"].type, found["d/h"].linkname) == (tarfile.LNKTYPE, "d/f")
    assert found["d/l"].linkname == "/etc/passwd"
    assert found["d/p"].isfifo()
    assert found["d/holes"].size == 2**30 + 4
    assert len(data) < 2**26
    assert exported(pycontain, one) == data


def test_the_archive_is_a_root_file_system(pycontain: Cli, one: str, tmp_path: Path) -> None:
    """By GNU tar, the holes too."""
    pycontain.ok("export", "--output", tmp_path / "x.tar", one)
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-xpf", tmp_path / "x.tar", "-C", tmp_path / "root"], check=True)
    assert (tmp_path / "root" / "d" / "holes").stat().st_blocks * 512 < 2**20
    with open(tmp_path / "root" / "d" / "holes", "rb") as file:
        file.seek(2**30)
        assert file.read() == b"end\n"
    assert pycontain.ok("run", "--rm", tmp_path / "root", "--", "cat", "/d/f") == "hi\n"


@requires("root")
def test_attributes(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    pycontain.ok("run", "-d", "--name", "one", busybox, "sh", "-c", "cp /bin/busybox /x; echo ready; sleep 1000")
    until(lambda: "ready" in pycontain.ok("logs", "one"))
    pid = pycontain.ok("inspect", "--format", "{{.State.Pid}}", "one").strip()
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(f"/proc/{pid}/root/x", "security.capability", capability)
    member = read(exported(pycontain, "one"))["x"]
    assert member.pax_headers["SCHILY.xattr.security.capability"].encode("utf-8", "surrogateescape") == capability
    # and they go through cp
    pycontain.ok("cp", "-a", "one:/x", tmp_path / "x")
    assert os.getxattr(tmp_path / "x", "security.capability") == capability
    pycontain.ok("cp", "one:/x", tmp_path / "y")
    assert "security.capability" not in os.listxattr(tmp_path / "y")


def test_files_of_output(pycontain: Cli, one: str, tmp_path: Path) -> None:
    assert "no such file or directory" in pycontain.fails("export", "-o", tmp_path / "no" / "x", one)
    (tmp_path / "x").write_text("before")
    assert "no such container" in pycontain.fails("export", "-o", tmp_path / "x", "nobody")
    assert (tmp_path / "x").read_text() == "before"
    pycontain.ok("export", "-o", "/dev/null", one)
    pycontain.ok("export", "-o", tmp_path / "x", one)
    assert sorted(os.listdir(tmp_path)) == ["volume", "x"]
    assert "d/f" in read((tmp_path / "x").read_bytes())


def test_odd_names(pycontain: Cli, busybox: Path) -> None:
    script = r"cd /mnt; touch $(printf 'a\377b') 'new\nline' ./-rf 'ä'; echo ready; sleep 1000"
    pycontain.ok("run", "-d", "--name", "one", busybox, "sh", "-c", script)
    until(lambda: "ready" in pycontain.ok("logs", "one"))
    names = {os.fsencode(name) for name in read(exported(pycontain, "one")) if name.startswith("mnt/")}
    assert names == {b"mnt/a\xffb", b"mnt/new\\nline", b"mnt/-rf", "mnt/ä".encode()}


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_ordinary_user(user_with_subids: OrdinaryUser, busybox: Path, state: str) -> None:
    cli, root = user_with_subids.cli(), user_with_subids.rootfs(busybox)
    script = "echo 1 >/x; chmod 600 /x; chown 33:33 /x; echo ready; sleep 1000"
    cli.ok("run", "-d", "--name", "one", root, "sh", "-c", script)
    until(lambda: "ready" in cli.ok("logs", "one"))
    if state == "stopped":
        cli.ok("stop", "-t", "0", "one")
    found = read(exported(cli, "one"))
    assert (found["x"].uid, found["x"].size) == (33, 2)
