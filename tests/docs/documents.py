"""The documents as the tests see them: transcripts with their commands, links, and names of options and pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ANY = "..."


@dataclass
class Command:
    """One command of a transcript and the lines that it is said to print; ``...`` stands for any text or any lines."""

    text: str
    expected: list[str] = field(default_factory=list)


@dataclass
class Transcript:
    """A fenced block of a document that shows a terminal; ``words`` stand behind ``console``."""

    document: str
    line: int
    words: tuple[str, ...]
    commands: list[Command]

    @property
    def needs(self) -> list[str]:
        """Return the abilities of the host without which it cannot be run."""
        return [word.removeprefix("needs=") for word in self.words if word.startswith("needs=")]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[Path]:
    """Return every document that people write."""
    return [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "man" / "source").glob("*.md"))]


def fences(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Yield line number, information and lines of each fenced block."""
    number, lines = 0, path.read_text(encoding="utf-8").splitlines()
    while number < len(lines):
        if lines[number].startswith("```"):
            begin, information = number, lines[number][3:].strip()
            number += 1
            while not lines[number].startswith("```"):
                number += 1
            yield begin + 1, information, lines[begin + 1 : number]
        number += 1


def transcripts() -> list[Transcript]:
    """Return every transcript of every document."""
    found = []
    for path in documents():
        for line, information, lines in fences(path):
            kind, *words = information.split() or [""]
            if kind == "console":
                name = str(path.relative_to(REPOSITORY))
                found.append(Transcript(name, line, tuple(words), list(_commands(lines))))
    return found


def _commands(lines: list[str]) -> Iterator[Command]:
    current: Command | None = None
    for line in lines:
        if line.startswith("$ "):
            if current is not None:
                yield current
            current = Command(line[2:])
        elif current is not None and current.text.endswith("\\"):
            current.text += "\n" + line.removeprefix("> ")
        else:
            assert current is not None, f"{line!r} stands before the first command"
            current.expected.append(line)
    if current is not None:
        yield current


def matches(expected: list[str], printed: list[str]) -> bool:
    """Tell whether lines are those that were expected; a line of nothing but ``...`` stands for any number of lines."""
    if not expected:
        return not printed
    first, *others = expected
    if first.strip() == ANY:
        return any(matches(others, printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and fits(first, printed[0]) and matches(others, printed[1:])


def fits(pattern: str, text: str) -> bool:
    """Tell whether a text is what a pattern says, where ``...`` stands for any text and runs of white space are one."""
    words = re.escape(" ".join(pattern.split())).replace(re.escape(ANY), ".*")
    return re.fullmatch(words, " ".join(text.split()), re.DOTALL) is not None


def table(path: Path, head: str) -> list[list[str]]:
    """Return the rows of the table whose first line begins with ``head``, as cells without the marks of code."""
    rows: list[list[str]] = []
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith(head):
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    return rows
                cells = re.split(r"(?<!\\)\|", row)[1:-1]
                rows.append([cell.strip().strip("`").replace("\\|", "|") for cell in cells])
    return rows
