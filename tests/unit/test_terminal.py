"""Raw terminal, detach keys, signals and copying, on real pseudo-terminals."""

from __future__ import annotations

import os
import pty
import select
import signal
import termios
import time
from collections.abc import Callable

import pytest

from pycontain.errors import UsageError
from pycontain.kernel import _sys
from pycontain.runtime import terminal
from pycontain.runtime.terminal import Flow, KeyFilter, RawTerminal, Signals, relay, relay_pipes, relay_terminal

KEYS = b"\x10\x11"


@pytest.mark.parametrize(
    ("typed", "passed", "detached"),
    [
        ([b"abc"], [b"abc"], False),
        ([b"a\x10\x11b"], [b"a"], True),
        ([b"a\x10", b"\x11"], [b"a", b""], True),
        ([b"a\x10", b"b"], [b"a", b"\x10b"], False),
        ([b"\x10", b"\x10", b"\x11"], [b"", b"\x10", b""], True),
        ([b"\x11\x10"], [b"\x11"], False),
    ],
)
def test_detach_keys(typed: list[bytes], passed: list[bytes], detached: bool) -> None:
    keys = KeyFilter(KEYS)
    results = [keys.feed(data) for data in typed]
    assert [data for data, _ in results] == passed
    assert results[-1][1] is detached


def test_detach_keys_that_repeat_themselves() -> None:
    keys = KeyFilter(b"aab")
    assert keys.feed(b"aa") == (b"", False)
    assert keys.feed(b"a") == (b"a", False)
    assert keys.feed(b"b") == (b"", True)


def test_no_detach_keys() -> None:
    assert KeyFilter(b"").feed(KEYS) == (KEYS, False)


def on_terminal(body: Callable[[], object], typed: bytes = b"", wait_for: bytes = b"") -> tuple[int, bytes, int]:
    """Run ``body`` in a process with a terminal; return wait status, its output, and its master, still open."""
    pid, master = pty.fork()
    if pid == 0:
        code = 9
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    output = b""
    while select.select([master], [], [], 10)[0]:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        output += data
        if typed and wait_for in output:
            os.write(master, typed)
            typed = b""
    return os.waitpid(pid, 0)[1], output, master


def flags(fd: int) -> list[object]:
    return termios.tcgetattr(fd)


def test_raw_mode_is_undone_by_an_exception() -> None:
    def body() -> None:
        before = flags(0)
        try:
            with RawTerminal(0):
                assert not flags(0)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)  # type: ignore[operator]
                raise ZeroDivisionError
        except ZeroDivisionError:
            assert flags(0) == before

    status, output, master = on_terminal(body)
    os.close(master)
    assert status == 0, output


def test_stopping_restores_the_terminal_and_continuing_makes_it_raw_again() -> None:
    pid, master = pty.fork()
    if pid == 0:
        try:
            with RawTerminal(0) as raw, Signals((signal.SIGTSTP,)) as signals:
                os.write(1, b"ready")
                select.select([signals.fd], [], [])
                terminal.handle_signals(signals.read(), forward=lambda _n: None, resized=None, terminal=raw)
                os.write(1, b"again")
                os.read(0, 1)
        finally:
            os._exit(0)
    cooked = flags(master)[3] | 0  # type: ignore[operator]
    until(master, b"ready")
    raw_flags = flags(master)[3]
    os.kill(pid, signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    assert flags(master)[3] != raw_flags
    assert cooked
    os.kill(pid, signal.SIGCONT)
    until(master, b"again")
    assert flags(master)[3] == raw_flags
    os.write(master, b"x")
    os.waitpid(pid, 0)
    os.close(master)


def until(fd: int, text: bytes, timeout_s: float = 10) -> bytes:
    data = b""
    deadline = time.monotonic() + timeout_s
    while text not in data:
        assert select.select([fd], [], [], max(deadline - time.monotonic(), 0))[0], data
        data += os.read(fd, 4096)
    return data


def test_signals_are_readable_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with Signals((signal.SIGUSR1, signal.SIGRTMIN)) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGRTMIN)
        assert sorted(signals.read()) == [signal.SIGUSR1, signal.SIGRTMIN]
        assert signals.read() == []
    assert signal.getsignal(signal.SIGUSR1) == before


def spawn(body: Callable[[], None]) -> tuple[int, int]:
    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    return pid, os.pidfd_open(pid)


def relayed(work: Callable[[], object]) -> tuple[bytes, int]:
    """Run ``work`` in a process whose standard output is a pipe; return the output and the exit code."""
    reader, writer = os.pipe()

    def body() -> None:
        os.dup2(writer, 1)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os._exit(0 if work() is not False else 1)

    pid, pidfd = spawn(body)
    os.close(writer)
    data = b""
    while piece := os.read(reader, 65536):
        data += piece
    os.close(reader)
    os.close(pidfd)
    return data, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_pipes_carry_everything_both_ways() -> None:
    def work() -> None:
        (in_r, in_w), (out_r, out_w), (err_r, err_w) = os.pipe(), os.pipe(), os.pipe()

        def child() -> None:
            for number, fd in enumerate((in_r, out_w, err_w)):
                os.dup2(fd, number)
            os.closerange(3, 100)
            os.execv("/bin/sh", ["sh", "-c", "cat; head -c 3000000 /dev/zero; echo end"])

        _, pidfd = spawn(child)
        for fd in (in_r, out_w, err_w):
            os.close(fd)
        relay_pipes(pidfd, in_w, out_r, err_r, forward=lambda _number: None)

    data, code = relayed(work)
    assert (len(data), data[-4:], code) == (3_000_004, b"end\n", 0)


def test_silence_of_one_who_keeps_the_pipe_ends_the_relay() -> None:
    def work() -> None:
        reader, writer = os.pipe()

        def child() -> None:
            os.write(writer, b"last words")
            if os.fork() == 0:
                time.sleep(3)

        _, pidfd = spawn(child)
        os.close(writer)
        relay(pidfd, (Flow(reader, 1, outward=True, owned=True),), forward=lambda _number: None)

    began = time.monotonic()
    # what the child left behind has our pipe's end as standard output only through Flow: it is not waited for
    reader, writer = os.pipe()
    pid, pidfd = spawn(lambda: (os.dup2(writer, 1), work())[0])
    os.waitpid(pid, 0)
    os.close(pidfd)
    assert os.read(reader, 100) == b"last words"
    assert time.monotonic() - began < 2.5
    os.close(reader)
    os.close(writer)


def test_signals_are_forwarded() -> None:
    got: list[int] = []

    def child() -> None:
        time.sleep(0.1)
        os.kill(os.getppid(), signal.SIGUSR2)
        time.sleep(0.1)

    pid, pidfd = spawn(child)
    assert relay(pidfd, (), forward=got.append)
    os.waitpid(pid, 0)
    os.close(pidfd)
    assert got == [signal.SIGUSR2]


def shell_on_terminal(command: str) -> tuple[int, int]:
    """Return master and pidfd of a shell that has the other side."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh", "-c", command])
    return master, os.pidfd_open(pid)


def interactive(command: str) -> bool:
    master, pidfd = shell_on_terminal(command)
    return relay_terminal(master, pidfd, interactive=True, detach_keys=KEYS, forward=lambda _number: None)


def test_a_terminal_within_a_terminal() -> None:
    status, output, master = on_terminal(
        lambda: interactive("echo ready; read line; echo got $line; exit 3"), b"h\x03i\r", b"ready\r\n"
    )
    os.close(master)
    # the interrupt character is the inner terminal's: it ends the shell's read
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"ready\r\n" in output


def test_detaching_from_a_terminal() -> None:
    def body() -> None:
        assert not interactive("echo ready; sleep 0.5")

    status, output, master = on_terminal(body, KEYS, b"ready")
    os.close(master)
    assert status == 0, output


def test_the_size_is_passed_on_and_follows() -> None:
    pid, master = pty.fork()
    if pid == 0:
        try:
            select.select([0], [], [])
            os.read(0, 10)
            once = "until stty size | grep 90; do sleep 0.01; done"
            interactive(f"trap 'stty size; exit' WINCH; {once}; while :; do sleep 0.05; done")
        finally:
            os._exit(0)
    _sys.tty_set_size(master, 30, 90)
    os.write(master, b"\n")
    until(master, b"30 90")
    _sys.tty_set_size(master, 40, 100)
    until(master, b"40 100")
    os.close(master)
    os.waitpid(pid, 0)


def test_standard_input_must_be_a_terminal() -> None:
    def work() -> bool:
        with pytest.raises(UsageError, match="not a terminal"):
            terminal.require_terminal()
        return True

    assert relayed(work)[1] == 0
