"""Published attacks that need more than a hostile root; the numbers are those of pycontain-security(7).

That they work elsewhere is shown by ``tests/conformance/test_attacks*.py``, with an old runc, and by the controls here.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import programs
from harness.attacks import ON_CGROUPS, leave_open
from harness.cli import Cli, describe
from harness.probe import requires
from harness.terminal import Terminal

pytestmark = [pytest.mark.runtime, requires("root")]


@pytest.fixture
def leaked() -> Iterator[int]:
    """Yield a descriptor of the host's root directory that programs inherit."""
    number = leave_open("/")
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


@pytest.mark.parametrize("options", [[], ["-t"], ["-i"]], ids=["", "terminal", "input"])
def test_who_waits_and_who_attends_hold_nothing_of_the_caller(
    pycontain: Cli, busybox: Path, tmp_path: Path, options: list[str]
) -> None:
    """5, 10: a container that was created may wait for long, and its monitor stays as long as it does."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        argv = pycontain.argv("create", *options, busybox, "--", "/bin/true")
        done = subprocess.run(argv, pass_fds=(lock.fileno(),), capture_output=True, text=True, timeout=30, check=True)
    state = json.loads((pycontain.root / "state" / "containers" / done.stdout.strip() / "state.json").read_text())
    assert "monitor" in Path(f"/proc/{state['monitor_pid']}/cmdline").read_text()
    held = {os.readlink(path).partition(":")[0] for path in Path(f"/proc/{state['pid']}/fd").iterdir()}
    assert held <= {"socket", "pipe", "/dev/null", "/", "/dev/pts/0"}, held
    # the lock of a script that starts a container ends with the script
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_nothing_covers_what_the_runtime_mounts(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    """2, 6, 7: a volume cannot be put in the place of /proc, /dev and their like."""
    for place in ("/dev", "/dev/pts", "/proc", "/proc/self", "/proc/sys", "/sys", "/sys/fs/cgroup", "/dev/../proc/"):
        said = pycontain.fails("run", "--rm", "-v", f"{tmp_path}:{place}", busybox, "--", "/bin/true")
        assert "that place is the runtime's own" in said or "nothing can be mounted there" in said


@pytest.mark.parametrize("options", [[], ["-t"], ["-i"]], ids=["", "terminal", "input"])
def test_a_file_in_the_place_of_the_null_device(
    pycontain: Cli, busybox: Path, tmp_path: Path, options: list[str]
) -> None:
    """6, 7: what masks and what swallows output is the host's, whatever the container has there."""
    devices = {name: tmp_path / name for name in ("null", "tty")}
    for file in devices.values():
        file.write_text("of the host\n")
    words = [word for name, file in devices.items() for word in ("-v", f"{file}:/dev/{name}")]
    script = "cat /proc/timer_list; for i in 0 1 2; do readlink /proc/self/fd/$i; done; cat /dev/null"
    said = pycontain.ok("run", "--rm", *words, *options, busybox, "--", "/bin/sh", "-c", script)
    *streams, last = said.splitlines()
    assert last == "of the host"
    assert len(streams) == 3
    assert not any(str(tmp_path) in stream for stream in streams)
    assert "/dev/null" not in streams[1:]
    assert [file.read_text() for file in devices.values()] == ["of the host\n"] * 2


def test_cgroups_are_not_written_to(pycontain: Cli, busybox: Path) -> None:
    """12, 13: they are read-only, and only CAP_SYS_ADMIN could mount them anew."""
    for options in ([], ["--userns", "host"], ["--userns", "host", "--security-opt", "seccomp=unconfined"]):
        said = pycontain.ok("run", "--rm", "--tmpfs", "/tmp", *options, busybox, "--", "/bin/sh", "-c", ON_CGROUPS)
        assert said.split() == ["done"], options
    # control
    said = pycontain.ok("run", "--rm", "--tmpfs", "/tmp", "--privileged", busybox, "--", "/bin/sh", "-c", ON_CGROUPS)
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


@requires("program:gcc")
@pytest.mark.parametrize("how", ["control", "run", "run -i", "run, not removed", "exec", "exec -i"])
def test_no_keys_are_typed_for_the_caller(pycontain: Cli, root: Path, how: str) -> None:
    """19: a program that was not given a terminal has none, and none of the caller's."""
    if Path("/proc/sys/dev/tty/legacy_tiocsti").read_text().strip() != "1":
        pytest.skip("this kernel has no TIOCSTI")
    programs.build(Path(__file__).with_name("push.c"), root / "push")
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
