"""containerd's shim, by ctr: the exact arguments that Kubernetes' nodes use."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness.cli import describe
from harness.engines import CTR, RUNTIMES, Room
from harness.probe import requires
from harness.terminal import Terminal
from harness.waiting import until

pytestmark = [requires("root"), pytest.mark.background("room", "containerd", "kubernetes_image")]


class Ctr:
    """``ctr`` in the room; containers are named after the runtime and removed at the end."""

    def __init__(self, room: Room, runtime: str) -> None:
        self.room = room
        self.runtime = RUNTIMES[runtime]
        self.name = f"c-{runtime}"

    def command(self, *args: str, **options: Any) -> Any:
        """Run any command."""
        return self.room.run(*CTR, *args, **options)

    def ok(self, *args: str, **options: Any) -> str:
        """Run, expect exit code 0, return standard output without the last newline."""
        done = self.command(*args, **options)
        assert done.returncode == 0, describe(done)
        return str(done.stdout).rstrip("\n")

    def run_words(self, *options: str) -> tuple[str, ...]:
        """Return the words before a container's command."""
        common = ("--rootfs", "--runc-binary", self.runtime, "--env", "PATH=/bin")
        return ("run", *common, *options, "/run/engines/rootfs", self.name)

    def image_words(self) -> tuple[str, ...]:
        """Return the words of a run from an image, up to the image."""
        return ("--snapshotter", "native", "--runc-binary", self.runtime, "localhost/busybox:latest")

    def remove(self) -> None:
        """Remove the container, with its task."""
        self.command("tasks", "delete", "--force", self.name)
        self.command("containers", "delete", self.name)


@pytest.fixture
def ctr(room: Room, runtime: str) -> Iterator[Ctr]:
    """Yield ctr on a runtime."""
    made = Ctr(room, runtime)
    try:
        yield made
    finally:
        made.remove()


def test_run(ctr: Ctr) -> None:
    """Output, exit codes, options, and a name that is free again."""
    assert ctr.ok(*ctr.run_words("--rm"), "echo", "hello") == "hello"
    assert ctr.command(*ctr.run_words("--rm"), "sh", "-c", "exit 3").returncode == 3
    failed = ctr.command(*ctr.run_words("--rm"), "nonesuch")
    assert "executable file not found" in failed.stderr
    limits = ("--memory-limit", "67108864", "--seccomp", "--cap-add", "CAP_SYS_TIME", "--read-only", "--cwd", "/var")
    mount = ("--mount", "type=bind,src=/run/engines,dst=/mnt,options=rbind:ro", "--env", "A=1")
    script = "echo $A; pwd; touch /x 2>&1; ls /mnt/rootfs/bin/sh; grep -E 'CapEff|Seccomp:' /proc/self/status"
    said = ctr.ok(*ctr.run_words("--rm", *limits, *mount), "sh", "-c", script)
    assert said.splitlines()[:2] == ["1", "/var"]
    assert "Read-only file system" in said
    assert "/mnt/rootfs/bin/sh" in said
    assert "Seccomp:\t2" in said
    capabilities = next(line.split()[1] for line in said.splitlines() if "CapEff" in line)
    assert int(capabilities, 16) >> 25 & 1


def test_task(ctr: Ctr) -> None:
    """A task in the background: exec, ps, pause, resume, metrics, kill, and its exit code."""
    ctr.ok(*ctr.run_words("--detach"), "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
    # the shell has set its trap once it has a child
    time.sleep(0.3)
    assert ctr.ok("tasks", "exec", "--exec-id", "e1", ctr.name, "echo", "in") == "in"
    assert ctr.command("tasks", "exec", "--exec-id", "e2", ctr.name, "sh", "-c", "exit 5").returncode == 5
    assert "executable file not found" in ctr.command("tasks", "exec", "--exec-id", "e3", ctr.name, "nonesuch").stderr
    assert ctr.ok("tasks", "exec", "--exec-id", "e4", "--cwd", "/var", "--user", "8", ctr.name, "pwd") == "/var"
    assert "RUNNING" in ctr.ok("tasks", "list")
    assert len(ctr.ok("tasks", "ps", ctr.name).splitlines()) >= 2
    ctr.ok("tasks", "pause", ctr.name)
    assert "PAUSED" in ctr.ok("tasks", "list")
    ctr.ok("tasks", "resume", ctr.name)
    assert "RUNNING" in ctr.ok("tasks", "list")
    assert json.loads(ctr.ok("tasks", "metrics", "--format", "json", ctr.name))
    ctr.ok("tasks", "kill", "--signal", "SIGTERM", ctr.name)
    until(lambda: "STOPPED" in ctr.ok("tasks", "list"), 10)
    assert "exit code 7" in ctr.command("tasks", "delete", ctr.name).stderr


def test_kill_all(ctr: Ctr) -> None:
    """Every process of a container that has the host's PID namespace."""
    script = "sleep 981 & setsid sleep 982 & sleep 983 & wait"
    ctr.ok(*ctr.run_words("--detach", "--with-ns", "pid:/proc/1/ns/pid"), "sh", "-c", script)
    until(lambda: processes(ctr).count("sleep 98") >= 3)
    ctr.ok("tasks", "kill", "--all", "--signal", "SIGKILL", ctr.name)
    until(lambda: "STOPPED" in ctr.ok("tasks", "list"), 10)
    until(lambda: "sleep 98" not in processes(ctr))


def processes(ctr: Ctr) -> str:
    """Return the command lines of all processes in the room but the one that ``sh -c`` was given."""
    said = str(ctr.room.run("ps", "-e", "-o", "args").stdout)
    return "\n".join(line for line in said.splitlines() if not line.startswith("sh -c"))


def test_terminal(ctr: Ctr) -> None:
    """A terminal for a container and for a command in one."""
    with Terminal(ctr.room.argv(*CTR, *ctr.run_words("--rm", "--tty"), "sh"), rows=30, columns=90) as terminal:
        terminal.type("while ! stty size | grep '30 90'; do sleep 0.1; done; tty; echo si''zed; exit 4\n")
        assert "/dev/pts/" in terminal.until("sized")
        assert terminal.exit_code() == 4
    ctr.ok(*ctr.run_words("--detach"), "sleep", "1000")
    exec_words = ("tasks", "exec", "--tty", "--exec-id", "t1", ctr.name, "sh")
    with Terminal(ctr.room.argv(*CTR, *exec_words)) as terminal:
        terminal.type("tty; echo to''ld; exit 6\n")
        assert "/dev/pts/" in terminal.until("told")
        assert terminal.exit_code() == 6


def test_user_namespace(ctr: Ctr) -> None:
    """Mapped ids, as ctr asks for them."""
    # ctr looks at the options only where there is an image
    mapped = ("--uidmap", "0:300000:5000", "--gidmap", "0:300000:5000", *ctr.image_words())
    said = ctr.ok("run", "--rm", *mapped, ctr.name, "sh", "-c", "cat /proc/self/uid_map; stat -c %u /bin/sh; id -u")
    assert said.split() == ["0", "300000", "5000", "0", "0"]


def test_image(ctr: Ctr) -> None:
    """An image of the Open Container Initiative's layout, with a snapshot for a root."""
    assert ctr.ok("run", "--rm", *ctr.image_words(), ctr.name, "sh", "-c", "echo $FROM") == "image"
