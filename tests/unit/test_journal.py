"""The write-ahead journal: what is intended is in the file before anything is made, and survives a killed writer."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.errors import StoreError
from pycontain.runtime import journal
from pycontain.runtime.journal import Journal


def test_an_intent_can_be_withdrawn(tmp_path: Path) -> None:
    written = Journal(str(tmp_path))
    for path in ("/a", "/b\t", "/a"):
        written.intend(journal.RDT, path)
    written.withdraw(journal.RDT, "/b\t")
    written.withdraw(journal.RDT, "/c")
    written.withdraw(journal.RDT, "/a")
    assert written.load() == [(journal.RDT, "/a")]


def test_intents_come_back_in_order(tmp_path: Path) -> None:
    written = Journal(str(tmp_path))
    written.intend(journal.NAME, "kind_lion")
    written.intend(journal.CGROUP, "/sys/fs/cgroup/pycontain/1")
    written.intend(journal.PROCESS, "17", "4711")
    expected = [("name", "kind_lion"), ("cgroup", "/sys/fs/cgroup/pycontain/1"), ("process", "17", "4711")]
    assert Journal(str(tmp_path)).load() == expected


def test_without_a_file_there_are_no_intents(tmp_path: Path) -> None:
    assert Journal(str(tmp_path)).load() == []


def test_intent_is_in_the_file_when_intend_returns(tmp_path: Path) -> None:
    written = Journal(str(tmp_path))
    written.intend(journal.USERNS, "524288")
    assert Path(written.path).read_bytes() == b"userns\t524288\n"
    assert os.stat(written.path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kept", range(len("directory\t/var/lib/x\n")))
def test_torn_last_line_is_left_out(tmp_path: Path, kept: int) -> None:
    """A writer killed within its write leaves any beginning of the line, even one that reads like a whole path."""
    written = Journal(str(tmp_path))
    written.intend(journal.NAME, "n")
    whole = Path(written.path).read_bytes()
    Path(written.path).write_bytes(whole + b"directory\t/var/lib/x\n"[:kept])
    assert written.load() == [("name", "n")]


def test_a_torn_line_is_followed_by_whole_ones(tmp_path: Path) -> None:
    """The next writer's intent must not be lost in the line that the last one left unfinished."""
    written = Journal(str(tmp_path))
    Path(written.path).write_bytes(b"name\tn\ndirectory\t/var/li")
    written.intend(journal.CGROUP, "/c")
    loaded = written.load()
    assert loaded[0] == ("name", "n")
    assert loaded[-1] == ("cgroup", "/c")
    assert ("directory", "/var/li") not in loaded


# whatever a path or name may hold: any bytes but NUL, bytes that are no UTF-8 as surrogates
WORDS = st.lists(st.binary(max_size=30).map(lambda data: os.fsdecode(data.replace(b"\0", b"\t"))), min_size=1)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_words_may_hold_anything(intents: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        written = Journal(directory)
        for words in intents:
            written.intend(journal.DIRECTORY, *words)
        assert written.load() == [(journal.DIRECTORY, *words) for words in intents]
        assert Path(written.path).read_bytes().count(b"\n") == len(intents)


@pytest.mark.parametrize("word", ["%0A", "%250A", "%", "a\tb", "a\nb", "\t\n%", "%25"])
def test_escapes_are_undone_once(tmp_path: Path, word: str) -> None:
    written = Journal(str(tmp_path))
    written.intend(journal.DIRECTORY, word)
    assert written.load() == [("directory", word)]


def test_intent_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file or directory"):
        Journal(str(tmp_path / "gone")).intend(journal.NAME, "n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_file_system_is_an_error(tmp_path: Path) -> None:
    written = Journal(str(tmp_path))
    os.symlink("/dev/full", written.path)
    with pytest.raises(StoreError, match="no space left"):
        written.intend(journal.NAME, "n")
