"""cp, diff, export: what is in a container's tree."""

from __future__ import annotations

import sys

from pycontain.cli.table import flag
from pycontain.cli.verbs import Verb

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
}
