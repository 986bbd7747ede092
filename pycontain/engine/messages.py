"""Lines for the user on standard error, as --log-level and --log-format ask for them. [lean]"""

from __future__ import annotations

import os
import time

from pycontain import lean_json
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.settings import Settings

_LONG_WORD, _LONG_LINE = 256, 1000
LEVELS = ("debug", "info", "warning", "error")


class Messages(Record):
    """Where messages go: ``prefix`` stands before each (``pycontain: run``); ``level`` is the least that is written."""

    prefix: str = "pycontain"
    level: str = "warning"
    form: str = "text"

    def warning(self, text: str) -> None:
        """Write a line that the user should know and that is no error."""
        self.write("warning", text)

    def error(self, text: str, hint: str) -> None:
        """Write what went wrong, and under it what to do."""
        self.write("error", text, hint)

    def write(self, level: str, text: str, hint: str = "") -> None:
        """Write one message; a standard error that is closed or full is no reason to fail."""
        if LEVELS.index(level) < LEVELS.index(self.level):
            return
        # one line whatever the text holds: names come from the command line and from root file systems
        line = f"{self.prefix}: {printable(text)}"
        if self.form == "text":
            line, hint = shortened(line), shortened(hint)
        if self.form == "json":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            line = lean_json.dumps({"level": level, "time": stamp, "msg": line, "hint": hint}, surrogates=True)
        elif hint:
            line += f"\nhint: {printable(hint)}"
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(2, data) :]
        except OSError:
            pass


def of(settings: Settings) -> Messages:
    """Return where the messages of an invocation go."""
    return Messages("pycontain", settings.log_level, settings.log_format)


def printable(text: str) -> str:
    """Return the text with line ends and control characters escaped, so that no name can write to a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shortened(text: str) -> str:
    """Return the text with very long words cut in the middle, and itself cut at the end: a line is to be read."""
    if len(text) <= _LONG_WORD:
        return text
    words = (word if len(word) <= _LONG_WORD else f"{word[:80]}…{word[-40:]}" for word in text.split(" "))
    line = " ".join(words)
    return line if len(line) <= _LONG_LINE else f"{line[:_LONG_LINE]}…"
