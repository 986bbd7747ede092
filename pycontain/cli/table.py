"""Options of a command as a table, and the one parser that reads it: docker's grammar without click's import. [lean]

::

    argv ── parse ──► values by key, positional words      the way of every start
    table ── cli.clickside ──► click.Option …              help pages, completion, manual

``-it`` and ``-itm64m`` combine, ``--name value`` is ``--name=value``, switches take ``=true`` and ``=false``, the first
word that is no option ends them, and so does ``--``.
"""

from __future__ import annotations

from pycontain.engine.suggest import closest
from pycontain.errors import UsageError
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# docker's options that many will try, and why they are not here
_PORTS = "ports are published on bridge networks, which come later; --network host uses the host's own ports"
_LATER = dict.fromkeys(("-p", "--publish", "-P", "--publish-all", "--expose"), _PORTS)
FLAG = "flag"
VALUE = "value"
MANY = "many"


class Option(Record):
    """One option. ``names`` are its spellings, the long one first; ``key`` is the long one in snake_case.

    ``kind`` is FLAG, VALUE (the last one given counts) or MANY. ``choices`` are for completion and help only.
    """

    names: tuple[str, ...]
    kind: str
    help: str
    metavar: str = ""
    group: str = "Options"
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key of the option's value: ``--memory-swap`` is ``memory_swap``."""
        return self.names[0][2:].replace("-", "_")


def flag(names: str, help: str, group: str = "Options") -> Option:
    """Return a switch; ``names`` are separated by spaces."""
    return Option(tuple(names.split()), FLAG, help, "", group)


def value(names: str, metavar: str, help: str, group: str = "Options", choices: tuple[str, ...] = ()) -> Option:
    """Return an option with a value."""
    return Option(tuple(names.split()), VALUE, help, metavar, group, choices)


def many(names: str, metavar: str, help: str, group: str = "Options", choices: tuple[str, ...] = ()) -> Option:
    """Return an option that may be repeated."""
    return Option(tuple(names.split()), MANY, help, metavar, group, choices)


class Parsed(Record):
    """Values by key (missing: not given), the words that follow, and whether ``--help`` was met."""

    values: dict[str, Any]
    rest: tuple[str, ...]
    help: bool = False


def parse(options: Iterable[Option], argv: Iterable[str], *, interspersed: bool = False) -> Parsed:
    """Return what ``argv`` says; ``interspersed`` takes options among and behind the positional words, too.

    Raises:
        UsageError: an unknown option (with the one that was probably meant), or one without its value.
    """
    known = {name: option for option in options for name in option.names}
    values: dict[str, Any] = {}
    words = list(argv)
    rest: list[str] = []
    words.reverse()
    while words:
        word = words.pop()
        if word == "--":
            break
        if word == "--help":
            return Parsed(values, tuple(rest), True)
        if len(word) < 2 or word[0] != "-":
            rest.append(word)
            if not interspersed:
                break
        elif word[1] == "-":
            _take_long(known, values, word, words)
        else:
            _take_short(known, values, word, words)
    return Parsed(values, (*rest, *reversed(words)))


def _take_long(known: dict[str, Option], values: dict[str, Any], word: str, words: list[str]) -> None:
    name, equals, text = word.partition("=")
    option = known.get(name)
    if option is None:
        raise unknown(name, known)
    if option.kind == FLAG:
        values[option.key] = _boolean(name, text) if equals else True
    else:
        _store(option, values, text if equals else _next(name, words))


def _take_short(known: dict[str, Option], values: dict[str, Any], word: str, words: list[str]) -> None:
    """Take a cluster such as ``-it``; what follows an option with a value is its value."""
    letters = word[1:]
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        option = known.get(name)
        if option is None:
            whole = f"-{word}" if len(word) > 2 and f"-{word}" in known else ""
            raise unknown(name if name == word else f"{name} in {word}", known, whole)
        if option.kind != FLAG:
            _store(option, values, letters.removeprefix("=") if letters else _next(name, words))
            return
        if letters.startswith("="):
            values[option.key] = _boolean(name, letters[1:])
            return
        values[option.key] = True


def _store(option: Option, values: dict[str, Any], text: str) -> None:
    if option.kind == MANY:
        values[option.key] = (*values.get(option.key, ()), text)
    else:
        values[option.key] = text


def _next(name: str, words: list[str]) -> str:
    if not words:
        raise UsageError(f"{name}: needs a value", hint="see --help")
    return words.pop()


def _boolean(name: str, text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise UsageError(f"{name}: {text!r} is neither true nor false", hint=f"give {name} alone, or {name}=false")


def unknown(name: str, known: Iterable[str], guess: str = "") -> UsageError:
    """Return the error for an option that is not there, with the one that was probably meant."""
    if name.partition(" ")[0] in _LATER:
        return UsageError(f"{name}: no such option yet", hint=_LATER[name.partition(" ")[0]])
    guess = guess or closest(name, known)
    return UsageError(f"{name}: no such option", hint=f"did you mean {guess}?" if guess else "see --help")
