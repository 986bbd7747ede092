"""Files that are written as a whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pycontain.runtime.replacing import replace_file


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_content_and_mode(here: Path) -> None:
    for data in (b"first", b"the second one", b""):
        replace_file("file", data, 0o640)
        assert (here / "file").read_bytes() == data
    assert stat.S_IMODE((here / "file").stat().st_mode) == 0o640
    assert os.listdir(here) == ["file"]


def test_a_link_is_replaced_and_not_followed(here: Path) -> None:
    (here / "target").write_text("kept")
    (here / "link").symlink_to("target")
    replace_file(str(here / "link"), b"new")
    assert (here / "target").read_text() == "kept"
    assert not (here / "link").is_symlink()


def test_nothing_is_left_of_a_failure(here: Path) -> None:
    (here / "directory").mkdir()
    for path in ("directory", "missing/file"):
        with pytest.raises(OSError, match=r"directory|No such file"):
            replace_file(path, b"x")
    assert os.listdir(here) == ["directory"]
    assert list((here / "directory").iterdir()) == []
