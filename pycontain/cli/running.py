"""``run``, ``create``, ``exec`` and ``explain``: words to options to the engine, without click. [lean]"""

from __future__ import annotations

import fcntl
import os

from pycontain.cli.runoptions import CREATE_OPTIONS, EXEC_OPTIONS, RUN_OPTIONS
from pycontain.cli.verbs import ROOT, Verb
from pycontain.engine.options import exec_options, run_options
from pycontain.errors import Exists, HostError, NotFound, PycontainError, SpecError, StageError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pycontain.cli.table import Parsed
    from pycontain.engine.options import RunOptions
    from pycontain.runtime.settings import Settings

    _T = TypeVar("_T")


def _root_and_command(parsed: Parsed) -> dict[str, object]:
    """Return the values with ROOTFS and COMMAND, a ``--`` between them left out."""
    rootfs, *command = parsed.rest
    if command[:1] == ["--"]:
        del command[0]
    return {**parsed.values, "rootfs": rootfs, "command": tuple(command)}


def _options(parsed: Parsed, **more: object) -> RunOptions:
    options = run_options({**_root_and_command(parsed), **more}, environ())
    _require_open(options.preserve_fds)
    return options


def _require_open(count: int) -> None:
    """Check that the caller has opened the descriptors to be passed: otherwise ones of our own would stand there.

    Raises:
        UsageError: names the first that is missing.
    """
    for fd in range(3, 3 + count):
        try:
            inherited = not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        except OSError:
            inherited = False
        if not inherited:
            hint = f"open it before, as in: pycontain run --preserve-fds {count} … {fd}<FILE"
            raise UsageError(f"--preserve-fds: {count}: descriptor {fd} is not open", hint=hint)


def in_options(action: Callable[[], _T], parsed: Parsed) -> _T:
    """Do something with a container that options describe.

    Raises:
        PycontainError: what failed, in the words of the options.
    """
    try:
        return action()
    except (SpecError, HostError, StageError) as error:
        from pycontain.engine.optionwords import reworded

        raise reworded(error, parsed.values) from error


def _free_name(settings: Settings, options: RunOptions, action: Callable[[], _T]) -> _T:
    """Make a container; a name that is taken is looked at first: one with --rm whose command was killed is removed.

    Raises:
        Exists: the name belongs to a container that is still there.
    """
    try:
        return action()
    except Exists:
        from pycontain.engine.lifecycle import look

        try:
            look(settings, options.name)
        except NotFound:
            return action()
        except PycontainError:
            pass  # it is being made, or cannot be removed
        raise


def _run(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import spawn

    options = _options(parsed)
    return in_options(lambda: _free_name(settings, options, lambda: spawn.run(settings, options)), parsed)


def _create(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import spawn

    options = _options(parsed)
    container_id = in_options(lambda: _free_name(settings, options, lambda: spawn.create(settings, options)), parsed)
    if container_id:
        os.write(1, f"{container_id}\n".encode())
    return 0


def _explain(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import spawn

    options = _options(parsed, explain=True)
    return in_options(lambda: spawn.run(settings, options), parsed)


def _exec(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import exec as entering

    container, *command = parsed.rest
    if command[:1] == ["--"]:
        del command[0]
    raw = {**parsed.values, "container": container, "command": tuple(command)}
    options = exec_options(raw, environ())
    return in_options(lambda: entering.execute(settings, options), parsed)


def environ() -> dict[str, str]:
    """Return the caller's environment, undecodable bytes kept as surrogates."""
    return dict(os.environ)


_RUN_WORDS = "ROOTFS COMMAND [ARGUMENT]..."

VERBS = {
    "run": Verb(RUN_OPTIONS, _RUN_WORDS, _run, command=True, offer=ROOT),
    "create": Verb(CREATE_OPTIONS, _RUN_WORDS, _create, command=True, offer=ROOT),
    "explain": Verb(CREATE_OPTIONS, _RUN_WORDS, _explain, command=True, offer=ROOT),
    "exec": Verb(EXEC_OPTIONS, "CONTAINER COMMAND [ARGUMENT]...", _exec, command=True),
}
