"""The way in: global options, the command, and what becomes of errors. [lean]

::

    most commands ──► cli.verbs ──► their family's module (no click: its import is longer than a container's start)
    --help, completion, volume, doctor, info, version ──► cli.group (click)
"""

from __future__ import annotations

import _signal
import os
import sys

from pycontain.cli.commands import COMMANDS
from pycontain.cli.globals import GLOBAL_OPTIONS, load_settings
from pycontain.cli.table import parse
from pycontain.cli.verbs import find, read
from pycontain.engine.messages import Messages
from pycontain.engine.suggest import closest
from pycontain.errors import PycontainError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

COMPLETE = "_PYCONTAIN_COMPLETE"
INTERNAL_ERROR = 125


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code; never returns, never shows a traceback unasked."""
    words = list(sys.argv[1:] if argv is None else argv)
    # whatever we make on the way to a directory of ours: nobody else may write there
    os.umask(os.umask(0o077) | 0o022)
    place = _Place()
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)  # see launcher/_start.py
    try:
        code = _flush(_dispatch(words, place))
    except BrokenPipeError:
        # Whoever read our output has gone, as in `pycontain ps | head -1`.
        code = 141
    except BaseException as error:
        code = _report(error, place)
    # The interpreter's own end costs a millisecond and nothing is left to be written.
    os._exit(code)


class _Place:
    """Where in the command line we are, for messages: ``pycontain: run: …``."""

    def __init__(self) -> None:
        self.command = ""
        self.values: dict[str, Any] = {}


def _dispatch(words: list[str], place: _Place) -> int:
    """Run what the words say and return the exit code.

    Raises:
        PycontainError: what went wrong, for the user.
    """
    if COMPLETE in os.environ:
        return _click(words)
    parsed = parse(GLOBAL_OPTIONS, words)
    place.values = parsed.values
    if parsed.help or not parsed.rest:
        if parsed.values.get("version"):
            return _click(["version"])
        return _click(["--help"])
    name, *rest = parsed.rest
    place.command = name
    if parsed.values.get("version"):
        return _click(["version"])
    if name not in COMMANDS:
        place.command = ""
        guess = closest(name, COMMANDS)
        hint = f"did you mean 'pycontain {guess}'?" if guess else "list them: pycontain --help"
        raise UsageError(f"{name!r} is not a command", hint=hint)
    settings = load_settings(parsed.values, dict(os.environ))
    if not COMMANDS[name].table:
        if rest and rest[0] in COMMANDS[name].members:
            place.command = f"{name} {rest[0]}"
        return _click(words)
    verb = find(name)
    told = read(name, verb, rest)
    return _click(words) if told.help else verb.run(settings, told)


def _click(words: list[str]) -> int:
    from pycontain.cli.group import invoke

    return invoke(words)


def _flush(code: int) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _report(error: BaseException, place: _Place) -> int:
    """Write what went wrong, one line and a hint, and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    debug = place.values.get("log_level") == "debug"
    if isinstance(error, PycontainError):
        message, code = str(error), error.exit_code
        hint = error.hint or _help_of(message, place)
    else:
        message = f"internal error: {type(error).__name__}: {error}"
        hint = "" if debug else "details: pycontain --log-level debug …; please report this"
        code = INTERNAL_ERROR
    if debug:
        _write_traceback(error)
    prefix = f"pycontain: {place.command}" if place.command else "pycontain"
    messages = Messages(prefix, "error", place.values.get("log_format", "text"))
    for one in getattr(error, "earlier", ()):
        messages.error(str(one), one.hint)
    messages.error(message, hint)
    return code


def _help_of(message: str, place: _Place) -> str:
    """Return what the help page says of the option that a message begins with, or where the help page is."""
    if not place.command:
        return "see pycontain --help"
    if COMMANDS[place.command.partition(" ")[0]].table:
        name = message.partition(":")[0].partition(" ")[0]
        for option in find(place.command).options:
            if name in option.names:
                return f"{name} {option.metavar}: {option.help}"
    return f"see pycontain {place.command} --help"


def _write_traceback(error: BaseException) -> None:
    import traceback

    try:
        traceback.print_exception(error)
    except OSError:
        pass  # standard error is closed or full: the exit code is all that is left to say
