"""Roots that attack the runtime of an ordinary user: what they could reach is all that this user has.

There init itself makes every tree inside its user namespace: other code meets the root than as root of the host.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import hostile_roots
from harness.cli import Cli, describe
from harness.ordinary_user import UID, OrdinaryUser

pytestmark = pytest.mark.runtime

in_guests = pytest.mark.guest("uml")

ENDS: dict[str, tuple[list[str], list[str], int]] = {
    "success": ([], ["/bin/true"], 0),
    "no such program": ([], ["no-such-program"], 127),
    "not executable": ([], ["/etc/passwd"], 126),
    "working directory is a file": (["-w", "/etc/passwd"], ["/bin/true"], 125),
    "terminal": (["-t"], ["/bin/true"], 0),
    "odd names": (["-e", "ÄÖ=ß€𝄞", "-h", "x" * 63], ["/bin/true"], 0),
}


@pytest.fixture(params=["user", "user_with_subids"])
def account(request: pytest.FixtureRequest) -> OrdinaryUser:
    """Return an ordinary user with one id, and one with a range of them."""
    found: OrdinaryUser = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def cli(account: OrdinaryUser) -> Cli:
    return account.cli()


@pytest.fixture
def root(account: OrdinaryUser, busybox: Path) -> Path:
    """Return a root that belongs to the user."""
    return account.rootfs(busybox)


@pytest.fixture
def canary(account: OrdinaryUser) -> Path:
    """Return a directory of the user's that nobody may touch."""
    directory = hostile_roots.canary_directory(account.home / "canary")
    give(directory)
    return directory


@pytest.fixture(scope="module")
def hashes() -> Iterator[dict[str, str]]:
    """Yield the hashes of all that runs as the product; at the end they must be what they were."""
    before = hostile_roots.product_hashes()
    yield before
    assert hostile_roots.product_hashes() == before


def give(top: Path) -> None:
    """Make all that was planted the user's."""
    for parent, directories, files in os.walk(top):
        for name in (".", *directories, *files):
            os.chown(os.path.join(parent, name), UID, UID, follow_symlinks=False)


@pytest.mark.parametrize("end", ENDS)
def test_no_planted_module_is_executed(cli: Cli, root: Path, end: str) -> None:
    options, command, code = ENDS[end]
    hostile_roots.plant_modules(root)
    give(root)
    done = cli.run("run", "--rm", "--writable", *options, root, "--", *command)
    assert hostile_roots.hits(root) == []
    assert done.returncode == code, describe(done)


def test_a_writable_root_can_show_a_hit(cli: Cli, root: Path) -> None:
    """Control: what the test above looks at is where a plant would write."""
    cli.ok("run", "--rm", "--writable", root, "--", "/bin/sh", "-c", "mkdir /hits && touch /hits/json")
    assert hostile_roots.hits(root) == ["json"]


@pytest.mark.parametrize("end", ENDS)
def test_no_source_is_opened_in_the_root(cli: Cli, root: Path, end: str) -> None:
    options, command, code = ENDS[end]
    assert hostile_roots.plant_fifos(root) > 200
    give(root)
    done = cli.run("run", "--rm", *options, root, "--", *command, timeout=30)
    assert done.returncode == code, describe(done)


@pytest.mark.parametrize("writable", [False, True], ids=["layer", "writable"])
@pytest.mark.parametrize("name", ["/dev", "/proc", "/sys", "/etc", "/tmp"])
def test_link_at_a_directory_leads_nowhere(cli: Cli, root: Path, canary: Path, name: str, writable: bool) -> None:
    hostile_roots.replace_by_link(root, name, canary)
    before = hostile_roots.tree_state(canary)
    options = ["--writable"] if writable else []
    done = cli.run("run", "--rm", *options, "--tmpfs", "/tmp/below", root, "--", "/bin/true")
    assert hostile_roots.tree_state(canary) == before
    assert done.returncode in (0, 125), describe(done)
    assert "Traceback" not in done.stderr


@in_guests
@pytest.mark.parametrize("name", ["passwd", "group", "resolv.conf", "hosts", "hostname"])
def test_link_at_a_file_leads_nowhere(cli: Cli, root: Path, canary: Path, name: str) -> None:
    (canary / name).write_text("evil:x:0:0::/:/bin/sh\n" if name == "passwd" else "canary\n")
    hostile_roots.replace_by_link(root, f"/etc/{name}", canary / name)
    before = hostile_roots.tree_state(canary)
    done = cli.run("run", "--rm", "--writable", "-u", "evil", root, "--", "/bin/true")
    assert done.returncode == 125, describe(done)
    cli.run("run", "--rm", "--writable", "--add-host", "a:1.2.3.4", root, "--", "/bin/true")
    assert hostile_roots.tree_state(canary) == before


def test_link_at_a_volume_target_leads_nowhere(cli: Cli, root: Path, account: OrdinaryUser, canary: Path) -> None:
    volume = account.home / "volume"
    volume.mkdir()
    give(volume)
    (root / "data").symlink_to(canary)
    before = hostile_roots.tree_state(canary)
    for target in ("/data", "/data/new", "/data/sys/new"):
        done = cli.run("run", "--rm", "--writable", "-v", f"{volume}:{target}", root, "--", "/bin/true")
        assert hostile_roots.tree_state(canary) == before, target
        assert "Traceback" not in done.stderr


@in_guests
@pytest.mark.parametrize("words", [["run", "--rm"], ["exec"]], ids=["run", "exec"])
def test_own_interpreter_cannot_be_overwritten(
    cli: Cli, root: Path, account: OrdinaryUser, hashes: dict[str, str], words: list[str]
) -> None:
    entry = hostile_roots.plant_self_exe(root, hostile_roots.evil_loader(account.base))
    give(root)
    target: str | Path = root
    if words == ["exec"]:
        target = cli.ok("run", "-d", root, "--", "/bin/sleep", "60").strip()
    done = cli.run(*words, target, entry)
    lines = done.stdout.split()
    # the mount may be open: the interpreter is root's, whom no user namespace of an ordinary user can be
    assert lines[-1:] == ["loader-ran"], describe(done)
    assert "wrote" not in lines, describe(done)
    assert hostile_roots.product_hashes() == hashes
