"""finish(): what the program inherits, which program it is, and that a filter may forbid all but two calls."""

from __future__ import annotations

import errno
import os
import platform
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pycontain.kernel import _sys
from pycontain.kernel import constants as c

SYSCALLS = {
    "x86_64": {"execve": 59, "exit_group": 231, "getppid": 110},
    "aarch64": {"execve": 221, "exit_group": 94, "getppid": 173},
}[platform.machine()]


@dataclass
class Outcome:
    """How the process ended and what it left on the channel and on its standard output."""

    code: int
    status: int
    record: bytes
    fds: tuple[int, ...]
    output: str


def finish_in_child(
    argv: list[bytes],
    paths: list[bytes],
    *,
    before: Callable[[], object] = lambda: None,
    keep: tuple[int, ...] = (),
    seccomp: bytes | None = None,
    seccomp_flags: int = 0,
    pdeathsig: int = 0,
    received: Callable[[bytes, tuple[int, ...]], None] = lambda record, fds: None,
) -> Outcome:
    """Return the outcome of finish() in a forked process that called ``before`` first."""
    channel, child_channel = _sys.socketpair(c.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    pid, pidfd = _sys.clone3(0)
    if pid == 0:
        os.dup2(writer, 1)
        before()
        _sys.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
        _sys.finish(argv, [b"A=b"], paths, keep, child_channel, seccomp, seccomp_flags, pdeathsig)
    os.close(child_channel)
    os.close(writer)
    record, fds, _ = _sys.recvmsg(channel, 64, 1)
    received(record, fds)
    with open(reader, encoding="utf-8") as stream:
        output = stream.read()
    ended = _sys.waitid_pidfd(pidfd, c.WEXITED)
    for fd in (channel, pidfd, *fds):
        os.close(fd)
    assert ended is not None
    assert ended[0] == pid
    return Outcome(ended[1], ended[2], record, fds, output)


def allow_only(*names: str, otherwise: int = c.SECCOMP_RET_KILL_PROCESS) -> bytes:
    """Return a classic BPF program: load the number, return ALLOW for these, ``otherwise`` for the rest."""
    program = [struct.pack("=HBBI", 0x20, 0, 0, 0)]
    for name in names:
        program.append(struct.pack("=HBBI", 0x15, 0, 1, SYSCALLS[name]))
        program.append(struct.pack("=HBBI", 0x06, 0, 0, c.SECCOMP_RET_ALLOW))
    program.append(struct.pack("=HBBI", 0x06, 0, 0, otherwise))
    return b"".join(program)


def answer_only(name: str, action: int) -> bytes:
    """Return a classic BPF program: ``action`` for this call, ALLOW for the rest."""
    return b"".join(
        (
            struct.pack("=HBBI", 0x20, 0, 0, 0),
            struct.pack("=HBBI", 0x15, 0, 1, SYSCALLS[name]),
            struct.pack("=HBBI", 0x06, 0, 0, action),
            struct.pack("=HBBI", 0x06, 0, 0, c.SECCOMP_RET_ALLOW),
        )
    )


def failure(outcome: Outcome) -> tuple[int, int, int]:
    """Return (exit code, errno, step) of a finish() that failed."""
    kind, errno, step = struct.unpack("=cii", outcome.record)
    assert kind == b"E"
    assert outcome.code == c.CLD_EXITED
    return outcome.status, errno, step


def shell(script: str) -> tuple[list[bytes], list[bytes]]:
    return [b"sh", b"-c", script.encode()], [b"/bin/sh"]


def test_argv_environment_and_exit_status_arrive() -> None:
    outcome = finish_in_child([b"name", b"-c", b'echo "$0 $1 $A $HOME"; exit 7', b"x", b"y"], [b"/bin/sh"])
    assert (outcome.output, outcome.status, outcome.record) == ("x y b \n", 7, b"")


def test_filter_that_allows_only_execve_and_exit_group(exit_42: Path) -> None:
    program = os.fsencode(exit_42)
    outcome = finish_in_child([program], [program], seccomp=allow_only("execve", "exit_group"))
    assert (outcome.code, outcome.status, outcome.record) == (c.CLD_EXITED, 42, b"")


def test_path_search_works_under_the_smallest_filter(exit_42: Path) -> None:
    paths = [b"/nonexistent/x", b"/etc/passwd/x", b"/etc/passwd", os.fsencode(exit_42)]
    outcome = finish_in_child([b"x"], paths, seccomp=allow_only("execve", "exit_group"))
    assert outcome.status == 42


def test_failure_under_a_filter_that_kills_for_write_ends_by_the_filter() -> None:
    outcome = finish_in_child([b"x"], [b"/nonexistent"], seccomp=allow_only("execve", "exit_group"))
    assert outcome.code in {c.CLD_KILLED, c.CLD_DUMPED}
    assert outcome.status == signal.SIGSYS


def test_failure_under_a_filter_that_refuses_write_still_exits() -> None:
    refuse = c.SECCOMP_RET_ERRNO | 1
    seccomp = allow_only("execve", "exit_group", otherwise=refuse)
    outcome = finish_in_child([b"x"], [b"/nonexistent"], seccomp=seccomp)
    assert (outcome.code, outcome.status, outcome.record) == (c.CLD_EXITED, 127, b"")


def test_not_found_is_127_and_names_enoent() -> None:
    outcome = finish_in_child([b"x"], [b"/nonexistent/a", b"/nonexistent/b"])
    assert failure(outcome) == (127, 2, 0)


def test_empty_search_path_is_not_found() -> None:
    assert failure(finish_in_child([b"x"], [])) == (127, 2, 0)


def test_permission_denied_is_remembered_beyond_not_found(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    outcome = finish_in_child([b"x"], [b"/nonexistent/a", os.fsencode(plain), b"/nonexistent/b"])
    assert failure(outcome) == (126, 13, 1)


def test_permission_denied_does_not_hide_a_later_program(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    assert finish_in_child([b"sh", b"-c", b"exit 5"], [os.fsencode(plain), b"/bin/sh"]).status == 5


def test_wrong_format_stops_the_search(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("no program\n")
    wrong.chmod(0o755)
    outcome = finish_in_child([b"x"], [os.fsencode(wrong), b"/bin/sh"])
    assert failure(outcome) == (126, 8, 0)


def test_invalid_filter_is_reported_before_anything_runs() -> None:
    outcome = finish_in_child([b"x"], [b"/bin/sh"], seccomp=struct.pack("=HBBI", 0xFFFF, 0, 0, 0))
    assert failure(outcome) == (126, 22, c.FINISH_SECCOMP)


def test_dispositions_and_mask_are_the_defaults() -> None:
    def before() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN

    argv = [b"grep", b"^Sig[BI]", b"/proc/self/status"]
    outcome = finish_in_child(argv, [b"/bin/grep", b"/usr/bin/grep"], before=before)
    assert outcome.output == f"SigBlk:\t{0:016x}\nSigIgn:\t{0:016x}\n"


def test_only_kept_descriptors_survive() -> None:
    def before() -> None:
        for number in (40, 41, 700):
            os.dup2(0, number, inheritable=True)
        os.set_inheritable(41, False)

    # -e: the shell itself has the directory open while it lists it
    script = 'for fd in /proc/$$/fd/*; do [ -e "$fd" ] && echo "${fd##*/}"; done'
    outcome = finish_in_child(*shell(script), before=before, keep=(700, 41, 1, 41))
    assert sorted(map(int, outcome.output.split())) == [0, 1, 2, 41, 700]


def test_a_kept_descriptor_that_is_not_open_is_reported() -> None:
    assert failure(finish_in_child(*shell("exit 0"), keep=(44,))) == (126, 9, c.FINISH_CLOSE)


def test_leaked_directory_is_closed_before_the_path_is_resolved() -> None:
    def before() -> None:
        os.dup2(os.open("/", os.O_RDONLY), 50, inheritable=True)

    outcome = finish_in_child([b"sh"], [b"/proc/self/fd/50/bin/sh"], before=before)
    assert failure(outcome) == (127, 2, 0)


def test_parent_death_signal_is_set() -> None:
    # PDEATHSIG is shown nowhere: the program must die with its parent, and close the output that we read
    def before() -> None:
        reader, writer = os.pipe()
        if os.fork():
            os.close(writer)
            os.close(1)
            os.read(reader, 1)
            os._exit(0)
        os.dup2(writer, 77)

    started = time.monotonic()
    script = shell("echo >&77; exec sleep 30")
    assert finish_in_child(*script, before=before, keep=(77,), pdeathsig=signal.SIGKILL).status == 0
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("earlier", [None, errno.EAGAIN])
def test_a_parent_that_died_before_the_signal_was_set_is_noticed(alive: bool, earlier: int | None) -> None:
    """Also where a call before that has left behind the very error that tells of a parent that lives."""
    channel, child_channel = _sys.socketpair(c.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    pid, pidfd = _sys.clone3(0)
    if pid == 0:
        os.close(channel)
        os.read(reader, 1)
        words = [b"sh", b"-c", b"exit 7"], [b"A=b"], [b"/bin/sh"]
        if earlier:
            os.set_blocking(reader, False)
            with pytest.raises(BlockingIOError):
                os.read(reader, 1)
        _sys.finish(*words, (), child_channel, None, 0, signal.SIGKILL)
    os.close(child_channel)
    if not alive:
        os.close(channel)
    os.write(writer, b"x")
    ended = _sys.waitid_pidfd(pidfd, c.WEXITED)
    for fd in (reader, writer, pidfd, *((channel,) if alive else ())):
        os.close(fd)
    assert ended is not None
    assert ended[2] == (7 if alive else 126)


def test_listener_of_a_notifying_filter_arrives_although_sending_is_forbidden(exit_42: Path) -> None:
    seen: list[str] = []

    def received(record: bytes, fds: tuple[int, ...]) -> None:
        seen.extend([record.decode(), os.readlink(f"/proc/self/fd/{fds[0]}")])

    outcome = finish_in_child(
        [b"x"],
        [os.fsencode(exit_42)],
        seccomp=allow_only("execve", "exit_group"),
        seccomp_flags=c.SECCOMP_FILTER_FLAG_NEW_LISTENER | c.SECCOMP_FILTER_FLAG_TSYNC,
        received=received,
    )
    assert outcome.status == 42
    assert seen == ["N", "anon_inode:seccomp notify"]


def test_notifying_filter_that_cannot_be_loaded_is_reported() -> None:
    wrong = struct.pack("=HBBI", 0xFFFF, 0, 0, 0)
    flags = c.SECCOMP_FILTER_FLAG_NEW_LISTENER
    assert failure(finish_in_child(*shell(":"), seccomp=wrong, seccomp_flags=flags)) == (126, 22, c.FINISH_SECCOMP)


def test_filter_binds_the_program() -> None:
    outcome = finish_in_child(*shell("echo $PPID"), seccomp=answer_only("getppid", c.SECCOMP_RET_KILL_PROCESS))
    assert outcome.code in {c.CLD_KILLED, c.CLD_DUMPED}
    assert outcome.status == signal.SIGSYS


@pytest.fixture
def arguments() -> dict[str, object]:
    return {"argv": [b"x"], "envp": [], "paths": [b"/x"], "keep_fds": (), "channel_fd": -1}


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("argv", ["text"], ValueError),
        ("argv", (b"tuple",), TypeError),
        ("envp", [b"a\0b"], ValueError),
        ("paths", [None], ValueError),
        ("keep_fds", (-1,), ValueError),
        ("keep_fds", ("1",), TypeError),
        ("seccomp", b"1234567", ValueError),
        ("seccomp", b"12345678" * 4097, ValueError),
    ],
)
def test_wrong_arguments_raise_and_change_nothing(
    arguments: dict[str, object], name: str, value: object, error: type[Exception]
) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(error):
        _sys.finish(**{**arguments, name: value})  # type: ignore[arg-type]
    assert os.listdir("/proc/self/fd") == before
