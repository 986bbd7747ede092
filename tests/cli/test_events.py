"""events: what commands and monitors have written, in order, for those who follow and for those who come later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.cli import Cli
from harness.ordinary_user import OrdinaryUser
from harness.probe import requires
from harness.waiting import until

from pycontain.engine import eventlog, events
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import State

PAST = ("events", "--since", "10m", "--until", "0s")


def past(cli: Cli, *words: str) -> list[str]:
    """Return the actions so far."""
    return cli.ok(*PAST, "--format", "{{.Action}}", *words).splitlines()


def documents(cli: Cli, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cli.ok(*PAST, "--format", "json", *words).splitlines()]


def test_a_life(pycontain: Cli, busybox: Path) -> None:
    assert past(pycontain) == []
    container = pycontain.ok("create", "--name", "one", "--label", "a=b", busybox, "sleep", "1000").strip()
    for words in (
        ("start", "one"),
        ("pause", "one"),
        ("unpause", "one"),
        ("rename", "one", "two"),
        ("exec", "two", "true"),
        ("kill", "-s", "CONT", "two"),
        ("stop", "-t", "0", "two"),
        ("restart", "two"),
        ("rm", "-f", "two"),
    ):
        pycontain.ok(*words)
    first = ["create", "start", "pause", "unpause", "rename", "exec_start", "exec_die", "kill"]
    assert past(pycontain) == [*first, "kill", "die", "stop", "start", "restart", "kill", "die", "destroy"]
    found = documents(pycontain)
    assert {one["Actor"]["ID"] for one in found} == {container}
    assert [one["timeNano"] for one in found] == sorted(one["timeNano"] for one in found)
    by = {one["Action"]: one["Actor"]["Attributes"] for one in found}
    assert by["create"] == {"a": "b", "name": "one", "image": str(busybox)}
    assert (by["rename"]["name"], by["rename"]["oldName"]) == ("two", "one")
    assert (by["exec_die"]["exitCode"], by["exec_die"]["command"]) == ("0", "true")
    assert (by["die"]["exitCode"], by["kill"]["signal"]) == ("137", "9")


@pytest.mark.parametrize("words", [("--rm",), ("--rm", "-t"), ("-d", "--rm")])
def test_both_shapes(pycontain: Cli, busybox: Path, words: tuple[str, ...]) -> None:
    pycontain.run("run", *words, busybox, "--", "/bin/sh", "-c", "exit 3")
    until(lambda: "destroy" in past(pycontain))
    assert past(pycontain) == ["create", "start", "die", "destroy"]
    assert [one["Actor"]["Attributes"]["exitCode"] for one in documents(pycontain, "-f", "event=die")] == ["3"]


def test_what_cannot_be_executed(pycontain: Cli, busybox: Path) -> None:
    pycontain.fails("run", "--rm", busybox, "--", "/nothing", code=127)
    assert past(pycontain)[0] == "create"
    assert past(pycontain)[-1] == "destroy"
    assert "start" not in past(pycontain)


@requires("cgroup:memory")
@pytest.mark.parametrize("words", [("--rm",), ("--name", "one")])
def test_want_of_memory(pycontain: Cli, busybox: Path, words: tuple[str, ...]) -> None:
    limits = ["-m", "32m", "--memory-swap", "32m"]
    done = pycontain.run("run", *words, *limits, busybox, "--", "/bin/sh", "-c", "exec tail /dev/zero")
    assert done.returncode == 137
    assert past(pycontain)[:4] == ["create", "start", "oom", "die"]


def test_a_monitor_that_was_killed(pycontain: Cli, busybox: Path) -> None:
    """The end is told when a command meets it."""
    pycontain.ok("run", "-d", "--name", "one", busybox, "sleep", "1000")
    state = json.loads((next((pycontain.root / "state" / "containers").iterdir()) / "state.json").read_text())
    os.kill(state["monitor_pid"], signal.SIGKILL)
    os.kill(state["pid"], signal.SIGKILL)
    until(lambda: pycontain.ok("wait", "one").strip() == "255")
    assert past(pycontain)[-1] == "die"


def test_filters_and_forms(pycontain: Cli, busybox: Path) -> None:
    for name in ("one", "two"):
        pycontain.ok("run", "--rm", "--name", name, "--label", f"which={name}", busybox, "--", "true")
    assert past(pycontain, "-f", "container=two") == ["create", "start", "die", "destroy"]
    assert past(pycontain, "-f", "container=two", "-f", "container=one", "-f", "event=die") == ["die", "die"]
    assert past(pycontain, "-f", "label=which=one", "-f", "event=start", "-f", "event=die") == ["start", "die"]
    assert past(pycontain, "-f", "label=other") == past(pycontain, "-f", "type=image") == []
    assert len(past(pycontain, "-f", f"image={busybox}")) == 8
    line = pycontain.ok(*PAST, "-f", "event=die", "-f", "container=one")
    assert " container die " in line
    assert line.endswith(f"(exitCode=0, image={busybox}, name=one, which=one)\n")
    told = pycontain.ok(*PAST, "-f", "container=one", "--format", "{{.Action}} {{.Actor.Attributes.exitCode}}")
    assert told == "create <no value>\nstart <no value>\ndie 0\ndestroy <no value>\n"
    assert "is not a filter" in pycontain.fails("events", "-f", "x=y")
    assert "--format: 'x' is unknown" in pycontain.fails("events", "--format", "x")
    assert "--since" in pycontain.fails("events", "--since", "never")
    assert pycontain.ok("events", "--until", "0s") == ""
    assert pycontain.ok("events", "--since", "2001-01-01T00:00:00Z", "--until", "2002-01-01T00:00:00Z") == ""


@pytest.fixture
def follower(pycontain: Cli) -> Iterator[Any]:
    process = pycontain.popen("events", "--format", "{{.Action}}")
    yield process
    process.kill()
    process.communicate()


def test_following(pycontain: Cli, busybox: Path, follower: Any) -> None:
    pycontain.ok("run", "--rm", busybox, "--", "true")  # it may still be on its way
    pycontain.ok("run", "--name", "one", busybox, "--", "true")
    pycontain.ok("rm", "one")
    lines = [follower.stdout.readline().strip()]
    while len(lines) < 4 or lines[-4:] != ["create", "start", "die", "destroy"]:
        lines.append(follower.stdout.readline().strip())
    os.kill(follower.pid, signal.SIGINT)
    assert follower.wait(10) == 0


def test_a_reader_that_does_not_read_holds_nobody_up(pycontain: Cli, busybox: Path) -> None:
    reader = pycontain.popen("events", "--since", "10m")
    try:
        started = time.monotonic()
        for _ in range(10):
            pycontain.ok("run", "--rm", "--label", f"long={'x' * 10000}", busybox, "--", "true")
        assert time.monotonic() - started < 30
    finally:
        reader.kill()
        reader.communicate()


def test_many_write_at_once(pycontain: Cli, busybox: Path) -> None:
    words = pycontain.argv("run", "--rm", busybox, "--", "true")
    running = [subprocess.Popen(words, env=pycontain.environment()) for _ in range(8)]
    assert [process.wait(60) for process in running] == [0] * 8
    assert sorted(past(pycontain)) == sorted(["create", "start", "die", "destroy"] * 8)


def test_ordinary_user(user: OrdinaryUser, busybox: Path) -> None:
    cli = user.cli()
    cli.ok("run", "--rm", user.rootfs(busybox), "--", "true")
    assert past(cli) == ["create", "start", "die", "destroy"]


# The log itself


def _state(number: int) -> State:
    return State(id=f"{number:064}", name=f"n{number}", created_ns=1, boot_id="x", labels={"text": "y" * 500})


@pytest.mark.parametrize("reads", [1, 7])
def test_the_log_is_bounded_and_nothing_is_read_twice(tmp_path: Path, reads: int) -> None:
    settings = Settings(state=str(tmp_path), data=str(tmp_path))
    everything = eventlog.read(settings, eventlog.Filters({}), since_ns=0, until_ns=0)
    count = 4000
    found = []
    for number in range(count):
        events.record(settings, _state(number), events.START)
        if number % reads == 0:
            found.append(next(everything))
    # the reader lags behind by at most what the two files hold
    while len(found) < count and reads == 1:
        found.append(next(everything))
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < events.MAX_BYTES + events.MAX_LINE
    ids = [int(event.id) for event in found]
    assert ids == sorted(set(ids))
    assert reads > 1 or ids == list(range(count))


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    settings = Settings(state=str(tmp_path), data=str(tmp_path))
    log = tmp_path / events.NAME
    log.write_bytes(
        b'{"time": \n\xff\xfe\n[]\n{"time": "x", "id": 1}\n' + b"[" * 100_000 + b"\n" + b"x" * 200_000 + b"\n"
    )
    events.record(settings, _state(1), events.START)
    with open(log, "ab") as file:
        file.write(b'{"half')
    now = time.time_ns()
    found = list(eventlog.read(settings, eventlog.Filters({}), since_ns=0, until_ns=now))
    assert [event.action for event in found] == ["start"]


def test_long_labels_and_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    settings = Settings(state=str(tmp_path), data=str(tmp_path))
    events.record(settings, _state(1).replace(labels={"x": "y" * 10**6}), events.DIE, exitCode="1")
    found = list(eventlog.read(settings, eventlog.Filters({}), since_ns=0, until_ns=time.time_ns()))
    assert found[0].attributes == {"name": "n1", "image": "", "exitCode": "1"}
    events.record(Settings(state=str(tmp_path / "none"), data=""), _state(1), events.DIE)
