"""The log of a container: lines are never torn, lost only where that is counted, and read across rotation."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.engine import logs
from pycontain.engine.logfile import MAX_PIECE, Encoder, LogFile
from pycontain.engine.logs import LogOptions
from pycontain.engine.logwriter import LogWriter
from pycontain.errors import UsageError

NOW = 1_769_903_999_000_000_001


def records(data: bytes) -> list[dict[str, str]]:
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.splitlines()]


def encoded(*chunks: bytes) -> list[dict[str, str]]:
    encoder = Encoder("stdout")
    data = b"".join(piece for chunk in chunks for piece in encoder.feed(chunk, NOW))
    return records(data + encoder.flush(NOW))


def line(text: str, number: int = 0) -> bytes:
    return b"".join(Encoder("stdout").feed(text.encode() + b"\n", NOW + number))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_any_output_comes_back(chunks: list[bytes]) -> None:
    texts = [record["log"] for record in encoded(*chunks)]
    assert all(text.count("\n") <= 1 for text in texts)
    assert "".join(texts) == b"".join(chunks).decode("utf-8", "replace")


@given(st.text(alphabet='a\\"\n\r\t\x00\x1b\x7f\u2028é😀', max_size=200))
def test_any_text_comes_back(text: str) -> None:
    assert "".join(record["log"] for record in encoded(text.encode())) == text


def test_a_line_is_as_docker_writes_it() -> None:
    data = b"".join(Encoder("stderr").feed(b'say "hi"\\\t\x01\n', NOW))
    assert (
        data == b'{"log":"say \\"hi\\"\\\\\\t\\u0001\\n","stream":"stderr","time":"2026-01-31T23:59:59.000000001Z"}\n'
    )


def test_long_lines_are_cut_between_characters_and_flagged() -> None:
    text = "x" + "é" * MAX_PIECE
    pieces = encoded(text.encode() + b"\nnext\n")
    assert "".join(piece["log"] for piece in pieces) == text + "\nnext\n"
    assert [piece.get("partial") for piece in pieces] == [True, True, None, None]
    assert all("\ufffd" not in piece["log"] for piece in pieces)
    assert len(pieces[0]["log"].encode()) == MAX_PIECE - 1


def test_a_line_of_exactly_one_piece_is_whole() -> None:
    assert [piece.get("partial") for piece in encoded(b"x" * (MAX_PIECE - 1) + b"\n")] == [None]
    assert [len(piece["log"]) for piece in encoded(b"x" * MAX_PIECE)] == [MAX_PIECE]


def test_rotation_keeps_the_newest_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    size = len(line("0000"))
    file = LogFile(str(path), max_size=size * 3, max_file=3)
    for number in range(20):
        file.write(line(f"{number:04}"))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    kept = [records((tmp_path / name).read_bytes()) for name in ("log.2", "log.1", "log")]
    assert [[int(one["log"]) for one in each] for each in kept] == [[12, 13, 14], [15, 16, 17], [18, 19]]
    assert (file.dropped_lines, file.error) == (0, "")


def test_one_write_is_cut_between_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path), max_size=300, max_file=100)
    file.write(b"".join(line(f"{number:04}") for number in range(100)))
    sizes = [one.stat().st_size for one in tmp_path.iterdir()]
    assert max(sizes) <= 300
    assert sum(len(records(one.read_bytes())) for one in tmp_path.iterdir()) == 100


def test_a_line_longer_than_the_limit_gets_a_file(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), max_size=100, max_file=3)
    for text in ("a", "b" * 500, "c"):
        file.write(line(text))
    assert [len(records((tmp_path / name).read_bytes())) for name in ("log.2", "log.1", "log")] == [1, 1, 1]


def test_one_file_only(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), max_size=200, max_file=1)
    for number in range(50):
        file.write(line(f"{number:04}"))
    assert [one.name for one in tmp_path.iterdir()] == ["log"]
    assert records((tmp_path / "log").read_bytes())[-1]["log"] == "0049\n"


def test_a_torn_end_is_cut_off_when_the_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line("whole") + b'{"log":"to')
    LogFile(str(path)).write(line("next"))
    assert [one["log"] for one in records(path.read_bytes())] == ["whole\n", "next\n"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    file = LogFile(str(tmp_path / "log"))
    file.write(line("x"))
    assert file.dropped_lines == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_directory_is_counted(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "no" / "log"))
    file.write(line("x") * 3)
    assert (file.dropped_lines, file.dropped_bytes) == (3, 3 * len(line("x")))
    assert "no such file" in file.error.lower()


FULL_DISK = """
import os, sys
sys.path[:0] = {path!r}
from pycontain.engine.logfile import LogFile
from pycontain.kernel import _sys
_sys.unshare(0x20000)
_sys.mount(None, "/", None, 0x44000, None)
_sys.mount("tmpfs", {directory!r}, "tmpfs", 0, "size=64k")
file = LogFile({directory!r} + "/log", {max_size}, 3)
line = b'{{"log":"' + b"x" * 1000 + b'\\\\n","stream":"stdout","time":"t"}}\\n'
for n in range(40):
    file.write(line * 3)
    if n == 30:
        for name in os.listdir({directory!r}):
            if name != "log":
                os.unlink({directory!r} + "/" + name)
total = 0
for name in sorted(os.listdir({directory!r})):
    data = open({directory!r} + "/" + name, "rb").read()
    assert data == line * (len(data) // len(line)), (name, len(data))
    total += len(data) // len(line)
print(total, file.dropped_lines, file.dropped_bytes == file.dropped_lines * len(line), file.error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("max_size", [0, 20_000, 50_000])
def test_a_full_disk_tears_no_line(tmp_path: Path, max_size: int) -> None:
    script = FULL_DISK.format(path=sys.path, directory=str(tmp_path), max_size=max_size)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    kept, dropped, exact, *error = done.stdout.split(maxsplit=3)
    assert int(kept) > 10
    assert exact == "True"
    if max_size == 20_000:  # three files of this size fit
        assert (dropped, error) == ("0", [])
    else:
        assert int(dropped) > 0
        assert "No space left" in error[0]


def test_a_full_device_is_counted() -> None:
    file = LogFile("/dev/full")
    file.write(line("x") * 10)
    assert file.dropped_lines == 10


def show(path: Path, **options: object) -> list[str]:
    return [one.text for one in logs.read(str(path), LogOptions(**options), lambda: True)]


def write_rotated(directory: Path, count: int) -> Path:
    path = directory / "container.log"
    file = LogFile(str(path), max_size=400, max_file=100)
    for number in range(count):
        file.write(line(f"{number}", number))
    return path


def test_reading_across_files(tmp_path: Path) -> None:
    path = write_rotated(tmp_path, 50)
    assert show(path) == [f"{number}\n" for number in range(50)]
    assert show(path, follow=True) == [f"{number}\n" for number in range(50)]


@pytest.mark.parametrize("tail", [0, 1, 4, 5, 6, 11, 49, 50, 51, 1000])
def test_the_tail(tmp_path: Path, tail: int) -> None:
    path = write_rotated(tmp_path, 50)
    wanted = [f"{number}\n" for number in range(50)][-tail:] if tail else []
    assert show(path, tail=tail) == wanted
    assert show(path, tail=tail, follow=True) == wanted


def test_since_and_until(tmp_path: Path) -> None:
    path = write_rotated(tmp_path, 50)
    bounds = {name: f"2026-01-31T23:59:59.{1 + n:09}Z" for name, n in (("since", 10), ("until", 12))}
    assert show(path, **bounds) == ["10\n", "11\n", "12\n"]


def test_a_clock_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(line("early", 1) + line("late", 9) + line("early again", 2))
    assert show(path, until="2026-01-31T23:59:59.000000005Z") == ["early\n", "early again\n"]


def test_reading_ends_although_somebody_goes_on_writing(tmp_path: Path) -> None:
    """A container may write faster than anybody reads."""
    path = tmp_path / "container.log"
    file = LogFile(str(path))
    file.write(line("0", 0))
    seen = []
    for count, one in enumerate(logs.read(str(path), LogOptions(), lambda: False), 1):
        seen.append(one.text)
        file.write(line(f"{count}", count))
        assert count < 100
    assert seen == ["0\n"]


def test_following_until_a_time_ends_although_somebody_goes_on_writing(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    file = LogFile(str(path))
    for number in range(10):
        file.write(line(f"{number}", number))
    options = LogOptions(follow=True, until="2026-01-31T23:59:59.000000003Z")
    assert [one.text for one in logs.read(str(path), options, lambda: False)] == ["0\n", "1\n", "2\n"]


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(line("a") + b"rubbish\n{}\n[1]\n" + line("b") + b'{"log":"to')
    assert show(path) == ["a\n", "b\n"]


def test_no_log_yet(tmp_path: Path) -> None:
    assert show(tmp_path / "container.log") == []
    assert show(tmp_path / "container.log", follow=True) == []


def test_following_under_rotation_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    count, over = 20_000, threading.Event()

    def write() -> None:
        file = LogFile(str(path), max_size=100_000, max_file=50)
        for number in range(0, count, 10):
            file.write(b"".join(line(f"{number + one}") for one in range(10)))
            if number % 1000 == 0:
                time.sleep(0.002)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    got = [int(one.text) for one in logs.read(str(path), LogOptions(follow=True), over.is_set)]
    writer.join()
    assert got == list(range(count))


class InTurn:
    """A thread that does one step of its work whenever it is told to; ``pause`` is called between its steps."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._work = work
        self.over = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self._go.acquire()
        self._work()
        self.over = True
        self._done.release()

    def pause(self) -> None:
        self._done.release()
        self._go.acquire()

    def step(self) -> None:
        if not self.over:
            self._go.release()
            self._done.acquire()


@pytest.mark.parametrize("every", [1, 4, 7])
@pytest.mark.parametrize("follow", [True, False])
def test_rotation_between_two_looks_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, follow: bool
) -> None:
    """The writer renames one file at every so many-th look of the reader at a name."""
    path = str(tmp_path / "container.log")
    begun, count = 10, 20
    file = LogFile(path, max_size=2 * len(line("10")), max_file=1000)
    for number in range(begun):
        file.write(line(f"{number}"))

    def write() -> None:
        for number in range(begun, count):
            file.write(line(f"{number}"))

    writer = InTurn(write)
    rename, looks = os.rename, itertools.count(1)

    def slow_rename(old: str, new: str) -> None:
        writer.pause()
        rename(old, new)

    def look(function: Callable[[str], Any]) -> Callable[[str], Any]:
        def looking(name: str) -> Any:
            if not next(looks) % every:
                writer.step()
            return function(name)

        return looking

    monkeypatch.setattr("posix.rename", slow_rename)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    for name in ("_open", "_inode_of"):
        monkeypatch.setattr(logs, name, look(getattr(logs, name)))
    got = [int(one.text) for one in logs.read(path, LogOptions(follow=follow), lambda: writer.over)]
    while not writer.over:
        writer.step()
    writer.thread.join()
    assert got == list(range(len(got)))
    assert len(got) == count if follow else len(got) >= begun


def test_a_hanging_disk_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    keeper = os.open(tmp_path / "log", os.O_RDWR)
    writer = LogWriter(LogFile(str(tmp_path / "log")), 0.2)
    lines = line("x" * 1000) * 64
    began = time.monotonic()
    kept = 0
    while not writer.full:
        writer.put(lines)
        kept += len(lines)
    time.sleep(writer.patience_s() + 0.05)
    assert not writer.full
    writer.put(lines)
    assert writer.dropped_lines == 64
    assert not writer.finish()
    assert time.monotonic() - began < 3
    while kept:
        kept -= len(os.read(keeper, 1 << 20))
    assert writer.finish()
    os.close(keeper)


def test_lines_wait_for_a_thread_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user may have no more processes at the moment; that must not end the container."""

    def failing(*_arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    writer = LogWriter(LogFile(str(tmp_path / "log")), 5)
    monkeypatch.setattr("_thread.start_new_thread", failing)
    writer.put(line("one"))
    writer.put(line("two"))
    monkeypatch.undo()
    assert writer.finish()
    assert (tmp_path / "log").read_bytes() == line("one") + line("two")


def test_the_writer_keeps_the_order(tmp_path: Path) -> None:
    writer = LogWriter(LogFile(str(tmp_path / "log")), 5)
    for number in range(5000):
        writer.put(line(str(number)))
    assert writer.finish()
    assert [int(one["log"]) for one in records((tmp_path / "log").read_bytes())] == list(range(5000))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1769903999", "2026-01-31T23:59:59.000000000Z"),
        ("1769903999.5", "2026-01-31T23:59:59.500000000Z"),
        ("2026-01-31T23:59:59Z", "2026-01-31T23:59:59.000000000Z"),
        ("2026-01-31T23:59:59.123456789Z", "2026-01-31T23:59:59.123456789Z"),
        ("2026-02-01T01:59:59.25+02:00", "2026-01-31T23:59:59.250000000Z"),
        ("10m", "2026-01-31T23:49:59.000000001Z"),
        ("1h30m", "2026-01-31T22:29:59.000000001Z"),
    ],
)
def test_times(text: str, wanted: str) -> None:
    assert logs.parse_time("--since", text, NOW) == wanted


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "10 parsecs", "-", "2026-01-31T23:59:59.Z", "1.2.3"])
def test_no_times(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        logs.parse_time("--since", text, NOW)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5"])
def test_no_tail(text: str) -> None:
    with pytest.raises(UsageError, match="--tail"):
        logs.parse_tail(text)
