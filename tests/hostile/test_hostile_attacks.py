"""Published attacks that need more than a hostile root; the numbers are those of pycontain(7), "Attacks".

That they work elsewhere is shown by ``tests/conformance/test_attacks.py``, with an old runc, and by the controls here.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import hostile_roots
from harness.cli import Cli, describe
from harness.probe import requires
from harness.terminal import Terminal

pytestmark = [pytest.mark.runtime, requires("root")]


@pytest.fixture
def leaked() -> Iterator[int]:
    """Yield a descriptor of the host's root directory that programs inherit."""
    number = os.dup2(os.open("/", os.O_RDONLY), 50, inheritable=True)
    yield number
    os.close(number)


@pytest.mark.parametrize("userns", ["auto", "host"])
def test_a_working_directory_outside(pycontain: Cli, busybox: Path, tmp_path: Path, leaked: int, userns: str) -> None:
    """5: whatever number it has, and also in exec; see test_controls.py."""
    canary = tmp_path / "canary"
    canary.write_text("of the host")
    container = pycontain.ok("run", "-d", "--userns", userns, busybox, "--", "/bin/sleep", "60").strip()
    outside = 0
    for number in (*range(3, 30), leaked):
        words = ["-w", f"/proc/self/fd/{number}"]
        program = ["/bin/sh", "-c", f'[ . -ef "$(/bin/pwd)" ] && echo inside; cat .{canary}; :']
        for argv in (
            pycontain.argv("run", "--rm", "--userns", userns, *words, busybox, "--", *program),
            pycontain.argv("exec", *words, container, *program),
        ):
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, pass_fds=(leaked,), timeout=30
            )
            # one of ours may lead into the container
            assert (done.returncode, done.stdout) in ((0, "inside\n"), (125, "")), describe(done)
            outside += "lies outside the container's root" in done.stderr
    # control: some of these were directories
    assert outside


@pytest.mark.parametrize("options", [[], ["-t"]], ids=["", "terminal"])
def test_a_volume_in_the_place_of_dev(pycontain: Cli, busybox: Path, tmp_path: Path, options: list[str]) -> None:
    """6, 7: what masks, is the terminal and swallows output is not looked for in the container."""
    devices, victim = tmp_path / "dev", hostile_roots.canary_directory(tmp_path / "victim")
    devices.mkdir()
    (devices / "null").symlink_to("/proc/sys/kernel/core_pattern")
    for name in ("console", "tty"):
        (devices / name).symlink_to(f"/victim/{name}")
    for name in ("pts", "shm", "mqueue"):
        (devices / name).mkdir()
    before = hostile_roots.tree_state(victim)
    script = "wc -c </proc/timer_list; for i in 0 1 2; do readlink /proc/self/fd/$i; done; echo end"
    words = ["--rm", "--userns", "host", "-v", f"{devices}:/dev", "-v", f"{victim}:/victim", *options]
    done = pycontain.run("run", *words, busybox, "--", "/bin/sh", "-c", script)
    assert hostile_roots.tree_state(victim) == before
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        size, *streams, end = done.stdout.split()
        assert (size, end) == ("0", "end")
        assert not any("victim" in one or "core_pattern" in one for one in streams)
    else:
        assert done.returncode == 125, describe(done)


def test_cgroups_are_not_written_to(pycontain: Cli, busybox: Path) -> None:
    """12, 13: they are read-only, and only CAP_SYS_ADMIN could mount them anew."""
    script = """
        cd /sys/fs/cgroup
        for file in $(find . -name cgroup.procs -o -name tasks -o -name release_agent -o -name '*_on_release'); do
            (echo 0 > $file) 2>/dev/null && echo wrote
        done
        for place in $(find . -type d); do (mkdir $place/new) 2>/dev/null && rmdir $place/new && echo made; done
        mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted
        mkdir /tmp/new
        mount -t cgroup -o memory none /tmp/new 2>/dev/null && echo mounted
        mount -t cgroup2 none /tmp/new 2>/dev/null && echo mounted
        echo done
    """
    for options in ([], ["--userns", "host"], ["--userns", "host", "--security-opt", "seccomp=unconfined"]):
        said = pycontain.ok("run", "--rm", "--tmpfs", "/tmp", *options, busybox, "--", "/bin/sh", "-c", script)
        assert said.split() == ["done"], options
    # control
    said = pycontain.ok("run", "--rm", "--tmpfs", "/tmp", "--privileged", busybox, "--", "/bin/sh", "-c", script)
    assert {"wrote", "made"} <= set(said.split())


def test_no_socket_is_reached_by_the_network(pycontain: Cli, busybox: Path) -> None:
    """14: a container with the host's network reaches no socket of a monitor: all have a place in a directory."""
    container = pycontain.ok("run", "-d", busybox, "--", "/bin/sleep", "60").strip()
    words = ["run", "--rm", "--network", "host", busybox, "--", "/bin/cat", "/proc/net/unix"]
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(f"\0pycontain-control-{os.getpid()}")
        places = [line.split()[7] for line in pycontain.ok(*words).splitlines()[1:] if len(line.split()) > 7]
    assert any(place.endswith("/control.sock") for place in places)
    abstract = {place for place in places if place.startswith("@") and ("pycontain" in place or container in place)}
    assert abstract == {f"@pycontain-control-{os.getpid()}"}


PUSH = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>

static void push(const char *name, int fd)
{
    printf("%s: %s\n", name, ioctl(fd, TIOCSTI, "#") == 0 ? "pushed" : "refused");
}

int main(void)
{
    push("input", 0);
    push("output", 1);
    push("terminal", open("/dev/tty", O_RDWR));
    puts("end");
    return 0;
}
"""


@requires("program:gcc")
@pytest.mark.parametrize("how", ["control", "run", "run -i", "run, not removed", "exec", "exec -i"])
def test_no_keys_are_typed_for_the_caller(pycontain: Cli, root: Path, tmp_path: Path, how: str) -> None:
    """19: a program that was not given a terminal has none, and none of the caller's."""
    if Path("/proc/sys/dev/tty/legacy_tiocsti").read_text().strip() != "1":
        pytest.skip("this kernel has no TIOCSTI")
    (tmp_path / "push.c").write_text(PUSH)
    subprocess.run(["gcc", "-static", "-o", str(root / "push"), str(tmp_path / "push.c")], check=True)
    input_too = ["-i"] if how.endswith("-i") else []
    if how == "control":
        argv = [str(root / "push")]
    elif how.startswith("exec"):
        pycontain.ok("run", "-d", "--name", "target", root, "--", "/bin/sleep", "60")
        argv = pycontain.argv("exec", *input_too, "target", "/push")
    else:
        argv = pycontain.argv("run", *(["--rm"] if "not" not in how else []), *input_too, root, "--", "/push")
    with Terminal(argv) as terminal:
        said = terminal.until("end")
        assert terminal.exit_code() == 0
    assert said.count("refused") == (0 if how == "control" else 3), said
