"""What a foreground process gets as standard input, output and error: the caller's own, or pipes of ours. [lean]

A pipe and /dev/null can be handed over as they are. A terminal cannot: whoever has it reads what is typed there and
changes its settings. Nor can files, FIFOs with a name and sockets: under another user's ids /dev/stdout could not be
opened by name.
"""

from __future__ import annotations

import os
import stat

from pycontain.kernel import _sys
from pycontain.kernel.constants import PIPEFS_MAGIC

_NULL = os.makedev(1, 3)


def may_be_inherited(fd: int) -> bool:
    """Return whether a descriptor of ours is one that a container's process may have."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False  # closed
    if stat.S_ISFIFO(status.st_mode):
        return _sys.fstatfs_type(fd) == PIPEFS_MAGIC  # pipe(7): made by pipe(2), so it has no name and no other owner
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL


class Streams:
    """The standard streams of a process: ``inside`` its own, ``ours`` our ends of pipes to it, None if it has ours.

    ``null`` is a descriptor of /dev/null, which a process that is not ``foreground`` gets.
    """

    def __init__(self, null: int, *, interactive: bool, foreground: bool = True) -> None:
        self.ours: tuple[int, int, int] | None = None
        if not foreground:
            self.inside = (null, null, null)
            return
        self.inside = (0 if interactive else null, 1, 2)
        if all(map(may_be_inherited, (0, 1, 2) if interactive else (1, 2))):
            return
        stdin, ours_in = os.pipe() if interactive else (null, -1)
        ours_out, stdout = os.pipe()
        ours_err, stderr = os.pipe()
        self.inside = (stdin, stdout, stderr)
        self.ours = (ours_in, ours_out, ours_err)

    def close_inside(self) -> None:
        """Close the process's ends of the pipes."""
        if self.ours is not None:
            for fd in self.inside[0 if self.ours[0] >= 0 else 1 :]:
                os.close(fd)
