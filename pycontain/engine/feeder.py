"""Writes what clients type into a container's stdin or terminal, with a bounded queue. [lean]"""

from __future__ import annotations

import posix

from pycontain.engine.loop import WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.engine.loop import Loop

_HIGH = 64 * 1024
_LOW = _HIGH // 4
_END_OF_FILE = b"\x04"  # VEOF of a terminal in its default mode


class Feeder:
    """The writing end of a pipe (``terminal`` false: owned and closed here) or a pty master (shared with the reader).

    ``changed`` is called when the queue got short. For a master, ``ready`` is to be called when it can be written;
    ``wants_write`` tells whether it should be watched for that.
    """

    def __init__(self, loop: Loop, fd: int, *, terminal: bool, changed: Callable[[], None]) -> None:
        self.terminal = terminal
        self.wants_write = False
        self._loop = loop
        self._fd = fd
        self._changed = changed
        self._queue = b""
        self._ended = False
        if not terminal:
            posix.set_blocking(fd, False)
            loop.watch(fd, 0, lambda _mask: self.ready())

    @property
    def open(self) -> bool:
        """Whether more can be put in."""
        return self._fd >= 0 and not self._ended

    @property
    def full(self) -> bool:
        """Whether to put nothing in until the queue is short again."""
        return len(self._queue) >= _HIGH

    def put(self, data: bytes) -> None:
        """Queue input; without a reader it is lost, as on any closed stdin."""
        if self.open:
            self._queue += data
            self.ready()

    def end(self) -> None:
        """Let the program see the end of its input after what is queued."""
        if self.open:
            if self.terminal:
                self.put(_END_OF_FILE)
            else:
                self._ended = True
                self.ready()

    def close(self) -> None:
        """Forget the queue, and close a pipe."""
        self._queue = b""
        if self._fd >= 0 and not self.terminal:
            self._loop.forget(self._fd)
            posix.close(self._fd)
        self._fd = -1
        self.wants_write = False

    def ready(self) -> None:
        """Write what the container takes."""
        try:
            while self._queue and self._fd >= 0:
                self._queue = self._queue[posix.write(self._fd, self._queue[:_LOW]) :]
        except BlockingIOError:
            pass
        except OSError:
            # Nobody reads any more (EPIPE), or the terminal has been hung up (EIO).
            self.close()
        if self._ended and not self._queue:
            self.close()
        if self._fd >= 0:
            self.wants_write = bool(self._queue)
            if not self.terminal:
                self._loop.change(self._fd, WRITE if self._queue else 0)
        if len(self._queue) < _LOW:
            self._changed()
