"""Writes the manual pages from the commands and ``man/source``:  man.py [--check]

A page of section 1 takes its synopsis and its options from the commands themselves and the rest from its source; what
several commands can be told is described once, in ``options.md``. ``--check`` writes nothing and fails where a file is
not what would be written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from man_markup import MarkupError, details, escape, inline, render, sections
from man_options import long_name, members, options, options_of, synopsis

import pycontain
from pycontain.cli.commands import COMMANDS
from pycontain.cli.group import PROGRAM, group
from pycontain.oci import words

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "man" / "source"
DATE = "2026-11-22"
OPTIONS = "OPTIONS"
#: Stands in a source for the list of commands.
LISTING = "@commands"
#: The runtime for engines has a page of its own, from its own table.
OCI = "pycontain-oci"
OCI_GLOBALS, OCI_LISTING = "@oci-globals", "@oci-commands"
GENERATED = r".\" Written by tools/man.py from the commands and man/source: change those."


def pages() -> dict[str, str]:
    """Return the text of every page by its path in the repository.

    Raises:
        MarkupError: a source is missing, wrong, or describes what there is not.
    """
    whole = group()
    found = {f"man/{PROGRAM}.1": _page(PROGRAM, "1", "containers on Linux, with docker's words", whole)}
    for name, command in members(whole):
        found[f"man/{PROGRAM}-{name}.1"] = _page(f"{PROGRAM}-{name}", "1", COMMANDS[name].help, command)
    found[f"man/{PROGRAM}.5"] = _page(PROGRAM, "5", "files and formats of pycontain")
    found[f"man/{PROGRAM}.3"] = _page(PROGRAM, "3", "containers from a Python program")
    found[f"man/{OCI}.8"] = _page(OCI, "8", "an OCI runtime for container engines")
    found[f"man/{PROGRAM}-design.7"] = _page(f"{PROGRAM}-design", "7", "how pycontain is built, and why so")
    found[f"man/{PROGRAM}-security.7"] = _page(f"{PROGRAM}-security", "7", "attacks, defences, and the tests of both")
    found[f"man/{PROGRAM}-performance.7"] = _page(
        f"{PROGRAM}-performance", "7", "what a start takes beside other programs"
    )
    found[f"man/{PROGRAM}-kubernetes.7"] = _page(f"{PROGRAM}-kubernetes", "7", "engines and clusters on pycontain-oci")
    known = {f"{Path(path).name}.md" for path in found} | {"options.md"}
    for path in SOURCE.iterdir():
        if path.name not in known:
            raise MarkupError(f"{path.name}: there is no such command")
    everywhere = {long_name(option) for _, command in members(whole) for option in options_of(command)}
    for option in _shared().keys() - everywhere - {long_name(option) for option in options_of(whole)}:
        raise MarkupError(f"options.md: {option} is described, but no command has it")
    return found


def _shared() -> dict[str, str]:
    """Return the descriptions of options that several commands have."""
    return details((SOURCE / "options.md").read_text(encoding="utf-8"))


def _page(name: str, section: str, purpose: str, command: click.Command | None = None) -> str:
    path = SOURCE / f"{name}.{section}.md"
    try:
        text = path.read_text(encoding="utf-8")
        for mark, made in ((LISTING, _listing), (OCI_GLOBALS, _oci_globals), (OCI_LISTING, _oci_listing)):
            text = text.replace(mark, made()) if mark in text else text
        source = sections(text)
        return "\n".join(_lines(name, section, purpose, source, command)) + "\n"
    except FileNotFoundError:
        raise MarkupError(f"{path.relative_to(REPOSITORY)} is missing: describe the command there") from None
    except MarkupError as error:
        raise MarkupError(f"{path.name}: {error}") from None


def _listing() -> str:
    """Return the list of commands as the source of a section."""
    return "\n\n".join(f"{PROGRAM}-{name}(1)\n: {command.help}" for name, command in COMMANDS.items())


def _oci_globals() -> str:
    """Return the global options of pycontain-oci as the source of a section."""
    return _described(words.GLOBAL.options)


def _oci_listing() -> str:
    """Return the commands of pycontain-oci, each with its options, as the source of subsections."""
    parts = []
    for name, command in words.COMMANDS.items():
        parts.append(f"## {name} {command.arguments}".rstrip())
        parts.append(command.help)
        if command.options:
            parts.append(_described(command.options))
    return "\n\n".join(parts)


def _described(options: tuple[words.Option, ...]) -> str:
    rows = []
    for option in options:
        short = f"`-{option.short}`, " if option.short else ""
        value = "" if option.kind == words.FLAG else f" *{option.metavar}*"
        rows.append(f"{short}`--{option.name}`{value}\n: {option.help}")
    return "\n\n".join(rows)


def _lines(
    name: str, section: str, purpose: str, source: dict[str, str], command: click.Command | None
) -> Iterator[str]:
    parts = {title: list(render(text)) for title, text in source.items() if title != OPTIONS}
    if command is not None:
        made = list(_options(name, command, source.get(OPTIONS, "")))
        parts = {
            "SYNOPSIS": list(synopsis(name.replace("-", " ", 1), command)),
            "DESCRIPTION": parts.pop("DESCRIPTION"),
            **({OPTIONS: made} if made else {}),
            **parts,
        }
    if any(".TS" in lines for lines in parts.values()):
        yield "'\\\" t"
    yield GENERATED
    title = escape(name.upper(), literal=True)
    yield f'.TH {title} {section} {DATE} "{PROGRAM} {pycontain.__version__}" "{PROGRAM} manual"'
    yield from (".SH NAME", f"{escape(name, literal=True)} \\- {inline(purpose)}")
    for heading, lines in parts.items():
        yield f".SH {escape(heading)}"
        # a paragraph macro right after a heading would do nothing
        yield from lines[1:] if lines[:1] in ([".PP"], [".br"]) else lines


def _options(name: str, command: click.Command, source: str) -> Iterator[str]:
    """Yield the options of a command, or of each command of a group under its name.

    A source that describes options of a group's commands names them ``## ls --quiet``.
    """
    own = details(source)
    if name == PROGRAM or not isinstance(command, click.Group):
        yield from options(name, command, {**_shared(), **own})
        known = {long_name(option) for option in options_of(command)}
    else:
        known = set()
        for member, one in members(command):
            names = [long_name(option) for option in options_of(one)]
            known |= {f"{member} {option}" for option in names}
            if names:
                yield f".SS {name.replace('-', ' ', 1)} {member}"
                texts = {option: own.get(f"{member} {option}", "") for option in names}
                yield from options(f"{name} {member}", one, texts)
    for option in own.keys() - known:
        raise MarkupError(f"{option} is described, but there is no such option")


def write(files: dict[str, str], *, check: bool) -> list[str]:
    """Write the files and remove pages of commands that are gone; with ``check`` only return what differs."""
    different = []
    for name, text in files.items():
        path = REPOSITORY / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        different.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in (REPOSITORY / "man").glob("*.[1-8]"):
        if f"man/{path.name}" not in files:
            different.append(f"man/{path.name}")
            if not check:
                path.unlink()
    return different


def main() -> int:
    """Write or check, and return the exit code."""
    check = sys.argv[1:] == ["--check"]
    try:
        different = write(pages(), check=check)
    except MarkupError as error:
        print(f"man.py: {error}", file=sys.stderr)
        return 1
    for name in different:
        print(f"{name}: {'not up to date: make man' if check else 'written'}")
    return int(check and bool(different))


if __name__ == "__main__":
    sys.exit(main())
