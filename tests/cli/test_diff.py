"""diff: what a container has added, changed and removed, from its layer."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.cli import Cli
from harness.ordinary_user import OrdinaryUser
from harness.probe import requires
from harness.waiting import until

SCRIPT = """
mkdir /new; echo 1 >/new/f; ln -s a /new/l; mkfifo /new/p
rm /etc/group; echo x >>/etc/passwd
rm -r /home
rm -r /var/spool; mkdir /var/spool; touch /var/spool/z
chmod 700 /opt
touch /mnt/gone; rm /mnt/gone
rm /srv -r; ln -s /etc /srv
mv /usr/bin/env /usr/bin/env2 2>/dev/null || mv /bin/env /bin/env2
touch /tmp/unseen /v/unseen
"""
ALWAYS = [
    "C /etc",
    "D /etc/group",
    "C /etc/passwd",
    "D /home",
    "C /mnt",
    "A /new",
    "A /new/f",
    "A /new/l",
    "A /new/p",
    "C /opt",
    "C /srv",
    "C /var",
    "C /var/spool",
    "A /var/spool/z",
]


def lines(cli: Cli, name: str, *, without: tuple[str, ...] = ("/bin", "/usr")) -> list[str]:
    found = cli.ok("diff", name).splitlines()
    assert [line[2:] for line in found] == sorted(line[2:] for line in found)
    return [line for line in found if not line[2:].startswith(without)]


@pytest.fixture
def changed(pycontain: Cli, busybox: Path, tmp_path: Path) -> str:
    (tmp_path / "volume").mkdir()
    words = ["--tmpfs", "/tmp", "-v", f"{tmp_path}/volume:/v", "-v", f"{tmp_path}/volume:/deep/er/mount"]
    pycontain.ok("run", "-d", "--name", "one", *words, busybox, "sh", "-c", f"{SCRIPT}echo ready; sleep 1000")
    until(lambda: "ready" in pycontain.ok("logs", "one"))
    return "one"


@pytest.mark.parametrize("state", ["running", "stopped", "paused"])
def test_lines(pycontain: Cli, changed: str, state: str) -> None:
    if state != "running":
        pycontain.ok(*({"stopped": ["stop", "-t", "0"], "paused": ["pause"]}[state]), changed)
    assert lines(pycontain, changed) == ALWAYS
    moved = [line for line in pycontain.ok("diff", changed).splitlines() if line.endswith(("/env", "/env2"))]
    assert [line[0] for line in moved] == ["D", "A"]


def test_nothing_has_changed(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    """What is made for mounts and for names is no change."""
    pycontain.ok("run", "-d", "--name", "one", "-v", f"{tmp_path}:/a/b/c", "--tmpfs", "/x/y", busybox, "sleep", "1000")
    assert pycontain.ok("diff", "one") == ""
    assert pycontain.json("diff", "--format", "json", "one") == []


def test_json(pycontain: Cli, changed: str) -> None:
    found = {one["Path"]: one["Kind"] for one in pycontain.json("diff", "--format", "json", changed)}
    assert (found["/etc/passwd"], found["/new/f"], found["/home"]) == (0, 1, 2)
    assert "--format: 'x' is unknown" in pycontain.fails("diff", "--format", "x", changed)


def test_a_removed_directory_that_is_made_again_as_it_was(pycontain: Cli, busybox: Path) -> None:
    script = "rm -r /var; mkdir /var; mkdir /var/cache; touch /var/cache/new; echo ready; sleep 1000"
    pycontain.ok("run", "-d", "--name", "one", busybox, "sh", "-c", script)
    until(lambda: "ready" in pycontain.ok("logs", "one"))
    found = lines(pycontain, "one")
    assert {"C /var", "D /var/lib", "A /var/cache/new"} <= set(found)
    assert "D /var/cache" not in found


def test_without_a_layer(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "busybox").write_bytes((busybox / "bin" / "busybox").read_bytes())
    (root / "bin" / "busybox").chmod(0o755)
    words = ["--writable", "--userns", "host"]
    pycontain.ok("run", "-d", "--name", "one", *words, root, "--", "/bin/busybox", "sleep", "1000")
    assert "writes to its root directory itself" in pycontain.fails("diff", "one")


@requires("root")
def test_odd_names_do_not_reach_the_terminal(pycontain: Cli, busybox: Path) -> None:
    script = r"touch $(printf '/mnt/\033c'); echo ready; sleep 1000"
    pycontain.ok("run", "-d", "--name", "one", busybox, "sh", "-c", script)
    until(lambda: "ready" in pycontain.ok("logs", "one"))
    assert pycontain.ok("diff", "one") == "C /mnt\nA /mnt/\\x1bc\n"


@requires("shifted-host")
def test_host(pycontain: Cli) -> None:
    script = "echo 1 >/usr/local/made; rm /etc/passwd; mkdir -p /root/x"
    pycontain.ok("run", "--name", "one", "@host", "--", "/bin/sh", "-c", script)
    assert {"A /usr/local/made", "D /etc/passwd"} <= set(pycontain.ok("diff", "one").splitlines())


@pytest.mark.parametrize("fixture", ["user", "user_with_subids"])
def test_ordinary_user(request: pytest.FixtureRequest, busybox: Path, fixture: str) -> None:
    account: OrdinaryUser = request.getfixturevalue(fixture)
    cli, root = account.cli(), account.rootfs(busybox)
    cli.ok("run", "-d", "--name", "one", root, "sh", "-c", f"{SCRIPT}echo ready; sleep 1000")
    until(lambda: "ready" in cli.ok("logs", "one"))
    assert set(ALWAYS) <= set(lines(cli, "one"))
    cli.ok("stop", "-t", "0", "one")
    assert set(ALWAYS) <= set(lines(cli, "one"))
