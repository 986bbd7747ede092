r"""The json-file log of a container: how output becomes lines, and how lines get into rotated files. [lean]

One line of the file is one JSON object, as docker's json-file driver writes it::

    {"log":"hello\n","stream":"stdout","time":"2026-01-31T23:59:59.000000001Z"}
    {"log":"the first 16 KiB of a long line","stream":"stdout","partial":true,"time":"…"}

``partial`` marks a piece of a line that goes on in the next record of the same stream. A last line that the program
never ended has neither the flag nor a newline. Bytes that are not UTF-8 become U+FFFD.

A file only ever ends in a whole line: what a full disk took of a line is cut off again. Files are rotated by rename
between two lines: ``container.log`` is the newest, ``container.log.1`` the one before it.
"""

from __future__ import annotations

import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# docker's: a line that is longer is written in pieces, so that no reader needs unbounded memory
MAX_PIECE = 16 * 1024

_ESCAPES = {
    **{bytes((code,)): b"\\u%04x" % code for code in range(0x20)},
    b"\t": b"\\t",
    b"\r": b"\\r",
    b"\b": b"\\b",
    b"\f": b"\\f",
    b'"': b'\\"',
}
del _ESCAPES[b"\n"]
_SPECIAL = b"\\" + b"".join(_ESCAPES)
_HEAD = b'{"log":"'


class Encoder:
    """Turns the output of one stream into log lines; keeps the beginning of a line that has not ended yet."""

    __slots__ = ("_rest", "_second", "_second_text", "_stream")

    def __init__(self, stream: str) -> None:
        self._stream = b'","stream":"' + stream.encode() + b'"'
        self._rest = b""
        self._second = -1
        self._second_text = b""

    def feed(self, data: bytes, now_ns: int) -> Iterator[bytes]:
        """Yield log lines, some thousand at most in one piece of bytes, for the lines that ``data`` completes.

        All of them bear the time ``now_ns`` (since the epoch): they came by one read.
        """
        if self._rest:
            data = self._rest + data
        tail = self._tail(now_ns)
        start, size = 0, len(data)
        while start < size:
            end = data.rfind(b"\n", start, start + MAX_PIECE) + 1
            if end:
                lines = _escape(data[start:end])
                # each newline becomes the end of one record and the beginning of the next; the last one opens nothing
                yield _HEAD + lines.replace(b"\n", b"\\n" + tail + _HEAD)[: -len(_HEAD)]
            elif size - start > MAX_PIECE:
                end = _character_start(data, start + MAX_PIECE)
                yield _HEAD + _escape(data[start:end]) + tail.replace(b',"time"', b',"partial":true,"time"', 1)
            else:
                break
            start = end
        self._rest = data[start:]

    def flush(self, now_ns: int) -> bytes:
        """Return the log line for what was written without a final newline, or nothing."""
        rest, self._rest = self._rest, b""
        return _HEAD + _escape(rest) + self._tail(now_ns) if rest else b""

    def _tail(self, now_ns: int) -> bytes:
        second, fraction = divmod(now_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b'%s,"time":"%s.%09dZ"}\n' % (self._stream, self._second_text, fraction)


def _character_start(data: bytes, end: int) -> int:
    """Return ``end``, or up to three bytes less when it would cut a UTF-8 character in two."""
    for back in range(4):
        if data[end - back] & 0xC0 != 0x80:
            return end - back
    return end


def _escape(text: bytes) -> bytes:
    """Return ``text`` as the inside of a JSON string, its newlines left alone."""
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode("utf-8", "replace").encode()
    if len(text.translate(None, _SPECIAL)) != len(text):
        text = text.replace(b"\\", b"\\\\")
        for plain, escaped in _ESCAPES.items():
            text = text.replace(plain, escaped)
    return text


class LogFile:
    """Appends whole lines to ``path`` and rotates it; errors of the file system are counted, never raised.

    ``max_size`` in bytes, 0 for no limit; ``max_file`` files are kept, the current one included. The only writer.
    """

    def __init__(self, path: str, max_size: int = 0, max_file: int = 1) -> None:
        self.path = path
        self.dropped_lines = 0
        self.dropped_bytes = 0
        self.error = ""
        self._max_size = max_size
        self._max_file = max(max_file, 1)
        self._fd = -1
        self._size = 0

    def write(self, lines: bytes) -> None:
        """Append ``lines`` (whole ones), rotating between two of them where the limit asks for it."""
        while lines:
            if self._fd < 0 and not self._open(self.path):
                return self.drop(lines)
            end = len(lines)
            if self._max_size and self._size + end > self._max_size:
                end = lines.rfind(b"\n", 0, max(self._max_size - self._size, 0)) + 1
                if not end and self._size:
                    if not self._rotate():
                        # Going on in the old file would outgrow the limit that protects the disk.
                        return self.drop(lines)
                    continue
                end = end or lines.find(b"\n") + 1  # a line that is longer than the limit gets a file of its own
            self._append(lines[:end])
            lines = lines[end:]
        return None

    def drop(self, lines: bytes) -> None:
        """Count lines that could not be kept."""
        self.dropped_lines += lines.count(b"\n")
        self.dropped_bytes += len(lines)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1

    def _append(self, lines: bytes) -> None:
        done = 0
        try:
            while done < len(lines):
                done += posix.write(self._fd, lines[done:] if done else lines)
        except OSError as error:
            self.error = f"write {self.path}: {error.strerror}"
            whole = lines.rfind(b"\n", 0, done) + 1
            self.drop(lines[whole:])
            self._cut(done - whole)
            done = whole
        self._size += done

    def _cut(self, torn: int) -> None:
        """Take the last ``torn`` bytes off the file again: a line that the disk had no room for."""
        if not torn:
            return
        try:
            posix.ftruncate(self._fd, posix.fstat(self._fd).st_size - torn)
        except OSError:
            # Opening it again cuts what is torn, or fails again and drops.
            self.close()

    def _open(self, path: str) -> bool:
        try:
            fd = posix.open(
                path, posix.O_RDWR | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o600
            )
            try:
                size = _cut_torn_end(fd)
            except BaseException:
                posix.close(fd)
                raise
        except OSError as error:
            self.error = f"open {path}: {error.strerror}"
            return False
        self.close()
        self._fd, self._size = fd, size
        return True

    def _rotate(self) -> bool:
        """Begin a new file. The new one is opened first: when that fails, nothing has been renamed."""
        new = self.path + ".new"
        try:
            _remove(new)
            if not self._open(new):
                return False
            for number in range(self._max_file - 1, 0, -1):
                older = self.path if number == 1 else f"{self.path}.{number - 1}"
                try:
                    posix.rename(older, f"{self.path}.{number}")
                except FileNotFoundError:
                    continue
            posix.rename(new, self.path)
        except OSError as error:
            self.error = f"rotate {self.path}: {error.strerror}"
            self.close()  # the next write begins again with whatever bears the name then
            return False
        return True


def _remove(path: str) -> None:
    try:
        posix.unlink(path)
    except FileNotFoundError:
        pass


def _cut_torn_end(fd: int) -> int:
    """Cut off a last line that a power cut left torn, and return the size of the file."""
    size = posix.fstat(fd).st_size
    end = size
    while end > 0:
        begin = max(end - MAX_PIECE, 0)
        newline = posix.pread(fd, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            end = begin + newline + 1
            break
        end = begin
    if end != size:
        posix.ftruncate(fd, end)
    return end
