"""``run``, ``create``, ``exec`` and ``explain``: words to options to the engine, without click. [lean]"""

from __future__ import annotations

import os

from pycontain.cli.runoptions import CREATE_OPTIONS, EXEC_OPTIONS, RUN_OPTIONS
from pycontain.cli.verbs import ROOT, Verb
from pycontain.engine.options import exec_options, run_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.cli.table import Parsed
    from pycontain.runtime.settings import Settings


def _root_and_command(parsed: Parsed) -> dict[str, object]:
    """Return the values with ROOTFS and COMMAND, a ``--`` between them left out."""
    rootfs, *command = parsed.rest
    if command[:1] == ["--"]:
        del command[0]
    return {**parsed.values, "rootfs": rootfs, "command": tuple(command)}


def _run(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import spawn

    return spawn.run(settings, run_options(_root_and_command(parsed), environ()))


def _create(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import spawn

    options = run_options(_root_and_command(parsed), environ())
    container_id = spawn.create(settings, options)
    if container_id:
        os.write(1, f"{container_id}\n".encode())
    return 0


def _explain(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import spawn

    raw = {**_root_and_command(parsed), "explain": True}
    return spawn.run(settings, run_options(raw, environ()))


def _exec(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import exec as entering

    container, *command = parsed.rest
    if command[:1] == ["--"]:
        del command[0]
    raw = {**parsed.values, "container": container, "command": tuple(command)}
    return entering.execute(settings, exec_options(raw, environ()))


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
