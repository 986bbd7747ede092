"""Containers whose files attack who copies them out, and archives that attack who unpacks them.

CVE-2018-15664: a directory is swapped for a link while it is looked up. CVE-2019-14271: the copier loads a library of
the container's. The controls do the same with a copier that takes no care.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import hostile_roots, programs
from harness.cli import Cli, describe
from harness.probe import requires
from harness.waiting import until

from pycontain.engine.unpacking import Unpacker, on_host
from pycontain.errors import PycontainError

pytestmark = [pytest.mark.runtime, requires("root")]

SECONDS = 6.0


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return hostile_roots.canary_directory(tmp_path / "canary")


def _pid(cli: Cli, name: str) -> str:
    return cli.ok("inspect", "--format", "{{.State.Pid}}", name).strip()


@pytest.fixture
def swapping(pycontain: Cli, root: Path, canary: Path) -> Iterator[str]:
    """Yield a container in which /w/swap is a directory and a link to the host's canary by turns."""
    programs.build(Path(__file__).with_name("swapper.c"), root / "swapper")
    (root / "w").mkdir(mode=0o777)
    pycontain.ok("run", "-d", "--name", "swapper", "-w", "/w", root, "--", "/swapper", "swap", canary)
    until(lambda: "swapping" in pycontain.ok("logs", "swapper"))
    yield "swapper"
    pycontain.ok("rm", "-f", "swapper")


@requires("program:gcc")
@pytest.mark.timeout(120)
def test_a_swapped_directory_leads_nowhere(pycontain: Cli, swapping: str, canary: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine\n")
    before = hostile_roots.tree_state(canary)
    outcomes = set()
    end = time.monotonic() + SECONDS
    count = 0
    while time.monotonic() < end or count < 10:
        count += 1
        out = tmp_path / f"out{count}"
        for words in (
            ("cp", f"{swapping}:/w/swap/core_pattern", out),
            ("cp", f"{swapping}:/w/swap/.", out),
            ("cp", "-L", f"{swapping}:/w/swap", out),
            ("cp", tmp_path / "file", f"{swapping}:/w/swap/core_pattern"),
        ):
            done = pycontain.run(*words)
            assert done.returncode in (0, 125), describe(done)
            assert "internal error" not in done.stderr, describe(done)
            outcomes.add(done.returncode)
            found = [path for path in (out, *out.rglob("*")) if path.is_file() and not path.is_symlink()]
            assert not any(path.read_text() == "canary\n" for path in found)
            if out.is_dir() and not out.is_symlink():
                shutil.rmtree(out)
            else:
                out.unlink(missing_ok=True)
    assert hostile_roots.tree_state(canary) == before
    assert outcomes == {0, 125}


@requires("program:gcc")
def test_the_same_race_is_lost_by_path(pycontain: Cli, swapping: str, tmp_path: Path) -> None:
    """Control: who copies below the container's root by path gets the host's file."""
    place = f"/proc/{_pid(pycontain, swapping)}/root/w/swap/core_pattern"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(place).read_text() == "canary\n":
                return
        except OSError:
            continue
    raise AssertionError("the race was never lost")


LINKS = ("/out", "/out/", "/out/.", "/up", "/deep/link")


@pytest.fixture
def linked(pycontain: Cli, root: Path, canary: Path) -> str:
    """Return a container with links to the host's canary."""
    (root / "out").symlink_to(canary)
    (root / "up").symlink_to("../" * 40 + str(canary).lstrip("/"))
    (root / "deep").mkdir()
    (root / "deep" / "link").symlink_to(f"/proc/1/root{canary}")
    (root / "deep" / "cwd").symlink_to("/proc/self/cwd")
    pycontain.ok("run", "-d", "--name", "one", root, "--", "/bin/sleep", "1000")
    return "one"


def test_links_lead_nowhere(pycontain: Cli, linked: str, canary: Path, tmp_path: Path) -> None:
    (tmp_path / "null").write_text("mine\n")
    before = hostile_roots.tree_state(canary)
    for place in (*LINKS, "/deep/cwd/null", "/deep/cwd/."):
        pycontain.run("cp", tmp_path / "null", f"{linked}:{place}")
        pycontain.run("cp", "-L", f"{linked}:{place}", tmp_path / "got")
        assert "canary" not in "".join(p.read_text() for p in (tmp_path / "got").rglob("*") if p.is_file())
        hostile_roots_remove(tmp_path / "got")
    pycontain.ok("cp", f"{linked}:/deep", tmp_path / "deep")
    assert (tmp_path / "deep" / "link").is_symlink()
    assert hostile_roots.tree_state(canary) == before


def hostile_roots_remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def test_the_same_link_leads_a_careless_copier_out(pycontain: Cli, linked: str, canary: Path, tmp_path: Path) -> None:
    """Control: it replaces the host's file."""
    (tmp_path / "null").write_text("mine\n")
    subprocess.run(["cp", tmp_path / "null", f"/proc/{_pid(pycontain, linked)}/root/out/"], check=True)
    assert (canary / "null").read_text() == "mine\n"


def test_nothing_of_the_container_is_loaded(pycontain: Cli, root: Path, tmp_path: Path) -> None:
    """Modules, codecs and the libraries of name services lie in wait where a copier in that root would look."""
    hostile_roots.plant_modules(root)
    script = "mkdir -p /files; touch /files/a; chown 4242:4343 /files/a; echo ready; sleep 1000"
    pycontain.ok("run", "-d", "--name", "one", "--userns", "host", root, "--", "/bin/sh", "-c", script)
    until(lambda: "ready" in pycontain.ok("logs", "one"))
    pid = _pid(pycontain, "one")
    trace = tmp_path / "trace"
    for number, words in enumerate((("one:/files", str(tmp_path / "got")), (str(tmp_path / "got"), "one:/back"))):
        command = pycontain.argv("cp", "-a", *words)
        if shutil.which("strace"):
            command = ["strace", "-f", "-o", f"{trace}{number}", "-e", "trace=chroot,execve,setns,mmap", *command]
        subprocess.run(command, check=True, timeout=60, env=pycontain.environment())
    assert hostile_roots.hits(Path(f"/proc/{pid}/root")) == []
    if shutil.which("strace"):
        for number in range(2):
            text = Path(f"{trace}{number}").read_text()
            assert "chroot(" not in text
            assert "CLONE_NEWNS" not in text


@pytest.mark.timeout(60)
def test_fifos_and_devices_hold_nobody(pycontain: Cli, root: Path, tmp_path: Path) -> None:
    (root / "trap").mkdir()
    os.mkfifo(root / "trap" / "fifo")
    os.mknod(root / "trap" / "tty", 0o20666, os.makedev(5, 0))
    os.mknod(root / "trap" / "mem", 0o20666, os.makedev(1, 1))
    pycontain.ok("run", "-d", "--name", "one", root, "--", "/bin/sleep", "1000")
    done = pycontain.run("cp", "one:/trap", tmp_path / "got", timeout=20, check=True)
    assert "mem: a device is left out" in done.stderr
    assert sorted(os.listdir(tmp_path / "got")) == ["fifo"]
    pycontain.ok("cp", "one:/trap/fifo", tmp_path / "fifo", timeout=20)
    # one in the place of what is replaced, too
    (tmp_path / "file").write_text("file\n")
    pycontain.ok("cp", tmp_path / "file", "one:/trap/fifo", timeout=20)
    assert pycontain.ok("exec", "one", "cat", "/trap/fifo") == "file\n"
    pycontain.ok("cp", "one:/dev", tmp_path / "dev", timeout=20)


def test_a_fifo_holds_a_careless_copier(root: Path) -> None:
    """Control."""
    os.mkfifo(root / "fifo")
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["cat", root / "fifo"], timeout=1)


# Archives

Member = tuple[str, bytes, str, bytes]  # name, type, link, data


def _archive(*members: Member) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind, link, data in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size, member.mode = kind, link, len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def _escapes(canary: Path) -> dict[str, bytes]:
    up = "../" * 30 + str(canary).lstrip("/")
    return {
        "name with dots": _archive((f"{up}/null", tarfile.REGTYPE, "", b"evil\n")),
        "absolute name": _archive((f"{canary}/null", tarfile.REGTYPE, "", b"evil\n")),
        "through an absolute link": _archive(
            ("a", tarfile.SYMTYPE, str(canary), b""), ("a/null", tarfile.REGTYPE, "", b"evil\n")
        ),
        "through a relative link": _archive(
            ("a", tarfile.SYMTYPE, up, b""), ("a/null", tarfile.REGTYPE, "", b"evil\n")
        ),
        "through two links": _archive(
            ("a", tarfile.SYMTYPE, ".", b""),
            ("a/b", tarfile.SYMTYPE, str(canary), b""),
            ("a/b/null", tarfile.REGTYPE, "", b"evil\n"),
        ),
        "file at a link": _archive(
            ("a", tarfile.SYMTYPE, f"{canary}/null", b""), ("a", tarfile.REGTYPE, "", b"evil\n")
        ),
        "directory at a link": _archive(("a", tarfile.SYMTYPE, str(canary), b""), ("a", tarfile.DIRTYPE, "", b"")),
        "hard link out": _archive(("a", tarfile.LNKTYPE, f"{up}/null", b""), ("a", tarfile.REGTYPE, "", b"evil\n")),
        "absolute hard link": _archive(("a", tarfile.LNKTYPE, f"{canary}/null", b"")),
        "hard link through a link": _archive(
            ("a", tarfile.SYMTYPE, str(canary), b""), ("b", tarfile.LNKTYPE, "a/null", b"")
        ),
    }


ESCAPES = tuple(_escapes(Path("/x")))


def _unpack(data: bytes, goal: Path) -> None:
    directory = os.open(goal, os.O_RDONLY)
    try:
        notes: list[str] = []
        unpacker = Unpacker(lambda _: (on_host(directory), ""), notes.append, own=True, programs=True)
        unpacker.unpack(io.BytesIO(data))
    finally:
        os.close(directory)


def _extract(data: bytes, goal: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            archive.extract(member, goal, **({"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}))


def _is_untouched(unpack: Callable[[bytes, Path], None], data: bytes, canary: Path, goal: Path) -> bool:
    before = hostile_roots.tree_state(canary)
    goal.mkdir(exist_ok=True)
    try:
        unpack(data, goal)
    except (PycontainError, OSError, tarfile.TarError, KeyError):
        pass
    return hostile_roots.tree_state(canary) == before


@pytest.mark.parametrize("name", ESCAPES)
def test_an_archive_does_not_lead_out(canary: Path, tmp_path: Path, name: str) -> None:
    assert _is_untouched(_unpack, _escapes(canary)[name], canary, tmp_path / "goal")


def test_careless_unpacking_is_led_out(canary: Path, tmp_path: Path) -> None:
    """Control: tarfile without a filter writes, links or changes modes outside in nearly all of these."""
    lost = [
        name
        for number, (name, data) in enumerate(_escapes(canary).items())
        if not _is_untouched(_extract, data, canary, tmp_path / f"goal{number}")
    ]
    assert len(lost) >= 6, lost


@pytest.mark.parametrize("userns", ["auto", "host"])
def test_an_archive_does_not_lead_out_of_a_container(
    pycontain: Cli, busybox: Path, canary: Path, tmp_path: Path, userns: str
) -> None:
    pycontain.ok("run", "-d", "--name", "one", "--userns", userns, busybox, "sleep", "1000")
    pycontain.ok("exec", "one", "mkdir", "/goal")
    before = hostile_roots.tree_state(canary)
    for name, data in _escapes(canary).items():
        done = subprocess.run(pycontain.argv("cp", "-", "one:/goal"), input=data, capture_output=True, timeout=60)
        assert done.returncode in (0, 125), (name, done)
        assert b"internal error" not in done.stderr, (name, done)
        pycontain.ok("exec", "one", "sh", "-c", "rm -rf /goal/* /goal/.[!.]*")
    assert hostile_roots.tree_state(canary) == before


def test_existing_links_on_the_host_are_not_followed(tmp_path: Path, canary: Path) -> None:
    goal = tmp_path / "goal"
    goal.mkdir()
    (goal / "a").symlink_to(canary)
    before = hostile_roots.tree_state(canary)
    with pytest.raises(PycontainError, match="symbolic link"):
        _unpack(_archive(("a/null", tarfile.REGTYPE, "", b"evil\n")), goal)
    assert hostile_roots.tree_state(canary) == before


def test_a_truncated_stream_is_noticed(tmp_path: Path) -> None:
    data = _archive(("a", tarfile.REGTYPE, "", b"x" * 5000))
    with pytest.raises(PycontainError, match="damaged archive"):
        _unpack(data[:2048], tmp_path)


def test_deep_trees(pycontain: Cli, root: Path) -> None:
    """A tree deeper than a process has descriptors and than Python nests calls can be packed."""
    script = "mkdir /deep; cd /deep; i=0; while [ $i -lt 2000 ]; do mkdir d; cd d; i=$((i+1)); done; echo ready"
    pycontain.ok("run", "-d", "--name", "one", root, "--", "/bin/sh", "-c", f"{script}; sleep 1000")
    until(lambda: "ready" in pycontain.ok("logs", "one"))
    done = subprocess.run(pycontain.argv("cp", "one:/deep", "-"), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert len(archive.getmembers()) == 2001
