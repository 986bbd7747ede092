"""The real engines, each on its own directories in a room of their own, driven by their own command lines.

The room is a mount and a PID namespace: its /run and /dev/shm are empty, nothing that an engine mounts is seen outside,
and when the room closes the kernel kills whatever still runs in it. All cgroups lie below one, :data:`PARENT`.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import leaks
from harness.cli import describe
from harness.oci import PROGRAM
from harness.waiting import until

#: Where the engines put the cgroups of their containers, in every hierarchy: seen by the check for leaks.
PARENT = "pycontain-engines"

#: The runtimes by the name that engines are given, ours last.
RUNTIMES = {"runc": "runc", "pycontain-oci": str(PROGRAM)}

#: What this process may have: an engine's own defaults would need CAP_SYS_RESOURCE.
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")

#: PID 1 ignores SIGCHLD, so that the kernel reaps what is left to it. The user of `--userns auto` has subordinate ids.
_OPEN = """
set -eu
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount --make-shared /run
mkdir -p /run/lock /run/engines
echo containers:200000:655360 >/run/subid
for file in /etc/subuid /etc/subgid; do [ ! -e $file ] || mount --bind /run/subid $file; done
exec "$0" -I -S -c '
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
'
"""


def _cgroups_begin_here() -> bool:
    """Return whether the cgroup file systems show this process's own cgroup only, as in a container.

    Where /proc/self/cgroup tells another path all the same, engines would look for a cgroup that they cannot see.
    """
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        rows = [line.split(" - ") for line in file if " - cgroup" in line]
    return bool(rows) and all(row[0].split()[3] != "/" for row in rows)


class Room:
    """The namespaces; ``path`` is where the host sees their /run/engines."""

    def __init__(self) -> None:
        argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
        argv += ["--mount-proc", "--propagation", "private"]
        argv += ["--cgroup"] if _cgroups_begin_here() else []
        argv += ["sh", "-c", _OPEN, sys.executable]
        self.opener = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        assert self.opener.stdout is not None
        assert self.opener.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{self.opener.pid}/task/{self.opener.pid}/children").read_text().split()
        self.pid = int(children[0])
        self.path = Path(f"/proc/{self.pid}/root/run/engines")
        for mount in leaks.cgroup_mounts():
            # what an engine makes once and never removes
            for cgroup in (Path(mount, PARENT), Path(mount, PARENT, "conmon")):
                cgroup.mkdir(exist_ok=True)
                for name in ("cpuset.cpus", "cpuset.mems"):
                    # under version 1 a new one has neither, and no process may enter
                    if (cgroup / "notify_on_release").exists() and (cgroup / name).exists():
                        (cgroup / name).write_text((cgroup.parent / name).read_text())

    def argv(self, *args: str | os.PathLike[str]) -> list[str]:
        """Return the command line that runs ``args`` in the room."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--", *map(os.fspath, args)]

    def run(self, *args: str | os.PathLike[str], timeout: float = 60, **options: Any) -> Any:
        """Run to the end and return exit code and output; at ``timeout`` all its process group is killed."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        given = options.pop("input", None)
        if given is not None:
            options["stdin"] = subprocess.PIPE
        env = {**os.environ, "HOME": "/run/engines"}
        process = subprocess.Popen(
            self.argv(*args), env=env, text=True, errors="replace", start_new_session=True, **options
        )
        try:
            stdout, stderr = process.communicate(given, timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    @contextmanager
    def daemon(self, ready: Callable[[], bool], *args: str) -> Iterator[None]:
        """Have a daemon while the context lasts; ``ready`` tells when it answers."""
        log = self.path / f"{args[0]}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                self.argv(*args), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
            )
        try:
            until(lambda: ready() or process.poll() is not None, 30)
            assert process.poll() is None, log.read_text()[-2000:]
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)

    def close(self) -> None:
        """Kill everything in the room and remove its cgroups."""
        # ready once nothing is left in the PID namespace
        first = os.pidfd_open(self.pid)
        self.opener.kill()
        assert select.select([first], [], [], 20)[0]
        os.close(first)
        self.opener.wait()
        assert self.opener.stdout is not None
        self.opener.stdout.close()
        for mount in leaks.cgroup_mounts():
            for directory, _, _ in os.walk(f"{mount}/{PARENT}", topdown=False):
                os.rmdir(directory)


class Engine:
    """An engine with docker's command line, on one runtime; ``options`` go before its command."""

    def __init__(self, room: Room, name: str, runtime: str) -> None:
        self.room = room
        self.name = name
        self.runtime = runtime
        self.ours = runtime != "runc"
        self.made: list[str] = []
        self.run_options: tuple[str, ...] = ("--network", "none")
        if name == "podman":
            self.program = (*_podman(), "--runtime", RUNTIMES[runtime])
            self.run_options += (*_LIMITS, "--cgroup-parent", f"/{PARENT}")
        else:
            self.program = (*DOCKER,)
            self.run_options += ("--runtime", runtime)

    def argv(self, *args: str | os.PathLike[str]) -> list[str]:
        """Return the command line as seen from the host."""
        return self.room.argv(*self.program, *args)

    def command(self, *args: str | os.PathLike[str], **options: Any) -> Any:
        """Run any command of the engine to its end."""
        return self.room.run(*self.program, *args, **options)

    def ok(self, *args: str | os.PathLike[str], **options: Any) -> str:
        """Run, expect exit code 0, return standard output without the last newline."""
        done = self.command(*args, **options)
        assert done.returncode == 0, describe(done)
        return str(done.stdout).rstrip("\n")

    def fails(self, code: int, *args: str | os.PathLike[str], **options: Any) -> str:
        """Run, expect this exit code, return standard error."""
        done = self.command(*args, **options)
        assert done.returncode == code, f"{describe(done)}\nexpected exit code {code}"
        return str(done.stderr)

    def popen(self, *args: str | os.PathLike[str]) -> tuple[subprocess.Popen[bytes], int]:
        """Start a command; return what to read and wait for, and the pid of the engine's own process."""
        process = subprocess.Popen(self.argv(*args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: children.read_text() != "", 10)
        return process, int(children.read_text())

    def run_argv(self, *args: str | os.PathLike[str]) -> tuple[str | os.PathLike[str], ...]:
        """Return the words of a run whose container goes with it."""
        return ("run", "--rm", *self.run_options, *args)

    def shell(self, script: str, *options: str | os.PathLike[str], **more: Any) -> str:
        """Run a script in a container that goes with it, expect exit code 0, return its output."""
        return self.ok(*self.run_argv(*options, "busybox", "sh", "-c", script), **more)

    def start(self, script: str, *options: str | os.PathLike[str]) -> str:
        """Start a container in the background, to be removed at the end of the test; return its name."""
        name = f"c{len(self.made)}-{self.runtime}"
        self.made.append(name)
        self.ok("run", "--detach", "--name", name, *self.run_options, *options, "busybox", "sh", "-c", script)
        return name

    def inspect(self, name: str, form: str) -> str:
        """Return a field of a container, as a Go template tells it."""
        return self.ok("inspect", "--format", "{{" + form + "}}", name)

    def until_logged(self, name: str, text: str) -> str:
        """Wait until a container has said something; return its output."""
        until(lambda: text in self.ok("logs", name), 20)
        return self.ok("logs", name)

    def remove_all(self) -> None:
        """Remove what the test started."""
        if self.made:
            # Docker kills at once; Podman asks first
            self.command("rm", "--force", "--volumes", *(["--time", "0"] if self.name == "podman" else []), *self.made)
        self.made.clear()


DOCKER = ("/usr/bin/docker", "--host", "unix:///run/engines/docker.sock")
DOCKERD = (
    *("dockerd", "--host", "unix:///run/engines/docker.sock", "--pidfile", "/run/engines/docker.pid"),
    *("--data-root", "/run/engines/docker", "--exec-root", "/run/engines/docker-exec", "--storage-driver", "vfs"),
    *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--containerd", "/run/engines/containerd.sock"),
    *("--default-ulimit", "nofile=1024:1024", "--cgroup-parent", f"/{PARENT}"),
    *("--exec-opt", "native.cgroupdriver=cgroupfs", "--add-runtime", f"pycontain-oci={PROGRAM}"),
)
CTR = ("ctr", "--address", "/run/engines/containerd.sock", "--namespace", PARENT)
_CONTAINERD_TOML = """
version = 2
root = "/run/engines/containerd"
state = "/run/engines/containerd-state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "/run/engines/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/busybox:latest"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
"""
_RUNTIME_CLASS = """
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
runtime_type = "io.containerd.runc.v2"
options = {{ BinaryName = "{program}" }}
"""


def _podman() -> tuple[str, ...]:
    own = "/run/engines/podman"
    return (
        *("podman", "--root", f"{own}/root", "--runroot", f"{own}/run", "--tmpdir", f"{own}/tmp"),
        *("--cgroup-manager", "cgroupfs", "--storage-driver", "vfs", "--events-backend", "none"),
    )


@contextmanager
def containerd(room: Room) -> Iterator[None]:
    """Run containerd in a room."""
    classes = [_RUNTIME_CLASS.format(name=name, program=program) for name, program in RUNTIMES.items()]
    (room.path / "containerd.toml").write_text(_CONTAINERD_TOML + "".join(classes))
    socket = room.path / "containerd.sock"
    with room.daemon(socket.exists, "containerd", "--config", "/run/engines/containerd.toml"):
        yield


@contextmanager
def dockerd(room: Room) -> Iterator[None]:
    """Run dockerd in a room in which containerd runs."""
    with room.daemon(lambda: room.run(*DOCKER, "version").returncode == 0, *DOCKERD):
        yield


def needs(*programs: str) -> None:
    """Skip, by name, what needs a program that is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"this host lacks {', '.join(missing)}")
