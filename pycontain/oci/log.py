"""Messages of the runtime, in the forms that engines read: runc's lines of text, or one JSON object per line. [lean]"""

from __future__ import annotations

import os
import time

from pycontain import lean_json
from pycontain.errors import UsageError

FORMS = ("text", "json")


class Log:
    """Where messages go: appended to a file, or to standard error where there is none; ``fd`` is that one's."""

    def __init__(self, file: str = "", form: str = "text", *, debug: bool = False) -> None:
        if form not in FORMS:
            raise UsageError(f"invalid log-format: {form}", hint="text or json")
        self.form = form
        self.debug = debug
        self.fd = 2
        self._errors_also = False
        if file:
            try:
                self.fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise UsageError(f"--log: {file}: {(error.strerror or '').lower()}") from error
            self._errors_also = True

    def warning(self, text: str) -> None:
        """Write what somebody should know and that is no error."""
        self._write("warning", text)

    def error(self, text: str) -> None:
        """Write what went wrong; where messages go to a file, it is also written to standard error, plainly."""
        self._write("error", text)
        if self._errors_also:
            _put(2, f"{text}\n")

    def _write(self, level: str, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.form == "json":
            line = lean_json.dumps({"level": level, "msg": text, "time": stamp}, surrogates=True)
        else:
            line = f'time="{stamp}" level={level} msg={lean_json.dumps(text, surrogates=True)}'
        _put(self.fd, f"{line}\n")


def _put(fd: int, text: str) -> None:
    """Write all of a text; a file that is full or closed is no reason to fail."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        pass
