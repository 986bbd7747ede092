"""New file systems whose options fsconfig(2) does not take, because a value has more than 255 bytes. [lean]

A lowerdir of an overlay is given layer by layer where the kernel can (since Linux 6.7). Everything else goes through
mount(2), which takes a page of options: onto a directory that every root has, from which the mount is taken at once.
Only for who has a mount namespace of its own.
"""

from __future__ import annotations

import errno
import os

from pycontain.errors import StageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import AT_EMPTY_PATH, AT_FDCWD, MNT_DETACH, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Options = tuple[tuple[str, str], ...]

# fsconfig(2): FSCONFIG_SET_STRING takes 256 bytes with the zero at the end
MAX_VALUE = 255
# mount(2): "data" is copied up to a page
MAX_DATA = 4095
_PLACE = "/proc/fs"


def new(
    make: Callable[[str, str, Options, int], int], fstype: str, source: str, options: Options, attributes: int
) -> int:
    """Return a detached mount of a new file system; ``make`` makes one by fsconfig(2).

    Raises:
        StageError: there are more options than mount(2) takes.
    """
    layers = by_layers(fstype, options)
    if all(len(os.fsencode(value)) <= MAX_VALUE for _, value in layers):
        try:
            return make(fstype, source, layers, attributes)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise  # EINVAL: a kernel that does not know lowerdir+, or what mount(2) refuses as well
    tree = by_mount(fstype, source, options)
    _sys.mount_setattr(tree, "", AT_EMPTY_PATH, attr_set=attributes)
    return tree


def by_layers(fstype: str, options: Options) -> Options:
    """Return options in which each layer of a long lowerdir stands for itself; as they are where that cannot be.

    Source: Documentation/filesystems/overlayfs.rst "lowerdir+"
    """
    if fstype != "overlay":
        return options
    found: list[tuple[str, str]] = []
    for key, value in options:
        layers = value.split(":")
        # an escaped colon is not one, and what follows two of them is no layer
        if key == "lowerdir" and "\\" not in value and all(layers):
            found += [("lowerdir+", layer) for layer in layers]
        else:
            found.append((key, value))
    return tuple(found)


def by_mount(fstype: str, source: str, options: Options) -> int:
    """Return a detached mount of a new file system, made by mount(2).

    Raises:
        StageError: there are more options than mount(2) takes.
    """
    data = ",".join(f"{key}={value}" if value else key for key, value in options)
    if len(os.fsencode(data)) > MAX_DATA:
        raise StageError(
            f"new {fstype}: the options have {len(os.fsencode(data))} bytes, mount(2) takes {MAX_DATA}",
            stage="init",
            errno=errno.E2BIG,
        )
    _sys.mount(source, _PLACE, fstype, 0, data)
    try:
        return _sys.open_tree(AT_FDCWD, _PLACE, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    finally:
        _sys.umount2(_PLACE, MNT_DETACH)
