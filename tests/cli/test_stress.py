"""Many containers at once and one after the other: all of them right, and nothing left of any.

``PYCONTAIN_SOAK=N`` does everything N times as often (make soak).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import leaks
from harness.cli import Cli
from harness.probe import requires
from harness.waiting import until

SOAK = int(os.environ.get("PYCONTAIN_SOAK", "1"))
pytestmark = [pytest.mark.runtime, requires("root"), pytest.mark.timeout(300 * SOAK)]
AT_ONCE = 32


def run_at_once(commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Return exit code, output and errors of commands that are all started before the first is waited for."""
    options: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **options) for command in commands]
    outputs = [process.communicate(timeout=120) for process in running]
    return [(process.returncode, *output) for process, output in zip(running, outputs, strict=True)]


def test_32_in_the_foreground_at_once(pycontain: Cli, busybox: Path) -> None:
    script = 'echo "$1 $(cat /proc/self/uid_map)"; sleep 1; exit $1'
    commands = [
        pycontain.argv("run", "--rm", busybox, "--", "/bin/sh", "-c", script, "sh", str(number))
        for number in range(AT_ONCE)
    ]
    done = run_at_once(commands)
    assert [(code, errors) for code, _, errors in done] == [(number, "") for number in range(AT_ONCE)]
    words = [output.split() for _, output, _ in done]
    assert [int(one[0]) for one in words] == list(range(AT_ONCE))
    # they ran at the same time, each with users of its own
    assert len({one[2] for one in words}) == AT_ONCE
    assert pycontain.containers() == []


def test_32_in_the_background_at_once(pycontain: Cli, busybox: Path) -> None:
    command = pycontain.argv("run", "-d", busybox, "--", "/bin/sleep", "1000")
    done = run_at_once([command] * AT_ONCE)
    assert [(code, errors) for code, _, errors in done] == [(0, "")] * AT_ONCE
    ids = [output.strip() for _, output, _ in done]
    assert sorted(pycontain.ok("ps", "-q", "--no-trunc").split()) == sorted(ids)
    states: list[Any] = [
        json.loads((pycontain.root / "state" / "containers" / one / "state.json").read_text()) for one in ids
    ]
    assert {state["status"] for state in states} == {"running"}
    assert len({state["userns"]["uid_map"][0]["host_id"] for state in states}) == AT_ONCE
    assert len({state["name"] for state in states}) == AT_ONCE
    done = run_at_once([pycontain.argv("rm", "-f", one) for one in ids])
    assert [(code, errors) for code, _, errors in done] == [(0, "")] * AT_ONCE
    assert pycontain.containers() == []


@pytest.mark.parametrize("verb", [["run", "-d"], ["create"]], ids=" ".join)
def test_of_many_with_one_name_one_is_made(pycontain: Cli, busybox: Path, verb: list[str]) -> None:
    command = pycontain.argv(*verb, "--name", "only", busybox, "--", "/bin/sleep", "1000")
    done = run_at_once([command] * 20)
    assert sorted(code for code, _, _ in done) == [0] + [125] * 19
    assert all("only" in errors and "in use" in errors for code, _, errors in done if code)
    assert len(pycontain.containers()) == 1
    if verb == ["create"]:
        pycontain.ok("start", "only")
    assert pycontain.ok("exec", "only", "/bin/echo", "alive") == "alive\n"


def test_many_commands_in_one_container_at_once(pycontain: Cli, container: str) -> None:
    script = "echo $1; exit $1"
    commands = [
        pycontain.argv("exec", container, "/bin/sh", "-c", script, "sh", str(number)) for number in range(AT_ONCE)
    ]
    assert run_at_once(commands) == [(number, f"{number}\n", "") for number in range(AT_ONCE)]


def test_listing_during_churn_never_fails(pycontain: Cli, busybox: Path) -> None:
    churn = f"""
        for i in 1 2 3 4 5 6; do
            id=$("$@" run -d {busybox} -- /bin/sleep 1000) || exit 1
            "$@" rm -f $id >/dev/null || exit 1
        done
    """
    workers = [
        subprocess.Popen(["/bin/sh", "-c", churn, "sh", *pycontain.argv()], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    count = 0
    while any(worker.poll() is None for worker in workers):
        done = pycontain.run("ps", "-a", "--format", "json")
        assert (done.returncode, done.stderr) == (0, "")
        for line in done.stdout.splitlines():
            json.loads(line)
        count += 1
    assert [(worker.wait(), worker.communicate()[1]) for worker in workers] == [(0, "")] * 3
    assert count > 5


def host_counts() -> dict[str, int]:
    """Return how much of each kind there is on the host that a container could leave."""
    picture = leaks.take()
    return {kind: len(items) for kind, items in picture.items()}


def settled(before: dict[str, int]) -> dict[str, int]:
    """Return the counts that exceed those of before, once the kernel has had time to clear up."""
    deadline = time.monotonic() + 5
    while True:
        more = {kind: count for kind, count in host_counts().items() if count > before[kind]}
        if not more or time.monotonic() > deadline:
            return more
        time.sleep(0.1)


def test_200_in_sequence_leave_nothing(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "--rm", busybox, "--", "/bin/true")  # what is made once and kept is there
    before = host_counts()
    for number in range(150 * SOAK):
        assert pycontain.ok("run", "--rm", busybox, "--", "/bin/echo", str(number)) == f"{number}\n"
    for number in range(50 * SOAK):
        assert pycontain.ok("run", "--rm", "-a", "stdout", busybox, "--", "/bin/echo", str(number)) == f"{number}\n"
    assert (pycontain.containers(), pycontain.leftovers()) == ([], [])
    assert settled(before) == {}


def open_files(pid: int) -> list[str]:
    return sorted(os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{pid}/fd"))


def test_monitor_keeps_no_descriptor_and_no_memory(pycontain: Cli, container: str) -> None:
    """Of clients that came and went: they wait, attach, and run further commands."""
    state: Any = json.loads(
        (pycontain.root / "state" / "containers" / pycontain.containers()[0] / "state.json").read_text()
    )
    monitor = state["monitor_pid"]
    assert "monitor" in Path(f"/proc/{monitor}/cmdline").read_text()
    before, memory = open_files(monitor), _private_kb(monitor)
    for _ in range(15 * SOAK):
        with pycontain.popen("attach", "--sig-proxy=false", container) as client:
            time.sleep(0.05)
            client.kill()
        with pycontain.popen("wait", container) as client:
            time.sleep(0.05)
            client.kill()
        pycontain.ok("exec", container, "/bin/true")
    # a client from before may have been leaving when they were first counted
    until(lambda: not Counter(open_files(monitor)) - Counter(before))
    assert _private_kb(monitor) - memory < 256


def _private_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1])
    raise AssertionError("no Private_Dirty")
