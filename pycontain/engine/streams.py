"""A monitored container's streams: output to log and clients, input from clients, memory bounded. [lean]

Output is read only while the log's queue and every client's queue have room. Once the container has ended it is read to
its end regardless: what is left is at most what the pipes hold, unless a process from outside (exec) keeps writing.
"""

from __future__ import annotations

import posix
import time

from pycontain.engine import protocol
from pycontain.engine.feeder import Feeder
from pycontain.engine.logfile import Encoder, LogFile
from pycontain.engine.logwriter import LogWriter
from pycontain.engine.loop import READ, WRITE
from pycontain.kernel import _sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pycontain.engine.loop import Loop
    from pycontain.engine.protocol import MonitorOptions

DRAIN_S = 2.0
_DRAIN_BYTES = 4 << 20
_CHUNK = protocol.MAX_PACKET - 1
_TIOCGPTPEER = 0x5441  # asm-generic/ioctls.h


class Output:
    """One stream that the container writes: a pipe, or its terminal."""

    def __init__(self, fd: int, letter: str, *, logged: bool) -> None:
        self.fd = fd
        self.letter = letter
        self.kind = protocol.ERROR_OUTPUT if letter == protocol.STDERR else protocol.OUTPUT
        self.encoder = Encoder("stderr" if letter == protocol.STDERR else "stdout") if logged else None
        posix.set_blocking(fd, False)


class Streams:
    """Reads outputs, feeds the input.

    ``emit`` gets each packet for the clients, ``congested`` says whether they are full, ``input_drained`` is called
    when there is room for input again.
    """

    def __init__(
        self,
        loop: Loop,
        options: MonitorOptions,
        fds: tuple[int, int, int, int],
        *,
        emit: Callable[[str, bytes], None],
        congested: Callable[[], bool],
        input_drained: Callable[[], None],
    ) -> None:
        stdin, stdout, stderr, self._master = fds
        self._loop = loop
        self._emit = emit
        self._congested = congested
        self._input_drained = input_drained
        self._outputs: dict[int, Output] = {}
        self._drained: Callable[[], None] | None = None
        self._drained_bytes = 0
        self._slave = -1
        self._writer: LogWriter | None = None
        logged = options.log_driver == "json-file"
        if logged:
            file = LogFile(options.log_path, options.log_max_size, options.log_max_file)
            self._writer = LogWriter(file, options.patience_s)
            loop.watch(self._writer.event, READ, self._log_moved)
        if self._master >= 0:
            self._slave = _hold_open(self._master)
            self._add(Output(self._master, protocol.STDOUT, logged=logged))
        for fd, letter in ((stdout, protocol.STDOUT), (stderr, protocol.STDERR)):
            if fd >= 0:
                self._add(Output(fd, letter, logged=logged))
        self.feeder: Feeder | None = None
        if self._master >= 0 or stdin >= 0:
            terminal = self._master >= 0
            self.feeder = Feeder(loop, self._master if terminal else stdin, terminal=terminal, changed=self._fed)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal, if there is one."""
        if self._master >= 0 and 0 < rows < 65536 and 0 < columns < 65536:
            _sys.tty_set_size(self._master, rows, columns)

    def arrange(self) -> None:
        """Read outputs only while there is room for them."""
        for fd in list(self._outputs):
            self._loop.change(fd, self._mask(fd))
        if self._writer is not None and self._writer.full:
            self._loop.after("disk", self._writer.patience_s() + 0.05, self.arrange)

    def drain(self, done: Callable[[], None]) -> None:
        """Read what is left, then call back: at the end of all outputs, or after DRAIN_S."""
        self._drained = done
        if self.feeder is not None:
            self.feeder.close()
        if self._slave >= 0:
            # With this the terminal has no other side any more: reading gives all that is left, then EIO.
            posix.close(self._slave)
            self._slave = -1
        self._loop.after("drain", DRAIN_S, self._give_up)
        self.arrange()
        if not self._outputs:
            self._give_up()

    def counters(self) -> tuple[int, int, str]:
        """Return how many lines and bytes the log has lost, and the last error."""
        writer = self._writer
        if writer is None:
            return 0, 0, ""
        lines = writer.dropped_lines + writer.file.dropped_lines
        error = writer.file.error or ("the disk did not take the log in time" if lines else "")
        return lines, writer.dropped_bytes + writer.file.dropped_bytes, error

    def finish(self) -> dict[str, Any]:
        """Write the rest of the log and return what the state file should say of it."""
        writer = self._writer
        if writer is not None and not writer.finish():
            lines, size, _error = self.counters()
            return {"dropped_lines": lines, "dropped_bytes": size, "error": "the disk hangs: the log's end is missing"}
        lines, size, error = self.counters()
        return {"dropped_lines": lines, "dropped_bytes": size, "error": error} if lines else {}

    def _add(self, output: Output) -> None:
        self._outputs[output.fd] = output
        self._loop.watch(output.fd, READ, lambda mask: self._ready(output, mask))

    def _mask(self, fd: int) -> int:
        if self._drained is not None:
            return READ
        room = not (self._congested() or (self._writer is not None and self._writer.full))
        typed = fd == self._master and self.feeder is not None and self.feeder.wants_write
        return (READ if room else 0) | (WRITE if typed else 0)

    def _ready(self, output: Output, mask: int) -> None:
        if mask & WRITE and self.feeder is not None:
            self.feeder.ready()
        if not mask & ~WRITE:
            return
        try:
            data = posix.read(output.fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # EIO: the terminal's other side is closed
        if data:
            self._deliver(output, data)
        else:
            self._close(output)

    def _deliver(self, output: Output, data: bytes) -> None:
        if output.encoder is not None and self._writer is not None:
            for lines in output.encoder.feed(data, time.time_ns()):
                self._writer.put(lines)
        self._emit(output.letter, output.kind + data)
        if self._drained is not None:
            self._drained_bytes += len(data)
            if self._drained_bytes > _DRAIN_BYTES:
                self._give_up()
        elif self._congested() or (self._writer is not None and self._writer.full):
            self.arrange()

    def _close(self, output: Output) -> None:
        if self._outputs.pop(output.fd, None) is None:
            return
        if output.encoder is not None and self._writer is not None:
            rest = output.encoder.flush(time.time_ns())
            if rest:
                self._writer.put(rest)
        self._loop.forget(output.fd)
        if output.fd == self._master and self.feeder is not None:
            self.feeder.close()
            self._master = -1
        posix.close(output.fd)
        if not self._outputs and self._drained is not None:
            self._give_up()

    def _give_up(self) -> None:
        """Close what is still open and report that all is read that will be."""
        done, self._drained = self._drained, None
        self._loop.cancel("drain")
        for output in list(self._outputs.values()):
            self._close(output)
        if done is not None:
            done()

    def _log_moved(self, _mask: int) -> None:
        if self._writer is not None:
            self._writer.acknowledge()
        self.arrange()

    def _fed(self) -> None:
        if self._master in self._outputs:
            self._loop.change(self._master, self._mask(self._master))
        self._input_drained()


def _hold_open(master: int) -> int:
    """Return the other side of a terminal, or -1: while it is open here, a program that closes its own ends nothing."""
    import fcntl

    try:
        return fcntl.ioctl(master, _TIOCGPTPEER, posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
    except OSError:
        return -1
