"""While a launched container runs: its standard input is written, its output read up to a limit, its end awaited."""

from __future__ import annotations

import os
import select

from pycontain.engine import requests
from pycontain.kernel import _sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.engine.owner import Call
    from pycontain.engine.requests import Ended

_CHUNK = 64 * 1024
# once the container has ended, a pipe holds no more than this (pipe(7), F_SETPIPE_SZ); a process of another container
# that was handed the other end could write for ever
_LEFT_IN_PIPE = 1 << 20


class Output:
    """What one stream has brought: at most ``limit`` bytes; of what follows only ``cut`` tells."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self.cut = False

    def add(self, data: bytes) -> None:
        """Take what has come."""
        kept = data[: self._limit - self._size]
        self.cut = self.cut or len(kept) < len(data)
        if kept:
            self._parts.append(kept)
            self._size += len(kept)

    @property
    def data(self) -> bytes:
        """Return all that was kept."""
        return b"".join(self._parts)


class Exchange:
    """The conversation with one container: ``stdin`` is written to it, ``stdout`` and ``stderr`` are what it says."""

    def __init__(self, call: Call, stdin: bytes, limit: int) -> None:
        self.stdout, self.stderr = Output(limit), Output(limit)
        self._call = call
        self._stdin = memoryview(stdin)
        self._outputs = {call.stdout: self.stdout, call.stderr: self.stderr}
        self._poll = select.poll()

    def finish(self) -> Ended:
        """Go on until the container has ended and was removed, and return how.

        Raises:
            PycontainError: it could not be made, or was lost.
        """
        call = self._call
        self._poll.register(call.control, select.POLLIN)
        for fd in self._outputs:
            self._poll.register(fd, select.POLLIN)
        if call.stdin >= 0:
            os.set_blocking(call.stdin, False)
            self._poll.register(call.stdin, select.POLLOUT)
        while True:
            ready = {fd for fd, _ in self._poll.poll()}
            if call.stdin in ready:
                self._write()
            for fd in self._outputs.keys() & ready & call.open:
                self._read(fd)
            if call.control in ready:
                break
        try:
            packet, _, _ = _sys.recvmsg(call.control, requests.MAX_PACKET)
        except ConnectionResetError:
            packet = b""
        for fd in self._outputs.keys() & call.open:
            self._drain(fd)
        return requests.read_end(packet)

    def _write(self) -> None:
        try:
            written = os.write(self._call.stdin, self._stdin[:_CHUNK]) if self._stdin else 0
            self._stdin = self._stdin[written:]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._stdin = self._stdin[:0]  # nobody reads it: the program's own business
        if not self._stdin:
            self._close(self._call.stdin)

    def _read(self, fd: int) -> int:
        data = os.read(fd, _CHUNK)
        self._outputs[fd].add(data)
        if not data:
            self._close(fd)
        return len(data)

    def _drain(self, fd: int) -> None:
        """Read what is left in the pipe of a container that has ended."""
        os.set_blocking(fd, False)
        left = _LEFT_IN_PIPE
        try:
            while left > 0 and (read := self._read(fd)):
                left -= read
        except BlockingIOError:
            pass

    def _close(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._call.drop(fd)
