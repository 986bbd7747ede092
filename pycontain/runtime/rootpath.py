"""Paths below a container's root: the one module that walks them, always by descriptor.

The root belongs to somebody we do not trust: every look-up is openat2 with RESOLVE_IN_ROOT, so a link can lead to
anywhere in the root but never out of it (openat2(2)).
"""

from __future__ import annotations

import errno
import os

from pycontain.kernel import _sys
from pycontain.kernel.constants import O_PATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS

MAX_LINKS = 40
_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


def open_path(root: int, path: str, flags: int = 0, *, links: bool = True) -> int:
    """Return an O_PATH descriptor of ``path`` below ``root`` (a descriptor).

    Raises:
        OSError: ENOENT, ELOOP where links are not allowed, …
    """
    resolve = _RESOLVE if links else _RESOLVE | RESOLVE_NO_SYMLINKS
    return _sys.openat2(root, path, O_PATH | os.O_CLOEXEC | flags, 0, resolve)


def make_directory(root: int, path: str, mode: int = 0o755, *, depth: int = MAX_LINKS) -> int:
    """Return an O_PATH descriptor of the directory ``path`` below ``root``, making what is missing of it.

    A link that leads nowhere is followed: what it names is made, in the root. ``depth`` is how many of them.

    Raises:
        OSError: NotADirectoryError, or FileExistsError for too many links.
    """
    try:
        return open_path(root, path, os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    parent_path, name = _split(path)
    parent = make_directory(root, parent_path, mode)
    try:
        os.mkdir(name, mode, dir_fd=parent)
        return open_path(parent, name, os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileExistsError:
        if depth == 0:
            raise
        target = _link_target(parent, parent_path, name)
    finally:
        os.close(parent)
    return make_directory(root, target, mode, depth=depth - 1)


def _link_target(parent: int, parent_path: str, name: str) -> str:
    """Return the path in the root that a symbolic link leads to; raises FileExistsError for anything else."""
    try:
        target = os.readlink(name, dir_fd=parent)
    except OSError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
    return target if target.startswith("/") else f"{parent_path}/{target}"


def make_mount_point(root: int, path: str, *, directory: bool, links: bool = True) -> int:
    """Return an O_PATH descriptor of the mount point ``path``, made as a directory or an empty file if missing."""
    try:
        return open_path(root, path, links=links)
    except FileNotFoundError:
        pass
    if directory:
        return make_directory(root, path)
    parent_path, name = _split(path)
    parent = make_directory(root, parent_path)
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
        return open_path(parent, name, os.O_NOFOLLOW)
    finally:
        os.close(parent)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name
