"""pycontain-init: exit codes, signals, orphans, the terminal, and a narrow seccomp filter."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontain.kernel import _sys
from pycontain.kernel import constants as c

INIT = (
    Path(sys.prefix)
    / "lib"
    / f"python{sys.version_info.major}.{sys.version_info.minor}"
    / ("site-packages/pycontain/reaper/pycontain-init")
)
USER = 0 if os.geteuid() == 0 else c.CLONE_NEWUSER

pytestmark = pytest.mark.skipif(not INIT.exists(), reason=f"not installed: {INIT}")


def run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([INIT, *command], capture_output=True, text=True, check=False, timeout=30, env=env)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("sh", "-c", "exit 3"), 3),
        (("--", "sh", "-c", "exit 4"), 4),
        (("sh", "-c", "kill -TERM $$"), 143),
        (("sh", "-c", "kill -SEGV $$"), 139),
        (("/bin/true",), 0),
        (("/nonexistent",), 127),
        (("/etc/passwd/x",), 127),
        (("/etc/passwd",), 126),
        (("/",), 126),
    ],
)
def test_exit_code_is_that_of_the_program(command: tuple[str, ...], code: int) -> None:
    assert run(*command).returncode == code


def test_usage_and_failures_are_one_line() -> None:
    assert run().stderr == "pycontain-init: usage: pycontain-init [--] PROGRAM [ARGUMENT...]\n"
    assert run().returncode == 125
    assert run("nope", env={"PATH": "/usr/bin:/bin"}).stderr == "pycontain-init: nope: not found\n"
    assert run("/etc/passwd").stderr == "pycontain-init: /etc/passwd: permission denied\n"


def test_search_path(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    program = tmp_path / "bin/tool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    long = "/" + "x" * 5000
    assert run("tool", env={"PATH": f"{long}:{tmp_path}:{tmp_path}/bin"}).returncode == 9
    assert run("no-such-program", env={"PATH": f"{tmp_path}:/bin"}).returncode == 127
    assert run("plain", env={"PATH": f"{tmp_path}:/bin"}).returncode == 126
    assert run("sh", "-c", "exit 2", env={}).returncode == 2


def test_it_is_small_and_needs_no_library() -> None:
    assert INIT.stat().st_size < 12_288
    # a dynamic program has an interpreter segment: PT_INTERP names the loader
    assert b"ld-linux" not in INIT.read_bytes()


def test_program_starts_with_no_signal_blocked_or_ignored() -> None:
    fields = run("grep", "^Sig[BI]", "/proc/self/status").stdout.split()
    # Python leaves SIGPIPE and SIGXFSZ ignored in our child; init must not add to what it inherits
    assert fields[1] == f"{0:016x}"


@pytest.mark.parametrize("name", ["HUP", "INT", "USR1", "TERM", "WINCH", "SEGV", "RTMIN+5"])
def test_signals_are_passed_on(name: str) -> None:
    number = c.SIGNALS[f"SIG{name}"]
    # blocked and waited for: a handler could miss its turn just before a sleep
    block = f"signal.pthread_sigmask(signal.SIG_BLOCK, [{number}])"
    script = f"import signal, os\n{block}\nprint(flush=True)\nos._exit(40 + signal.sigwait([{number}]))"
    with subprocess.Popen([INIT, sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(10) == 40 + number


def test_children_that_end_together_are_all_reaped() -> None:
    # orphans of a subshell become init's; 200 of them coalesce into few SIGCHLD
    orphans = "( for i in $(seq 200); do ( sleep 0.2 & ) ; done )"
    script = f"{orphans}; sleep 0.8; cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | grep -c \"^. $PPID \""
    process = subprocess.run([INIT, "bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    # what is left is the program itself
    assert process.stdout == "1\n"


def in_pid_namespace(
    argv: list[bytes], before: Callable[[], object] = lambda: None, seccomp: bytes | None = None
) -> int:
    """Return the exit code of pycontain-init as process 1."""
    pid, pidfd = _sys.clone3(USER | c.CLONE_NEWPID)
    if pid == 0:
        before()
        _sys.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
        path = os.fsencode(INIT)
        _sys.finish([path, *argv], [b"PATH=/usr/bin:/bin"], [path], (), -1, seccomp)
    ended = _sys.waitid_pidfd(pidfd, c.WEXITED)
    os.close(pidfd)
    assert ended is not None
    assert ended[1] == c.CLD_EXITED
    return ended[2]


def test_as_process_1_it_leaves_with_its_program() -> None:
    assert in_pid_namespace([b"sh", b"-c", b'[ "$PPID" = 1 ] && sleep 100 & exit 6']) == 6


def test_ignored_child_signal_does_not_lose_the_exit_code() -> None:
    ignore = "import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    script = f"{ignore}; os.execv('{INIT}', ['i', 'sh', '-c', 'exit 8'])"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=30).returncode == 8


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")
def test_a_filter_that_forbids_the_wait_for_signals_is_no_busy_loop() -> None:
    rt_sigtimedwait = 128
    forbid = b"".join(
        (
            struct.pack("=HBBI", 0x20, 0, 0, 0),
            struct.pack("=HBBI", 0x15, 0, 1, rt_sigtimedwait),
            struct.pack("=HBBI", 0x06, 0, 0, c.SECCOMP_RET_ERRNO | 1),
            struct.pack("=HBBI", 0x06, 0, 0, c.SECCOMP_RET_ALLOW),
        )
    )
    before = os.times()
    assert in_pid_namespace([b"sh", b"-c", b"sleep 1; exit 5"], seccomp=forbid) == 5
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.7


def test_program_has_the_terminal() -> None:
    pid, master = pty.fork()
    if pid == 0:
        script = "import os; print(os.tcgetpgrp(0) == os.getpgrp() == os.getpid() != os.getsid(0))"
        os.execv(INIT, [os.fspath(INIT), sys.executable, "-c", script])
    deadline = time.monotonic() + 10
    output = b""
    while b"\n" not in output and time.monotonic() < deadline:
        output += os.read(master, 100)
    os.waitpid(pid, 0)
    os.close(master)
    assert output == b"True\r\n"
