"""A container's life through the real program: detached, paused, stopped, started again, listed, removed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from harness.cli import Cli
from harness.probe import requires
from harness.waiting import until

LOOP = "while :; do sleep 0.05; done"
STOPS = f"trap 'echo bye; exit 3' TERM; echo ready; {LOOP}"


def run(cli: Cli, root: Path, command: str, *options: str, name: str = "one") -> str:
    return cli.ok("run", "-d", "--name", name, *options, root, "sh", "-c", command).strip()


def state(cli: Cli, name: str = "one") -> dict[str, Any]:
    found: dict[str, Any] = cli.json("inspect", name)[0]["State"]
    return found


def wait_for_log(cli: Cli, text: str, name: str = "one") -> None:
    until(lambda: text in cli.ok("logs", name))


@pytest.mark.guest
def test_detached_life(pycontain: Cli, busybox: Path) -> None:
    container = run(pycontain, busybox, STOPS)
    assert re.fullmatch("[0-9a-f]{64}", container)
    wait_for_log(pycontain, "ready")
    assert state(pycontain)["Running"]
    assert pycontain.ok("stop", "one") == "one\n"
    assert pycontain.ok("wait", "one") == "3\n"
    assert pycontain.ok("logs", "one") == "ready\nbye\n"
    ended = state(pycontain)
    assert (ended["Status"], ended["ExitCode"], ended["Pid"]) == ("exited", 3, 0)
    assert re.search(r"Exited \(3\) .* ago", pycontain.ok("ps", "-a"))
    assert pycontain.ok("rm", "one") == "one\n"


def test_a_program_that_does_not_stop_is_killed(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, f"trap '' TERM; echo ready; {LOOP}")
    wait_for_log(pycontain, "ready")
    began = time.monotonic()
    pycontain.ok("stop", "-t", "1", "one")
    assert 0.9 < time.monotonic() - began < 8
    assert pycontain.ok("wait", "one") == "137\n"


def test_the_stop_signal(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, f"trap 'exit 9' USR1; echo ready; {LOOP}", "--stop-signal", "SIGUSR1")
    wait_for_log(pycontain, "ready")
    pycontain.ok("stop", "one")
    assert pycontain.ok("wait", "one") == "9\n"


def test_remove_when_it_ends(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "sleep 0.2", "--rm", "-v", "/anonymous")
    until(lambda: not pycontain.containers())
    assert pycontain.ok("volume", "ls", "-q") == ""


def test_create_and_start(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("create", "--name", "one", busybox, "sh", "-c", "echo hello; exit 4")
    assert state(pycontain)["Status"] == "created"
    assert "Created" in pycontain.ok("ps", "-a")
    done = pycontain.run("start", "-a", "one")
    assert (done.returncode, done.stdout) == (4, "hello\n")


def test_started_again_on_its_own_layer(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "echo x >>/count; wc -l </count; exit 2")
    assert pycontain.ok("wait", "one") == "2\n"
    done = pycontain.run("start", "-a", "one")
    assert (done.returncode, done.stdout.split()) == (2, ["2"])
    assert pycontain.ok("logs", "one").split() == ["1", "2"]


@pytest.mark.guest
def test_restart(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, STOPS)
    wait_for_log(pycontain, "ready")
    first = state(pycontain)["Pid"]
    pycontain.ok("restart", "one")
    until(lambda: pycontain.ok("logs", "one").count("ready") == 2)
    second = state(pycontain)
    assert second["Running"]
    assert second["Pid"] != first


@pytest.mark.guest
def test_pause(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")
    wait_for_log(pycontain, "3")
    pycontain.ok("pause", "one")
    before = pycontain.ok("logs", "one")
    time.sleep(0.2)
    assert pycontain.ok("logs", "one") == before
    assert "(Paused)" in pycontain.ok("ps")
    assert state(pycontain)["Paused"]
    assert "is paused already" in pycontain.fails("pause", "one")
    assert "unpause one" in pycontain.fails("exec", "one", "true")
    pycontain.ok("unpause", "one")
    until(lambda: pycontain.ok("logs", "one") != before)
    assert "is not paused" in pycontain.fails("unpause", "one")


@pytest.mark.guest
def test_a_paused_container_can_be_stopped_and_removed(pycontain: Cli, busybox: Path) -> None:
    for name, verb in (("one", ("stop",)), ("two", ("kill",)), ("three", ("rm", "-f"))):
        run(pycontain, busybox, STOPS, name=name)
        wait_for_log(pycontain, "ready", name)
        pycontain.ok("pause", name)
        pycontain.ok(*verb, name)
    assert (pycontain.ok("wait", "one"), pycontain.ok("wait", "two")) == ("3\n", "137\n")


def test_signals(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, f"trap 'echo usr1' USR1; trap 'echo rt' RTMIN+3 37; echo ready; {LOOP}")
    wait_for_log(pycontain, "ready")
    pycontain.ok("kill", "-s", "USR1", "one")
    wait_for_log(pycontain, "usr1")
    pycontain.ok("kill", "-s", "SIGRTMIN+3", "one")
    wait_for_log(pycontain, "rt")
    for text in ("FOO", "0", "65", "-1", "kill9"):
        assert "is not a signal" in pycontain.fails("kill", f"--signal={text}", "one")
    pycontain.ok("kill", "one")
    assert "is not running" in pycontain.fails("kill", "one")


def test_wait_while_it_runs(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "sleep 0.5; exit 6")
    assert pycontain.ok("wait", "one") == "6\n"


def test_wait_for_one_that_removes_itself(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "sleep 0.5; exit 6", "--rm")
    assert pycontain.ok("wait", "one") == "6\n"
    assert pycontain.containers() == []


@pytest.mark.guest
@pytest.mark.requires("cgroup:memory")
def test_lack_of_memory_is_told(pycontain: Cli, busybox: Path) -> None:
    hog = "x=x; while :; do x=$x$x; done"
    done = pycontain.run(
        "run", "--name", "one", "-m", "16m", "--memory-swap", "16m", busybox, "sh", "-c", f"exec sh -c '{hog}'"
    )
    assert done.returncode == 137
    assert state(pycontain)["OOMKilled"]
    assert re.search(r"Exited \(137\) .* ago, out of memory", pycontain.ok("ps", "-a"))


def test_a_kill_is_no_lack_of_memory(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, LOOP)
    pycontain.ok("kill", "one")
    assert not state(pycontain)["OOMKilled"]
    assert "out of memory" not in pycontain.ok("ps", "-a")


def test_time_limit(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "sleep 60", "--timeout", "1")
    assert pycontain.ok("wait", "one") == "137\n"
    assert "--timeout 1" in state(pycontain)["Error"]


def test_a_program_that_is_not_there(pycontain: Cli, busybox: Path) -> None:
    assert "executable file not found" in pycontain.fails("run", "-d", "--name", "one", busybox, "nope", code=127)
    assert state(pycontain)["ExitCode"] == 127
    assert "permission denied" in pycontain.fails("run", "-d", busybox, "/etc", code=126)


def test_follow_a_log_to_its_end(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "for i in 1 2 3 4 5; do echo $i; echo e$i >&2; sleep 0.1; done")
    done = pycontain.run("logs", "-f", "one")
    assert (done.stdout, done.stderr) == ("1\n2\n3\n4\n5\n", "e1\ne2\ne3\ne4\ne5\n")
    assert pycontain.ok("logs", "--tail", "2", "one") == "5\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 5\n", pycontain.ok("logs", "-t", "-n", "2", "one"))
    assert pycontain.ok("logs", "--since", "1h", "--until", "30m", "one") == ""


def test_rotated_log(pycontain: Cli, busybox: Path) -> None:
    container = run(pycontain, busybox, "seq 20000", "--log-opt", "max-size=100k", "--log-opt", "max-file=3")
    pycontain.ok("wait", "one")
    files = sorted((pycontain.root / "data" / "logs" / container).iterdir())
    assert [one.name for one in files] == ["container.log", "container.log.1", "container.log.2"]
    assert all(one.stat().st_size <= 100 * 1024 for one in files)
    numbers = [int(line) for line in pycontain.ok("logs", "one").split()]
    assert numbers == list(range(numbers[0], 20001))
    assert len(numbers) > 2000


def test_no_log(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "echo x", "--log-driver", "none")
    assert "keeps no log" in pycontain.fails("logs", "one")


def test_listing(pycontain: Cli, busybox: Path) -> None:
    one = run(pycontain, busybox, LOOP, "--label", "tier=web")
    run(pycontain, busybox, "exit 7", name="two")
    pycontain.ok("wait", "two")
    assert pycontain.ok("ps", "-q") == one[:12] + "\n"
    assert pycontain.ok("ps", "-a", "--format", "{{.Names}} {{.State}}") == "two exited\none running\n"
    assert pycontain.ok("ps", "-a", "--filter", "exited=7", "--format", "{{.Names}}") == "two\n"
    assert pycontain.ok("ps", "-a", "--filter", "label=tier=web", "--format", "{{.Names}}") == "one\n"
    rows = [json.loads(line) for line in pycontain.ok("ps", "-a", "--format", "json").splitlines()]
    assert [row["Names"] for row in rows] == ["two", "one"]
    assert pycontain.ok("ps", "--format", r"table {{.Names}}\t{{.Labels}}") == "NAMES     LABELS\none       tier=web\n"
    assert pycontain.ok("inspect", "-f", "{{.Name}} {{.State.Running}} {{.Config.Labels}}", "one") == (
        "one true map[tier:web]\n"
    )
    assert "did you mean .Names" in pycontain.fails("ps", "--format", "{{.Name}}")
    assert "did you mean status" in pycontain.fails("ps", "--filter", "statsu=running")


@pytest.mark.guest
def test_top_and_stats(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "sleep 100 & wait")
    rows = until(lambda: (found := pycontain.ok("top", "one").splitlines())[2:] and found)
    assert rows[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert len(rows) == 3
    stats = pycontain.json("stats", "--no-stream", "--format", "json", "one")
    assert stats["Name"] == "one"
    assert stats["CPUPerc"].endswith("%")


def test_rename_keeps_the_container(pycontain: Cli, busybox: Path) -> None:
    container = run(pycontain, busybox, LOOP)
    run(pycontain, busybox, LOOP, name="two")
    assert "is in use" in pycontain.fails("rename", "one", "two")
    pycontain.ok("rename", "one", "three")
    assert pycontain.json("inspect", "three")[0]["Id"] == container
    run(pycontain, busybox, LOOP, name="one")


def test_remove_needs_force_while_it_runs(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, LOOP)
    assert "rm -f one" in pycontain.fails("rm", "one")
    pycontain.ok("rm", "-f", "one")
    assert pycontain.containers() == []


def test_output_under_load_is_complete(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, "seq 200000")
    pycontain.ok("wait", "one")
    assert pycontain.ok("logs", "one").split() == [str(number) for number in range(1, 200001)]


def test_a_full_disk_of_logs_is_counted(pycontain: Cli, busybox: Path) -> None:
    container = pycontain.ok("create", "--name", "one", busybox, "sh", "-c", "seq 1000; exit 5").strip()
    os.symlink("/dev/full", pycontain.root / "data" / "logs" / container / "container.log")
    assert pycontain.run("start", "-a", "one").returncode == 5
    assert pycontain.json("inspect", "one")[0]["Pycontain"]["Monitor"]["LogDroppedLines"] == 1000


def monitor_of(cli: Cli, name: str = "one") -> int:
    pid: int = cli.json("inspect", name)[0]["Pycontain"]["Monitor"]["Pid"]
    return pid


def test_the_monitor_is_small_and_named(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, f"echo hello; {LOOP}")
    wait_for_log(pycontain, "hello")
    proc = Path(f"/proc/{monitor_of(pycontain)}")
    assert proc.joinpath("comm").read_text() == "pycontain:mon\n"
    assert proc.joinpath("cmdline").read_bytes().startswith(b"pycontain: monitor of ")
    dirty = re.search(r"Private_Dirty:\s+(\d+)", proc.joinpath("smaps_rollup").read_text())
    assert dirty is not None
    assert int(dirty[1]) <= 3 * 1024


def test_a_monitor_that_was_killed_leaves_nothing(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, LOOP)
    os.kill(monitor_of(pycontain), signal.SIGKILL)
    assert "Up" in pycontain.ok("ps")
    pycontain.ok("stop", "-t", "0", "one")
    assert "its monitor died" in state(pycontain)["Error"]
    pycontain.ok("rm", "one")


def test_prune_takes_what_has_ended_and_what_was_left(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, LOOP)
    run(pycontain, busybox, "true", name="two")
    pycontain.ok("wait", "two")
    left = pycontain.root / "data" / "overlay" / ("a" * 64) / "upper"
    left.mkdir(parents=True)
    (pycontain.root / "state" / "names" / "dangling").symlink_to("b" * 64)
    (pycontain.root / "state" / "containers" / ("c" * 64)).mkdir()
    pycontain.ok("prune", "-f")
    assert pycontain.ok("ps", "-a", "--format", "{{.Names}}") == "one\n"
    assert not left.exists()
    assert sorted(os.listdir(pycontain.root / "state" / "names")) == ["one"]


def test_a_killed_run_leaves_nothing_after_prune(pycontain: Cli, busybox: Path) -> None:
    for delay in (0.01, 0.03, 0.05, 0.07, 0.1, 0.15):
        process = pycontain.popen("run", "-d", "--rm", busybox, "sleep", "1", stdout=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.communicate()
    for container in pycontain.containers():
        pycontain.run("rm", "-f", container)
    pycontain.ok("prune", "-f")
    assert pycontain.leftovers() == []


def test_the_session_that_started_it_may_end(pycontain: Cli, busybox: Path) -> None:
    run(pycontain, busybox, f"trap 'echo hup' HUP; echo ready; {LOOP}")
    wait_for_log(pycontain, "ready")
    status = Path(f"/proc/{monitor_of(pycontain)}/stat").read_text().rpartition(")")[2].split()
    assert status[3] == str(monitor_of(pycontain)), "the monitor leads a session of its own"
    assert state(pycontain)["Running"]


@requires("program:ps")
def test_top_with_options_of_ps(pycontain: Cli, busybox: Path) -> None:
    """The columns are those that ps was asked for, the rows the container's alone."""
    pycontain.ok("run", "-d", "--name", "busy", busybox, "--", "sh", "-c", "sleep 321 & exec sleep 654")
    rows = until(lambda: (found := pycontain.ok("top", "busy", "-eo", "pid,args").splitlines())[2:] and found)
    assert rows[0].split() == ["PID", "COMMAND"]
    assert sorted(row.split(None, 1)[1] for row in rows[1:]) == ["sleep 321", "sleep 654"]
    aux = pycontain.ok("top", "busy", "aux").splitlines()
    assert aux[0].split()[:2] == ["USER", "PID"]
    assert len(aux) == 3
    found = [
        json.loads(line)
        for line in pycontain.ok("top", "--format", "json", "busy", "-e", "-o", "pid,comm").splitlines()
    ]
    assert [one["COMMAND"] for one in found] == ["sleep", "sleep"]
    assert pycontain.ok("top", "busy").split()[:8] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]


@requires("program:ps")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["-eo", "comm"], "couldn't find PID field in ps output"),
        (["-eo", "pid=,comm"], "the title of column PID"),
        (["-eo", "comm=PID"], "the title of column PID"),
        (["-o", "nosuch"], "nosuch"),
    ],
)
def test_top_refuses_what_cannot_be_filtered(pycontain: Cli, busybox: Path, words: list[str], named: str) -> None:
    pycontain.ok("run", "-d", "--name", "busy", busybox, "--", "sleep", "600")
    message = pycontain.fails("top", "busy", *words)
    assert named in message
    assert message.count("\n") == 2


@pytest.mark.parametrize("options", [[], ["-d"]], ids=["direct", "monitored"])
def test_rm_is_done_by_others_when_its_owner_is_killed(pycontain: Cli, busybox: Path, options: list[str]) -> None:
    """The command, or the monitor, cannot remove the container any more: whoever looks next does."""

    def kill_owner() -> None:
        process = pycontain.popen("run", "--rm", *options, "--name", "one", busybox, "--", "sleep", "600")
        found = until(lambda: list((pycontain.root / "state").glob("containers/*/state.json")))
        until(lambda: pycontain.run("exec", "one", "true").returncode == 0)
        state = json.loads(found[0].read_text())
        os.kill(state["monitor_pid"], signal.SIGKILL)
        process.communicate(timeout=20)
        if options:  # nothing ends with a monitor
            os.kill(state["pid"], signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{state['pid']}/exe"))

    kill_owner()
    assert pycontain.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}") == ""
    kill_owner()
    message = pycontain.fails("start", "one")
    assert "does not exist" in message
    assert "it was made with --rm" in message
    kill_owner()
    assert pycontain.ok("run", "--rm", "--name", "one", busybox, "--", "echo", "again") == "again\n"
    for kind in ("overlay", "logs", "files"):
        directory = pycontain.root / "data" / kind
        assert not directory.is_dir() or not list(directory.iterdir())
