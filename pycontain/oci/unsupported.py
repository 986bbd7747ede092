"""What a configuration can ask for and this runtime does not do yet: an error, never ignored. [lean]"""

from __future__ import annotations

from pycontain.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pycontain.spec.runtime import Spec

RULE = "is not supported by this version of pycontain-oci"


def refuse(spec: Spec) -> None:
    """Raise SpecError for the first property that would be ignored."""
    for path in _found(spec):
        raise SpecError(path, RULE)


def _found(spec: Spec) -> Iterator[str]:
    linux = spec.linux
    for name, value in (
        ("netDevices", linux.net_devices),
        ("intelRdt", linux.intel_rdt),
    ):
        if value:
            yield f"linux.{name}"
    if linux.mount_label:
        yield "linux.mountLabel"
    if linux.namespace("mount") is None:
        yield "linux.namespaces: a container without a mount namespace"
