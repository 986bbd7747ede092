"""Containers with the default isolation and with limits, on pure cgroup v2, kernel 6.1 and ext4."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import hostile_roots, images
from harness.cli import Cli, describe

pytestmark = [pytest.mark.guest, pytest.mark.runtime]


@pytest.fixture
def on_disk() -> Iterator[Cli]:
    """Yield the program with its root directory, upper layers included, on the guest's ext4."""
    root = images.memory_directory("root-", on=os.environ["PYCONTAIN_TEST_DISK"])
    cli = Cli(root)
    yield cli
    cli.remove_all()
    assert cli.leftovers() == []
    images.remove(root)


def test_default_isolation(on_disk: Cli, busybox: Path) -> None:
    script = """
        cat /proc/self/uid_map
        stat -c %u:%g / /bin/busybox /home/app
        touch /new && stat -c %u /new
        grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2
        cat /proc/self/cgroup
        echo $$
    """
    before = hostile_roots.tree_state(busybox)
    lines = on_disk.ok("run", "--rm", busybox, "--", "/bin/sh", "-c", script).split()
    assert lines[0] == "0"
    # a range of its own, and the root mapped to it: not the identity fallback
    assert int(lines[1]) >= 65536
    assert lines[2] == "65536"
    assert lines[3:7] == ["0:0", "0:0", "1000:1000", "0"]
    assert lines[7:] == ["00000000a80425fb", "1", "2", "0::/", "1"]
    assert hostile_roots.tree_state(busybox) == before


def test_upper_layer_on_tmpfs(pycontain: Cli, busybox: Path) -> None:
    done = pycontain.run("run", "--rm", busybox, "--", "/bin/sh", "-c", "touch /new && cut -c1-22 /proc/self/uid_map")
    assert done.returncode == 0, describe(done)
    assert done.stdout.split()[1] != "0"


def test_memory_hog_is_killed_and_reported(on_disk: Cli, busybox: Path) -> None:
    message = on_disk.fails("run", "--rm", "-m", "32m", busybox, "--", "tail", "/dev/zero", code=137)
    assert "memory" in message


def test_fork_bomb_is_held(on_disk: Cli, busybox: Path) -> None:
    script = (
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids.events"
    )
    done = on_disk.run("run", "--rm", "--pids-limit", "8", busybox, "--", "/bin/sh", "-c", script)
    assert "can't fork" in done.stderr, describe(done)


def test_limits_reach_their_files(on_disk: Cli, busybox: Path) -> None:
    options = ["-m", "64m", "--cpus", "0.5", "--pids-limit", "100"]
    script = "cd /sys/fs/cgroup && cat memory.max cpu.max pids.max"
    assert on_disk.ok("run", "--rm", *options, busybox, "--", "/bin/sh", "-c", script).split() == [
        *("67108864", "50000", "100000", "100"),
    ]


def test_nothing_of_ours_stays_in_the_cgroups(on_disk: Cli, busybox: Path) -> None:
    on_disk.ok("run", "--rm", busybox, "--", "/bin/true")
    assert [path for path in Path("/sys/fs/cgroup").iterdir() if path.name.startswith("pycontain")] == []


def test_apparmor_profile(on_disk: Cli, busybox: Path) -> None:
    """Debian's kernel has AppArmor active; User-Mode Linux has none, and then nothing is said of it."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    active = enabled.exists() and enabled.read_text().startswith("Y")
    script = "cat /proc/self/attr/apparmor/current 2>/dev/null || echo none; mount -t tmpfs x /mnt 2>&1 | tail -n 1"
    without_seccomp = ("--userns", "host", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
    done = on_disk.run("run", "--rm", *without_seccomp, busybox, "--", "/bin/sh", "-c", script)
    assert done.returncode == 0, describe(done)
    if active:
        assert done.stdout.splitlines() == [
            "pycontain-default (enforce)",
            "mount: mounting x on /mnt failed: Permission denied",
        ]
    else:
        assert done.stdout.splitlines() == ["none"]
    assert "AppArmor" not in done.stderr


@pytest.mark.guest("qemu")
@pytest.mark.parametrize("options", [[], ["--userns", "host"]], ids=["own users", "host's users"])
@pytest.mark.parametrize("terminal", [[], ["-t"]], ids=["", "terminal"])
def test_exec_is_under_the_same_apparmor_profile(
    on_disk: Cli, busybox: Path, options: list[str], terminal: list[str]
) -> None:
    container = on_disk.ok("run", "-d", *options, busybox, "--", "/bin/sleep", "1000").strip()
    assert on_disk.ok("inspect", "--format", "{{.AppArmorProfile}}", container) == "pycontain-default\n"
    for process in ("self", "1"):
        said = on_disk.ok("exec", *terminal, container, "/bin/cat", f"/proc/{process}/attr/apparmor/current")
        assert said.strip() == "pycontain-default (enforce)", process


@pytest.mark.guest("qemu")
def test_exec_without_a_profile_where_the_container_has_none(on_disk: Cli, busybox: Path) -> None:
    """Control: what the test above reads tells the difference."""
    options = ["--security-opt", "apparmor=unconfined"]
    container = on_disk.ok("run", "-d", *options, busybox, "--", "/bin/sleep", "1000").strip()
    assert on_disk.ok("exec", container, "/bin/cat", "/proc/self/attr/apparmor/current") == "unconfined\n"
    assert on_disk.ok("inspect", "--format", "{{.AppArmorProfile}}", container).strip() in ("", "unconfined")
