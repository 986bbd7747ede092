"""Reads small files of a root file system without ever leaving it, whatever it holds. [lean]

Source: openat2(2) RESOLVE_IN_ROOT: links are followed as if the directory were "/".
"""

from __future__ import annotations

import errno
import os
import stat

from pycontain.errors import UsageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import O_PATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS

_MAX_BYTES = 16 << 20
# What a root may do to a path without our caring why: no such file, not a directory, a link that leads nowhere.
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENXIO, errno.ENAMETOOLONG)


def read(root_fd: int, path: str) -> bytes:
    """Return the bytes of the regular file at ``path`` (relative) below ``root_fd``, b"" where there is none.

    A FIFO or device there is not read and cannot hang us.

    Raises:
        UsageError: larger than 16 MiB.
    """
    try:
        found = _sys.openat2(root_fd, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno in _MISSING:
            return b""
        raise
    try:
        # opening a device is an act already: a watchdog begins to count, a tape winds back
        if not stat.S_ISREG(os.fstat(found).st_mode):
            return b""
        return _read(os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC), path)
    except PermissionError:
        return b""
    finally:
        os.close(found)


def _read(fd: int, path: str) -> bytes:
    try:
        if os.fstat(fd).st_size > _MAX_BYTES:
            raise UsageError(f"the container's /{path} is larger than {_MAX_BYTES >> 20} MiB")
        data = bytearray()
        while len(data) <= _MAX_BYTES:
            part = os.read(fd, 1 << 20)
            if not part:
                break
            data += part
        return bytes(data)
    finally:
        os.close(fd)
