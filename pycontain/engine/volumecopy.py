"""Fills a new volume with what the root file system has at its place, as docker does.

The root may be hostile: :mod:`pycontain.runtime.copying` goes through it by descriptor.
"""

from __future__ import annotations

import errno
import os

from pycontain.errors import StoreError
from pycontain.kernel import _sys
from pycontain.kernel.constants import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
from pycontain.runtime.copying import copy_directory

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def copy_up(root: str, place: str, target: str) -> None:
    """Copy the content of the directory ``place`` of ``root`` into the empty directory ``target``.

    Owner, mode and times are kept where this user may set them. Nothing happens where ``place`` is no directory.

    Raises:
        StoreError: something cannot be read or written.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        source = _sys.openat2(root_fd, place.lstrip("/"), flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno in _MISSING:
            return
        raise StoreError(f"copy {place}: {(error.strerror or '').lower()}") from error
    finally:
        os.close(root_fd)
    goal = os.open(target, _DIRECTORY)
    try:
        copy_directory(source, goal)
    except OSError as error:
        hint = "start it without copying: --mount type=volume,…,volume-nocopy"
        raise StoreError(f"copy {place} into its volume: {(error.strerror or '').lower()}", hint=hint) from error
    finally:
        os.close(source)
        os.close(goal)
