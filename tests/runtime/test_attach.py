"""The user's side of an attached container, on a real terminal and on pipes, against a real monitor."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.waiting import until
from runtime.monitor_rig import Rig

from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.engine import attach, lifecycle, listing, waiting
from pycontain.engine.signals import DEFAULT_DETACH_KEYS
from pycontain.errors import HostError, NotFound, StoreError, WrongState
from pycontain.kernel import _sys
from pycontain.runtime import processes
from pycontain.runtime.state import PAUSED, RUNNING, STOPPED, Entry, Lock, State

Make = Callable[..., Rig]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    rigs: list[Rig] = []

    def build(command: str, **options: Any) -> Rig:
        directory = tmp_path / str(len(rigs))
        directory.mkdir()
        rigs.append(Rig(directory, command, **options))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.close()


def attached(rig: Rig, streams: str, *, start: bool = True, proxy: bool = True) -> int:
    with attach.Connection(rig.entry.directory) as connection:
        session = attach.Session(rig.entry, connection, streams=streams, detach_keys=DEFAULT_DETACH_KEYS, proxy=proxy)
        end = session.run(start=start)
    return 88 if end is None else end.exit_code


class Person:
    """Somebody at a terminal who is attached to a container."""

    def __init__(self, rig: Rig, *, rows: int = 24, columns: int = 80, **options: Any) -> None:
        self.seen = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            code = 77
            try:
                os.read(0, 1)
                code = attached(rig, "ioe", **options)
            finally:
                os._exit(code)
        self.cooked = termios.tcgetattr(self.master)
        _sys.tty_set_size(self.master, rows, columns)
        self.type(b"\n")

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def until(self, text: bytes, timeout_s: float = 10) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            assert select.select([self.master], [], [], max(deadline - time.monotonic(), 0))[0], self.seen
            try:
                self.seen += os.read(self.master, 4096)
            except OSError:
                raise AssertionError(self.seen) from None

    def leave(self) -> int:
        """Wait for the end; the terminal must be as it was."""
        while select.select([self.master], [], [], 10)[0]:
            try:
                self.seen += os.read(self.master, 4096)
            except OSError:
                break
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert termios.tcgetattr(self.master) == self.cooked
        os.close(self.master)
        return code


def test_a_shell_on_a_terminal(make: Make) -> None:
    person = Person(make("stty size; read x; echo got $x; exit 3", tty=True), rows=31, columns=99)
    person.until(b"31 99\r\n")
    person.type(b"hello\r")
    person.until(b"got hello\r\n")
    assert person.leave() == 3


def test_interrupt_is_the_containers(make: Make) -> None:
    person = Person(make("trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done", tty=True))
    person.until(b"ready")
    person.type(b"\x03")
    assert person.leave() == 5
    assert b"caught" in person.seen


def test_the_window_follows(make: Make) -> None:
    person = Person(make("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done", tty=True))
    person.until(b"ready")
    _sys.tty_set_size(person.master, 50, 132)
    person.until(b"50 132")
    assert person.leave() == 0


def test_detach_and_attach_again(make: Make) -> None:
    rig = make("echo ready; while read x; do echo got $x; [ $x = end ] && exit 4; done", tty=True)
    person = Person(rig)
    person.until(b"ready")
    person.type(b"\x10\x11")
    assert person.leave() == 88
    until(lambda: rig.entry.load().status == RUNNING)  # by the monitor, where we left before we had written that
    second = Person(rig, start=False)
    second.type(b"end\r")
    assert second.leave() == 4
    assert b"got end" in second.seen


def test_what_was_typed_before_the_detach_keys_arrives(make: Make) -> None:
    """Also when all of it comes by one read, as from a script or a slow line."""
    rig = make("stty -echo; echo ready; while read x; do echo got $x; done", tty=True)
    watcher = rig.connect()
    watcher.attach("o")
    person = Person(rig)
    person.until(b"ready")
    person.type(b"last words\r\x10\x11")
    assert person.leave() == 88
    watcher.until_output(b"got last words")


def test_the_terminal_is_restored_when_the_monitor_dies(make: Make) -> None:
    rig = make("echo ready; sleep 3", tty=True)
    person = Person(rig)
    person.until(b"ready")
    os.kill(rig.pid, signal.SIGKILL)
    assert person.leave() == 77


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMIN + 3])
def test_signals_are_forwarded(make: Make, number: int) -> None:
    rig = make(f"trap 'echo caught; exit 6' {int(number)}; echo ready; while :; do sleep 0.05; done", tty=True)
    person = Person(rig)
    person.until(b"ready")
    os.kill(person.pid, number)
    assert person.leave() == 6


def test_without_proxy_a_signal_ends_the_command_only(make: Make) -> None:
    rig = make("trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done", tty=True)
    person = Person(rig, proxy=False)
    person.until(b"ready")
    os.kill(person.pid, signal.SIGTERM)
    assert person.leave() == -signal.SIGTERM
    until(lambda: rig.entry.load().status == RUNNING)  # by the monitor, where the command died before it wrote that


def test_stopped_and_continued(make: Make) -> None:
    rig = make("echo ready; sleep 0.5; echo more", tty=True)
    person = Person(rig)
    person.until(b"ready")
    os.kill(person.pid, signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(person.pid, os.WUNTRACED)[1])
    assert termios.tcgetattr(person.master) == person.cooked
    os.kill(person.pid, signal.SIGCONT)
    person.until(b"more")
    assert person.leave() == 0


def test_a_command_that_was_stopped_too_long_attaches_again(make: Make) -> None:
    rig = make("echo ready; sleep 0.3; head -c 3000000 /dev/zero; sleep 0.8; echo end", patience_s=0.3)
    code, output, errors = piped(rig, "oe", stop_for_s=1.2)
    assert code == 0
    assert output.endswith(b"end\n")
    assert b"some output was missed" in errors


def piped(rig: Rig, streams: str, *, typed: bytes | None = None, stop_for_s: float = 0) -> tuple[int, bytes, bytes]:
    """Attach in a process with pipes for standard streams; return exit code and both outputs."""
    script = "import sys; sys.path[:0] = {!r}; from runtime.test_attach import attach_here as f; f({!r}, {!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", script.format(sys.path, rig.entry.directory, streams)],
        stdin=subprocess.PIPE if typed is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if stop_for_s:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(stop_for_s)
        os.kill(process.pid, signal.SIGCONT)
    output, errors = process.communicate(typed, 30)
    return process.returncode, output, errors


def attach_here(directory: str, streams: str) -> None:
    """Be the other process of :func:`piped`."""
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Store

    top, _, container = directory.rpartition("/containers/")
    entry = Store(Settings(state=top, data=top)).find(container)
    with attach.Connection(directory) as connection:
        session = attach.Session(entry, connection, streams=streams, detach_keys=DEFAULT_DETACH_KEYS, proxy=True)
        end = session.run(start=True)
    os._exit(88 if end is None else end.exit_code)


def test_pipes_carry_binary_both_ways_and_the_end_of_input(make: Make) -> None:
    data = bytes(range(256)) * 4000
    code, output, errors = piped(make("cat; echo done >&2; exit 9", stdin=True, stdin_once=True), "ioe", typed=data)
    assert (code, output == data, errors) == (9, True, b"done\n")


def test_much_output_is_complete(make: Make) -> None:
    code, output, _ = piped(make("head -c 20000000 /dev/zero; echo", log_driver="none"), "oe")
    assert (code, len(output)) == (0, 20_000_001)


def test_detach_keys_mean_nothing_without_a_terminal(make: Make) -> None:
    code, output, _ = piped(make("cat", stdin=True, stdin_once=True), "ioe", typed=b"a\x10\x11b")
    assert (code, output) == (0, b"a\x10\x11b")


def test_a_reader_that_goes_ends_the_attachment(make: Make) -> None:
    rig = make("echo first; sleep 0.2; yes", log_driver="none")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 77
        try:
            os.dup2(writer, 1)
            os.close(reader)
            code = attached(rig, "oe")
        finally:
            os._exit(code)
    os.close(writer)
    assert os.read(reader, 6) == b"first\n"
    os.close(reader)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 141
    assert rig.entry.load().status == RUNNING


def test_a_container_that_has_ended_is_not_running(make: Make) -> None:
    rig = make("exit 2")
    attached(rig, "oe")
    rig.wait()
    with pytest.raises(WrongState, match="not running"):
        attach.Connection(rig.entry.directory)


def start(rig: Rig) -> None:
    with attach.Connection(rig.entry.directory) as connection:
        connection.start(rig.entry)


def test_an_end_that_nobody_wrote_is_healed(make: Make) -> None:
    rig = make("exec sleep 20")
    start(rig)
    os.kill(rig.pid, signal.SIGKILL)
    os.waitpid(rig.pid, 0)
    rig.pid = 0
    settings = rig.entry.store.settings
    assert lifecycle.look(settings, "one")[2] == RUNNING
    lifecycle.kill(settings, "one")
    state = rig.entry.load()
    assert (state.status, state.exit_code, state.error) == (STOPPED, 255, lifecycle.LOST)


def test_attaching_to_a_container_whose_monitor_was_killed(make: Make) -> None:
    """It runs, so nobody may be told that it does not."""
    rig = make("sleep 100")
    rig.connect().start()
    os.kill(rig.pid, signal.SIGKILL)
    os.waitpid(rig.pid, 0)
    rig.pid = 0
    with pytest.raises(WrongState, match="monitor of container cccccccccccc has died") as caught:
        attach.Connection(rig.entry.directory)
    assert "pycontain restart cccccccccccc" in caught.value.hint


def test_waiting_for_a_container_whose_monitor_dies(make: Make) -> None:
    rig = make("exec sleep 0.5")
    start(rig)
    os.kill(rig.pid, signal.SIGKILL)
    os.waitpid(rig.pid, 0)
    rig.pid = 0
    assert lifecycle.wait(rig.entry.store.settings, "one") == 255


def test_starting_within_a_time(make: Make) -> None:
    rig = make("echo never", start_within_s=0.3)
    state = rig.wait()
    assert state.status == STOPPED
    assert "ended before it started it" in state.error


def test_remove_meets_a_start(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked for the removal of a container at rest must not get one killed that was started meanwhile."""
    rig = make("exit 0")
    attached(rig, "oe")
    rig.wait()
    settings, lock = rig.entry.store.settings, Entry.lock

    def started_before(entry: Entry, **options: Any) -> Lock:
        own = processes.start_time(os.getpid())
        entry.save(entry.load().replace(status=RUNNING, pid=os.getpid(), pid_start=own, boot_id=processes.boot_id()))
        return lock(entry, **options)

    monkeypatch.setattr(Entry, "lock", started_before)
    with pytest.raises(WrongState, match="has just been started"):
        lifecycle.delete(settings, "one")
    monkeypatch.undo()
    assert lifecycle.look(settings, "one")[2] == RUNNING
    rig.entry.save(rig.entry.load().replace(status=STOPPED, pid=0))


def test_a_cgroup_that_goes_while_a_container_is_thawed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process ends although it is frozen, and its monitor removes the cgroup at once."""
    rig = make("exec sleep 20")
    start(rig)
    settings, gone = rig.entry.store.settings, Cgroup(CgroupPaths(unified=str(tmp_path / "gone")))
    rig.entry.save(rig.entry.load().replace(status=PAUSED))
    monkeypatch.setattr(waiting, "cgroup_of", lambda _entry: gone)
    with pytest.raises(WrongState, match="container one has just ended"):
        lifecycle.unpause(settings, "one")
    lifecycle.kill(settings, "one")
    assert rig.wait().exit_code == 137


class Unfreezable(Cgroup):
    """A cgroup with a process that waits for a disk."""

    asked = 0

    def freeze(self, timeout_s: float = 0) -> None:
        self.asked += 1
        raise HostError("one of its processes does not stop")


def no_room(_entry: Entry, _state: State) -> None:
    raise StoreError("no room")


def test_a_pause_that_cannot_be_written_freezes_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could unpause what is said to run."""
    rig = make("exec sleep 20")
    start(rig)
    settings, cgroup = rig.entry.store.settings, Unfreezable(CgroupPaths())
    monkeypatch.setattr(waiting, "cgroup_of", lambda _entry: cgroup)
    with monkeypatch.context() as full:
        full.setattr(Entry, "save", no_room)
        with pytest.raises(StoreError):
            lifecycle.pause(settings, "one")
    assert cgroup.asked == 0
    with pytest.raises(HostError):
        lifecycle.pause(settings, "one")
    assert (cgroup.asked, lifecycle.look(settings, "one")[2]) == (1, RUNNING)


def test_an_end_that_cannot_be_written_is_listed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was listed as left behind, with the advice to prune it."""
    rig = make("exec sleep 20")
    start(rig)
    os.kill(rig.pid, signal.SIGKILL)
    os.waitpid(rig.pid, 0)
    rig.pid = 0
    state = rig.entry.load()
    os.kill(state.pid, signal.SIGKILL)
    until(lambda: not processes.is_alive(state.pid, state.pid_start))
    monkeypatch.setattr(Entry, "save", no_room)
    row = json.loads(listing.ps(rig.entry.store.settings, everything=True, form="json"))
    assert (row["Names"], row["State"]) == ("one", "exited")
    monkeypatch.undo()
    assert lifecycle.look(rig.entry.store.settings, "one")[1].exit_code == 255


def test_a_rename_that_fails_leaves_the_name_free(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make("exec sleep 5")
    start(rig)
    settings = rig.entry.store.settings

    monkeypatch.setattr(Entry, "save", no_room)
    with pytest.raises(StoreError):
        lifecycle.rename(settings, "one", "two")
    monkeypatch.undo()
    assert rig.entry.store.owner_of("two") is None
    lifecycle.rename(settings, "one", "two")
    assert lifecycle.look(settings, "two")[1].name == "two"


def test_names(make: Make) -> None:
    rig = make("exec sleep 5")
    settings = rig.entry.store.settings
    start(rig)
    lifecycle.rename(settings, "one", "two")
    assert lifecycle.look(settings, "two")[1].name == "two"
    with pytest.raises(NotFound):
        lifecycle.look(settings, "one")
