"""A command as data: its options, its words, the function that does it. [lean]"""

from __future__ import annotations

from pycontain.cli.commands import COMMANDS
from pycontain.cli.table import parse
from pycontain.errors import UsageError
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pycontain.cli.table import Option, Parsed
    from pycontain.runtime.settings import Settings

# What a shell offers for the first word
ROOT = "root"
CONTAINER = "container"
NOTHING = ""


class Verb(Record):
    """One command. ``words`` are the names of its positional words, as in a usage line.

    ``least`` and ``most`` (-1: any number) say how many there must be. ``command`` tells that what follows the first
    word is a command with options of its own; otherwise options may follow words. ``offer`` is what a shell completes.
    """

    options: tuple[Option, ...]
    words: str
    run: Callable[[Settings, Parsed], int]
    least: int = 1
    most: int = -1
    command: bool = False
    offer: str = CONTAINER


def find(name: str) -> Verb:
    """Return the verb of that name; only its module is imported."""
    module = __import__(f"pycontain.cli.{COMMANDS[name].module}", fromlist=("VERBS",))
    verb: Verb = module.VERBS[name]
    return verb


def read(name: str, verb: Verb, argv: Sequence[str]) -> Parsed:
    """Return what ``argv`` says to a command.

    Raises:
        UsageError: a wrong option, or too few or too many words.
    """
    parsed = parse(verb.options, argv, interspersed=not verb.command)
    if parsed.help:
        return parsed
    usage = f"pycontain {name} [OPTIONS] {verb.words}".rstrip()
    if len(parsed.rest) < verb.least:
        wanted = verb.words.split(" ")[len(parsed.rest)].strip("[].")
        raise UsageError(f"{wanted} is missing", hint=usage)
    if verb.most >= 0 and len(parsed.rest) > verb.most:
        raise UsageError(f"{parsed.rest[verb.most]!r} is one word too many", hint=usage)
    return parsed
