"""The commands as their manual pages need them: arguments, options, and what the sources say of each option."""

from __future__ import annotations

from collections.abc import Iterator

import click
from man_markup import MarkupError, escape, fill, inline

#: Every command has it; click describes it with its own words.
_HELP = "--help"
_LEAST_WORDS = 5


def synopsis(path: str, command: click.Command) -> Iterator[str]:
    """Yield the roff lines of a command's synopsis, one for each of its commands if it has some."""
    if isinstance(command, click.Group):
        for name, member in members(command):
            yield from synopsis(f"{path} {name}", member)
        return
    words = [r"[\fIOPTIONS\fR]"] if any(isinstance(one, click.Option) for one in command.params) else []
    words += [_argument(one) for one in command.params if isinstance(one, click.Argument)]
    yield ".br"
    yield rf"\fB{escape(path, literal=True)}\fR {' '.join(words)}".rstrip()


def _argument(argument: click.Argument) -> str:
    text = argument.make_metavar(click.Context(click.Command("")))
    for plain in ("[", "]", "...", "|", " "):
        text = text.replace(plain, f"\0{plain}\0")
    parts = [part for part in text.split("\0") if part]
    return "".join(part if part in ("[", "]", "...", "|", " ") else rf"\fI{escape(part)}\fR" for part in parts)


def members(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Yield name and command of each member of a group, in the order of its help page."""
    context = click.Context(group)
    for name in group.list_commands(context):
        member = group.get_command(context, name)
        assert member is not None
        yield name, member


def options_of(command: click.Command) -> list[click.Option]:
    """Return the options of a command but ``--help``."""
    return [one for one in command.params if isinstance(one, click.Option) and _HELP not in one.opts]


def long_name(option: click.Option) -> str:
    """Return the spelling by which the sources describe an option."""
    return max(option.opts, key=len)


def options(path: str, command: click.Command, texts: dict[str, str]) -> Iterator[str]:
    """Yield the roff lines of all options of one command, under the headings that its help page has.

    ``texts`` are the descriptions by long name.

    Raises:
        MarkupError: an option has no description, or one that says no more than its name.
    """
    heading = "Options"
    for option in options_of(command):
        name = long_name(option)
        text = texts.get(name, "")
        if len(text.split()) < _LEAST_WORDS:
            raise MarkupError(f"{path}: {name} is not described: add '## {name}' with some words")
        group = getattr(option, "group", "Options")
        if group != heading:
            heading = group
            yield f".SS {escape(group)}"
        yield from (".TP", _spellings(option))
        yield from paragraphs(_sentence(option.help or "") + "\n" + text)


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of an indented description."""
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".IP"
        yield from fill(inline(paragraph))


def _spellings(option: click.Option) -> str:
    names = ", ".join(rf"\fB{escape(name, literal=True)}\fR" for name in sorted(option.opts, key=len))
    if option.is_flag:
        return names
    metavar = option.make_metavar(click.Context(click.Command("")))
    return rf"{names} \fI{escape(metavar, literal=True)}\fR"


def _sentence(text: str) -> str:
    text = text.strip().removesuffix(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""
