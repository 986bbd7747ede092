"""Reads a small file as a whole, with a third of the system calls of :func:`open`. [lean]"""

from __future__ import annotations

import os

_READ_SIZE = 1 << 14


def read_file(path: str) -> bytes:
    """Return what a file says.

    Raises:
        OSError: as open(2) and read(2).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = chunk = os.read(fd, _READ_SIZE)
        while chunk:
            chunk = os.read(fd, _READ_SIZE)
            data += chunk
    finally:
        os.close(fd)
    return data
