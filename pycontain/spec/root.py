"""The container's root filesystem as ``root`` in config.json states it.

[lean]
"""

from __future__ import annotations

from pycontain.record import Record


class Root(Record):
    """``path`` is absolute or relative to the bundle. Source: config.md#root."""

    path: str
    readonly: bool = False
