"""A process that enters a container brings nothing in that the container must not have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from harness import programs
from harness.cli import Cli
from harness.probe import requires
from harness.waiting import until

pytestmark = [pytest.mark.runtime, requires("root"), requires("program:gcc")]

#: docker's fourteen and CAP_SYS_PTRACE.
ALLOWED = "a80c25fb"


@pytest.fixture
def grasp(root: Path) -> Path:
    """Compile grasp.c into the root, as /grasp."""
    programs.build(Path(__file__).with_name("grasp.c"), root / "grasp")
    return root


def test_the_caller_s_session_keyring_stays_outside(pycontain: Cli, grasp: Path) -> None:
    container = pycontain.ok("run", "-d", grasp, "--", "/bin/sleep", "60").strip()
    with_key = [str(grasp / "grasp"), "key", "pycontain-test"]
    control = subprocess.run(
        [*with_key, str(grasp / "grasp"), "find", "pycontain-test"], capture_output=True, text=True
    )
    assert control.stdout == "of the host\n"
    # without its filter a program may ask for keys
    inside = pycontain.argv("exec", "--privileged", container, "/grasp", "find", "pycontain-test")
    done = subprocess.run([*with_key, *inside], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "nothing\n"), done.stderr


@pytest.mark.parametrize("userns", ["auto", "host"])
def test_nobody_with_more_rights_can_be_seized(pycontain: Cli, grasp: Path, userns: str) -> None:
    options = ["--userns", userns, "--cap-add", "SYS_PTRACE"]
    container = pycontain.ok("run", "-d", *options, grasp, "--", "/grasp", "rights", ALLOWED).strip()
    for _ in range(10):
        pycontain.ok("exec", container, "/bin/true")
    assert pycontain.ok("logs", container) == "watching\n"


@pytest.mark.parametrize("how", [[], ["-t"], ["-i"]], ids=["", "terminal", "input"])
def test_who_enters_holds_nothing_of_the_host(pycontain: Cli, grasp: Path, tmp_path: Path, how: list[str]) -> None:
    """With the host's users and SYS_PTRACE, all that a process holds when it becomes visible can be had from it."""
    options = ["--userns", "host", "--cap-add", "SYS_PTRACE", "-v", f"{tmp_path}:/seen"]
    words = ["--name", "grasping", *options, grasp, "--", "/grasp", "descriptors", "/seen/host"]
    pycontain.ok("run", "-d", *words)
    wait_for(pycontain, "watching")
    with (tmp_path / "host").open("w+") as file:
        for _ in range(30):
            argv = pycontain.argv("exec", *how, "grasping", "/bin/true")
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=True, timeout=30)
    assert pycontain.ok("logs", "grasping") == "watching\n"
    # control: a process that comes in with such a file is noticed
    pid = pycontain.ok("inspect", "--format", "{{.State.Pid}}", "grasping").strip()
    with (tmp_path / "host").open("w+") as file:
        subprocess.run(["nsenter", "--pid", "--target", pid, "sleep", "0.3"], stdout=file, check=True)
    wait_for(pycontain, "holds the file")
    with open("/dev/null", "r+b", buffering=0) as null:
        subprocess.run(["nsenter", "--pid", "--target", pid, "sleep", "0.3"], stdin=null, check=True)
    wait_for(pycontain, "holds the null device")


def wait_for(pycontain: Cli, text: str) -> None:
    until(lambda: text in pycontain.ok("logs", "grasping"))


def test_who_has_more_rights_can_be_seen(pycontain: Cli, grasp: Path) -> None:
    """Control: what the test above looks for shows where it is."""
    options = ["--userns", "host", "--cap-add", "SYS_PTRACE"]
    container = pycontain.ok("run", "-d", *options, grasp, "--", "/grasp", "rights", "0").strip()
    pycontain.ok("exec", container, "/bin/sleep", "0.3")
    until(lambda: "seized" in pycontain.ok("logs", container))


@pytest.mark.parametrize("userns", ["auto", "host"])
@pytest.mark.parametrize("user", ["0", "1000"])
def test_limits_hold_for_those_who_enter(pycontain: Cli, busybox: Path, userns: str, user: str) -> None:
    limits = ["--ulimit", "nofile=8:9", "--ulimit", "nproc=70:71", "--oom-score-adj", "300"]
    command = ["/bin/sleep", "60"]
    container = pycontain.ok("run", "-d", "--userns", userns, *limits, busybox, "--", *command).strip()
    script = "ulimit -n; ulimit -Hn; awk '/processes/ { print $4 }' /proc/self/limits; cat /proc/self/oom_score_adj"
    assert pycontain.ok("exec", "-u", user, container, "/bin/sh", "-c", script).split() == ["8", "9", "71", "300"]


@pytest.mark.parametrize("number", ["3", "4", "10"])
def test_a_low_limit_on_descriptors_does_not_hinder_the_start(pycontain: Cli, busybox: Path, number: str) -> None:
    limit = f"nofile={number}:{number}"
    assert pycontain.ok("run", "--rm", "--ulimit", limit, busybox, "--", "/bin/sh", "-c", "ulimit -n").strip() == number
