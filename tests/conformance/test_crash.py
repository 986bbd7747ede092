"""A runtime that is killed at any moment leaves what ``delete --force`` removes, and nothing else."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from harness.cli import describe
from harness.oci import Oci
from harness.probe import requires

from pycontain.cgroups.cgroup import locate
from pycontain.cgroups.host import probe_host, usable
from pycontain.runtime import processes

pytestmark = requires("root")

ROUNDS = 6 * int(os.environ.get("PYCONTAIN_SOAK", "1"))
#: About as long as a create takes on a busy machine.
LONGEST_S = 0.25


def killed_after(oci: Oci, seconds: float, *args: str) -> int:
    """Start a command, kill it after some time and return its exit code."""
    null = subprocess.DEVNULL
    process = subprocess.Popen(oci.argv(*args), stdin=null, stdout=null, stderr=null, start_new_session=True)
    time.sleep(seconds)
    process.kill()
    return process.wait()


def cgroups_of(path: str) -> list[str]:
    """Return the directories that there are of a container's cgroup."""
    return [place for place in locate(usable(probe_host()), path).directories if os.path.isdir(place)]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_killed_creates(oci: Oci, seed: int) -> None:
    """L2: whatever had been made is removed by delete --force, and the id can be used again."""
    chance = random.Random(seed)
    document = oci.config("sleep", "1000")
    document["linux"]["resources"] = {"pids": {"limit": 50}}
    bundle = str(oci.bundle(document))
    code = killed_after(oci, chance.uniform(0, LONGEST_S), "create", "--bundle", bundle, "c")
    if code == 0:
        assert oci.state("c")["status"] == "created"
    oci.ok("delete", "--force", "c")
    assert oci.left() == []
    assert cgroups_of(document["linux"]["cgroupsPath"]) == []
    oci.ok("create", "--bundle", bundle, "c")
    oci.ok("start", "c")


def test_an_init_whose_maker_died_does_not_wait(oci: Oci) -> None:
    """L2: before the state is saved nobody would know of it; a hook that runs ends too."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $$ > {oci.place}/hook; exec sleep 1000"]}
    document = oci.config("true")
    document["hooks"] = {"createRuntime": [hook]}
    bundle = str(oci.bundle(document))
    null = subprocess.DEVNULL
    process = subprocess.Popen(oci.argv("create", "-b", bundle, "c"), stdin=null, stdout=null, stderr=null)
    deadline = time.monotonic() + 20
    state = oci.root / "c" / "state.json"
    while not state.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    while not (oci.place / "hook").exists() or not (oci.place / "hook").read_text():
        time.sleep(0.01)
    hooked = int((oci.place / "hook").read_text())
    found = oci.state("c")
    assert found["status"] == "creating"
    process.kill()
    process.wait()
    while processes.start_time(found["pid"]) is not None or processes.start_time(hooked) is not None:
        assert time.monotonic() < deadline, "init waits"
        time.sleep(0.01)
    assert oci.state("c")["status"] == "stopped"
    oci.ok("delete", "--force", "c")


@pytest.mark.parametrize("seed", range(ROUNDS // 2))
def test_killed_deletes(oci: Oci, seed: int) -> None:
    """L7: a second delete goes on where the first was killed."""
    chance = random.Random(seed)
    document = oci.config("sleep", "1000")
    oci.ok("run", "-d", "-b", oci.bundle(document), "c")
    killed_after(oci, chance.uniform(0, LONGEST_S), "delete", "--force", "c")
    oci.ok("delete", "--force", "c")
    assert oci.left() == []
    assert cgroups_of(document["linux"]["cgroupsPath"]) == []


def test_delete_of_a_container_that_is_stopped_by_a_signal(oci: Oci) -> None:
    """Reliability: SIGSTOP and the freezer do not keep delete from ending within ten seconds."""
    oci.ok("run", "-d", "-b", oci.bundle(oci.config("sleep", "1000")), "c")
    os.kill(oci.state("c")["pid"], signal.SIGSTOP)
    oci.ok("pause", "c")
    begun = time.monotonic()
    oci.ok("delete", "--force", "c")
    assert time.monotonic() - begun < 10


def test_state_that_is_damaged(oci: Oci) -> None:
    """Reliability: an error that says so, and delete --force still knows what was made."""
    oci.ok("run", "-d", "-b", oci.bundle(oci.config("sleep", "1000")), "c")
    pid = oci.state("c")["pid"]
    for text in ("", "{}", '{"version": 1}', '{"version": 99}', "[" * 100, "\0"):
        (oci.root / "c" / "state.json").write_text(text)
        done = oci.run("state", "c")
        assert done.returncode == 1, describe(done)
        assert "Traceback" not in done.stderr
        assert "c" in oci.ok("list", "-q")
    oci.ok("delete", "--force", "c")
    assert processes.start_time(pid) is None


def test_a_pid_that_is_somebody_elses(oci: Oci) -> None:
    """L6: the id of a process is nothing without its start time: kill and delete hit nobody else."""
    oci.ok("run", "-d", "-b", oci.bundle(oci.config("sleep", "1000")), "c")
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        state = oci.root / "c" / "state.json"
        pid = oci.state("c")["pid"]
        state.write_text(state.read_text().replace(f'"pid":{pid},', f'"pid":{stranger.pid},'))
        assert oci.state("c")["status"] == "stopped"
        assert "container not running" in oci.fails("kill", "c", "KILL")
        oci.ok("delete", "--force", "c")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
