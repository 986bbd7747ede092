"""Turns the markup of ``man/source`` into man(7): a small part of Markdown, so that sources read well as they are.

::

    # SECTION   ## Subsection   paragraphs   - item   term, then ": text"   ```fenced text```   | a | table |
    `literal` and **literal** are bold, *operand* is italic, a name(1) is bold; nothing else is special

Pages come out in ASCII: a few characters have names in roff, any other one is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

WIDTH = 78
# cells of a table: longer ones are filled, longer words in those may be broken
SHORT = 38
LONG = 20
_NAMED = {"—": r"\(em", "–": r"\(en", "→": r"\(->", "←": r"\(<-", "×": r"\(mu", "≥": r"\(>=", "≤": r"\(<=", "…": "..."}
_SPAN = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s](?:[^*]*[^*\s])?)\*|\b([a-z][\w.+-]*)\((\d)\)")
_JOINT = re.compile(r"(?<=\w)(\\-|=|/)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


class MarkupError(ValueError):
    """A source cannot be rendered; the text says where."""


def escape(text: str, *, literal: bool = False) -> str:
    """Return text for the middle of a roff line; in ``literal`` text a hyphen is a minus, which can be copied."""
    text = text.replace("\\", r"\e")
    if literal:
        text = text.replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga").replace("^", r"\(ha")
        text = text.replace("~", r"\(ti")
    for char, name in _NAMED.items():
        text = text.replace(char, name)
    if not text.isascii():
        raise MarkupError(f"{text!r}: a character that has no name here")
    return text


def inline(text: str) -> str:
    """Return one paragraph of the source as roff text, all on one line."""
    text = _LINK.sub(r"\1", " ".join(text.split()))
    parts: list[str] = []
    done = 0
    for match in _SPAN.finditer(text):
        parts.append(escape(text[done : match.start()]))
        literal, strong, operand, name, section = match.groups()
        if literal or strong:
            parts.append(rf"\fB{escape(literal or strong, literal=True)}\fR")
        elif operand:
            parts.append(rf"\fI{escape(operand, literal=True)}\fR")
        else:
            parts.append(rf"\fB{escape(name, literal=True)}\fR({section})")
        done = match.end()
    parts.append(escape(text[done:]))
    return "".join(parts)


def fill(text: str) -> Iterator[str]:
    """Yield roff text in lines of at most WIDTH characters where words allow it, none of them a request."""
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > WIDTH:
            yield _guard(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield _guard(line)


def _guard(line: str) -> str:
    return rf"\&{line}" if line.startswith((".", "'")) else line


def verbatim(lines: list[str]) -> Iterator[str]:
    """Yield an example: a fixed font, indented, not filled."""
    yield from (".PP", ".RS 4", ".EX")
    yield from (_guard(escape(line, literal=True)) for line in lines)
    yield from (".EE", ".RE")


def sections(source: str) -> dict[str, str]:
    """Return the sources below each ``# TITLE``, by title and in order.

    Raises:
        MarkupError: a title stands twice, or text before the first one.
    """
    found: dict[str, list[str]] = {}
    title = ""
    fenced = False
    for line in source.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("# ") and not fenced:
            title = line[2:].strip()
            if title in found:
                raise MarkupError(f"section {title} stands twice")
            found[title] = []
        elif title:
            found[title].append(line)
        elif line.strip():
            raise MarkupError(f"{line!r} stands before the first section")
    return {name: "\n".join(lines).strip("\n") for name, lines in found.items()}


def details(source: str) -> dict[str, str]:
    """Return what stands below each ``## --option`` of a section, by the option's long name.

    Raises:
        MarkupError: an option stands twice.
    """
    found: dict[str, str] = {}
    for part in re.split(r"^## ", source, flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        if name.strip() in found:
            raise MarkupError(f"{name.strip()} is described twice")
        found[name.strip()] = text.strip()
    return found


def render(source: str) -> Iterator[str]:
    """Yield the roff lines of one section's content."""
    lines = source.splitlines()
    headed = False
    while lines:
        line = lines[0]
        if not line.strip():
            lines.pop(0)
            continue
        after_heading, headed = headed, line.startswith("## ")
        if headed:
            yield f".SS {inline(lines.pop(0)[3:])}"
        elif line.startswith("```"):
            lines.pop(0)
            yield from verbatim(_take_fence(lines))
        elif line.startswith("|"):
            yield from _table(_take(lines, lambda one: one.startswith("|")))
        elif line.startswith("- "):
            yield from _items(_take(lines, lambda one: one.startswith(("- ", "  "))))
        elif len(lines) > 1 and lines[1].startswith(": "):
            yield from _definition(lines)
        else:
            if not after_heading:
                yield ".PP"
            yield from fill(inline(" ".join(_take(lines, _is_text))))


def _is_text(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("# ", "## ", "```", "|", "- ", ": "))


def _take(lines: list[str], wanted: object) -> list[str]:
    assert callable(wanted)
    taken = []
    while lines and wanted(lines[0]):
        taken.append(lines.pop(0))
    return taken


def _take_fence(lines: list[str]) -> list[str]:
    taken = []
    while lines:
        line = lines.pop(0)
        if line.startswith("```"):
            return taken
        taken.append(line)
    raise MarkupError("a fence is not closed")


def _items(lines: list[str]) -> Iterator[str]:
    items: list[str] = []
    for line in lines:
        if line.startswith("- "):
            items.append(line[2:])
        else:
            items[-1] += f" {line.strip()}"
    for item in items:
        yield r".IP \(bu 2"
        yield from fill(inline(item))


def _definition(lines: list[str]) -> Iterator[str]:
    yield from (".TP", _guard(inline(lines.pop(0))))
    text = lines.pop(0)[2:]
    text = " ".join([text, *_take(lines, lambda one: one.startswith("  "))])
    yield from fill(inline(text))


def _table(lines: list[str]) -> Iterator[str]:
    """Yield a table; its second line only separates the head in Markdown.

    A column of short cells is as wide as they are; the others share what is left and are filled.
    """
    head, _, *rows = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines)
    for row in rows:
        if len(row) != len(head):
            raise MarkupError(f"{row}: a row with another number of cells than {head}")
    wide = [any(len(row[column]) > SHORT for row in [head, *rows]) for column in range(len(head))]
    # adjusting narrow cells to both margins tears holes into them
    yield from (".PP", ".na", ".nh", ".TS", "tab(|);")
    yield from (" ".join(["lb"] * len(head)), " ".join("lx" if one else "l" for one in wide) + ".")
    yield "|".join(inline(cell) for cell in head)
    for row in rows:
        cells = (_cell(cell, filled) for cell, filled in zip(row, wide, strict=True))
        yield from "|".join(cells).split("\n")
    yield from (".TE", ".hy", ".ad")


def _cell(text: str, filled: bool) -> str:
    """Return a table's cell; a long word of a filled one may be broken behind the signs that join its parts."""
    if not filled or not text:
        return inline(text)
    words = (_JOINT.sub(r"\1\\:", word) if len(word) > LONG else word for word in inline(text).split(" "))
    return "\n".join(["T{", *fill(" ".join(words)), "T}"])
