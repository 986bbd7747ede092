"""The whole configuration of a container: config.json of the runtime specification 1.0 to 1.3 for Linux.

[lean]

Conventions of all records of a document:

* names are the JSON names in snake_case; arrays are tuples, objects with free keys are mappings that nobody mutates;
* None means absent. Where the specification gives absence and emptiness one meaning, the field holds the empty
  tuple, mapping or record instead (``spec.mounts``, ``spec.hooks``, ``spec.linux``): readers need no None check.
"""

from __future__ import annotations

from pycontain.record import Record
from pycontain.spec.hooks import Hooks
from pycontain.spec.linux import Linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pycontain.spec.mounts import Mount
    from pycontain.spec.process import Process
    from pycontain.spec.root import Root


class Spec(Record):
    """Source: config.md. ``process`` is None only for a container that cannot be started."""

    oci_version: str
    root: Root
    process: Process | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    annotations: Mapping[str, str] = {}
    linux: Linux = Linux()
