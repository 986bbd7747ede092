"""One entry of ``mounts`` in config.json. What its options mean is in :mod:`pycontain.spec.mount_options`.

[lean]
"""

from __future__ import annotations

from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.ids import IDMapping


class Mount(Record):
    """A mount in the order of the document. Source: config.md#mounts.

    ``source`` of a bind mount may be relative to the bundle; ``destination`` may be relative to "/" (deprecated).
    """

    destination: str
    type: str | None = None
    source: str | None = None
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
