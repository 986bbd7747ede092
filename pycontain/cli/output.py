"""How documents are printed, and the two forms that they come in."""

from __future__ import annotations

import json
import sys
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


def print_document(document: Any) -> None:
    """Write one JSON document over several lines, as ``inspect`` does."""
    sys.stdout.write(json.dumps(document, indent=4, ensure_ascii=False) + "\n")
