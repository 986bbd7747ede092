"""How listings are printed: aligned columns for people, one JSON object per line for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pycontain.errors import UsageError

FORMATS = ("table", "json")


def check_format(text: str) -> str:
    """Return ``table`` or ``json``.

    Raises:
        UsageError: anything else.
    """
    if text not in FORMATS:
        raise UsageError(f"--format: {text!r} is unknown", hint="one of " + ", ".join(FORMATS))
    return text


def print_rows(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write aligned columns, the headers in capitals first; the last column is not padded."""
    table = [[header.upper() for header in headers], *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(headers))]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        sys.stdout.write("   ".join([*cells, row[-1]]).rstrip() + "\n")


def print_objects(objects: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line, as docker does."""
    for one in objects:
        sys.stdout.write(json.dumps(one, ensure_ascii=False) + "\n")


def print_document(document: Any) -> None:
    """Write one JSON document over several lines, as ``inspect`` does."""
    sys.stdout.write(json.dumps(document, indent=4, ensure_ascii=False) + "\n")


def iso_time(nanoseconds: int) -> str:
    """Return a time as RFC 3339 in UTC with the nanoseconds, "" for 0."""
    import time

    if not nanoseconds:
        return ""
    seconds, fraction = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"
