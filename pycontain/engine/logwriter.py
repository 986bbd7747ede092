"""Writes a log file from a thread of its own, so that a disk that hangs never hangs the caller. [lean]

A write to a file cannot be made non-blocking, and a disk may hang for ever (NFS, a dying device). The caller puts
lines into a bounded queue; when the queue is full it should stop reading output (:attr:`LogWriter.full`) and is told
by :attr:`LogWriter.event` when to go on. When nothing has been written for ``patience_s`` although the queue is
full, lines are dropped and counted until the disk moves again: the container runs on.
"""

from __future__ import annotations

import _thread
import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.engine.logfile import LogFile

_HIGH = 512 * 1024
_LOW = _HIGH // 4


class LogWriter:
    """Queue before a :class:`LogFile`. All methods are the caller's; the thread starts with the first line."""

    def __init__(self, file: LogFile, patience_s: float) -> None:
        self.file = file
        self._patience_s = patience_s
        self.dropped_lines = 0
        self.dropped_bytes = 0
        # readable when a full queue has become short again; read it with :meth:`acknowledge`
        self.event = posix.eventfd(0, posix.EFD_CLOEXEC | posix.EFD_NONBLOCK)
        self._lock = _thread.allocate_lock()
        self._wake = posix.eventfd(0, posix.EFD_CLOEXEC)
        self._queue: list[bytes] = []
        self._backlog = 0
        self._started = False
        self._progress = time.monotonic()

    @property
    def full(self) -> bool:
        """Whether to stop reading: the queue is long, and the disk still moves."""
        return self._backlog >= _HIGH and not self._stalled()

    def patience_s(self) -> float:
        """Return after how many seconds a full queue counts as stalled."""
        return max(self._progress + self._patience_s - time.monotonic(), 0.0)

    def put(self, lines: bytes) -> None:
        """Queue whole lines, or drop and count them when the disk hangs."""
        with self._lock:
            backlog = self._backlog
            if backlog < _HIGH or not self._stalled():
                if not backlog:
                    self._progress = time.monotonic()
                self._queue.append(lines)
                self._backlog = backlog + len(lines)
            else:
                self.dropped_lines += lines.count(b"\n")
                self.dropped_bytes += len(lines)
        if not self._started:
            self._start()
        if not backlog:
            posix.eventfd_write(self._wake, 1)

    def _start(self) -> None:
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:
            return  # no more threads for this user now (RLIMIT_NPROC): tried again with the next line
        self._started = True

    def acknowledge(self) -> None:
        """Make :attr:`event` unreadable again."""
        try:
            posix.eventfd_read(self.event)
        except BlockingIOError:
            pass

    def finish(self) -> bool:
        """Wait until all is written, at most ``patience_s`` without any progress; return whether it is."""
        if self._backlog and not self._started:
            self._start()
        deadline = time.monotonic() + self._patience_s
        seen = self._backlog
        while self._backlog:
            time.sleep(0.002)
            if self._backlog != seen:
                seen, deadline = self._backlog, time.monotonic() + self._patience_s
            elif time.monotonic() > deadline:
                return False
        return True

    def _stalled(self) -> bool:
        return time.monotonic() - self._progress > self._patience_s

    def _run(self) -> None:
        while True:
            posix.eventfd_read(self._wake)
            while True:
                with self._lock:
                    queue, self._queue = self._queue, []
                if not queue:
                    break
                while queue:
                    self._write(queue.pop(0))

    def _write(self, lines: bytes) -> None:
        self.file.write(lines)
        size = len(lines)
        with self._lock:
            before = self._backlog
            self._backlog = before - size
            self._progress = time.monotonic()
        if before >= _LOW > before - size or not self._backlog:
            posix.eventfd_write(self.event, 1)
