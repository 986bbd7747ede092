"""One row of a user-namespace map, as used by ``linux.uidMappings`` and by idmapped mounts.

[lean]
"""

from __future__ import annotations

from pycontain.record import Record


class IDMapping(Record):
    """``size`` ids from ``container_id`` on are ``host_id`` and following on the host.

    Source: config-linux.md#user-namespace-mappings
    """

    container_id: int
    host_id: int
    size: int
