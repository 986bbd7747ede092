"""Options seen from inside the container: mounts, names, limits, shared namespaces, labels, logs."""

from __future__ import annotations

import json
import os
import pty
import select
import time
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.probe import requires


def shell(cli: Cli, root: Path, script: str, *options: str) -> str:
    """Return what a script prints in a container that is removed afterwards."""
    return cli.ok("run", "--rm", *options, root, "sh", "-c", script)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a host directory with a file."""
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "file").write_text("mine\n")
    return directory


def flags_of(cli: Cli, root: Path, place: str, *options: str) -> set[str]:
    """Return the flags of the mount at a place inside."""
    lines = shell(cli, root, "cat /proc/self/mountinfo", *options).splitlines()
    (fields,) = [line.split() for line in lines if line.split()[4] == place]
    return set(fields[5].split(","))


def test_binds(pycontain: Cli, busybox: Path, data: Path) -> None:
    assert shell(pycontain, busybox, "cat /d/file; id -u; stat -c %u /d/file", "-v", f"{data}:/d") == "mine\n0\n0\n"
    assert shell(pycontain, busybox, "echo new > /d/new; stat -c %u /d/new", "-v", f"{data}:/d") == "0\n"
    assert (data / "new").stat().st_uid == 0
    refused = pycontain.run("run", "--rm", "-v", f"{data}:/d:ro", busybox, "touch", "/d/x")
    assert "Read-only file system" in refused.stderr
    assert not (data / "x").exists()
    assert shell(pycontain, busybox, "cat /f", "-v", f"{data}/file:/f:ro") == "mine\n"
    assert {"ro", "noexec", "nosuid"} <= flags_of(pycontain, busybox, "/d", "-v", f"{data}:/d:ro,noexec,nosuid")


def test_a_bind_may_lie_in_a_bind(pycontain: Cli, busybox: Path, data: Path, tmp_path: Path) -> None:
    (data / "below").mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "deep").write_text("deep\n")
    options = ("-v", f"{other}:/d/below", "-v", f"{data}:/d")
    assert shell(pycontain, busybox, "cat /d/file /d/below/deep", *options) == "mine\ndeep\n"


def test_mount_and_tmpfs(pycontain: Cli, busybox: Path, data: Path) -> None:
    bind = ("--mount", f"type=bind,source={data},target=/d,readonly")
    assert "ro" in flags_of(pycontain, busybox, "/d", *bind)
    assert {"nodev", "noexec", "nosuid"} <= flags_of(pycontain, busybox, "/t", "--tmpfs", "/t")
    assert "noexec" not in flags_of(pycontain, busybox, "/t", "--tmpfs", "/t:exec,size=1m")
    script = "stat -c %a /t; dd if=/dev/zero of=/t/x bs=1k count=2000 2>/dev/null; stat -c %s /t/x"
    found = shell(pycontain, busybox, script, "--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700")
    assert found == "700\n1048576\n"


def test_shared_memory(pycontain: Cli, busybox: Path) -> None:
    script = "df -k /dev/shm | tail -1 | awk '{print $2}'"
    assert shell(pycontain, busybox, script) == "65536\n"
    assert shell(pycontain, busybox, script, "--shm-size", "1m") == "1024\n"
    assert shell(pycontain, busybox, script, "--tmpfs", "/dev/shm:size=2m") == "2048\n"


def test_named_volumes_are_filled_once(pycontain: Cli, busybox: Path) -> None:
    assert "passwd" in shell(pycontain, busybox, "echo x > /v/new; ls /etc", "-v", "v1:/v", "-v", "seed:/etc")
    assert shell(pycontain, busybox, "cat /other/new; ls /other", "-v", "v1:/other:ro") == "x\nnew\n"
    assert "passwd" in shell(pycontain, busybox, "ls /e", "-v", "seed:/e")
    assert shell(pycontain, busybox, "ls /etc/passwd || true", "-v", "empty:/etc:nocopy") == ""
    shell(pycontain, busybox, "echo x > /anon/x", "-v", "/anon")
    names = pycontain.ok("volume", "ls", "-q").split()
    assert names == ["empty", "seed", "v1"]


def test_names_and_addresses(pycontain: Cli, busybox: Path) -> None:
    options = ("-h", "box", "--domainname", "example", "--add-host", "db:192.0.2.7", "--dns", "192.0.2.53")
    script = (
        "hostname; cat /etc/hostname /proc/sys/kernel/domainname; grep -E 'box|db' /etc/hosts; cat /etc/resolv.conf"
    )
    found = shell(pycontain, busybox, script, *options)
    assert found.startswith("box\nbox\nexample\n127.0.1.1\tbox.example box\n192.0.2.7\tdb\n")
    assert found.endswith("nameserver 192.0.2.53\n")
    assert "--network none" in shell(pycontain, busybox, "cat /etc/resolv.conf")
    host = shell(pycontain, busybox, "cat /etc/resolv.conf; hostname", "--network", "host")
    assert host == Path("/etc/resolv.conf").read_text() + os.uname().nodename + "\n"


def test_host_namespaces(pycontain: Cli, busybox: Path) -> None:
    kinds = ("pid", "ipc", "uts", "net", "cgroup", "user")
    own = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}
    options = ("--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host", "--cgroupns", "host")
    script = "for n in pid ipc uts net cgroup user; do readlink /proc/self/ns/$n; done"
    found = shell(pycontain, busybox, script, *options).split()
    assert found[:-1] == [own[kind] for kind in kinds[:-1]]
    assert found[-1] != own["user"]
    assert shell(pycontain, busybox, script, *options, "--userns", "host").split() == list(own.values())
    refused = pycontain.run("run", "--rm", "--pid", "host", busybox, "sh", "-c", "echo x > /proc/1/comm")
    assert refused.returncode != 0
    assert "--pid host" in refused.stderr


def test_namespaces_of_another_container(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "-d", "--name", "one", "-h", "box", busybox, "sleep", "100")
    script = "for n in pid ipc uts net cgroup user; do readlink /proc/self/ns/$n; done; hostname"
    theirs = pycontain.ok("exec", "one", "sh", "-c", script)
    options = [word for kind in ("pid", "ipc", "uts", "network", "cgroupns") for word in (f"--{kind}", "container:one")]
    assert shell(pycontain, busybox, script, *options) == theirs
    assert "sleep 100" in shell(pycontain, busybox, "ps", "--pid", "container:one")
    pycontain.ok("exec", "one", "sh", "-c", "echo shared > /dev/shm/x")
    assert shell(pycontain, busybox, "cat /dev/shm/x", "--ipc", "container:one") == "shared\n"
    assert "127.0.1.1\tbox" in shell(pycontain, busybox, "cat /etc/hosts", "--network", "container:one")
    pycontain.ok("kill", "one")
    assert "is stopped" in pycontain.fails("run", "--rm", "--pid", "container:one", busybox, "true")


@requires("root", "cgroup:memory", "cgroup:pids")
def test_limits_are_told_by_inspect(pycontain: Cli, busybox: Path) -> None:
    limits = [
        "-m",
        "64m",
        "--memory-swap",
        "128m",
        "--memory-reservation",
        "32m",
        "--pids-limit",
        "20",
        "--cpus",
        "0.5",
    ]
    pycontain.ok("create", "--name", "one", *limits, "--cpuset-cpus", "0", "--cpu-shares", "512", busybox, "true")
    found = pycontain.json("inspect", "one")[0]["HostConfig"]
    assert (found["Memory"], found["MemorySwap"], found["MemoryReservation"]) == (64 << 20, 128 << 20, 32 << 20)
    assert (found["PidsLimit"], found["CpusetCpus"], found["CpuShares"]) == (20, "0", 512)
    assert shell(pycontain, busybox, "nproc", "--cpuset-cpus", "0") == "1\n"


@requires("root", "cgroup:memory")
def test_too_much_memory_ends_the_program(pycontain: Cli, busybox: Path) -> None:
    script = "exec dd if=/dev/zero of=/dev/null bs=60M count=1"
    done = pycontain.run("run", "--rm", "-m", "16m", "--memory-swap", "16m", busybox, "sh", "-c", script)
    assert done.returncode == 137
    assert "memory" in done.stderr


def test_labels_annotations_and_files(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("# comment\nfrom=file\nteam=red\n")
    options = ["--label-file", str(file), "-l", "team=blue", "-l", "bare", "--annotation", "org.example.a=b"]
    pycontain.ok("create", "--name", "one", *options, busybox, "true")
    found = pycontain.json("inspect", "one")[0]
    assert found["Config"]["Labels"] == {"from": "file", "team": "blue", "bare": ""}
    assert "org.example.a" in json.dumps(found)
    assert pycontain.ok("ps", "-aq", "--filter", "label=team=blue")


def test_attach_chooses_streams(pycontain: Cli, busybox: Path) -> None:
    both = ("sh", "-c", "echo out; echo err >&2")
    done = pycontain.run("run", "--rm", "-a", "stdout", busybox, *both)
    assert (done.stdout, done.stderr) == ("out\n", "")
    done = pycontain.run("run", "--rm", "-a", "stderr", busybox, *both)
    assert (done.stdout, done.stderr) == ("", "err\n")


def test_logs_of_every_kind(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "--name", "none", "--log-driver", "none", busybox, "echo", "x")
    assert "keeps no log" in pycontain.fails("logs", "none")
    script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done"
    pycontain.ok(
        "run", "--name", "cut", "--log-opt", "max-size=4k", "--log-opt", "max-file=2", busybox, "sh", "-c", script
    )
    lines = pycontain.ok("logs", "cut").splitlines()
    assert lines[-1] == "line 299"
    assert 1 < len(lines) < 200


def test_the_stop_signal_is_the_container_s(pycontain: Cli, busybox: Path) -> None:
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.1; done"
    pycontain.ok(
        "run", "-d", "--name", "one", "--stop-signal", "USR1", "--stop-timeout", "20", busybox, "sh", "-c", script
    )
    for _ in range(100):
        if "ready" in pycontain.ok("logs", "one"):
            break
        time.sleep(0.05)
    pycontain.ok("stop", "one")
    assert pycontain.ok("wait", "one") == "7\n"


def test_detach_keys_leave_the_container_running(pycontain: Cli, busybox: Path) -> None:
    pid, master = pty.fork()
    if pid == 0:
        words = pycontain.argv("run", "-it", "--name", "one", "--detach-keys", "ctrl-a,d", busybox, "sh")
        os.execvp(words[0], words)
    try:
        assert b"#" in _read_until(master, b"# ")
        os.write(master, b"\x01d")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(master)
    assert pycontain.ok("ps", "--format", "{{.Names}}") == "one\n"


def _read_until(master: int, mark: bytes) -> bytes:
    data = b""
    while mark not in data and select.select([master], [], [], 20)[0]:
        data += os.read(master, 4096)
    return data


@requires("shifted-host")
def test_host_include_brings_one_path_back(pycontain: Cli, tmp_path: Path) -> None:
    hidden = tmp_path / "file"
    hidden.write_text("mine\n")
    missing = pycontain.run("run", "--rm", "@host", "cat", str(hidden))
    assert missing.returncode != 0
    assert pycontain.ok("run", "--rm", "--host-include", str(tmp_path), "@host", "cat", str(hidden)) == "mine\n"
