"""Run a program and kill one process of its tree at a chosen system call: ``killer.py AT CALLS PROGRAM ARGUMENT...``.

Every process that the program makes is traced with ptrace(2) until the kill; then all are let go, and this program
waits for the first one. Stops are counted over the whole tree, one when a call of CALLS (comma-separated names, or
``all``) is entered and one when it is left. AT is the number of the stop at which the process in it gets SIGKILL; with
0 nobody is killed. As NUMBER:SECONDS the others are held for that long after the kill. On standard error, the last
line is a JSON object with ``stops`` (names with > entering and < leaving, in their order), ``killed`` (the pid, or 0),
``program`` and ``code`` (the first process's exit code, negative a signal).

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

SEIZE, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO, INTERRUPT, DETACH, LISTEN = 0x4206, 24, 0x4200, 0x420E, 0x4207, 17, 0x4208
#: TRACESYSGOOD, and TRACEFORK, TRACEVFORK, TRACECLONE
OPTIONS = 0x1 | 0x2 | 0x4 | 0x8
EVENT_STOP = 128
WALL = 0x40000000
NUMBERS = {
    "x86_64": {46: "sendmsg", 47: "recvmsg"},
    "aarch64": {211: "sendmsg", 212: "recvmsg"},
}
ENTRY, EXIT = 1, 2

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, pid: int, address: int = 0, data: int | ctypes.Array[ctypes.c_char] = 0) -> None:
    if libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Tracer:
    """Follows a tree of processes from one stop to the next."""

    def __init__(self, at: int, calls: str, hold_s: float) -> None:
        self.at = at
        self.hold_s = hold_s
        names = NUMBERS[os.uname().machine]
        self.names = None if calls == "all" else {n: name for n, name in names.items() if name in calls.split(",")}
        self.stops: list[str] = []
        self.killed = 0
        self.program = ""
        self._inside: dict[int, int] = {}

    def run(self, argv: list[str]) -> int:
        """Return the exit code of the first process, negative for a signal."""
        reading, writing = os.pipe()
        first = os.fork()
        if first == 0:
            os.close(writing)
            os.read(reading, 1)
            os.execvp(argv[0], argv)
        os.close(reading)
        ptrace(SEIZE, first, 0, OPTIONS)
        ptrace(INTERRUPT, first)
        os.write(writing, b"x")
        os.close(writing)
        while not self.killed:
            pid, status = os.waitpid(-1, WALL)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                if pid == first:
                    return os.waitstatus_to_exitcode(status)
                continue
            self._stopped(pid, status)
        if self.killed == first:
            os.waitpid(first, WALL)
            return -signal.SIGKILL
        return self._let_go(first)

    def _stopped(self, pid: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        deliver = 0
        try:
            if number == signal.SIGTRAP | 0x80:
                self._call(pid)
                if self.killed:
                    return
            elif event == EVENT_STOP and number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
                ptrace(LISTEN, pid)
                return
            elif event == 0:
                deliver = number
            ptrace(SYSCALL, pid, 0, deliver)
        except ProcessLookupError:
            pass  # killed by somebody meanwhile: its end is still to be waited for

    def _call(self, pid: int) -> None:
        info = ctypes.create_string_buffer(88)
        ptrace(GET_SYSCALL_INFO, pid, len(info), info)
        kind = info.raw[0]
        number = struct.unpack_from("=Q", info.raw, 24)[0] if kind == ENTRY else self._inside.get(pid, -1)
        if kind == ENTRY:
            self._inside[pid] = number
        if self.names is not None and number not in self.names:
            return
        name = str(number) if self.names is None else self.names[number]
        self.stops.append(f"{'>' if kind == ENTRY else '<'}{name}")
        if len(self.stops) == self.at:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                self.program = file.read().replace(b"\0", b" ").decode(errors="replace")[-60:]
            os.kill(pid, signal.SIGKILL)
            self.killed = pid
            time.sleep(self.hold_s)

    def _let_go(self, first: int) -> int:
        """Detach from everybody who is left, as they stop, and wait for the first process."""
        for entry in os.listdir("/proc"):
            if entry.isdigit() and _tracer_of(entry) == os.getpid() and int(entry) != self.killed:
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


def _tracer_of(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("TracerPid:"))
    except (OSError, StopIteration):
        return 0


def main() -> None:
    at, _, hold_s = sys.argv[1].partition(":")
    tracer = Tracer(int(at), sys.argv[2], float(hold_s or 0))
    code = tracer.run(sys.argv[3:])
    report = {"stops": tracer.stops, "killed": tracer.killed, "program": tracer.program, "code": code}
    sys.stderr.write(json.dumps(report) + "\n")
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
