"""A terminal as a person has it, with a program on it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import struct
import termios
import time
from fcntl import ioctl
from types import TracebackType


class Terminal:
    """Run ``argv`` on a new pseudoterminal; what it writes is kept until it was waited for."""

    def __init__(self, argv: list[str], *, rows: int = 24, columns: int = 80) -> None:
        self.seen = ""
        self.code: int | None = None
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self.master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Change the size, as a window does."""
        ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def until(self, text: str, timeout_s: float = 20) -> str:
        """Wait until ``text`` appears and return all that was written before and with it."""
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            assert self._read(deadline - time.monotonic()), f"no {text!r} in {self.seen!r}"
        found, _, self.seen = self.seen.partition(text)
        return found + text

    def exit_code(self, timeout_s: float = 20) -> int:
        """Wait for the end and return the exit code."""
        deadline = time.monotonic() + timeout_s
        while self._read(deadline - time.monotonic()):
            pass
        assert time.monotonic() < deadline, f"still runs: {self.seen!r}"
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def _read(self, timeout_s: float) -> bool:
        """Take in what was written; false at the end, or when the time is over."""
        if not select.select([self.master], [], [], max(0.0, timeout_s))[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False  # the last that had it open is gone
        self.seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace"))
        return bool(data)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)


def receive_terminal(listener: socket.socket) -> int:
    """Return the terminal that a runtime hands to a console socket."""
    listener.settimeout(20)
    connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    return fds[0]
