"""``pycontain.run``: what a program gets, and what comes back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.probe import requires
from harness.processes import command_lines

import pycontain as library

pytestmark = [pytest.mark.runtime, pytest.mark.background("launcher"), requires("root")]

Run = Callable[..., Any]


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_code(run: Run, code: int) -> None:
    result = run("sh", "-c", f"exit {code}")
    assert (result.exit_code, result.signal, result.oom_killed, result.timed_out) == (code, 0, False, False)


def test_output_is_bytes_and_told_apart(run: Run) -> None:
    result = run("sh", "-c", r"printf '\377out'; printf err >&2")
    assert (result.stdout, result.stderr, result.output_cut) == (b"\xffout", b"err", False)


def test_a_signal_is_told(run: Run) -> None:
    # process 1 of a pid namespace cannot kill itself
    result = run("sh", "-c", "kill -TERM $$", init=True)
    assert (result.exit_code, result.signal) == (143, 0)
    result = run("sh", "-c", "kill -KILL 1; sleep 1; exit 3")
    assert (result.exit_code, result.signal) == (3, 0)


def test_no_input_is_an_empty_one(run: Run) -> None:
    assert run("cat").stdout == b""
    assert run("cat", stdin=b"").stdout == b""


def test_input_of_any_size(run: Run) -> None:
    data = bytes(range(256)) * 16384
    result = run("cat", stdin=data)
    assert result.stdout == data


def test_input_that_nobody_reads(run: Run) -> None:
    assert run("true", stdin=b"x" * (1 << 20)).exit_code == 0


@pytest.mark.parametrize("stream", [1, 2])
def test_output_is_cut_at_the_limit(run: Run, stream: int) -> None:
    result = run("sh", "-c", f"head -c 3000000 /dev/zero >&{stream}", output_limit=100_000)
    kept = (result.stdout, result.stderr)[stream - 1]
    assert (result.exit_code, result.output_cut, kept) == (0, True, bytes(100_000))


def test_a_flood_of_output_takes_no_memory_and_ends(run: Run) -> None:
    result = run("cat", "/dev/zero", output_limit=10, timeout_s=0.5)
    assert (result.timed_out, result.output_cut, result.stdout) == (True, True, bytes(10))


def test_timeout_kills_the_whole_container(run: Run) -> None:
    began = time.monotonic()
    result = run("sh", "-c", "sleep 1000 & echo started; sleep 1000", timeout_s=0.3)
    assert time.monotonic() - began < 20
    assert (result.exit_code, result.signal, result.timed_out, result.stdout) == (137, 9, True, b"started\n")
    assert 0.3 <= result.usage.wall_s < 15


@pytest.mark.guest
@requires("cgroup:memory")
def test_lack_of_memory_is_told(run: Run) -> None:
    result = run("tail", "/dev/zero", memory="16m", timeout_s=60)
    assert (result.exit_code, result.signal, result.oom_killed, result.timed_out) == (137, 9, True, False)
    assert 15 << 20 <= result.usage.memory_peak_bytes <= 17 << 20


@requires("cgroup:memory")
def test_lack_of_memory_of_a_child_is_told(run: Run) -> None:
    result = run("sh", "-c", "tail /dev/zero; exit 5", memory=16 << 20, timeout_s=60)
    assert (result.exit_code, result.oom_killed) == (5, True)


@pytest.mark.guest
def test_usage_is_measured(run: Run) -> None:
    """Beside one that only sleeps: what its making took is in the figures of both."""
    idle = run("sleep", "1").usage
    busy = run("sh", "-c", "i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done").usage
    assert 1 <= idle.wall_s < 20
    assert idle.cpu_s < idle.wall_s
    # what its making took is before wall_s begins, and takes longer on a busy machine
    assert idle.cpu_s + 0.05 < busy.cpu_s < 2 * busy.wall_s + idle.cpu_s
    assert 0 < idle.memory_peak_bytes < 64 << 20


def test_env_workdir_user_and_hostname(run: Run) -> None:
    script = "echo $A:$B; pwd; id -u; id -g; hostname"
    result = run("sh", "-c", script, env={"A": "1=2", "B": "x y\nz"}, workdir="/tmp", user="1000:1001", hostname="box")
    assert result.stdout == b"1=2:x y z\n/tmp\n1000\n1001\nbox\n"
    assert run("id", "-u", user=7).stdout == b"7\n"


def test_the_callers_environment_stays_outside(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the caller")
    assert b"SECRET" not in run("env").stdout


def test_files(run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "given").write_text("text")
    script = "cat /given/given; touch /given/new /scratch/x && ls /scratch; touch /no"
    result = run("sh", "-c", script, volumes=[f"{tmp_path}:/given"], tmpfs=["/scratch"], read_only=True)
    assert result.stdout == b"textx\n"
    assert b"Read-only file system" in result.stderr
    assert (tmp_path / "new").exists()


def test_mount_records(run: Run, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("text")
    result = run("cat", "/given/given", mounts=[f"type=bind,source={tmp_path},target=/given,readonly"])
    assert result.stdout == b"text"


def test_limits_of_processes_and_processors(run: Run) -> None:
    result = run("sh", "-c", "cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max", pids_limit=23, cpus=0.5)
    assert result.stdout == b"23\n"


def test_isolated_by_default(run: Run) -> None:
    result = run("sh", "-c", "ls /sys/class/net; cat /proc/self/uid_map; echo $$; grep Seccomp: /proc/self/status")
    assert re.fullmatch(rb"lo\n +0 +[1-9]\d* +65536\n1\nSeccomp:\t2\n", result.stdout)


def test_without_a_user_namespace(run: Run) -> None:
    result = run("cat", "/proc/self/uid_map", userns="host")
    assert result.stdout.split() == [b"0", b"0", b"4294967295"]


def test_with_the_hosts_processes_all_of_it_ends(run: Run) -> None:
    result = run("sh", "-c", "sleep 1000 & echo $!", pid="host", timeout_s=30)
    assert int(result.stdout) not in {pid for pid, words in command_lines() if words[0] == "sleep"}


def test_words_that_are_no_text_and_long_ones(run: Run) -> None:
    assert run("printf", "%s", "\udcff").stdout == b"\xff"
    many = ["x" * 1000] * 100
    assert run("sh", "-c", "echo $#", "sh", *many).stdout == b"100\n"


@requires("shifted-host")
def test_the_hosts_own_root(run: Run, busybox: Path) -> None:
    result = library.run("@host", ["cat", "/etc/passwd"], env={"LC_ALL": "C"})
    assert (result.exit_code, result.stdout) == (0, Path("/etc/passwd").read_bytes())


def test_paths_are_relative_to_the_callers_directory(
    run: Run, busybox: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(busybox.parent)
    assert library.run(f"./{busybox.name}", ["true"], store=tmp_path / "store").exit_code == 0
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert library.run(busybox, ["true"], store="store").exit_code == 0
    assert (tmp_path / "here" / "store" / "state").is_dir()


def test_a_directory_that_was_removed(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run("pwd").stdout == b"/\n"
