"""What a foreground process gets as standard input, output and error: the caller's own, or pipes of ours. [lean]

A pipe and /dev/null can be handed over as they are. A terminal cannot: whoever has it reads what is typed there and
changes its settings. Nor can files and sockets: under another user's ids /dev/stdout could not be opened by name.
"""

from __future__ import annotations

import os
import stat

_NULL = os.makedev(1, 3)


def may_be_inherited(fd: int) -> bool:
    """Return whether a descriptor of ours is one that a container's process may have."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False  # closed
    return stat.S_ISFIFO(status.st_mode) or (stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL)


def all_may_be_inherited(*, interactive: bool) -> bool:
    """Return whether our standard streams can be the process's; standard input only with ``interactive``."""
    return all(map(may_be_inherited, (0, 1, 2) if interactive else (1, 2)))
