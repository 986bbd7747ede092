"""A runtime that is killed at any moment leaves what ``delete --force`` removes, and nothing else."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from harness.cli import describe
from harness.disturb import MESSAGES, disturbed
from harness.oci import Oci
from harness.probe import requires
from harness.processes import tree
from harness.subjects import COMMANDS, Subject
from harness.waiting import until

from pycontain.cgroups.cgroup import locate
from pycontain.cgroups.host import probe_host, usable
from pycontain.oci.store import Container
from pycontain.runtime import processes

pytestmark = requires("root")

SOAK = int(os.environ.get("PYCONTAIN_SOAK", "1"))
#: As many as are killed in one run of the suite, by so many at the same time.
KILLS, WORKERS = 1000, 4


def worker(oci: Oci, number: int) -> Oci:
    """Return the program with a root directory of its own."""
    place = oci.place / f"{oci.place.name}-{number}"
    place.mkdir()
    return Oci(place / "root", place, oci.rootfs)


def test_traces_are_seen(oci: Oci) -> None:
    """Control: what the tests here look for is there as long as there is a container, and a cgroup left shows."""
    subject = Subject(oci)
    oci.ok(*subject.prepare("start")[len(oci.argv()) :])
    state, *others = oci.traces()
    assert state == f"{oci.root}/c"
    assert [line for line in others if line.startswith("pid ") and "sleep" in line]
    cgroups = [Path(line) for line in others if line.startswith("/sys/fs/cgroup")]
    assert len(cgroups) == len(set(locate(usable(probe_host()), "x").directories))
    subject.clear()
    cgroups[-1].mkdir(parents=True)  # the one above goes with the last below it
    try:
        assert oci.traces() == [str(cgroups[-1])]
    finally:
        cgroups[-1].rmdir()
        with suppress(OSError):
            cgroups[-1].parent.rmdir()


@pytest.mark.timeout(300 * SOAK)
def test_killed_1000_times(oci: Oci) -> None:
    """L2, L7: whatever a command had made when it was killed is removed by delete --force, and its id is free.

    Any command, its first process or another one or all of them, at any moment.
    """
    seed = random.randrange(2**32)

    def kill_many(number: int) -> int:
        subject, dice = Subject(worker(oci, number)), random.Random(seed + number)
        length_s = {name: duration(subject, name) for name in COMMANDS}
        hit = 0
        for turn in range(KILLS * SOAK // WORKERS):
            name = dice.choice(list(COMMANDS))
            wait_s, whom = dice.uniform(0, 0.8 * length_s[name]), dice.choice(["first", "last", "all"])
            argv = subject.prepare(name)
            null = subprocess.DEVNULL
            process = subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, start_new_session=True)
            time.sleep(wait_s)
            running = process.poll() is None
            hit += running
            # of one that has ended and was waited for, the number may be somebody else's
            pids = tree(process.pid) if running else []
            for pid in {"first": pids[:1], "last": pids[-1:], "all": pids}[whom]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(30)
            try:
                # looking at every process takes as long as a kill
                subject.clear(processes=turn % 10 == 9)
            except AssertionError as left:
                raise AssertionError(f"{name}, {whom} after {wait_s * 1000:.1f} ms, seed {seed}: {left}") from left
        assert all(duration(subject, name) > 0 for name in COMMANDS)
        return hit

    with ThreadPoolExecutor(WORKERS) as pool:
        hits = list(pool.map(kill_many, range(WORKERS)))
    assert sum(hits) > KILLS * SOAK // 3, "most were over before they were killed"


def duration(subject: Subject, name: str) -> float:
    """Return how many seconds a command takes that nobody disturbs."""
    argv = subject.prepare(name)
    begun = time.monotonic()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    taken_s = time.monotonic() - begun
    subject.clear()
    return taken_s


#: The least number of stops: each message is a call entered and left on two sides. A delete sends none.
MESSAGES_OF = {"create": 10, "start": 4, "exec": 8, "run": 13}


@pytest.mark.timeout(120 * SOAK)
@pytest.mark.parametrize("name", MESSAGES_OF)
def test_killed_at_each_message(oci: Oci, name: str) -> None:
    """L2: whoever sends or receives one, before and after."""
    subject = Subject(oci)
    count = len(disturbed(subject.prepare(name), 0, MESSAGES).stops)
    subject.clear()
    assert count >= MESSAGES_OF[name]
    for number in range(1, count + 1):
        report = disturbed(subject.prepare(name), number, MESSAGES)
        assert len(report.said) <= 1, report
        assert not any("Traceback" in line or "internal error" in line for line in report.said), report
        if name == "exec":
            # whoever was on its way into the container does not stay there
            init = {oci.state("c")["pid"]}
            until(lambda: set(json.loads(oci.ok("ps", "--format", "json", "c"))) == init, 5)  # noqa: B023  (used at once)
        subject.clear()


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
    saved = (oci.root / "c" / "state.json").read_text()
    for text in ("", "{}", '{"version": 1}', '{"version": 99}', "[" * 100, "\0", saved[:-9], saved + " "):
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
        container = Container(str(oci.root), "c")
        container.save(container.load().replace(pid=stranger.pid))
        assert oci.state("c")["status"] == "stopped"
        assert "container not running" in oci.fails("kill", "c", "KILL")
        oci.ok("delete", "--force", "c")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
