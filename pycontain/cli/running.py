"""``run``, ``create``, ``exec`` and ``explain``: words to options to the engine, without click. [lean]"""

from __future__ import annotations

import os

from pycontain.cli.runoptions import CREATE_OPTIONS, EXEC_OPTIONS, RUN_OPTIONS
from pycontain.cli.table import Parsed
from pycontain.engine.options import exec_options, run_options
from pycontain.errors import UsageError
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.cli.table import Option
    from pycontain.runtime.settings import Settings

_ROOTFS_HINT = "pycontain {} [OPTIONS] ROOTFS COMMAND; ROOTFS is a directory or @host"


class Verb(Record):
    """A command whose words :func:`pycontain.cli.table.parse` reads; ``run`` takes settings and what was read."""

    options: tuple[Option, ...]
    arguments: str
    run: Callable[[Settings, Parsed], int]


def _root_and_command(name: str, parsed: Parsed) -> dict[str, object]:
    """Return the values with ROOTFS and COMMAND, a ``--`` between them left out.

    Raises:
        UsageError: there is no ROOTFS.
    """
    if not parsed.rest:
        raise UsageError("ROOTFS is missing", hint=_ROOTFS_HINT.format(name))
    rootfs, *command = parsed.rest
    if command[:1] == ["--"]:
        del command[0]
    return {**parsed.values, "rootfs": rootfs, "command": tuple(command)}


def _run(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import spawn

    return spawn.run(settings, run_options(_root_and_command("run", parsed), environ()))


def _create(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import spawn

    options = run_options(_root_and_command("create", parsed), environ())
    container_id = spawn.create(settings, options)
    if container_id:
        os.write(1, f"{container_id}\n".encode())
    return 0


def _explain(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import spawn

    raw = {**_root_and_command("explain", parsed), "explain": True}
    return spawn.run(settings, run_options(raw, environ()))


def _exec(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import exec as entering

    if not parsed.rest:
        raise UsageError("CONTAINER is missing", hint="pycontain exec [OPTIONS] CONTAINER COMMAND")
    container, *command = parsed.rest
    if command[:1] == ["--"]:
        del command[0]
    raw = {**parsed.values, "container": container, "command": tuple(command)}
    return entering.execute(settings, exec_options(raw, environ()))


def environ() -> dict[str, str]:
    """Return the caller's environment, undecodable bytes kept as surrogates."""
    return dict(os.environ)


VERBS = {
    "run": Verb(RUN_OPTIONS, "ROOTFS COMMAND [ARGUMENT]...", _run),
    "create": Verb(CREATE_OPTIONS, "ROOTFS COMMAND [ARGUMENT]...", _create),
    "explain": Verb(CREATE_OPTIONS, "ROOTFS COMMAND [ARGUMENT]...", _explain),
    "exec": Verb(EXEC_OPTIONS, "CONTAINER COMMAND [ARGUMENT]...", _exec),
}
