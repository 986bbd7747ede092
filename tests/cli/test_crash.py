"""Killed at any moment, whoever it is: ``rm -f`` and ``prune`` leave nothing of the container on the host.

``PYCONTAIN_SOAK=N`` does everything N times as often (make soak).
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from harness import leaks
from harness.cli import Cli, describe
from harness.disturb import MESSAGES, Report, disturbed
from harness.ordinary_user import OrdinaryUser
from harness.probe import requires
from harness.processes import command_lines, tree
from harness.waiting import until

pytestmark = [pytest.mark.runtime, requires("root")]

SOAK = int(os.environ.get("PYCONTAIN_SOAK", "1"))
BATCH = 8


class Wreckage:
    """What kills have left: cleaned up and looked at now and then, and at the end."""

    def __init__(self, cli: Cli) -> None:
        self._cli = cli
        self._before = leaks.take()
        self._done: list[str] = []

    def add(self, what: str) -> None:
        """Note a kill, and clean up when there are enough of them."""
        self._done.append(what)
        if len(self._done) >= BATCH:
            self.clear()

    def clear(self) -> None:
        """Remove all containers as a person would, prune, and fail if anything is left."""
        kills, self._done = "\n".join(self._done), []
        containers = self._cli.containers()
        if containers:
            done = self._cli.run("rm", "-f", *containers)
            # one that was never finished, or goes by itself meanwhile, may be gone before its turn
            assert "Traceback" not in done.stderr, f"{describe(done)}\nafter\n{kills}"
            assert "internal error" not in done.stderr, f"{describe(done)}\nafter\n{kills}"
        done = self._cli.run("prune", "-f")
        assert done.returncode == 0, f"{describe(done)}\nafter\n{kills}"
        found = leaks.left_since(self._before, 5)
        if os.environ.get("PYCONTAIN_TESTS_SHARED"):
            found = leaks.without_foreign(found, (str(self._cli.root),))
        left = [*self._cli.leftovers(), *found]
        assert left == [], "\n".join([*left, "after", kills])


@pytest.fixture
def wreckage(pycontain: Cli) -> Iterator[Wreckage]:
    """Yield what collects kills; a last clean-up follows the test."""
    pycontain.ok("ps")  # the directories are there before the first picture
    wrecks = Wreckage(pycontain)
    yield wrecks
    wrecks.clear()


def kill_at(cli: Cli, at: int, calls: Sequence[str] | None, *words: str | Path, hold_s: float = 0) -> Report:
    """Run a command, kill the process that is in stop number ``at``, and return the report."""
    report = disturbed(cli.argv(*words), at, calls, hold_s=hold_s)
    assert not any("Traceback" in line or "internal error" in line for line in report.said), report
    # whoever is left must notice: nobody waits for ever, and an error is one line with a hint
    assert len(report.said) <= 2, report
    return report


#: Commands, each with what must be there before: none, a running container, or one that waits to be started.
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "run --rm": ("", ["run", "--rm", "ROOT", "--", "/bin/true"]),
    "run": ("", ["run", "ROOT", "--", "/bin/true"]),
    "run -d": ("", ["run", "-d", "ROOT", "--", "/bin/sleep", "1000"]),
    "run -t": ("", ["run", "--rm", "-t", "ROOT", "--", "/bin/true"]),
    "create": ("", ["create", "ROOT", "--", "/bin/true"]),
    "start": ("create", ["start", "it"]),
    "exec": ("run", ["exec", "it", "/bin/true"]),
    "exec -d": ("run", ["exec", "-d", "it", "/bin/sleep", "1000"]),
    "stop": ("run", ["stop", "-t", "1", "it"]),
    "rm -f": ("run", ["rm", "-f", "it"]),
}


def prepare(cli: Cli, root: Path, what: str) -> None:
    """Make the container that a command needs, once more where the last command has removed or ended it."""
    if what:
        cli.run("rm", "-f", "it")
        command = ["/bin/sleep", "1000"]
        cli.ok(*(["run", "-d"] if what == "run" else ["create"]), "--name", "it", root, "--", *command)


@pytest.mark.timeout(300 * SOAK)
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_each_message(pycontain: Cli, busybox: Path, wreckage: Wreckage, name: str) -> None:
    before, words = COMMANDS[name]
    words = [str(busybox) if word == "ROOT" else word for word in words]
    prepare(pycontain, busybox, before)
    count = len(kill_at(pycontain, 0, MESSAGES, *words).stops)
    assert count >= MESSAGES_OF[name]
    for number in range(1, count + 1):
        if (
            before == "create"
            or name in ("stop", "rm -f")
            or (before and pycontain.run("exec", "it", "/bin/true").returncode)
        ):
            prepare(pycontain, busybox, before)
        report = kill_at(pycontain, number, MESSAGES, *words)
        # the order of what happens at the same time differs, so that there may be one stop less
        wreckage.add(f"{name}, stop {number} of {count}: {report}")


#: The least number of stops: each message is a call entered and left on two sides.
MESSAGES_OF = {
    "run --rm": 16, "run": 30, "run -d": 30, "run -t": 30, "create": 19, "start": 6, "exec": 8, "exec -d": 8,
    "stop": 0, "rm -f": 0,
}  # fmt: skip


@pytest.mark.timeout(300 * SOAK)
@pytest.mark.parametrize("name", ["run --rm", "run -d", "exec", "rm -f"])
def test_killed_at_system_calls(pycontain: Cli, busybox: Path, wreckage: Wreckage, name: str) -> None:
    """Between the messages, too: at stops spread over the whole command, others each time."""
    before, words = COMMANDS[name]
    words = [str(busybox) if word == "ROOT" else word for word in words]
    prepare(pycontain, busybox, before)
    count = len(kill_at(pycontain, 0, None, *words).stops)
    seed = random.randrange(2**32)
    points = random.Random(seed).sample(range(1, count), 15 * SOAK)
    for number in points:
        if before:
            prepare(pycontain, busybox, before)
        report = kill_at(pycontain, number, None, *words)
        wreckage.add(f"{name}, call {number} of {count} (seed {seed}): {report}")


VICTIMS: dict[str, Callable[[list[int], random.Random], list[int]]] = {
    "command": lambda pids, _: pids[:1],
    "last": lambda pids, _: pids[-1:],
    "any": lambda pids, dice: [dice.choice(pids)],
    "all": lambda pids, _: pids,
}


@pytest.mark.timeout(300 * SOAK)
@pytest.mark.parametrize("name", ["run --rm", "run -d", "exec", "rm -f"])
def test_killed_at_random(pycontain: Cli, busybox: Path, wreckage: Wreckage, name: str) -> None:
    before, words = COMMANDS[name]
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    for number in range(20 * SOAK):
        if before and (name == "rm -f" or pycontain.run("exec", "it", "/bin/true").returncode):
            prepare(pycontain, busybox, before)
        victim = dice.choice(list(VICTIMS))
        wait_s = dice.uniform(0, 0.06)
        with pycontain.popen(*(busybox if word == "ROOT" else word for word in words)) as command:
            time.sleep(wait_s)
            for pid in VICTIMS[victim](tree(command.pid), dice):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            command.communicate(timeout=30)
        wreckage.add(f"{name}, number {number} of seed {seed}: {victim} after {wait_s * 1000:.1f} ms")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_interrupted_start_undoes_itself(pycontain: Cli, busybox: Path, number: int) -> None:
    """Without ``rm`` or ``prune``: whoever can still clean up does."""
    pycontain.ok("ps")
    before = leaks.take()
    dice = random.Random(int(number))
    for _ in range(10 * SOAK):
        with pycontain.popen(
            "run", "--rm", busybox, "--", "/bin/sh", "-c", "trap 'exit 1' TERM INT HUP; sleep 0.2"
        ) as run:
            time.sleep(dice.uniform(0.01, 0.08))
            run.send_signal(number)
            _, said = run.communicate(timeout=30)
            assert "Traceback" not in said
    assert [*pycontain.leftovers(), *leaks.left_since(before)] == []


def sleeping(seconds: int) -> list[int]:
    """Return the processes that run ``sleep seconds``."""
    return [pid for pid, words in command_lines() if words == ["/bin/sleep", str(seconds), ""]]


@pytest.mark.parametrize("words", [("run", "-d"), ("run",), ("create",)], ids=" ".join)
def test_interrupted_making_undoes_itself(pycontain: Cli, busybox: Path, words: tuple[str, ...]) -> None:
    """The maker is a process of its own, in another session: it must not go on with what its command has undone."""
    pycontain.ok("volume", "create", "data")
    with open(pycontain.root / "data/volumes/.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pycontain.popen(*words, "-v", "data:/data", busybox, "sleep", "600") as command:
            (maker,) = until(lambda: who_waits_for_a_lock(pycontain), timeout_s=20)
            os.kill(maker, signal.SIGSTOP)
            command.send_signal(signal.SIGINT)
            assert command.wait(timeout=20) == 130
    left = [pid for pid in ours(pycontain) if pid == maker]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
    assert pycontain.containers() == []
    pycontain.ok("volume", "rm", "data")


def who_waits_for_a_lock(pycontain: Cli) -> list[int]:
    return [pid for pid in ours(pycontain) if "lock" in Path(f"/proc/{pid}/wchan").read_text()]


def ours(pycontain: Cli) -> list[int]:
    return [pid for pid, words in command_lines() if str(pycontain.root) in words]


@pytest.mark.timeout(120)
def test_a_direct_container_ends_with_its_command_whenever_that_is(
    pycontain: Cli, busybox: Path, wreckage: Wreckage
) -> None:
    """Between START, its last message, and the program: init must notice a parent that was dead before it asked."""
    words = ["run", "--rm", str(busybox), "--", "/bin/sleep"]
    seconds = random.randrange(100_000, 200_000)
    count = len(kill_at(pycontain, 0, MESSAGES, *words, "0").stops)
    for number in range(count - 4, count + 1):
        for delay_s in (0, 0.3):
            report = kill_at(pycontain, number, MESSAGES, *words, str(seconds), hold_s=delay_s)
            until(lambda: not sleeping(seconds))
            wreckage.add(f"stop {number} of {count}, {delay_s} s: {report}")


def of_root(root: Path) -> list[str]:
    """Return the command lines of processes that work for a root directory."""
    return [" ".join(words) for _, words in command_lines() if str(root) in words]


@pytest.mark.timeout(120)
def test_who_makes_init_for_an_ordinary_user_ends_with_the_command(user: OrdinaryUser, busybox: Path) -> None:
    """With clocks of its own a process enters its user namespace first, and waits there for its ids."""
    cli, root = user.cli(), user.rootfs(busybox)
    words = ["run", "--rm", "--time-offset", "1h", str(root), "--", "/bin/true"]
    assert cli.ok(*words) == ""

    argv = cli.argv(*words)
    count = len(disturbed(argv, 0, MESSAGES).stops)
    assert count >= 12
    for number in range(1, count + 1):
        disturbed(argv, number, MESSAGES)
        until(lambda: not of_root(cli.root))
