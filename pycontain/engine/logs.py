"""``logs``: reads what a monitor writes, across rotated files, and follows it until the container has ended.

Files are read oldest first. While following, a file is read to its end before the next one: the writer never goes back
to a file that it has renamed, so a file whose name is another's now is complete. Damaged lines are passed over.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

from pycontain.errors import PycontainError, UsageError, WrongState
from pycontain.record import Record
from pycontain.runtime import processes
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import MONITORED, STOPPED, Entry, Store
from pycontain.sizes import parse_duration_ns

_BLOCK = 64 * 1024
_POLL_S = 0.05
_POLL_SLOW_S = 0.2
_GATHERED = 500
# a log's files may have that many free names between them: one that rotation frees, more when somebody removed files
_FREE_NAMES = 2
# how often rotation may come between before the answer is that nothing is certain yet
_LOOKS = 100


class Line(NamedTuple):
    """One record of a log. ``time`` is RFC 3339 in UTC with nine digits, so that texts compare as times do."""

    text: str
    stream: str
    time: str
    partial: bool = False


class LogOptions(Record):
    """What to show. ``tail`` -1 is everything; ``since`` and ``until`` are as in :class:`Line`, "" for no bound."""

    follow: bool = False
    tail: int = -1
    since: str = ""
    until: str = ""
    timestamps: bool = False


def parse_tail(text: str) -> int:
    """Return ``all`` or a number of lines.

    Raises:
        UsageError: neither.
    """
    if text == "all":
        return -1
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--tail: {text!r} is not a number", hint="how many lines, or all")
    return int(text)


def parse_time(option: str, text: str, now_ns: int) -> str:
    """Return a moment as in :class:`Line`, from a date, a time, seconds since 1970, or a duration before now (``10m``).

    Raises:
        UsageError: none of these.
    """
    if not text:
        return ""
    seconds, dot, fraction = text.partition(".")
    if seconds.isdigit() and text.isascii() and (fraction.isdigit() or not dot) and len(seconds) < 12:
        return _stamp(int(seconds) * 10**9 + int((fraction + "0" * 9)[:9]))
    if text[0].isdigit() and "-" in text:
        return _parse_date(option, text)
    try:
        return _stamp(now_ns - parse_duration_ns(option, text))
    except UsageError:
        raise _no_time(option, text) from None


def _parse_date(option: str, text: str) -> str:
    from datetime import datetime, timedelta, timezone

    plain = text.replace(" ", "T", 1).replace("Z", "+00:00").replace("z", "+00:00")
    head, dot, rest = plain.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        moment = datetime.fromisoformat(head + rest[len(digits) :])
        utc = moment.astimezone(timezone(timedelta(0)))
    except (ValueError, OverflowError):
        raise _no_time(option, text) from None
    if dot and not digits:
        raise _no_time(option, text)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{(digits + '0' * 9)[:9]}Z"


def _no_time(option: str, text: str) -> UsageError:
    return UsageError(
        f"{option}: {text!r} is not a time",
        hint="2026-01-31, 2026-01-31T23:59:59Z, 1769903999, or 10m for 10 minutes ago",
    )


def _stamp(time_ns: int) -> str:
    second, fraction = divmod(max(time_ns, 0), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{fraction:09d}Z"


def show(settings: Settings, reference: str, options: LogOptions) -> None:
    """Write a container's log to standard output and standard error, as the container wrote it.

    Raises:
        NotFound: no such container.
        WrongState: it keeps no log.
    """
    entry = Store(settings).find(reference)
    state = entry.load()
    if state.options.get("log", {}).get("driver") != "json-file" or state.shape != MONITORED:
        raise WrongState(
            f"container {reference} keeps no log",
            hint="run it with -d, or without --rm, and with --log-driver json-file",
        )
    begun = {"stdout": True, "stderr": True}
    out = _Out(held=not options.follow)
    for line in read(log_path(settings, entry.id), options, lambda: _over(entry, options)):
        prefix = f"{line.time} " if options.timestamps and begun[line.stream] else ""
        begun[line.stream] = line.text.endswith("\n")
        out.put(2 if line.stream == "stderr" else 1, prefix + line.text)
    out.flush()


def log_path(settings: Settings, container_id: str) -> str:
    """Return where a container's newest log file is."""
    return f"{settings.data}/logs/{container_id}/container.log"


class _Out:
    """Writes to standard output and error in their common order; ``held`` gathers what goes to the same one."""

    def __init__(self, *, held: bool) -> None:
        self._held = held
        self._fd = 1
        self._texts: list[str] = []

    def put(self, fd: int, text: str) -> None:
        if fd != self._fd:
            self.flush()
            self._fd = fd
        self._texts.append(text)
        if not self._held or len(self._texts) >= _GATHERED:
            self.flush()

    def flush(self) -> None:
        data = "".join(self._texts).encode("utf-8", "surrogatepass")
        self._texts = []
        while data:
            data = data[os.write(self._fd, data) :]


def _over(entry: Entry, options: LogOptions) -> bool:
    """Return whether following has an end here."""
    past = bool(options.until) and _stamp(time.time_ns()) > options.until
    return past or _ended(entry) or _reader_gone()


def _reader_gone() -> bool:
    """Return whether nobody reads our standard output any more: ``logs -f … | grep -q …`` ends with grep."""
    poll = select.poll()
    poll.register(1, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _ended(entry: Entry) -> bool:
    """Return whether nothing more will come: the container has ended and its log is complete, or is gone."""
    try:
        state = entry.load()
    except PycontainError:
        return True
    return state.status == STOPPED or not processes.is_alive(state.monitor_pid, state.monitor_start)


def read(path: str, options: LogOptions, ended: Callable[[], bool]) -> Iterator[Line]:
    """Yield the lines that ``options`` ask for: those that are there now, or when following also those that come.

    Following ends when ``ended`` says so and everything has been read.
    """
    files = _open_all(path)
    try:
        if options.tail >= 0:
            files = _seek_tail(files, options.tail)
        follower = _follow(path, files, ended) if options.follow else _complete_lines(files)
        for data in follower:
            line = _parse(data)
            if line is None or line.time < options.since:
                continue
            if not options.until or line.time <= options.until:
                yield line
            elif options.follow:
                return  # one that writes without a pause has no end that could be waited for
            # otherwise earlier lines may come after later ones: the clock was set back
    finally:
        for file in files:
            file.close()


def _open_all(path: str) -> list[IO[bytes]]:
    """Return the files of a log, oldest first, opened."""
    files: list[IO[bytes]] = []
    file = _oldest(path)
    while file is not None:
        files.append(file)
        file = _after(path, file)
    return files


# Rotation (LogFile._rotate) goes from the oldest file to the newest and gives each the next higher name; one name on
# its way is free at any moment, at last the newest. So a file never gets a lower name, and while it keeps its own,
# those with lower names keep theirs: what was looked up by number is right if the number still holds afterwards.


def _oldest(path: str) -> IO[bytes] | None:
    """Return the oldest file, opened. Files move up, as this search does: it can overtake none."""
    file: IO[bytes] | None = None
    number = free = 0
    while free <= _FREE_NAMES:
        found = _open(_numbered(path, number))
        if found is None:
            free += 1
        else:
            free = 0
            if file is not None:
                file.close()
            file = found
        number += 1
    return file


def _after(path: str, file: IO[bytes]) -> IO[bytes] | None:
    """Return the file that was begun after ``file`` had been ended, opened; None while ``file`` is the newest.

    When rotation has removed ``file`` already, it is the oldest one that is left: those between are gone.
    """
    inode = os.fstat(file.fileno()).st_ino
    for _ in range(_LOOKS):
        number = _number_of(path, inode)
        if number < 0:
            break
        newer = number - 1
        found = None
        while newer >= 0 and found is None:
            found = _open(_numbered(path, newer))
            newer -= 1
        between = range(newer + 2, number)
        if _inode_of(_numbered(path, number)) == inode and all(_inode_of(_numbered(path, one)) < 0 for one in between):
            return found
        if found is not None:
            found.close()
    return _oldest(path) if number < 0 else None


def _number_of(path: str, inode: int) -> int:
    """Return which number a file bears, 0 for the newest, -1 for none. It moves up, as this search does."""
    number = free = 0
    while free <= _FREE_NAMES:
        seen = _inode_of(_numbered(path, number))
        if seen == inode:
            return number
        free = free + 1 if seen < 0 else 0
        number += 1
    return -1


def _numbered(path: str, number: int) -> str:
    return f"{path}.{number}" if number else path


def _open(path: str) -> IO[bytes] | None:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


def _seek_tail(files: list[IO[bytes]], count: int) -> list[IO[bytes]]:
    """Position the files so that ``count`` lines are left, and return those that have any."""
    for index in range(len(files) - 1, -1, -1):
        file = files[index]
        position = file.seek(0, os.SEEK_END)
        while position and count >= 0:
            begin = max(position - _BLOCK, 0)
            file.seek(begin)
            block = file.read(position - begin)
            while count >= 0:
                newline = block.rfind(b"\n")
                if newline < 0:
                    break
                block = block[:newline]
                count -= 1
                if count < 0:
                    file.seek(begin + newline + 1)
                    return _close_before(files, index)
            position = begin
        file.seek(0)
    return files


def _close_before(files: list[IO[bytes]], index: int) -> list[IO[bytes]]:
    for file in files[:index]:
        file.close()
    return files[index:]


def _complete_lines(files: list[IO[bytes]]) -> Iterator[bytes]:
    """Yield the lines that are in the files now: a container may write faster than anybody reads."""
    sizes = [os.fstat(file.fileno()).st_size for file in files]
    for file, size in zip(files, sizes, strict=True):
        position = file.tell()
        for data in file:
            position += len(data)
            if position > size:
                break
            if data.endswith(b"\n"):
                yield data


def _follow(path: str, files: list[IO[bytes]], ended: Callable[[], bool]) -> Iterator[bytes]:
    """Yield lines as they come; ``files`` grows by the files that rotation makes, so that its owner closes them."""
    pending = b""
    index = 0
    pause_s = _POLL_S
    while True:
        # asked before reading: what was written before the end is read after it
        over = ended()
        while index < len(files):
            newer = index + 1 < len(files)
            block = files[index].read(_BLOCK)
            if block:
                pause_s = _POLL_S
                *lines, pending = (pending + block).split(b"\n")
                yield from lines
            elif newer:
                files[index].close()
                index += 1
                pending = b""
            else:
                break
        newest = _after(path, files[-1]) if files else _oldest(path)
        if newest is not None:
            files.append(newest)
        elif over:
            return
        else:
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _POLL_SLOW_S)


def _inode_of(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return -1


def _parse(data: bytes) -> Line | None:
    """Return the record of one line of the file, or None when it is damaged."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    text, stream, moment = document.get("log"), document.get("stream"), document.get("time")
    if not isinstance(text, str) or not isinstance(moment, str) or stream not in ("stdout", "stderr"):
        return None
    return Line(text, stream, moment, document.get("partial") is True)
