"""Kill a process of a program's tree at a chosen system call, or let the call fail: ``tracer.py SETTINGS ARGUMENT...``.

The means of harness/disturb.py. SETTINGS is a JSON object:

* ``at``: the number of the stop at which it happens, from 1 and over the whole tree; 0 for never.
* ``calls``: the numbers of the system calls that count, null for all but those of ``never``.
* ``error``: the error with which the call fails; 0 to kill who makes it. For a kill, a call counts when it is entered
  and when it is left. For an error it counts when it is entered, and only in our own code: in processes that have
  opened a file of the name ``boot`` since they last executed a program, and in their forks.
* ``close``: the number of close(2), which closes even where it fails.
* ``hold_s``: for how long the others are held after a kill.

Every process that the program makes is traced with ptrace(2) until then; then all are let go, and this program waits
for the first one. On standard error, the last line is a JSON object with ``stops`` (numbers of calls in their order,
those that are left as -1 - number), ``who`` (the pid of the one that was disturbed, or 0), ``program`` and ``words``
(its command line and what the call's arguments point to) and ``code`` (the first process's exit code, negative a
signal).

It is a program of its own because tracing needs a process without other children.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
import time
from typing import Any

SEIZE, SYSCALL, GET_SYSCALL_INFO, INTERRUPT, DETACH, LISTEN = 0x4206, 24, 0x420E, 0x4207, 17, 0x4208
POKEUSER, GETEVENTMSG, GETREGSET, SETREGSET = 6, 0x4201, 0x4204, 0x4205
#: TRACESYSGOOD; TRACEFORK, TRACEVFORK, TRACECLONE; TRACEEXEC
OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10
EVENT_EXEC, EVENT_STOP = 4, 128
FORKS = (1, 2, 3)
WALL = 0x40000000
ENTRY = 1
WORD = (1 << 64) - 1

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, pid: int, address: int = 0, data: Any = 0) -> None:
    if libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Iovec(ctypes.Structure):
    """Where a set of registers is copied to."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class X86:
    """What a call's number and result are there. Source: sys/user.h, struct user_regs_struct"""

    @staticmethod
    def skip(pid: int) -> None:
        """Let the call that is entered not happen."""
        ptrace(POKEUSER, pid, 15 * 8, WORD)

    @staticmethod
    def answer(pid: int, value: int) -> None:
        """Change what the call that is left returns."""
        ptrace(POKEUSER, pid, 10 * 8, value & WORD)


class Arm:
    """What a call's number and result are there. Source: elf.h, NT_ARM_SYSTEM_CALL, NT_PRSTATUS"""

    @staticmethod
    def skip(pid: int) -> None:
        """Let the call that is entered not happen."""
        number = ctypes.c_int(-1)
        ptrace(SETREGSET, pid, 0x404, ctypes.byref(Iovec(ctypes.addressof(number), 4)))

    @staticmethod
    def answer(pid: int, value: int) -> None:
        """Change what the call that is left returns."""
        registers = (ctypes.c_uint64 * 34)()
        vector = Iovec(ctypes.addressof(registers), ctypes.sizeof(registers))
        ptrace(GETREGSET, pid, 1, ctypes.byref(vector))
        registers[0] = value & WORD
        ptrace(SETREGSET, pid, 1, ctypes.byref(vector))


MACHINE = {"x86_64": X86, "aarch64": Arm}[os.uname().machine]


class Tracer:
    """Follows a tree of processes from one stop to the next."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.at: int = settings["at"]
        self.error: int = settings["error"]
        self.close: int = settings["close"]
        self.hold_s: float = settings["hold_s"]
        self.boot: bytes = settings["boot"].encode()
        self.calls = None if settings["calls"] is None else frozenset(settings["calls"])
        self.never = frozenset(settings["never"])
        self.stops: list[int] = []
        self.who = 0
        self.program = ""
        self.words: list[str] = []
        self._inside: dict[int, int] = {}
        self._ours: dict[int, bool] = {}
        self._failing = 0

    def run(self, argv: list[str]) -> int:
        """Return the exit code of the first process, negative for a signal."""
        reading, writing = os.pipe()
        first = os.fork()
        if first == 0:
            os.close(writing)
            os.read(reading, 1)
            try:
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)
        os.close(reading)
        ptrace(SEIZE, first, 0, OPTIONS)
        ptrace(INTERRUPT, first)
        os.write(writing, b"x")
        os.close(writing)
        self._ours[first] = False
        while not self.who:
            pid, status = os.waitpid(-1, WALL)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self._ours.pop(pid, None)
                if pid == first:
                    return os.waitstatus_to_exitcode(status)
                continue
            self._stopped(pid, status)
        if self.who == first and not self.error:
            os.waitpid(first, WALL)
            return -signal.SIGKILL
        return self._let_go(first)

    def _stopped(self, pid: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        deliver = 0
        try:
            if number == signal.SIGTRAP | 0x80:
                self._call(pid)
                if self.who and not self.error:
                    return
            elif event in FORKS:
                child = ctypes.c_ulong()
                ptrace(GETEVENTMSG, pid, 0, ctypes.byref(child))
                self._ours[child.value] = self._ours.get(pid, False)
            elif event == EVENT_EXEC:
                self._ours[pid] = False
            elif event == EVENT_STOP and number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
                ptrace(LISTEN, pid)
                return
            elif event == 0:
                deliver = number
            # the one that was disturbed is let go with the others, who are not stopped now
            ptrace(DETACH if self.who else SYSCALL, pid, 0, deliver)
        except ProcessLookupError:
            pass  # killed by somebody meanwhile: its end is still to be waited for

    def _call(self, pid: int) -> None:
        info = ctypes.create_string_buffer(88)
        ptrace(GET_SYSCALL_INFO, pid, len(info), info)
        entered = info.raw[0] == ENTRY
        if entered:
            self._inside[pid] = number = struct.unpack_from("=Q", info.raw, 24)[0]
        else:
            number = self._inside.get(pid, -1)
            if pid == self._failing:
                MACHINE.answer(pid, -self.error)
                self.who = pid
                return
        if self.error and not (entered and self._is_ours(pid, info.raw)):
            return
        if number in self.never or (self.calls is not None and number not in self.calls) or self._failing:
            return
        self.stops.append(number if entered else -1 - number)
        if len(self.stops) == self.at:
            self._describe(pid, info.raw)
            if self.error:
                if number != self.close:
                    MACHINE.skip(pid)
                self._failing = pid
                return
            os.kill(pid, signal.SIGKILL)
            self.who = pid
            time.sleep(self.hold_s)

    def _is_ours(self, pid: int, info: bytes) -> bool:
        # a fork may be seen before its parent says so; only we fork before a container's program runs
        if not self._ours.setdefault(pid, True):
            self._ours[pid] = any(self.boot in word for word in _pointed_to(pid, info))
            return False
        return True

    def _describe(self, pid: int, info: bytes) -> None:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            self.program = file.read().replace(b"\0", b" ").decode(errors="replace")[-60:]
        self.words = [word.decode(errors="replace") for word in _pointed_to(pid, info) if word.isascii()]

    def _let_go(self, first: int) -> int:
        """Detach from everybody who is left, as they stop, and wait for the first process."""
        for entry in os.listdir("/proc"):
            if entry.isdigit() and _tracer_of(entry) == os.getpid() and (self.error or int(entry) != self.who):
                try:
                    ptrace(INTERRUPT, int(entry))
                except OSError:
                    continue
        while True:
            pid, status = os.waitpid(-1, WALL)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                if pid == first:
                    return os.waitstatus_to_exitcode(status)
                continue
            number, event = os.WSTOPSIG(status), status >> 16
            try:
                ptrace(DETACH, pid, 0, number if event == 0 and number != signal.SIGTRAP | 0x80 else 0)
            except ProcessLookupError:
                pass


def _pointed_to(pid: int, info: bytes) -> list[bytes]:
    """Return the strings that the first two arguments of a call point to."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for address in struct.unpack_from("=QQ", info, 32):
            try:
                memory.seek(address)
                found.append(memory.read(min(256, 4096 - address % 4096)).partition(b"\0")[0])
            except (OSError, ValueError, OverflowError):
                continue  # a number
    return found


def _tracer_of(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("TracerPid:"))
    except (OSError, StopIteration):
        return 0


def main() -> None:
    tracer = Tracer(json.loads(sys.argv[1]))
    code = tracer.run(sys.argv[2:])
    names = ("stops", "who", "program", "words")
    sys.stderr.write(json.dumps({"code": code} | {name: getattr(tracer, name) for name in names}) + "\n")
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
