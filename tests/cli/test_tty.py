"""A terminal session as a person has it: the real program in a window of tmux."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.probe import requires
from harness.processes import command_lines
from harness.terminal import Terminal
from harness.waiting import until

pytestmark = [requires("program:tmux")]


class Window:
    """One window of a tmux server of its own, with a shell that shows exit codes in its prompt."""

    def __init__(self, directory: Path, cli: Cli) -> None:
        self._socket = directory / "tmux"
        self._cli = cli
        shell = "env -i PATH=/usr/bin:/bin TERM=screen PS1='<$?> ' HOME=/ sh"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "90", "-y", "30", shell)
        self.until("<0>")

    def _tmux(self, *words: str) -> str:
        argv = ["tmux", "-S", str(self._socket), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=10).stdout

    def type(self, text: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-l", text)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def pycontain(self, *words: str | os.PathLike[str]) -> None:
        self.type(shlex.join(self._cli.argv(*words)))

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-S", "-200", "-J")

    def until(self, text: str, *, anywhere: bool = False, timeout_s: float = 15) -> str:
        """Wait until a line of the screen begins with ``text``, or has it ``anywhere``; return the screen."""
        deadline = time.monotonic() + timeout_s
        while True:
            screen = self.screen()
            if any(line.startswith(text) or (anywhere and text in line) for line in screen.splitlines()):
                return screen
            assert time.monotonic() < deadline, f"{text!r} does not come:\n{screen}"
            time.sleep(0.05)

    def clear(self) -> None:
        self._tmux("send-keys", "-R")
        self._tmux("clear-history")

    def modes(self) -> str:
        """Return what stty says of the window's terminal but for its size."""
        tty = self._tmux("display-message", "-p", "#{pane_tty}").strip()
        modes = subprocess.run(["stty", "-a", "-F", tty], capture_output=True, text=True, check=True).stdout
        return modes.partition("\n")[2]

    def pid_below(self) -> int:
        """Return the process that the window's shell runs in the foreground."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        return int(children[-1])

    def close(self) -> None:
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, check=False)


@pytest.fixture
def window(tmp_path: Path, pycontain: Cli) -> Iterator[Window]:
    opened = Window(tmp_path, pycontain)
    try:
        yield opened
    finally:
        opened.close()


def test_a_shell_in_a_container(window: Window, busybox: Path) -> None:
    before = window.modes()
    window.pycontain("run", "-it", "--rm", "-h", "inside", busybox, "sh")
    window.until("/ #")
    window.type("hostname; tty; stty size; echo pid $$")
    screen = window.until("pid 1")
    assert "\ninside\n" in screen
    assert "\n/dev/pts/0\n" in screen or "\n/dev/console\n" in screen
    assert "\n30 90\n" in screen
    window.resize(120, 40)
    window.type("stty size")
    window.until("40 120")
    window.type("sleep 100")
    time.sleep(0.3)
    window.press("C-c")
    window.type("echo interrupted $?")
    window.until("interrupted 130")
    window.press("Up")
    window.press("C-u")
    window.type("exit 7")
    window.until("<7>")
    assert window.modes() == before


def test_job_control_inside(window: Window, busybox: Path) -> None:
    window.pycontain("run", "-it", "--rm", busybox, "sh")
    window.until("/ #")
    window.type("sleep 100")
    time.sleep(0.3)
    window.press("C-z")
    window.until("[1]+  Stopped", anywhere=True)
    window.type("kill %1; exit")
    window.until("<")


def test_detach_and_attach(window: Window, pycontain: Cli, busybox: Path) -> None:
    before = window.modes()
    window.pycontain("run", "-it", "--name", "one", busybox, "sh")
    window.until("/ #")
    window.type("x=kept")
    window.press("C-p", "C-q")
    window.until("read escape sequence", anywhere=True)
    window.until("<0>")
    time.sleep(0.2)
    assert window.modes() == before
    assert pycontain.json("inspect", "one")[0]["State"]["Running"]
    window.clear()
    window.pycontain("attach", "one")
    time.sleep(0.5)
    window.type("echo $x; exit 3")
    window.until("kept")
    window.until("<3>")
    assert window.modes() == before


def test_other_detach_keys(window: Window, pycontain: Cli, busybox: Path) -> None:
    window.pycontain("run", "-it", "--detach-keys", "ctrl-x,q", "--name", "one", busybox, "sh")
    window.until("/ #")
    window.press("C-x")
    window.press("q")
    window.until("<0>")
    assert pycontain.json("inspect", "one")[0]["State"]["Running"]


def test_exec_on_a_terminal(window: Window, pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "-d", "--name", "one", busybox, "sleep", "1000")
    before = window.modes()
    window.pycontain("exec", "-it", "one", "sh")
    window.until("/ #")
    window.type("stty size; ps | grep -c 'slee[p] 1000'")
    assert "\n30 90\n1\n" in window.until("1")
    window.resize(100, 25)
    window.type("stty size")
    window.until("25 100")
    window.type("exit 5")
    window.until("<5>")
    assert window.modes() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_command_reaches_the_program(window: Window, busybox: Path, number: int) -> None:
    before = window.modes()
    script = f"trap 'echo caught; exit 4' {int(number)}; echo ready; while :; do sleep 0.05; done"
    window.pycontain("run", "-it", "--rm", busybox, "sh", "-c", script)
    window.until("ready")
    os.kill(window.pid_below(), number)
    window.until("caught")
    window.until("<4>")
    assert window.modes() == before


def test_the_terminal_is_restored_after_errors(window: Window, busybox: Path) -> None:
    before = window.modes()
    window.pycontain("run", "-it", "--rm", busybox, "no-such-program")
    window.until("<127>")
    assert window.modes() == before


def test_stopped_from_outside_and_continued(window: Window, busybox: Path) -> None:
    before = window.modes()
    window.pycontain("run", "-it", "--rm", busybox, "sh")
    window.until("/ #")
    os.kill(window.pid_below(), signal.SIGTSTP)
    window.until("[1] + Stopped", anywhere=True)
    assert window.modes() == before
    window.type("fg")
    time.sleep(0.3)
    window.type("echo again; exit 6")
    window.until("again")
    window.until("<6>")
    assert window.modes() == before


def test_logs_of_a_terminal_session(window: Window, pycontain: Cli, busybox: Path) -> None:
    window.pycontain("run", "-it", "--name", "one", busybox, "sh", "-c", "echo one; echo two >&2")
    window.until("two")
    window.until("<0>")
    done = subprocess.run(pycontain.argv("logs", "one"), capture_output=True, check=True)
    assert done.stdout == b"one\r\ntwo\r\n"


def test_a_terminal_is_asked_for_only_where_there_is_one(pycontain: Cli, busybox: Path) -> None:
    assert "not a terminal" in pycontain.fails("run", "-it", busybox, "true")
    assert pycontain.containers() == []
    done = subprocess.run(
        pycontain.argv("run", "-t", "--rm", busybox, "echo", "hello"), capture_output=True, check=True
    )
    assert done.stdout == b"hello\r\n"


ENDLESS = "trap 'echo hung up > /sign' HUP; while :; do echo $((n += 1)) > /count; echo line; sleep 0.05; done"


def counts(pycontain: Cli, name: str) -> bool:
    """Tell whether the loop of ENDLESS still goes round in a container, and nobody has hung up on it."""

    def read() -> str:
        return pycontain.ok("exec", name, "sh", "-c", "cat /sign 2>/dev/null; cat /count")

    before = read()
    time.sleep(1)
    return "hung" not in before and read() not in (before, "")


def test_detached_exec_goes_on(window: Window, pycontain: Cli, busybox: Path) -> None:
    """As in docker, the keys leave the terminal and not the process; it can write as much as it likes."""
    before = window.modes()
    pycontain.ok("run", "-d", "--name", "one", busybox, "sleep", "600")
    window.pycontain("exec", "-it", "one", "sh", "-c", ENDLESS)
    window.until("line")
    window.press("C-p", "C-q")
    window.until("read escape sequence", anywhere=True)
    window.until("<0>")
    assert window.modes() == before
    assert counts(pycontain, "one")
    pycontain.ok("exec", "one", "sh", "-c", "rm /count; yes | head -c 300000 > /dev/pts/0")  # more than fits
    time.sleep(0.3)
    assert counts(pycontain, "one")
    pycontain.ok("rm", "-f", "one")


def test_detached_exec_goes_on_without_a_monitor(window: Window, pycontain: Cli, busybox: Path) -> None:
    with pycontain.popen("run", "--rm", "--name", "one", busybox, "sleep", "600") as foreground:
        until(lambda: pycontain.run("exec", "one", "true").returncode == 0)
        window.pycontain("exec", "-it", "one", "sh", "-c", ENDLESS)
        window.until("line")
        window.press("C-p", "C-q")
        window.until("<0>")
        assert counts(pycontain, "one")
        pycontain.run("kill", "one")
        foreground.wait(timeout=20)


def test_exec_survives_its_command(window: Window, pycontain: Cli, busybox: Path) -> None:
    """Killed or with its terminal closed, the command takes nothing with it."""
    pycontain.ok("run", "-d", "--name", "one", busybox, "sleep", "600")
    window.pycontain("exec", "-it", "one", "sh", "-c", ENDLESS)
    window.until("line")
    (command,) = of_exec(pycontain)
    os.kill(command, signal.SIGKILL)
    window.until("<137>", anywhere=True)
    assert counts(pycontain, "one")
    pycontain.ok("rm", "-f", "one")


def test_exec_survives_its_command_without_a_monitor(window: Window, pycontain: Cli, busybox: Path) -> None:
    with pycontain.popen("run", "--rm", "--name", "one", busybox, "sleep", "600") as foreground:
        until(lambda: pycontain.run("exec", "one", "true").returncode == 0)
        window.pycontain("exec", "-it", "one", "sh", "-c", ENDLESS)
        window.until("line")
        os.kill(min(of_exec(pycontain)), signal.SIGKILL)  # the other one is its child
        window.until("<137>", anywhere=True)
        assert counts(pycontain, "one")
        pycontain.ok("exec", "one", "sh", "-c", "yes | head -c 300000 > /dev/pts/0")  # more than fits
        pycontain.run("kill", "one")
        foreground.wait(timeout=20)
    until(lambda: not of_exec(pycontain))


def test_nobody_is_left_when_exec_has_ended_without_a_monitor(window: Window, pycontain: Cli, busybox: Path) -> None:
    with pycontain.popen("run", "--rm", "--name", "one", busybox, "sleep", "600") as foreground:
        until(lambda: pycontain.run("exec", "one", "true").returncode == 0)
        window.pycontain("exec", "-it", "one", "sh", "-c", "sleep 600 & exit 3")
        window.until("<3>", anywhere=True)
        assert of_exec(pycontain) == []
        pycontain.run("kill", "one")
        foreground.wait(timeout=20)


def of_exec(pycontain: Cli) -> list[int]:
    return [pid for pid, words in command_lines() if {str(pycontain.root), "exec", "-it", "one"} <= set(words)]


def test_what_was_typed_before_the_detach_keys_arrives(window: Window, pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "-d", "--name", "one", busybox, "sleep", "600")
    argv = pycontain.argv("exec", "-it", "one", "sh", "-c", "stty -echo; echo rea''dy; read x; echo $x > /read")
    with Terminal(argv) as person:
        person.until("ready")
        person.type("last words\r\x10\x11")
        assert person.exit_code() == 0
    assert until(lambda: pycontain.run("exec", "one", "cat", "/read").stdout) == "last words\n"
    pycontain.ok("rm", "-f", "one")


def test_exec_in_the_background_with_a_terminal(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "-d", "--name", "one", busybox, "sleep", "600")
    pycontain.ok("exec", "-dt", "one", "sh", "-c", f"tty > /tty; {ENDLESS}")
    time.sleep(0.5)
    assert counts(pycontain, "one")
    assert pycontain.ok("exec", "one", "cat", "/tty").startswith("/dev/pts/")
    pycontain.ok("rm", "-f", "one")


def test_kept_terminals_are_closed(pycontain: Cli, busybox: Path) -> None:
    """A monitor holds a terminal no longer than its process lives."""
    pycontain.ok("run", "-d", "--name", "one", busybox, "sleep", "600")
    state = pycontain.root / "state"
    (found,) = state.glob("containers/*/state.json")
    monitor = json.loads(found.read_text())["monitor_pid"]
    before = len(os.listdir(f"/proc/{monitor}/fd"))
    for words in (["-t", "one", "true"], ["-dt", "one", "true"], ["-t", "one", "false"]):
        pycontain.run("exec", *words)
    until(lambda: len(os.listdir(f"/proc/{monitor}/fd")) <= before)
    pycontain.ok("rm", "-f", "one")
