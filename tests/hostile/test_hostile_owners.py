"""Directories in which somebody else may write are not ours: what lies there is not obeyed."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.probe import requires

from pycontain.errors import StoreError
from pycontain.runtime import settings

pytestmark = [pytest.mark.runtime, requires("root")]

STRANGER = 65533
CONTAINER = "a" * 64


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Return a directory that a planted journal tells to remove."""
    canary = tmp_path / "canary"
    canary.mkdir()
    return canary


def plant(root: Path, canary: Path) -> Cli:
    """Plant the journal of a container that is gone, and return a command line for that root."""
    directory = root / "state" / "containers" / CONTAINER
    directory.mkdir(parents=True)
    (root / "data").mkdir()
    (directory / "journal").write_text(f"directory\t{canary}\n")
    return Cli(root)


def test_a_journal_is_obeyed(tmp_path: Path, canary: Path) -> None:
    """Control: what the next tests look for does happen in a directory of one's own."""
    plant(tmp_path / "root", canary).ok("prune", "-f")
    assert not canary.exists()


# --root itself may be a link: it is resolved once, before anything is looked at
WAYS = [(how, place) for how in ("owner", "mode", "link") for place in ("", "state", "data") if how != "link" or place]


@pytest.mark.parametrize(("how", "place"), WAYS)
@pytest.mark.parametrize("command", [["prune", "-f"], ["rm", "-f", CONTAINER], ["ps"], ["run", "--rm", "/", "true"]])
def test_a_stranger_s_directory_is_refused(
    tmp_path: Path, canary: Path, how: str, place: str, command: list[str]
) -> None:
    cli = plant(tmp_path / "root", canary)
    path = cli.root / place if place else cli.root
    if how == "owner":
        os.chown(path, STRANGER, STRANGER)
    elif how == "mode":
        path.chmod(0o777)
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    error = cli.fails(*command)
    assert str(path) in error
    assert canary.is_dir()


def refused(uid: int) -> bool:
    """Return whether an ordinary user without XDG_RUNTIME_DIR is refused the directories that are left."""
    child = os.fork()
    if child == 0:
        os.setresuid(uid, uid, uid)
        try:
            settings.load({"HOME": "/nonexistent"})
        except StoreError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_the_fallback_in_tmp_must_be_one_s_own(canary: Path) -> None:
    uid = 4_000_000_001
    fallback = Path(f"/tmp/pycontain-{uid}")
    plant(fallback, canary)
    try:
        for owner, expected in ((uid, False), (STRANGER, True)):
            os.chown(fallback, owner, owner)
            assert refused(uid) is expected
    finally:
        shutil.rmtree(fallback)


def test_a_loose_umask_opens_nothing(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    cli = Cli(tmp_path / "deep" / "root")
    before = os.umask(0)
    try:
        cli.ok("run", "--name", "one", "-v", "vol:/v", busybox, "--", "/bin/true")
    finally:
        os.umask(before)
    try:
        loose = [
            path
            for path in [*(tmp_path / "deep").rglob("*"), tmp_path / "deep"]
            if not path.is_symlink() and path.lstat().st_mode & stat.S_IWOTH and not path.lstat().st_mode & stat.S_ISVTX
        ]
        assert loose == []
        for name in ("state", "data"):
            assert stat.S_IMODE((cli.root / name).stat().st_mode) == 0o700
    finally:
        cli.remove_all()
        cli.run("volume", "rm", "vol")


def test_a_data_directory_that_others_may_enter_is_closed(pycontain: Cli, busybox: Path) -> None:
    """What containers own lies there, setuid programs among it (the way of CVE-2021-41091)."""
    data = pycontain.root / "data"
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o755)
    pycontain.ok("run", "--rm", busybox, "--", "/bin/true")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
