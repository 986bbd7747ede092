"""Programs that run at points of the lifecycle: ``hooks`` in config.json.

[lean]
"""

from __future__ import annotations

from pycontain.record import Record


class Hook(Record):
    """One program. Source: config.md#posix-platform-hooks.

    ``args`` is argv with argv[0]; ``env`` is None where the document has none, which is not the same as an empty one;
    ``timeout`` is in seconds.
    """

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] | None = None
    timeout: int | None = None


class Hooks(Record):
    """The six kinds in the order in which they run."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()
