"""A container's state as the specification tells it to hooks and listeners, and the versions that we speak. [lean]

Apart from the configuration: what only ends or signals a container loads none of it.
"""

from __future__ import annotations

from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

OCI_VERSION_MIN = "1.0.0"
OCI_VERSION_MAX = "1.3.0"


class HookState(Record):
    """The container's state as hooks get it, but for status and process id. Source: runtime.md#state"""

    oci_version: str
    id: str
    bundle: str
    annotations: Mapping[str, str] = {}

    def document(self, status: str, pid: int) -> dict[str, Any]:
        """Return the state as JSON has it; ``pid`` 0 is left out."""
        document: dict[str, Any] = {"ociVersion": self.oci_version, "id": self.id, "status": status}
        if pid:
            document["pid"] = pid
        document["bundle"] = self.bundle
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document
