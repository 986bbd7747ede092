"""Joining another container: its pid may become a stranger's meanwhile, and whoever is in there must not seize us."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import programs
from harness.cli import Cli
from harness.probe import requires
from harness.waiting import until

pytestmark = [pytest.mark.runtime, requires("root")]

CLONE_NEWNET, CLONE_NEWIPC = 0x40000000, 0x08000000
CLONE3 = {"x86_64": 435, "aarch64": 435}[platform.machine()]
ALLOWED = "a80c25fb"


def clone_as(pid: int) -> bool:
    """Make a process with this very id and namespaces of its own that sleeps; false while the id is taken."""
    ids = (ctypes.c_int * 1)(pid)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size
    words = [CLONE_NEWNET | CLONE_NEWIPC, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(ids), 1, 0]
    arguments = struct.pack("=11Q", *words)
    got = ctypes.CDLL(None, use_errno=True).syscall(CLONE3, arguments, len(arguments))
    if got == 0:
        os.execv("/bin/sleep", ["sleep", "1000"])
    return int(got) == pid


@pytest.fixture
def victim(pycontain: Cli, busybox: Path) -> Iterator[int]:
    """Yield the id of the first process of a container ``other`` with the host's users; a stranger may take it over."""
    pycontain.ok("run", "-d", "--name", "other", "--userns", "host", busybox, "--", "/bin/sleep", "1000")
    pid = int(pycontain.ok("inspect", "--format", "{{.State.Pid}}", "other"))
    yield pid
    pycontain.run("rm", "-f", "other")
    if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/stat").read_text().split()[3] == str(os.getpid()):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@requires("program:strace")
@pytest.mark.parametrize(("option", "file"), [("--network", "net"), ("--ipc", "ipc")])
def test_a_stranger_with_the_peer_s_pid_is_not_joined(
    pycontain: Cli, busybox: Path, tmp_path: Path, victim: int, option: str, file: str
) -> None:
    path, trace = f"/proc/{victim}/ns/{file}", tmp_path / "trace"
    # the command has read the other's state by then, and is about to open its namespace
    slow = ["strace", "-f", "-o", str(trace), "-P", path, "-e", "inject=openat:delay_enter=4000000"]
    words = ["run", "--rm", option, "container:other", busybox, "--", "/bin/readlink", f"/proc/self/ns/{file}"]
    with subprocess.Popen(
        [*slow, *pycontain.argv(*words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as command:  # fmt: skip
        time.sleep(2)
        os.kill(victim, signal.SIGKILL)
        until(lambda: clone_as(victim), 1.5)
        stranger = os.readlink(path)
        out, error = command.communicate(timeout=30)
    # control: what the command opened was the stranger's
    assert f'"{path}"' in trace.read_text()
    assert ") = -1" not in "".join(line for line in trace.read_text().splitlines() if "openat" in line)
    assert os.readlink(path) == stranger
    assert (out, command.returncode) == ("", 125), error
    assert "has just ended" in error


def test_a_peer_that_lives_is_joined(pycontain: Cli, busybox: Path, victim: int) -> None:
    for option, file in (("--network", "net"), ("--ipc", "ipc")):
        words = [option, "container:other", busybox, "--", "/bin/readlink", f"/proc/self/ns/{file}"]
        assert pycontain.ok("run", "--rm", *words).strip() == os.readlink(f"/proc/{victim}/ns/{file}")


@pytest.fixture
def grasp(root: Path) -> Path:
    """Compile grasp.c into the root, as /grasp."""
    programs.build(Path(__file__).with_name("grasp.c"), root / "grasp")
    return root


def start_grasping(pycontain: Cli, root: Path, *options: str, mode: tuple[str, ...] = ("rights", ALLOWED)) -> None:
    pycontain.ok("run", "-d", "--name", "grasping", *options, root, "--", "/grasp", *mode)


@requires("program:gcc")
def test_who_joins_a_pid_namespace_is_not_seized(pycontain: Cli, grasp: Path, busybox: Path) -> None:
    start_grasping(pycontain, grasp, "--cap-add", "SYS_PTRACE")
    for _ in range(10):
        pycontain.ok("run", "--rm", "--pid", "container:grasping", busybox, "--", "/bin/true")
    assert pycontain.ok("logs", "grasping") == "watching\n"


@requires("program:gcc", "program:nsenter")
def test_with_the_host_s_users_a_tracer_is_not_joined(pycontain: Cli, grasp: Path, busybox: Path) -> None:
    start_grasping(pycontain, grasp, "--cap-add", "SYS_PTRACE", "--userns", "host")
    join = ["run", "--rm", "--pid", "container:grasping", busybox, "--", "/bin/true"]
    for _ in range(5):
        assert "CAP_SYS_PTRACE" in pycontain.fails(*join)
    assert pycontain.ok("logs", "grasping") == "watching\n"
    # control: somebody who comes in with the host's rights is seized at once
    pid = pycontain.ok("inspect", "--format", "{{.State.Pid}}", "grasping").strip()
    subprocess.run(["nsenter", "--pid", "--target", pid, "sleep", "0.5"], check=True)
    until(lambda: "seized" in pycontain.ok("logs", "grasping"))


@requires("program:gcc", "program:nsenter")
@pytest.mark.parametrize("mode", [("rights", ALLOWED), ("thread", ALLOWED)], ids=["process", "thread"])
def test_a_tracer_that_joined_itself_counts(pycontain: Cli, grasp: Path, busybox: Path, mode: tuple[str, ...]) -> None:
    """What has the right to trace need not be the container that is named, nor the first thread of a process."""
    pycontain.ok("run", "-d", "--name", "first", "--userns", "host", busybox, "--", "/bin/sleep", "1000")
    join = ["run", "--rm", "--pid", "container:first", busybox, "--", "/bin/true"]
    pycontain.ok(*join)
    start_grasping(pycontain, grasp, "--cap-add", "SYS_PTRACE", "--pid", "container:first", mode=mode)
    until(lambda: "watching" in pycontain.ok("logs", "grasping"))
    assert "CAP_SYS_PTRACE" in pycontain.fails(*join)
    # control: it can be seized from there
    pid = pycontain.ok("inspect", "--format", "{{.State.Pid}}", "grasping").strip()
    subprocess.run(["nsenter", "--pid", "--target", pid, "sleep", "0.5"], check=True)
    until(lambda: "seized" in pycontain.ok("logs", "grasping"))


@requires("program:gcc")
def test_a_tracer_that_hides_its_rights_counts(pycontain: Cli, grasp: Path, busybox: Path) -> None:
    """Other processes of the container may have them, and come and go faster than one can look."""
    start_grasping(pycontain, grasp, "--cap-add", "SYS_PTRACE", "--userns", "host", mode=("nothing",))
    until(lambda: "without rights" in pycontain.ok("logs", "grasping"))
    assert "CAP_SYS_PTRACE" in pycontain.fails("run", "--rm", "--pid", "container:grasping", busybox, "--", "/bin/true")
    # control: nothing can be seen of them now
    pid = int(pycontain.ok("inspect", "--format", "{{.State.Pid}}", "grasping"))
    rights = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line[:6] in ("CapPrm", "CapBnd")]
    assert [line.split()[1] for line in rights] == ["0" * 16] * 2


def test_a_privileged_container_may_be_joined(pycontain: Cli, busybox: Path) -> None:
    """Whoever is in there has all rights anyway."""
    pycontain.ok("run", "-d", "--name", "first", "--privileged", busybox, "--", "/bin/sleep", "1000")
    assert pycontain.ok("run", "--rm", "--pid", "container:first", busybox, "--", "/bin/echo", "in") == "in\n"
