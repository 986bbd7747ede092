"""What a configuration can ask for and this runtime does not do yet: an error, never ignored. [lean]"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.spec.mount_options import MS_REMOUNT, MS_SHARED, parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pycontain.spec.runtime import Spec

# words of KNOWN_OPTIONS that are not done yet: features leaves them out
MOUNT_OPTIONS = ("idmap", "ridmap", "remount", "tmpcopyup")
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
    if linux.rootfs_propagation in ("shared", "rshared", "slave", "rslave"):
        yield "linux.rootfsPropagation"
    if linux.namespace("mount") is None:
        yield "linux.namespaces: a container without a mount namespace"
    yield from _found_mounts(spec)


def _found_mounts(spec: Spec) -> Iterator[str]:
    for index, mount in enumerate(spec.mounts):
        at = f"mounts[{index}]"
        flags = parse_options(mount.options, f"{at}.options")
        if mount.uid_mappings:
            yield f"{at}.uidMappings"
        if flags.idmap:
            yield f"{at}.options: idmap"
        if flags.tmpcopyup:
            yield f"{at}.options: tmpcopyup"
        if flags.set & MS_REMOUNT:
            yield f"{at}.options: remount"
        if not flags.bind and (flags.rec_attr_set or flags.rec_attr_clr):
            yield f"{at}.options: recursive attributes of a new file system"
        if not flags.bind and flags.propagation & MS_SHARED:
            yield f"{at}.options: propagation of a new file system"
