"""exec, ps, pause, resume, update, events."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from harness.oci import Oci
from harness.probe import requires
from harness.terminal import receive_terminal

pytestmark = requires("root")


@pytest.fixture
def running(oci: Oci) -> Oci:
    """Return the program with a container ``c`` that sleeps."""
    oci.ok("run", "--detach", "-b", oci.bundle(oci.config("sleep", "1000")), "c")
    return oci


def process_file(oci: Oci, *args: str, **changes: Any) -> Path:
    path = oci.place / "process.json"
    document = {**oci.config(*args)["process"], **changes}
    path.write_text(json.dumps(document))
    return path


def test_exec_is_in_the_container(running: Oci) -> None:
    """§1.12: a command under the container's own confinement."""
    assert running.ok("exec", "c", "hostname") == running.ok("exec", "c", "cat", "/proc/sys/kernel/hostname")
    init = running.state("c")["pid"]
    for kind in ("pid", "mnt", "net", "uts", "ipc"):
        expected = os.readlink(f"/proc/{init}/ns/{kind}")
        assert running.ok("exec", "c", "readlink", f"/proc/self/ns/{kind}").strip() == expected
    status = running.ok("exec", "c", "cat", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t0" in status


def test_exec_without_namespaces(oci: Oci, scratch_root: Path) -> None:
    """§1.12: a container may have none of its own: its root and cgroup are left to join."""
    document = oci.config("sleep", "1000")
    document.update(mounts=[], root={"path": str(scratch_root)})
    document["linux"]["namespaces"] = []
    oci.ok("run", "--detach", "-b", oci.bundle(document), "c")
    assert oci.ok("exec", "c", "ls", "/") == "\n".join(sorted(os.listdir(scratch_root))) + "\n"
    own = Path(f"/proc/{oci.state('c')['pid']}/root")
    assert os.path.samefile(own, scratch_root)
    oci.ok("kill", "c", "KILL")
    oci.wait("c", "stopped")
    assert "cannot exec in a stopped container" in oci.fails("exec", "c", "ls", code=255)


def test_exit_codes_of_exec(running: Oci) -> None:
    """§1.12: the program's code; 255 for what is our own error."""
    assert running.run("exec", "c", "sh", "-c", "exit 7").returncode == 7
    assert running.run("exec", "c", "sh", "-c", "kill -9 $$").returncode == 137
    assert "executable file not found" in running.fails("exec", "c", "nonesuch", code=255)
    assert "does not exist" in running.fails("exec", "none", "true", code=255)
    running.fails("exec", "c", code=255)


def test_options_of_exec(running: Oci) -> None:
    """§1.12: --cwd --env --user --additional-gids --cap --no-new-privs."""
    options = ["--cwd", "/tmp", "-e", "A=1 2", "--user", "5:6", "-g", "7", "--cap", "CAP_KILL", "--no-new-privs"]
    script = "pwd; echo $A; id -u; id -g; id -G; grep -E 'CapBnd|NoNewPrivs' /proc/self/status"
    said = running.ok("exec", *options, "c", "sh", "-c", script).splitlines()
    assert said[:4] == ["/tmp", "1 2", "5", "6"]
    assert "7" in said[4].split()
    assert said[5:] == ["CapBnd:\t0000000000000020", "NoNewPrivs:\t1"]
    for wrong in ("x", "-1", "4294967295", "1:", "1:2:3", " 1"):
        running.fails("exec", "--user", wrong, "c", "true", code=255)


def test_process_document(running: Oci) -> None:
    """§1.12: --process, as containerd and conmon give it."""
    path = process_file(running, "sh", "-c", "id -u; echo $HOME; pwd", user={"uid": 3, "gid": 4}, cwd="/tmp")
    running.ok("exec", "--process", path, "--pid-file", running.place / "pid", "c")
    assert running.ok("exec", "--process", path, "c").splitlines()[0] == "3"
    assert int((running.place / "pid").read_text()) > 1
    running.fails("exec", "--process", path, "c", "true", code=255)
    options = ("--user", "5", "--cwd", "/", "-e", "HOME=/", "-g", "7", "--cap", "CAP_KILL", "--no-new-privs", "--tty")
    done = running.run("exec", *options, "--process", path, "c")
    assert done.stdout.splitlines()[::2] == ["3", "/tmp"]
    names = ("user", "cwd", "env", "additional-gids", "cap", "no-new-privs", "tty")
    assert all(f"--{name}: has no effect" in done.stderr for name in names)
    assert "no effect" not in running.run("exec", "--process", path, "c").stderr
    path.write_text('{"cwd": "relative", "args": ["true"], "user": {"uid": 0, "gid": 0}}')
    assert "cwd" in running.fails("exec", "--process", path, "c", code=255)
    assert "larger than" in running.fails("exec", "--process", "/dev/zero", "c", code=255)


def test_home_is_that_of_the_user(oci: Oci) -> None:
    """P3: HOME from the container's passwd where the environment has none."""
    assert oci.runs(oci.config("sh", "-c", "echo $HOME")) == "/root\n"
    document = oci.config("sh", "-c", "echo $HOME")
    document["process"]["user"] = {"uid": 4711, "gid": 0}
    assert oci.runs(document) == "/\n"
    document["process"]["env"].append("HOME=/mine")
    assert oci.runs(document) == "/mine\n"


def test_detached_exec(running: Oci) -> None:
    """§1.12: --detach with --pid-file."""
    running.ok("exec", "--detach", "--pid-file", running.place / "pid", "c", "sleep", "500")
    pid = int((running.place / "pid").read_text())
    assert Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0] == "sleep"
    assert pid in json.loads(running.ok("ps", "--format", "json", "c"))
    assert "sleep 500" in running.ok("ps", "--format", "table", "c", "-o pid,args")


def test_ps_of_a_stopped_container(oci: Oci) -> None:
    """§1.12: null."""
    oci.ok("create", "-b", oci.bundle(oci.config("true")), "c")
    oci.ok("start", "c")
    oci.wait("c", "stopped")
    assert json.loads(oci.ok("ps", "-f", "json", "c")) is None


def read_all(master: int) -> str:
    data = b""
    while True:
        try:
            chunk = os.read(master, 1000)
        except OSError:
            return data.decode()
        if not chunk:
            return data.decode()
        data += chunk


def test_console_socket(oci: Oci) -> None:
    """D8: a terminal goes to the socket, on create and exec, and only together."""
    document = oci.config("sh", "-c", "tty; stty size; ls -l /dev/console; sleep 100")
    document["process"].update(terminal=True, consoleSize={"height": 30, "width": 100}, user={"uid": 7, "gid": 0})
    path = oci.place / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        bundle = oci.bundle(document)
        oci.fails("create", "-b", bundle, "c")
        oci.ok("create", "--console-socket", path, "-b", bundle, "c")
        master = receive_terminal(listener)
        oci.ok("start", "c")
        time.sleep(0.3)
        said = os.read(master, 1000).decode()
        assert "/dev/pts/0" in said
        assert "30 100" in said
        oci.ok("exec", "--tty", "--detach", "--console-socket", path, "c", "tty")
        other = receive_terminal(listener)
        assert "/dev/pts/1" in read_all(other)
        oci.fails("exec", "--detach", "--console-socket", path, "c", "true", code=255)
        os.close(master)
        os.close(other)
    oci.fails("create", "--console-socket", path, "-b", oci.bundle(oci.config("true"), "other"), "other")


def test_exec_on_our_own_terminal(running: Oci) -> None:
    """§1.12: --tty in the foreground is relayed."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(running.program[0], running.argv("exec", "--tty", "c", "sh", "-c", "tty; exit 6"))
    assert "/dev/pts/0" in read_all(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    os.close(master)


def test_pause(running: Oci) -> None:
    """§1.12: paused is a status of its own; exec and start are refused, kill and delete work."""
    running.ok("pause", "c")
    assert running.state("c")["status"] == "paused"
    running.fails("pause", "c")
    assert "paused" in running.fails("exec", "c", "true", code=255)
    running.ok("resume", "c")
    assert running.state("c")["status"] == "running"
    running.fails("resume", "c")
    running.ok("exec", "c", "true")
    running.ok("pause", "c")
    running.ok("kill", "c", "9")
    running.wait("c", "stopped")
    running.fails("pause", "c")


def test_exec_in_a_paused_container_waits(running: Oci) -> None:
    """§1.12: --ignore-paused."""
    running.ok("pause", "c")
    process = subprocess.Popen(running.argv("exec", "--ignore-paused", "c", "true"))
    time.sleep(0.5)
    assert process.poll() is None
    running.ok("resume", "c")
    assert process.wait(20) == 0


def memory_limit(oci: Oci) -> int:
    data = json.loads(oci.ok("events", "--stats", "c"))
    assert (data["type"], data["id"]) == ("stats", "c")
    return int(data["data"]["memory"]["usage"]["limit"])


@requires("cgroup:memory")
def test_update(running: Oci) -> None:
    """§1.12: from a file, from standard input, from options."""
    path = running.place / "resources.json"
    path.write_text('{"memory": {"limit": 33554432}}')
    running.ok("update", "--resources", path, "c")
    assert memory_limit(running) == 33554432
    with path.open() as stream:
        done = running.run("update", "--memory", "1", "--resources", "-", "c", stdin=stream)
    assert done.returncode == 0
    assert "--memory: has no effect" in done.stderr
    assert memory_limit(running) == 33554432
    running.ok("update", "--memory", "64M", "--pids-limit", "50", "c")
    assert memory_limit(running) == 64 << 20
    path.write_text('{"memory": {"limit": "64M"}}')
    assert "memory.limit" in running.fails("update", "--resources", path, "c")
    running.fails("update", "--memory", "much", "c")
    assert memory_limit(running) == 64 << 20


def test_events(running: Oci) -> None:
    """§1.12: statistics at an interval."""
    process = subprocess.Popen(running.argv("events", "--interval", "100ms", "c"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    running.ok("kill", "c", "KILL")
    assert process.wait(20) == 0
    process.stdout.close()
    assert all(line["data"]["pids"]["current"] == 1 for line in lines)
    assert all(line["data"]["cpu"]["usage"]["total"] > 0 for line in lines)


def test_help_and_template(oci: Oci) -> None:
    """§1.12: every command has a help, and spec writes what can be run."""
    assert "checkpoint" in oci.ok("--help")
    assert "--console-socket" in oci.ok("exec", "--help")
    oci.ok("spec", "--bundle", oci.bundle("", "new") / "..")
    document = json.loads((oci.place / "config.json").read_text())
    assert "exists" in oci.fails("spec", "-b", oci.place)
    document["root"]["path"] = str(oci.rootfs)
    document["process"].update(terminal=False, args=["hostname"])
    document["process"].pop("rlimits")
    assert oci.runs(document) == "pycontain\n"


def test_features(oci: Oci) -> None:
    """F1: what is listed."""
    document = json.loads(oci.ok("features"))
    assert document["ociVersionMin"] == "1.0.0"
    assert "rbind" in document["mountOptions"]


def test_explain(oci: Oci) -> None:
    """The plan of a bundle, with what asks for each step."""
    bundle = oci.bundle(oci.config("true"))
    assert "mounts[0]" in oci.ok("explain", "-b", bundle)
    steps = json.loads(oci.ok("explain", "--format", "json", "-b", bundle))
    assert any(step["spec_path"] == "mounts[1]" for step in steps)
    assert all(step["possible"] for step in steps)
    (proc,) = [step for step in steps if step["spec_path"] == "mounts[0]"]
    assert proc["needs"] == [{"kind": "file system", "name": "proc", "lack": ""}]
    assert oci.left() == []


def test_explain_tells_what_this_host_cannot_do(oci: Oci) -> None:
    """Every step is shown, what is lacking below it; the command ends with an error that names the steps."""
    document = oci.config("true")
    document["mounts"].append({"destination": "/x", "type": "nonesuch", "source": "none"})
    document["hooks"] = {"createContainer": [{"path": "/nonesuch/hook"}]}
    document["linux"]["resources"] = {"network": {"classID": 1}, "unified": {"nonesuch.max": "1"}}
    done = oci.run("explain", "-b", oci.bundle(document))
    assert done.returncode == 1
    assert "not on this host: file system nonesuch: the kernel does not have it" in done.stdout
    assert "not on this host: /nonesuch/hook: no such file or directory" in done.stdout
    assert "not on this host: cgroup controller nonesuch: " in done.stdout
    assert "execute true" in done.stdout
    document["linux"]["resources"] = {}
    said = oci.fails("explain", "-b", oci.bundle(document))
    assert "this host cannot do 2 of " in said
    assert "mount at /x" in said
    assert oci.left() == []


def test_ps_shows_no_commands_to_a_terminal(oci: Oci) -> None:
    """§1.12: a container chooses the words of its processes, and they are shown to a person."""
    oci.ok("run", "-d", "-b", oci.bundle(oci.config("sh", "-c", "sleep 1000; : \x1b[31mred\x07")), "c")
    said = oci.ok("ps", "c")
    assert "sleep 1000; : ?[31mred" in said
    assert not {"\x1b", "\x07"} & set(said)
