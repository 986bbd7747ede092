"""The manual is up to date, well formed, and speaks of nothing that is not there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.documents import REPOSITORY, documents, fences, matches

PAGES = sorted((REPOSITORY / "man").glob("*.[1-8]"))
TOOL = REPOSITORY / "tools" / "man.py"

#: Options in the documents that are other programs', or a mistake that is shown.
FOREIGN = {
    "--memroy": "a mistake",
    "--add-subgids": "usermod",
    "--add-subuids": "usermod",
    "--rootfs": "podman",
    "--runc-binary": "ctr",
    "--runtime": "podman",
    "--strict": "mypy",
    "--volatile": "systemd-nspawn",
}


def own_options() -> set[str]:
    """Return every option that a page describes."""
    found = {"--help"}
    for page in PAGES:
        for line in page.read_text().splitlines():
            if line.startswith((r"\fB\-\-", r"\fB\-")):
                found |= {name.replace(r"\-", "-") for name in re.findall(r"\\fB(\\-\\-[\w\\-]+)\\fR", line)}
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, cwd=REPOSITORY)


def test_pages_are_up_to_date() -> None:
    """The tool also refuses an option or a command that is not described, and a description of what is not there."""
    done = run(sys.executable, str(TOOL), "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_groff_has_nothing_to_warn_of(page: Path) -> None:
    if not shutil.which("man"):
        pytest.skip("this host lacks program:man")
    assert run("man", "--warnings=w", "-E", "UTF-8", "-l", str(page)).stderr == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_has_nothing_to_warn_of(page: Path) -> None:
    if not shutil.which("mandoc"):
        pytest.skip("this host lacks program:mandoc")
    assert run("mandoc", "-Tlint", "-Wwarning", str(page)).stdout == ""


def named(pattern: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield document and groups of every match in every document."""
    for path in documents():
        for match in re.finditer(pattern, path.read_text()):
            yield str(path.relative_to(REPOSITORY)), match.groups()


def test_pages_that_are_named_exist() -> None:
    pages = {page.name for page in PAGES}
    found = named(r"\b(pycontain[\w-]*)\((\d)\)")
    assert [one for one in found if ".".join(one[1]) not in pages] == []


def test_options_that_are_named_exist() -> None:
    known = own_options() | set(FOREIGN)
    assert [one for one in named(r"(?<![\w-])(--[a-z][\w-]+)") if one[1][0] not in known] == []


def test_links_lead_somewhere() -> None:
    found = named(r"\]\((?!https?://|#)([^)\s#]+)")
    assert [one for one in found if not (REPOSITORY / one[0]).parent.joinpath(one[1][0]).exists()] == []


def test_files_that_are_named_exist() -> None:
    found = named(r"`((?:pycontain|tests|tools|images|man)/[\w./-]+)`")
    built = "images/busybox/rootfs", "images/debian/rootfs"
    assert [one for one in found if not (REPOSITORY / one[1][0]).exists() and one[1][0] not in built] == []


def test_commands_that_are_not_run_are_make_targets() -> None:
    """What stands in a block of the kind ``sh`` installs things and is not run here, but it must be there."""
    targets = set(re.findall(r"^([a-z][\w-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    blocks = [lines for path in documents() for _, information, lines in fences(path) if information == "sh"]
    commands = [line.partition("#")[0].split() for lines in blocks for line in lines]
    assert commands
    assert [words for words in commands if words[0] != "make" or not targets.issuperset(words[1:])] == []


@pytest.mark.parametrize(
    ("expected", "printed", "true"),
    [
        (["a", "...", "d"], ["a", "b", "c", "d"], True),
        (["...", "d"], ["d"], True),
        (["a ... c"], ["a  b c"], True),
        (["a"], [], False),
        ([], ["a"], False),
        (["..."], [], True),
        (["a", "..."], ["b"], False),
    ],
)
def test_matching(expected: list[str], printed: list[str], true: bool) -> None:
    assert matches(expected, printed) is true
