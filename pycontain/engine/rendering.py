"""How listings look: columns for people, one JSON object a line, or a template of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pycontain.engine.templates import Template
from pycontain.engine.templatewords import to_json
from pycontain.errors import UsageError

_MIN_WIDTH = 10
_PADDING = 3


class Columns:
    """The columns of a listing: (key of the objects, title); ``others`` are titles of keys not shown by default."""

    def __init__(self, shown: Sequence[tuple[str, str]], others: Mapping[str, str]) -> None:
        self.shown = tuple(shown)
        self.titles = {**others, **dict(shown)}

    def render(self, objects: Iterable[Mapping[str, Any]], form: str = "table") -> str:
        """Return the listing; ``form`` is ``table``, ``json``, ``table TEMPLATE`` or a template for each object.

        Raises:
            UsageError: the template is wrong.
        """
        if form == "json":
            return "".join(to_json(dict(one)) + "\n" for one in objects)
        if form in ("", "table"):
            rows = [[str(one[key]) for key, _ in self.shown] for one in objects]
            return aligned([[title for _, title in self.shown], *rows])
        text = form.replace("\\t", "\t").replace("\\n", "\n")
        if text.startswith("table"):
            text = text.removeprefix("table").lstrip(" ")
            return aligned([line.split("\t") for line in self._lines(text, [self.titles, *objects])])
        if "{{" not in text:
            raise UsageError(f"--format: {form!r} is unknown", hint="table, json, or a template: {{.Names}}")
        return "".join(line + "\n" for line in self._lines(text, objects))

    @staticmethod
    def _lines(text: str, objects: Iterable[Mapping[str, Any]]) -> Iterable[str]:
        template = Template(text)
        return [template.render(dict(one)) for one in objects]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns, the last one ragged, as Go's tabwriter of docker aligns them."""
    count = max((len(row) for row in rows), default=0)
    widths = [max((len(row[column]) for row in rows if column < len(row) - 1), default=0) for column in range(count)]
    lines = []
    for row in rows:
        cells = [
            cell if column == len(row) - 1 else cell.ljust(max(widths[column] + _PADDING, _MIN_WIDTH))
            for column, cell in enumerate(row)
        ]
        lines.append("".join(cells).rstrip() + "\n")
    return "".join(lines)
