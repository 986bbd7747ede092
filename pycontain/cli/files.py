"""cp, diff, export: what is in a container's tree."""

from __future__ import annotations

import sys

from pycontain.cli.table import flag, value
from pycontain.cli.verbs import Verb
from pycontain.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.cli.table import Parsed
    from pycontain.runtime.settings import Settings


def _copy(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import transfer
    from pycontain.engine.messages import of
    from pycontain.engine.quantities import size_decimal

    values = parsed.values
    source, goal = (transfer.parse_side(word) for word in parsed.rest)
    done = transfer.copy(
        settings, source, goal, archive=bool(values.get("archive")), follow=bool(values.get("follow_link"))
    )
    for note in done.notes:
        of(settings).warning(note)
    quiet = values.get("quiet", not sys.stdout.isatty())
    if not (quiet or source.is_stream or goal.is_stream):
        sys.stderr.write(f"copied {size_decimal(done.bytes)}\n")
    return 0


def _export(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import exporting
    from pycontain.engine.messages import of

    path = parsed.values.get("output", "")
    if path:
        notes = exporting.export_to_file(settings, parsed.rest[0], path)
    elif sys.stdout.isatty():
        raise UsageError("standard output is a terminal", hint="--output FILE, or a pipe")
    else:
        notes = exporting.export(settings, parsed.rest[0], 1)
    for note in notes:
        of(settings).warning(note)
    return 0


def _diff(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import changes
    from pycontain.engine.messages import printable
    from pycontain.engine.templatewords import to_json

    form = parsed.values.get("format", "lines")
    if form not in ("lines", "json"):
        raise UsageError(f"--format: {form!r} is unknown", hint="lines, or json")
    found = changes.diff(settings, parsed.rest[0])
    if form == "json":
        sys.stdout.write(to_json([{"Path": path, "Kind": changes.KINDS[kind]} for kind, path in found]) + "\n")
    else:
        sys.stdout.writelines(f"{kind} {printable(path)}\n" for kind, path in found)
    return 0


VERBS = {
    "cp": Verb(
        (
            flag("--archive -a", "keep owners, and of what comes from a container setuid, capabilities and devices"),
            flag("--follow-link -L", "copy what the last symbolic link of the source leads to"),
            flag("--quiet -q", "do not tell how much was copied [where standard output is no terminal]"),
        ),
        "SOURCE DEST",
        _copy,
        least=2,
        most=2,
    ),
    "diff": Verb(
        (value("--format", "FORMAT", "lines, or json as docker's API has it [lines]", choices=("lines", "json")),),
        "CONTAINER",
        _diff,
        most=1,
    ),
    "export": Verb((value("--output -o", "FILE", "write to a file [standard output]"),), "CONTAINER", _export, most=1),
}
