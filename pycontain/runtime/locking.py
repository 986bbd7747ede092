"""The lock of a directory that may be removed: flock(2) on a file in it. [lean]"""

from __future__ import annotations

import errno
import fcntl
import os
import time

_LOOK_EVERY_S = 0.005


def take_lock(directory: str, wait_s: float | None) -> int:
    """Return a descriptor that holds the lock of ``directory``; the kernel drops it with the last copy.

    ``wait_s`` is how long to wait for others, None for ever.

    Raises:
        FileNotFoundError: there is no such directory, or whoever held the lock before has removed it.
        BlockingIOError: somebody else held it all the time.
    """
    path = f"{directory}/lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(fd, wait_s)
        if os.fstat(fd).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _lock(fd: int, wait_s: float | None) -> None:
    if wait_s is None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_LOOK_EVERY_S)
