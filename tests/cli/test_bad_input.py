"""Wrong input through the real program: 125, one line that names the thing, a hint, no traceback, nothing left."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from harness.cli import Cli, describe

from pycontain.cli.runoptions import RUN_OPTIONS
from pycontain.cli.table import FLAG

#: (words after ``run``, what the message must hold); ROOT stands for a root file system.
RUN = [
    ([], "ROOTFS is missing"),
    (["ROOT"], "no command"),
    ([""], "ROOTFS is empty"),
    (["/no/such", "true"], "/no/such"),
    (["/etc/passwd", "true"], "not a directory"),
    (["/", "true"], "own root"),
    (["@hots", "true"], "'@hots'"),
    (["--memroy", "1g", "ROOT", "true"], "--memroy"),
    (["-z", "ROOT", "true"], "-z"),
    (["--name"], "--name"),
    (["--name", "a/b", "ROOT", "true"], "'a/b'"),
    (["--name", "n" * 1025, "ROOT", "true"], "--name"),
    (["--name", "🐳🐳", "ROOT", "true"], "🐳"),
    (["--name", "", "ROOT", "true"], "--name"),
    (["-m", "abc", "ROOT", "true"], "'abc'"),
    (["-m", "-1", "ROOT", "true"], "'-1'"),
    (["--memory-swap", "1g", "ROOT", "true"], "--memory-swap"),
    (["--cpus", "1000000", "ROOT", "true"], "--cpus"),
    (["--cpus", "half", "ROOT", "true"], "'half'"),
    (["--cpuset-cpus", "3-1", "ROOT", "true"], "'3-1'"),
    (["--pids-limit", "many", "ROOT", "true"], "'many'"),
    (["--blkio-weight", "5", "ROOT", "true"], "--blkio-weight"),
    (["--device-read-bps", "/dev/null:1m", "ROOT", "true"], "/dev/null"),
    (["--device-write-iops", "/dev/sda", "ROOT", "true"], "'/dev/sda'"),
    (["--ulimit", "nofil=1", "ROOT", "true"], "'nofil'"),
    (["--device", "/no/such", "ROOT", "true"], "/no/such"),
    (["--device", "/etc:/dev/etc", "--device", "/etc/passwd:/dev/x", "ROOT", "true"], "/etc/passwd"),
    (["--device-cgroup-rule", "c 1", "ROOT", "true"], "'c 1'"),
    (["-v", "/no/such:/x", "ROOT", "true"], "/no/such"),
    (["-v", "/tmp:x", "ROOT", "true"], "'x'"),
    (["-v", "/tmp:/x:zz", "ROOT", "true"], "'zz'"),
    (["-v", "/tmp:/proc", "ROOT", "true"], "/proc"),
    (["--mount", "type=bind,source=/tmp", "ROOT", "true"], "no target"),
    (["--tmpfs", "/t:size=big", "ROOT", "true"], "'big'"),
    (["--shm-size", "0", "ROOT", "true"], "--shm-size"),
    (["-e", "=x", "ROOT", "true"], "--env"),
    (["--env-file", "/no/such", "ROOT", "true"], "/no/such"),
    (["-w", "srv", "ROOT", "true"], "'srv'"),
    (["-u", "nobody-here", "ROOT", "true"], "'nobody-here'"),
    (["-u", "4294967296", "ROOT", "true"], "4294967296"),
    (["-u", "0:nogroup-here", "ROOT", "true"], "'nogroup-here'"),
    (["--group-add", "nogroup-here", "ROOT", "true"], "'nogroup-here'"),
    (["--umask", "999", "ROOT", "true"], "'999'"),
    (["-h", "a b", "ROOT", "true"], "'a b'"),
    (["--add-host", "db", "ROOT", "true"], "'db'"),
    (["--dns", "1.2.3", "ROOT", "true"], "'1.2.3'"),
    (["--cap-add", "NET_ADMINN", "ROOT", "true"], "'NET_ADMINN'"),
    (["--cap-drop", "", "ROOT", "true"], "--cap-drop"),
    (["--security-opt", "seccomp=/no/such", "ROOT", "true"], "/no/such"),
    (["--security-opt", "apparmour=x", "ROOT", "true"], "'apparmour'"),
    (["--sysctl", "vm.swappiness=1", "ROOT", "true"], "vm.swappiness"),
    (["--sysctl", "net.ipv4.no_such=1", "ROOT", "true"], "net.ipv4.no_such"),
    (["--userns", "atuo", "ROOT", "true"], "'atuo'"),
    (["--pid", "container:nobody", "ROOT", "true"], "'nobody'"),
    (["--network", "bridge", "ROOT", "true"], "'bridge'"),
    (["--ipc", "container:", "ROOT", "true"], "'container:'"),
    (["--time-offset", "realtime=1h", "ROOT", "true"], "'realtime'"),
    (["--stop-signal", "SIGFOO", "ROOT", "true"], "'SIGFOO'"),
    (["--stop-signal", "0", "ROOT", "true"], "'0'"),
    (["--stop-signal", "65", "ROOT", "true"], "'65'"),
    (["--detach-keys", "ctrl-", "ROOT", "true"], "'ctrl-'"),
    (["--oom-score-adj", "5000", "ROOT", "true"], "5000"),
    (["--log-driver", "syslog", "ROOT", "true"], "'syslog'"),
    (["--log-opt", "max-size=tiny", "ROOT", "true"], "'tiny'"),
    (["--label", "=x", "ROOT", "true"], "'=x'"),
    (["--cidfile", "/no/such/file", "ROOT", "true"], "/no/such/file"),
    (["--pidfile", "/no/such/file", "ROOT", "true"], "/no/such/file"),
    (["--preserve-fds", "-1", "ROOT", "true"], "-1"),
    (["--init", "--pid", "host", "ROOT", "true"], "--init"),
    (["--privileged", "--userns", "auto", "ROOT", "true"], "--privileged"),
    (["-d", "-a", "stdout", "ROOT", "true"], "--attach"),
    (["--writable", "--read-only", "ROOT", "true"], "--writable"),
    (["--rm=perhaps", "ROOT", "true"], "'perhaps'"),
    (["--privileged=", "ROOT", "true"], "--privileged"),
    (["-w", "/etc/passwd", "ROOT", "true"], "--workdir: /etc/passwd"),
    (["-w", "/" + "x" * 300, "ROOT", "true"], "--workdir: /x"),
    (["-u", "0:65536", "ROOT", "true"], "--user: id 65536"),
    (["--group-add", "65536", "ROOT", "true"], "--group-add: id 65536"),
    (["--ulimit", "cpu=0", "ROOT", "true"], "--ulimit: 'cpu=0'"),
    (["--ulimit", "nofile=999999999999", "ROOT", "true"], "--ulimit: RLIMIT_NOFILE 999999999999"),
    (["-m", "1", "ROOT", "true"], "--memory: "),
    (["--cpu-quota", "9223372036854775807", "ROOT", "true"], "--cpu-quota: 9223372036854775807"),
    (["--cpuset-cpus", "0-1000", "ROOT", "true"], "--cpuset-cpus: "),
    (["--cpuset-cpus", "99999", "ROOT", "true"], "--cpuset-cpus: '99999'"),
    (["--cpuset-mems", "63", "ROOT", "true"], "--cpuset-mems: "),
    (["--device-read-bps", "/dev/no-such:1m", "ROOT", "true"], "--device-read-bps: /dev/no-such"),
    (["--device-write-iops", "/dev/null:1", "ROOT", "true"], "--device-write-iops: /dev/null"),
    (["--device", "/dev/null:/", "ROOT", "true"], "--device: '/dev/null:/'"),
    (["--device", "/dev/null:/x", "ROOT", "true"], "is not below /dev"),
    (["--device", "/dev/null:/dev/ptmx", "ROOT", "true"], "/dev/ptmx is the container's own"),
    (["--device", "/dev/null:/dev/shm", "ROOT", "true"], "/dev/shm is the container's own"),
    (["--device", "/dev/null:/dev/zero", "--device", "/dev/full:/dev/zero", "ROOT", "true"], "--device: "),
    (["--device-cgroup-rule", "c 99999:1 r", "ROOT", "true"], "--device-cgroup-rule: "),
    (["--device-cgroup-rule", "a 1:1 rwm", "ROOT", "true"], "--device-cgroup-rule: "),
    (["-v", "/tmp:/bin/busybox", "ROOT", "true"], "--volume: /bin/busybox is not a directory"),
    (["-v", "ROOT/etc/passwd:/bin", "ROOT", "true"], "--volume: /bin is a directory"),
    (["-v", "/tmp:/sys/x", "ROOT", "true"], "--volume: the mount point /sys/x"),
    (["-v", "/tmp:/" + "x" * 5000, "ROOT", "true"], "--volume: the mount point /x"),
    (["--mount", "type=bind,src=/tmp,dst=/proc/x", "ROOT", "true"], "--mount: the mount point /proc/x"),
    (["--tmpfs", "/bin/busybox", "ROOT", "true"], "--tmpfs: /bin/busybox is not a directory"),
    (["--tmpfs", "/x:gid=70000", "ROOT", "true"], "--tmpfs: mount at /x"),
    (["--tmpfs", "/x:mode=999", "ROOT", "true"], "'999'"),
    (["--sysctl", "net.ipv4.ip_forward=abc", "ROOT", "true"], "--sysctl: set sysctl net.ipv4.ip_forward"),
    (["--sysctl", "kernel.shmmax=-1", "ROOT", "true"], "--sysctl: set sysctl kernel.shmmax"),
    (["--sysctl", "net.=1", "ROOT", "true"], "--sysctl: set sysctl net."),
    (["--sysctl", "net.ipv4.conf=1", "ROOT", "true"], "is a directory"),
    (["--time-offset", "monotonic=-99999d", "ROOT", "true"], "--time-offset: "),
    (["--security-opt", "seccomp=/etc/passwd", "ROOT", "true"], "--security-opt seccomp=/etc/passwd"),
    (["--security-opt", "no-new-privileges=perhaps", "ROOT", "true"], "'perhaps'"),
    (["--host-include", "/no/such", "@host", "true"], "--host-include: /no/such"),
    (["--hostname", "x" * 65, "ROOT", "true"], "--hostname"),
    (["--pidfile", "/tmp", "ROOT", "true"], "--pidfile: /tmp: is not a regular file"),
    (["--cidfile", "/tmp/" + "x" * 300, "ROOT", "true"], "--cidfile: /tmp/x"),
    (["--preserve-fds", "1024", "ROOT", "true"], "--preserve-fds: 1024: descriptor"),
]  # fmt: skip

#: words that no user has written: paths of the configuration, calls of the kernel
INTERNAL = re.compile(
    r"\b(linux|process|mounts|resources|memory|cpu|pids|blockIO)(\[\d+\])?\.[a-z]"
    r"|\[\d+\]|openat2|internal error|Traceback"
)
#: values that make little sense anywhere
ODD = ["", "-1", "1e9", "9" * 23, "a\nb\x1b[31m", "x" * 5000, ":", "=", "/", ".."]
#: options that take nearly any text, or write a file of that name
ANY_TEXT = {"--entrypoint", "--cidfile", "--pidfile"}

#: whole command lines
OTHERS = [
    (["rnu"], "'rnu'"),
    (["--bogus", "ps"], "--bogus"),
    (["--log-level", "loud", "version"], "'loud'"),
    (["--log-format", "xml", "version"], "'xml'"),
    (["--cgroup-manager", "docker", "version"], "'docker'"),
    (["exec"], "CONTAINER is missing"),
    (["exec", "nobody", "true"], "'nobody'"),
    (["exec", "nobody"], "no command"),
    (["volume", "bogus"], "bogus"),
    (["volume", "rm"], "VOLUME"),
    (["volume", "rm", "nope"], "'nope'"),
    (["volume", "inspect", "nope"], "'nope'"),
    (["volume", "create", "a/b"], "'a/b'"),
    (["volume", "ls", "--format", "xml"], "'xml'"),
    (["volume", "ls", "--filter", "color=red"], "'color=red'"),
    (["doctor", "/no/such"], "/no/such"),
    (["completion", "tcsh"], "'tcsh'"),
    (["version", "more"], "more"),
    (["info", "--format", "xml"], "'xml'"),
]


def complaint(cli: Cli, *words: str) -> str:
    """Run, check the form of the complaint, and return its first line."""
    done = cli.run(*words)
    lines = done.stderr.splitlines()
    assert done.returncode == 125, describe(done)
    assert done.stdout == "", describe(done)
    assert lines[0].startswith("pycontain: "), describe(done)
    assert len(lines) == 2, describe(done)
    assert lines[1].startswith("hint: "), describe(done)
    assert not lines[0].endswith("."), describe(done)
    assert not INTERNAL.search(done.stderr), describe(done)
    assert max(map(len, lines)) <= 1001, describe(done)
    assert cli.containers() == []
    return str(lines[0])


@pytest.mark.parametrize(("words", "named"), RUN, ids=[" ".join(words)[:60] or "nothing" for words, _ in RUN])
def test_run(pycontain: Cli, busybox: Path, words: list[str], named: str) -> None:
    line = complaint(pycontain, "run", "--rm", *(word.replace("ROOT", str(busybox)) for word in words))
    assert named in line
    assert line.startswith("pycontain: run: ")


@pytest.mark.parametrize(("words", "named"), OTHERS, ids=[" ".join(words) for words, _ in OTHERS])
def test_other_commands(pycontain: Cli, words: list[str], named: str) -> None:
    assert named in complaint(pycontain, *words)


@pytest.mark.parametrize(
    ("content", "line"), [(b"A=1\n=2\n", 2), (b"A B=1\n", 1), (b"\n\nA=\xff\n", 3), (b"A=\x00\n", 1)]
)
def test_env_file(pycontain: Cli, busybox: Path, tmp_path: Path, content: bytes, line: int) -> None:
    file = tmp_path / "env"
    file.write_bytes(content)
    assert f"{file}:{line}: " in complaint(pycontain, "run", "--env-file", str(file), str(busybox), "true")


VALUED = [one.names[0] for one in RUN_OPTIONS if one.kind != FLAG and one.names[0] not in ANY_TEXT]


@pytest.mark.parametrize("option", VALUED)
def test_odd_values(pycontain: Cli, busybox: Path, tmp_path: Path, option: str) -> None:
    """Every option takes such a value or refuses it by its own name, in one line with a hint."""
    refused = 0
    for value in ODD:
        done = pycontain.run("run", "--rm", option, value, str(busybox), "true", cwd=tmp_path)
        if done.returncode == 0:
            continue
        refused += 1
        lines = done.stderr.splitlines()
        assert done.returncode == 125, describe(done)
        assert len(lines) == 2, describe(done)
        assert lines[0].startswith("pycontain: run: "), describe(done)
        assert lines[1].startswith("hint: "), describe(done)
        assert not INTERNAL.search(done.stderr), describe(done)
        assert "\x1b" not in done.stderr
        assert max(map(len, lines)) <= 1001, describe(done)
    assert refused, f"{option} takes everything"
    assert pycontain.containers() == []


def test_devices_are_no_pidfiles(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    """A file is put in its place by renaming: a device would be gone."""
    device = tmp_path / "device"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    assert str(device) in complaint(pycontain, "run", "--rm", "--pidfile", str(device), str(busybox), "true")
    assert stat.S_ISCHR(device.stat().st_mode)


def test_preserved_descriptors_are_the_callers(pycontain: Cli, busybox: Path) -> None:
    """Where the caller has none there must not be one of ours."""
    words = pycontain.argv("run", "--rm", "--preserve-fds", "1", str(busybox), "cat", "/proc/self/fd/3")
    given = subprocess.run(
        ["sh", "-c", 'exec "$@" 3</etc/hostname', "sh", *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert given.stdout == Path("/etc/hostname").read_text(), describe(given)
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 125, describe(done)
    assert "--preserve-fds: 1: descriptor 3 is not open" in done.stderr


def test_update_names_its_options(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "-d", "--name", "victim", str(busybox), "sleep", "60")
    try:
        message = pycontain.fails("update", "--cpuset-cpus", "4000", "victim")
        assert "--cpuset-cpus: " in message
        assert not INTERNAL.search(message)
    finally:
        pycontain.run("rm", "-f", "victim")


def test_an_existing_cidfile_is_kept(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    file.write_text("mine")
    assert str(file) in complaint(pycontain, "run", "--cidfile", str(file), str(busybox), "true")
    assert file.read_text() == "mine"


def test_root_that_is_no_directory(busybox: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert str(file) in complaint(Cli(file), "run", str(busybox), "true")


def test_json_errors(pycontain: Cli) -> None:
    done = pycontain.run("--log-format", "json", "run", "-m", "abc", "@host", "true")
    (line,) = done.stderr.splitlines()
    found = json.loads(line)
    assert found["level"] == "error"
    assert "--memory" in found["msg"]
    assert found["hint"]


def test_names_cannot_write_to_the_terminal(pycontain: Cli) -> None:
    done = pycontain.run("run", "--name", "\x1b[31mred\n\rx", "@host", "true")
    assert done.returncode == 125
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_closed_standard_streams(pycontain: Cli) -> None:
    words = pycontain.argv("run", "-m", "abc", "@host", "true")
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words]
    assert subprocess.run(closed, timeout=30, check=False).returncode == 125


def test_a_reader_that_leaves_is_no_error(pycontain: Cli) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        pycontain.argv("run", "--help"), stdout=writing, stderr=subprocess.PIPE, timeout=30, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_full_standard_output_is_told(pycontain: Cli) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(pycontain.argv("version"), stdout=full, stderr=subprocess.PIPE, timeout=30, check=False)
    assert done.returncode == 125
    assert b"no space left" in done.stderr.lower()
    assert b"Traceback" not in done.stderr
