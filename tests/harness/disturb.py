"""Commands that are killed, or whose system calls fail, at a chosen point: harness/tracer.py runs them."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pycontain.plan import seccomp_tables

_TRACER = Path(__file__).with_name("tracer.py")
_NUMBERS = seccomp_tables.numbers(seccomp_tables.native_arch(os.uname().machine))
_NAMES = {number: name for name, number in _NUMBERS.items()}

#: The calls of the channel between the processes of a start.
MESSAGES = ("sendmsg", "recvmsg")

#: Calls that cannot fail, or whose failure the C library never looks at.
INFALLIBLE = (
    *("exit", "exit_group", "rt_sigreturn", "rt_sigaction", "rt_sigprocmask", "sigaltstack", "restart_syscall"),
    *("getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "umask", "arch_prctl", "rseq"),
    *("set_tid_address", "set_robust_list", "sched_yield", "futex", "alarm", "munmap", "madvise", "brk"),
    *("epoll_wait", "epoll_pwait"),  # but for EINTR, which Python hides
)

#: The errors that calls are made to fail with.
ERRORS = ("EMFILE", "ENOSPC", "ENOMEM", "EIO", "EINTR")

#: What is opened when the interpreter has booted: the first thing that is our own doing.
_BOOT = "/pycontain/modules.pack"


@dataclass(frozen=True)
class Report:
    """What became of a command: ``stops`` are names, with > for entering and < for leaving."""

    code: int
    stdout: str
    said: list[str]
    stops: list[str]
    program: str
    words: list[str]

    def __str__(self) -> str:
        return f"exit code {self.code} after {self.stops[-1:]} {self.words} of {self.program}: {self.said}"


def disturbed(
    argv: Sequence[str], at: int, calls: Sequence[str] | None = None, error: str = "", hold_s: float = 0
) -> Report:
    """Run a command, and at the stop of that number kill the process in it or let its call fail with ``error``.

    With 0 for ``at`` nothing happens, and the report tells the stops that there are: with an ``error``, each call of
    ours that can fail; else each entering and leaving of ``calls``, or of all. The others are held for ``hold_s`` after
    a kill.
    """
    settings = {
        "at": at,
        "calls": None if calls is None else [_NUMBERS[name] for name in calls],
        "never": [_NUMBERS[name] for name in INFALLIBLE if name in _NUMBERS] if error else [],
        "error": getattr(errno, error) if error else 0,
        "close": _NUMBERS["close"],
        "boot": _BOOT,
        "hold_s": hold_s,
    }
    # a container that stays would hold pipes
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        words = [sys.executable, "-I", str(_TRACER), json.dumps(settings), *argv]
        subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=60, check=False)
        out.seek(0)
        err.seek(0)
        stdout = out.read()
        *said, last = err.read().splitlines()
    found = json.loads(last)
    stops = [f">{_NAMES[number]}" if number >= 0 else f"<{_NAMES[-1 - number]}" for number in found["stops"]]
    return Report(found["code"], stdout, said, stops, found["program"], found["words"])


def points(stops: list[str], dice: random.Random) -> Iterator[tuple[int, str]]:
    """Yield numbers of calls and errors: first each call's first occurrence, then any."""
    first = [stops.index(call) + 1 for call in set(stops)]
    others = sorted(set(range(1, len(stops) + 1)) - set(first))
    for some in (sorted(first), others):
        yield from dice.sample([(at, error) for at in some for error in ERRORS], len(some) * len(ERRORS))
