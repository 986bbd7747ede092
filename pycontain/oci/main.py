"""The way in of ``pycontain-oci``: global options, the command, and what becomes of errors. [lean]"""

from __future__ import annotations

import os
import sys

import pycontain
from pycontain.errors import PycontainError, StageError, UsageError
from pycontain.oci.log import Log
from pycontain.oci.words import COMMANDS, GLOBAL, read
from pycontain.spec.state import OCI_VERSION_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from pycontain.oci.invocation import Invocation
    from pycontain.oci.words import Told

    Verb = Callable[[Invocation, Told], int]

FAILED, NO_COMMAND, EXEC_FAILED = 1, 3, 255


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code; never returns, never shows a traceback unasked."""
    words = list(sys.argv[1:] if argv is None else argv)
    os.umask(os.umask(0o077) | 0o022)
    log = Log()
    code = FAILED
    try:
        told = read(GLOBAL, words)
        log = Log(told.text("log"), told.text("log-format", "text"), debug=told.flag("debug"))
        code = _dispatch(told, log)
    except BrokenPipeError:
        code = 141
    except BaseException as error:
        code = _report(error, log, exec_failed=_is_exec(words))
    os._exit(code)


def _dispatch(told: Told, log: Log) -> int:
    if told.flag("version"):
        return _version()
    if told.help or not told.arguments:
        return _help("")
    name, *rest = told.arguments
    if name == "help":
        return _help(rest[0] if rest else "")
    if name not in COMMANDS:
        log.error(f"No help topic for '{name}'")
        return NO_COMMAND
    from pycontain.oci.invocation import Invocation

    inner = read(COMMANDS[name], rest, name)
    if inner.help:
        return _help(name)
    return _verb(name)(Invocation(told, log), inner)


# the module and function of each command; only what is needed is loaded
_VERBS: dict[str, tuple[str, str]] = {
    "create": ("verbs", "create"),
    "start": ("verbs", "start"),
    "kill": ("verbs", "kill"),
    "delete": ("verbs", "delete"),
    "run": ("run", "run"),
    "state": ("listing", "state"),
    "list": ("listing", "list_containers"),
    "exec": ("exec", "execute"),
    "ps": ("freezing", "ps"),
    "pause": ("freezing", "pause"),
    "resume": ("freezing", "resume"),
    "update": ("updating", "update"),
    "events": ("events", "events"),
    "checkpoint": ("checkpoint", "checkpoint"),
    "restore": ("restore", "restore"),
    "spec": ("template", "spec"),
    "features": ("features", "features"),
    "explain": ("explaining", "explain"),
}


def _verb(name: str) -> Verb:
    module, function = _VERBS[name]
    __import__(f"pycontain.oci.{module}")
    found: Verb = getattr(sys.modules[f"pycontain.oci.{module}"], function)
    return found


def _version() -> int:
    # the first word is what go-runc, and with it containerd and docker, looks for
    lines = (f"runc version {pycontain.__version__}+pycontain", f"spec: {OCI_VERSION_MAX}")
    os.write(1, "".join(f"{line}\n" for line in lines).encode())
    return 0


def _help(name: str) -> int:
    from pycontain.oci.manual import show

    return show(name)


def _is_exec(words: list[str]) -> bool:
    """Tell whether an error is one of ``exec``, which has an exit code of its own."""
    try:
        return read(GLOBAL, words).arguments[:1] == ("exec",)
    except UsageError:
        return False


def _where(error: BaseException) -> str:
    """Return the function in which an error came about."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{trace.tb_frame.f_globals['__name__']}.{trace.tb_frame.f_code.co_name}"


def _text(error: PycontainError) -> str:
    """Return the place in the configuration where there is one, the cause, and the hint, in one line."""
    text = str(error)
    if isinstance(error, StageError) and error.spec_path and not text.startswith(error.spec_path):
        text = f"{error.spec_path}: {text}"
    return f"{text} ({error.hint})" if error.hint else text


def _report(error: BaseException, log: Log, *, exec_failed: bool) -> int:
    """Write what went wrong, one line, and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, PycontainError):
        text = _text(error)
    elif isinstance(error, OSError):
        text = f"{error.filename or _where(error)}: {(error.strerror or '').lower()}"
    else:
        text = f"internal error: {type(error).__name__}: {error}"
    if log.debug:
        import traceback

        traceback.print_exception(error)
    log.error(text)
    return EXEC_FAILED if exec_failed else FAILED
