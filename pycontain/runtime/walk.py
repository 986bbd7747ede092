"""Goes through a directory tree that somebody else has made, however deep, with two descriptors and no recursion.

Everything is by descriptor, links are not followed and mounts are not entered. A directory that is moved away meanwhile
ends the walk: ".." is taken only where it leads back to the directory that was left.
"""

from __future__ import annotations

import errno
import os
import stat

from pycontain.kernel import _sys
from pycontain.kernel.constants import O_PATH, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_STAY = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OWNER = 0o700


def walk(
    parent: int,
    name: str,
    *,
    file: Callable[[int, str, os.stat_result], None],
    leave: Callable[[int, str], None],
    open_all: bool,
) -> None:
    """Call ``file`` for all that is no directory at or below ``name`` in the open directory ``parent``.

    ``leave`` is called for each directory after what is in it. Both get the directory above and a name. ``open_all``
    makes directories accessible to their owner first: work directories of an overlay have mode 0.

    Raises:
        OSError: a directory cannot be read, or is a mount point (EXDEV), or was moved (ESTALE).
    """
    status = _look(parent, name)
    if status is None:
        return None
    if not stat.S_ISDIR(status.st_mode):
        return file(parent, name, status)
    here = _enter(parent, name, open_all)
    left = os.listdir(here)
    # of each directory above: the name of the one below, its identity, and what is left to do in it
    above: list[tuple[str, tuple[int, int], list[str]]] = []
    try:
        while left or above:
            if not left:
                below, identity, left = above.pop()
                here = _go_back(here, identity)
                leave(here, below)
                continue
            child = left.pop()
            status = _look(here, child)
            if status is not None and stat.S_ISDIR(status.st_mode):
                identity = _identity(here)
                inner = _enter(here, child, open_all)
                os.close(here)
                here = inner
                above.append((child, identity, left))
                left = os.listdir(here)
            elif status is not None:
                file(here, child, status)
    finally:
        os.close(here)
    return leave(parent, name)


def _look(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino


def _enter(directory: int, name: str, open_all: bool) -> int:
    if open_all:
        found = _sys.openat2(directory, name, O_PATH | os.O_DIRECTORY, 0, _STAY)
        try:
            if os.fstat(found).st_mode & _OWNER != _OWNER:
                os.chmod(f"/proc/self/fd/{found}", _OWNER)
        finally:
            os.close(found)
    return _sys.openat2(directory, name, _LIST, 0, _STAY)


def _go_back(directory: int, identity: tuple[int, int]) -> int:
    """Close a directory and return the one above it, which must be the one that it was entered from."""
    parent = os.open("..", _LIST, dir_fd=directory)
    if _identity(parent) != identity:
        os.close(parent)
        raise OSError(errno.ESTALE, "a directory was moved meanwhile")
    os.close(directory)
    return parent
