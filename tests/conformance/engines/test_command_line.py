"""What Podman and Docker have in common, by the command line that they share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness.engines import Engine
from harness.probe import has, requires
from harness.terminal import Terminal
from harness.waiting import until

from pycontain.cgroups.controllers.cpu import shares_to_weight

pytestmark = [requires("root"), pytest.mark.background("room", "podman_image", "docker_image")]

CGROUP = "/sys/fs/cgroup"


def fields(text: str) -> dict[str, str]:
    """Return what a script said as ``key=value`` lines."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_options_of_run(engine: Engine) -> None:
    """Environment, user, groups, directory, names, limits of processes, shared memory, kernel settings."""
    script = """
    echo A=$A; echo id=$(id -u):$(id -g):$(id -G); echo pwd=$(pwd); echo host=$(hostname)
    echo files=$(ulimit -n):$(ulimit -Hn); echo shm=$(df -k /dev/shm | tail -1 | awk '{print $2}')
    echo sysctl=$(cat /proc/sys/kernel/msgmax):$(cat /proc/sys/net/ipv4/ip_forward); echo home=$HOME
    echo score=$(cat /proc/self/oom_score_adj); echo links=$(ls /sys/class/net | tr '\\n' ,)
    echo hosts=$(grep -c h1 /etc/hosts); echo fds=$(echo /proc/self/fd/*); cat; echo said >&2
    """
    words = ("-i", "--env", "A=1 2", "--user", "1000:8", "--group-add", "29", "--workdir", "/var", "--hostname", "h1")
    limits = ("--ulimit", "nofile=500:600", "--shm-size", "8m", "--oom-score-adj", "300")
    kernel = ("--sysctl", "kernel.msgmax=9000", "--sysctl", "net.ipv4.ip_forward=1")
    argv = engine.run_argv(*words, *limits, *kernel, "--add-host", "h1:1.2.3.4", "busybox", "sh", "-c", script)
    done = engine.command(*argv, input="in=put\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "said\n"
    said = fields(done.stdout)
    assert sorted(said.pop("id").split(":")[2].split()) == ["29", "8"]
    assert said.pop("hosts") != "0"
    assert said == {
        "A": "1 2",
        "pwd": "/var",
        "host": "h1",
        "files": "500:600",
        "shm": "8192",
        "sysctl": "9000:1",
        "home": "/home/app",
        "score": "300",
        "links": "lo,",
        "fds": "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3",
        "in": "put",
    }


def test_exit_codes(engine: Engine) -> None:
    """The program's own, 125 for the engine's, 126 and 127 where there is no program, 128 and the signal."""
    assert engine.fails(3, *engine.run_argv("busybox", "sh", "-c", "exit 3")) == ""
    assert "executable file not found" in engine.fails(127, *engine.run_argv("busybox", "nonesuch"))
    assert "no such file" in engine.fails(127, *engine.run_argv("busybox", "/bin/nonesuch"))
    assert "permission denied" in engine.fails(126, *engine.run_argv("busybox", "/etc/passwd")).lower()
    engine.fails(125, *engine.run_argv("--no-such-option", "busybox", "true"))
    engine.fails(137, *engine.run_argv("--init", "busybox", "sh", "-c", "kill -9 $$"))
    engine.fails(143, *engine.run_argv("--init", "busybox", "sh", "-c", "kill $$"))


def test_what_fails_leaves_no_container(engine: Engine) -> None:
    """A file cannot be mounted on a directory: an error, and the container that is there can be removed."""
    engine.made.append("again")
    argv = ("run", "--name", "again", *engine.run_options)
    said = engine.command(*argv, "--volume", "/etc/hostname:/etc", "busybox", "true")
    assert said.returncode in (125, 126, 127), said.stderr
    assert "director" in said.stderr
    engine.ok("rm", "again")
    engine.ok(*argv, "busybox", "true")


def test_life(engine: Engine) -> None:
    """A container in the background: logs, exec, top, cp, pause, kill, restart, stop, wait, start."""
    script = (
        "echo out; echo err >&2; trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; while :; do sleep 0.05; done"
    )
    name = engine.start(script, "--hostname", "h2")
    engine.until_logged(name, "out")
    assert engine.command("logs", name).stderr.strip() == "err"
    assert "sh -c" in engine.ok("top", name)
    engine.ok("kill", "--signal", "USR1", name)
    engine.until_logged(name, "usr1")

    engine.room.run("sh", "-c", "echo copied >/run/engines/copied")
    engine.ok("cp", "/run/engines/copied", f"{name}:/tmp/there")
    assert engine.ok("exec", name, "cat", "/tmp/there") == "copied"
    assert engine.room.run(*engine.program, "cp", f"{name}:/tmp/there", "-").stdout.count("copied") == 1

    engine.ok("pause", name)
    assert engine.inspect(name, ".State.Status") == "paused"
    assert engine.command("exec", name, "true").returncode != 0
    engine.ok("unpause", name)
    engine.ok("exec", name, "true")

    engine.ok("restart", "--time", "5", name)
    assert engine.ok("logs", name).count("out") == 2
    engine.ok("stop", "--time", "5", name)
    assert engine.inspect(name, ".State.Status .State.ExitCode".replace(" ", "}} {{")) == "exited 7"
    assert engine.ok("wait", name) == "7"
    engine.ok("start", name)
    engine.ok("kill", name)
    assert engine.ok("wait", name) == "137"


def test_exec(engine: Engine) -> None:
    """Exit codes, environment, user, directory, input, confinement, and a process that stays."""
    name = engine.start("sleep 1000", "--cap-drop", "all", "--env", "A=1")
    assert engine.ok(
        "exec", "-e", "B=2", "-w", "/var", "-u", "8:8", name, "sh", "-c", "pwd; echo $A$B; id -u; id -g"
    ) == ("/var\n12\n8\n8")
    assert engine.ok("exec", "-i", name, "cat", input="through\n") == "through"
    engine.fails(5, "exec", name, "sh", "-c", "exit 5")
    engine.fails(137, "exec", name, "sh", "-c", "kill -9 $$")
    missing = engine.command("exec", name, "nonesuch")
    # Docker 20 makes no difference between the two
    assert missing.returncode == (127 if engine.name == "podman" else 126)
    assert "executable file not found" in missing.stdout + missing.stderr
    engine.fails(126, "exec", name, "/etc/passwd")
    status = engine.ok("exec", name, "cat", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
    # Docker asks for all capabilities, and runc insists on them
    if engine.name == "podman" or engine.ours or has("cap:SYS_RESOURCE"):
        own = engine.ok("exec", "--privileged", name, "cat", "/proc/self/status")
        assert "CapEff:\t0000000000000000" not in own
    engine.ok("exec", "--detach", name, "sleep", "999")
    until(lambda: "sleep 999" in engine.ok("top", name), 10)


def test_terminal(engine: Engine) -> None:
    """Run -it, exec -it: a terminal of the size of ours, that follows it, and Ctrl-C."""
    name = engine.start("sleep 1000")
    for argv in (engine.run_argv("-it", "busybox", "sh"), ("exec", "-it", name, "sh")):
        with Terminal(engine.argv(*argv), rows=30, columns=90) as terminal:
            # the engine tells the size once the program runs, and learns of another by a signal
            wait = "while ! stty size | grep '{}'; do sleep 0.1; done; tty; echo si''zed\n"
            terminal.type(wait.format("30 90"))
            assert "/dev/pts/" in terminal.until("sized")
            terminal.resize(20, 70)
            terminal.type(wait.format("20 70"))
            terminal.until("sized")
            terminal.type("sleep 500\n")
            time.sleep(0.3)
            terminal.type("\x03")
            terminal.type("echo in''terrupted; exit 4\n")
            terminal.until("interrupted")
            assert terminal.exit_code() == 4


def test_attach_and_detach(engine: Engine) -> None:
    """A container with a terminal is left by its keys and entered again."""
    name = "attached"
    engine.made.append(name)
    argv = ("run", "-it", "--name", name, "--detach-keys", "ctrl-x,x", *engine.run_options, "busybox", "sh")
    with Terminal(engine.argv(*argv)) as terminal:
        terminal.type("A=kept; echo rea''dy\n")
        terminal.until("ready")
        terminal.type("\x18")
        time.sleep(0.2)
        terminal.type("x")
        terminal.exit_code()
    assert engine.inspect(name, ".State.Running") == "true"
    with Terminal(engine.argv("attach", name)) as terminal:
        terminal.type("echo still $A; exit 6\n")
        terminal.until("still kept")
        # Podman 4.3 forgets the code here, with every runtime
        assert terminal.exit_code() in (6, 0 if engine.name == "podman" else 6)
    assert engine.inspect(name, ".State.ExitCode") == "6"


def test_signals_go_through(engine: Engine) -> None:
    """What the engine's own process gets in the foreground reaches the container's."""
    argv = engine.run_argv("busybox", "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
    process, pid = engine.popen(*argv)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        time.sleep(0.5)  # Podman begins to pass signals on after the container's start
        os.kill(pid, signal.SIGTERM)
        assert process.wait(30) == 9


@requires("cgroup:memory", "cgroup:pids", "cgroup:cpu")
def test_limits(engine: Engine) -> None:
    """Memory, processes, processor time: in the container's cgroup, in stats, and changed by update."""
    limits = ("--memory", "64m", "--pids-limit", "30", "--cpus", "0.5", "--cpu-shares", "300", "--cpuset-cpus", "0")
    name = engine.start("sleep 1000", *limits)
    one = "memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.shares cpuset/cpuset.cpus"
    two = "memory.max pids.max cpu.max cpu.weight cpuset.cpus"
    script = f"cd {CGROUP}; if [ -e memory.max ]; then cat {two}; else cat {one}; fi"
    said = engine.ok("exec", name, "sh", "-c", script).split("\n")
    if has("pure-cgroup2"):
        assert said == ["67108864", "30", "50000 100000", weight(engine, 300), "0"]
    else:
        assert said == ["67108864", "30", "50000", "300", "0"]
    # a hierarchy of version 1 without a controller (name=systemd) has its name alone
    assert "=" not in engine.ok("exec", name, "ls", CGROUP)
    stats = json.loads(
        engine.ok("stats", "--no-stream", "--format", "json" if engine.name == "podman" else "{{json .}}", name)
    )
    stats = stats[0] if isinstance(stats, list) else stats
    usage = stats.get("mem_usage") or stats["MemUsage"]
    assert usage.endswith(("/ 67.11MB", "/ 64MiB"))
    assert str(stats.get("pids") or stats["PIDs"]) == "1"
    engine.ok("update", "--cpu-shares", "512", name)
    file, value = ("cpu.weight", weight(engine, 512)) if has("pure-cgroup2") else ("cpu/cpu.shares", "512")
    assert engine.ok("exec", name, "cat", f"{CGROUP}/{file}") == value


def weight(engine: Engine, shares: int) -> str:
    """Return what shares of version 1 come to: by the formula that runtimes agreed on in 2025, and by runc 1.1's."""
    if engine.ours:
        return str(shares_to_weight(shares))
    return str(1 + (shares - 2) * 9999 // 262142)


@requires("cgroup:memory")
def test_out_of_memory(engine: Engine) -> None:
    """The kernel's end of a container is told as such."""
    # the shell's variable grows until its cgroup is full
    name = engine.start("sleep 0.3; tail /dev/zero", "--memory", "16m", "--memory-swap", "16m")
    assert engine.ok("wait", name) == "137"
    if engine.name == "docker":
        # conmon looks for a file that is gone by then, with every runtime
        until(lambda: engine.inspect(name, ".State.OOMKilled") == "true", 5)


def test_capabilities(engine: Engine) -> None:
    """Added, dropped, all of them, none for a user, no new privileges."""
    masks = {}
    for key, options in {
        "add": ("--cap-add", "SYS_TIME", "--cap-drop", "MKNOD"),
        "none": ("--cap-drop", "ALL"),
        "user": ("--user", "8", "--security-opt", "no-new-privileges"),
    }.items():
        status = engine.shell("cat /proc/self/status", *options)
        masks[key] = {
            line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith(("Cap", "NoN"))
        }
    added = int(masks["add"]["CapEff"], 16)
    assert (added >> 25 & 1, added >> 27 & 1, added & 1) == (1, 0, 1)
    assert {int(masks["none"][key], 16) for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert int(masks["user"]["CapEff"], 16) == 0
    assert masks["user"]["NoNewPrivs"] == "1"


def test_privileged(engine: Engine) -> None:
    """Everything that this process itself has; devices of the host; nothing masked."""
    if engine.name == "docker" and not engine.ours and not has("cap:SYS_RESOURCE"):
        pytest.skip("this host lacks cap:SYS_RESOURCE: Docker asks for it, and runc insists")
    said = engine.shell("cat /proc/self/status; ls /dev/kmsg; mount -t tmpfs t /mnt", "--privileged")
    assert "Seccomp:\t0" in said
    assert "/dev/kmsg" in said
    # Docker 20 knows the first 38
    known = (1 << 38) - 1 if engine.name == "docker" else -1
    assert capabilities(said) & known == capabilities(Path("/proc/self/status").read_text()) & known


def capabilities(status: str) -> int:
    """Return the effective capabilities that a process's status tells."""
    return int(status.partition("CapEff:\t")[2].split()[0], 16)


def test_seccomp(engine: Engine) -> None:
    """The engine's profile, one of our own, and none."""
    denied = "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status"
    assert engine.shell(denied) == "Seccomp:\t2"
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11}]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}
    (engine.room.path / "profile.json").write_text(json.dumps(profile))
    said = engine.shell(denied, "--security-opt", "seccomp=/run/engines/profile.json")
    assert "temporarily unavailable" in said
    assert "Seccomp:\t0" in engine.shell("cat /proc/self/status", "--security-opt", "seccomp=unconfined")


def test_file_systems(engine: Engine) -> None:
    """Read-only root, tmpfs, volumes of both kinds, propagation, masked and read-only paths of /proc."""
    engine.room.run("sh", "-c", "mkdir -p /run/engines/bound/below; echo data >/run/engines/bound/file")
    volume = f"volume-{engine.runtime}"
    bound = "/run/engines/bound"
    options = ("--read-only", "--tmpfs", "/t:size=1m,mode=1700", "-v", f"{bound}:/b:ro", "-v", f"{volume}:/home")
    mounts = ("--mount", f"type=bind,source={bound},target=/c,bind-propagation=rslave", "-v", f"{bound}/file:/etc/one")
    script = """
    touch /x 2>/dev/null || echo root=ro; touch /b/x 2>/dev/null || echo bind=ro
    echo t=$(stat -c %a /t):$(df -k /t | tail -1 | awk '{print $2}'); touch /c/new /home/new && echo written=yes
    cat /etc/one; ls /home; echo keys=$(wc -c </proc/keys)
    grep -q ' /c .* master:' /proc/self/mountinfo && echo c=slave
    echo 0 2>/dev/null >/proc/sys/kernel/panic || echo sys=ro
    """
    said = engine.shell(script, *options, *mounts)
    assert fields(said) | {"c": ""} == {
        "root": "ro", "bind": "ro", "t": "1700:1024", "written": "yes", "keys": "0", "sys": "ro", "c": ""
    }  # fmt: skip
    assert "data" in said
    assert "app" in said
    assert "new" in engine.shell("ls /v", "-v", f"{volume}:/v")
    engine.ok("volume", "rm", volume)


def test_devices(engine: Engine) -> None:
    """A device under another name with fewer rights, and what the cgroup lets a program do."""
    script = """
    dd if=/dev/other bs=4 count=1 2>/dev/null | wc -c; echo x 2>/dev/null >/dev/other || echo unwritable
    mknod /tmp/zero c 1 5 && dd if=/tmp/zero bs=2 count=1 2>/dev/null | wc -c
    mknod /tmp/kmsg c 1 11; cat 2>/dev/null /tmp/kmsg || echo refused
    stat -c '%A %t:%T' /dev/null /dev/tty
    """
    said = engine.shell(script, "--device", "/dev/random:/dev/other:r", "--cap-add", "MKNOD").split("\n")
    # random is among the devices that every container may use, whatever a list says of its name
    assert said[0] == "4"
    assert said[-4:] == ["2", "refused", "crw-rw-rw- 1:3", "crw-rw-rw- 5:0"]


def test_shared_namespaces(engine: Engine) -> None:
    """Those of another container, and of the host."""
    first = engine.start("sleep 987", "--ipc", "shareable", "--hostname", "first")
    share = [f"--{kind}=container:{first}" for kind in ("pid", "ipc", "network")]
    said = engine.ok(
        "run", "--rm", *engine.run_options[2:], *share, "busybox", "sh", "-c", "ps; readlink /proc/self/ns/net"
    )
    assert "sleep 987" in said
    assert engine.ok("exec", first, "readlink", "/proc/self/ns/net") in said
    host = engine.shell(
        "readlink /proc/self/ns/uts; readlink /proc/self/ns/pid", "--uts", "host", "--pid", "host"
    ).split()
    assert host == [os.readlink("/proc/self/ns/uts"), os.readlink(f"/proc/{engine.room.pid}/ns/pid")]


def test_init(engine: Engine) -> None:
    """--init: a first process that reaps."""
    said = engine.shell("cat /proc/1/comm; (sleep 0.1 &) ; sleep 0.3; ps -o stat | grep -c Z || true", "--init").split()
    assert said == [f"{engine.name}-init", "0"]


def test_restart_policy(engine: Engine) -> None:
    """--restart=on-failure:2."""
    name = engine.start("echo run; exit 5", "--restart", "on-failure:2")
    until(lambda: engine.ok("logs", name).split().count("run") == 3, 20)
    until(lambda: engine.inspect(name, ".State.Status") == "exited", 10)
    assert engine.inspect(name, ".State.ExitCode") == "5"


def test_many_at_once(engine: Engine) -> None:
    """Six runs beside each other."""
    argv = engine.argv(*engine.run_argv("busybox", "echo", "one"))
    runs = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(6)]
    assert [process.communicate(timeout=60)[0] for process in runs] == [b"one\n"] * 6
