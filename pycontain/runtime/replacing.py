"""Writes a file as a whole: nobody ever sees half of it. [lean]"""

from __future__ import annotations

import os


def replace_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file by rename; a link at ``path`` is replaced, not followed.

    Raises:
        OSError: it cannot be written; the former file is untouched.
    """
    # others may write in its directory: nobody can have guessed this name, and what has it is not taken
    temporary = os.path.join(os.path.dirname(path), f".{os.urandom(8).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        while data:
            data = data[os.write(fd, data) :]
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
