"""Files of a root are read without touching what is no file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontain.engine import rootfiles, volumecopy
from pycontain.errors import UsageError


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


def test_a_file_is_read_through_links_of_the_root(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc" / "real").write_text("content")
    (tmp_path / "etc" / "passwd").symlink_to("/etc/real")
    assert rootfiles.read(root, "etc/passwd") == b"content"


def test_what_is_no_file_is_not_even_opened(root: int, tmp_path: Path) -> None:
    """Opening a device is an act; a FIFO shows that nobody did: who waits to write into it goes on waiting."""
    fifo = tmp_path / "etc" / "passwd"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: os.close(os.open(fifo, os.O_WRONLY)))
    writer.start()
    try:
        for _ in range(50):
            assert rootfiles.read(root, "etc/passwd") == b""
        writer.join(0.1)
        assert writer.is_alive()
    finally:
        os.close(os.open(fifo, os.O_RDONLY))
        writer.join()


def test_a_file_that_is_too_large_is_refused(root: int, tmp_path: Path) -> None:
    with (tmp_path / "etc" / "passwd").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        rootfiles.read(root, "etc/passwd")


def test_holes_are_not_copied_into_a_volume(tmp_path: Path) -> None:
    source, target = tmp_path / "root" / "data", tmp_path / "volume"
    source.mkdir(parents=True)
    target.mkdir()
    with (source / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(1 << 40)
        file.write(b"end")
        file.truncate(1 << 41)
    (source / "hole").touch()
    os.truncate(source / "hole", 1 << 40)
    (source / "full").write_bytes(bytes(range(256)) * 40_000)
    volumecopy.copy_up(str(tmp_path / "root"), "/data", str(target))
    for name in ("sparse", "hole", "full"):
        assert (target / name).stat().st_size == (source / name).stat().st_size
        assert (target / name).stat().st_blocks <= (source / name).stat().st_blocks + 64
    assert (target / "full").read_bytes() == (source / "full").read_bytes()
    with (target / "sparse").open("rb") as file:
        assert file.read(5) == b"begin"
        file.seek(1 << 40)
        assert file.read(3) == b"end"
