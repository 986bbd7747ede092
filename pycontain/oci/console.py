"""Hands descriptors to whoever asked for them: a container's terminal, a descriptor of its process. [lean]"""

from __future__ import annotations

import fcntl
import os
import sys

from pycontain.errors import HostError, UsageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import SOCK_STREAM
from pycontain.runtime import create, forwarding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.create import Created
    from pycontain.spec.process import Process

TIOCGPTN = 0x80045430  # asm-generic/ioctls.h


def check(process: Process, socket: str, *, needed: bool) -> None:
    """Refuse a terminal that nobody takes, and a socket for a terminal that is not there.

    Raises:
        UsageError: as said; ``needed``: this process will not stay to relay the terminal itself.
    """
    if process.terminal and needed and not socket:
        raise UsageError("cannot allocate tty if runc will detach without setting console socket")
    if socket and not process.terminal:
        raise UsageError("cannot use console socket if runc will not detach or allocate tty")


def attend(created: Created) -> int:
    """Be the terminal of a process, or pass signals on to it, until it ends; return its exit code."""
    if created.terminal < 0:
        return forwarding.attend(created)[0]
    from pycontain.runtime import terminal

    terminal.be_terminal(created, interactive=os.isatty(0))
    return create.wait(created)[0]


def send_terminal(master: int, path: str) -> None:
    """Send a pseudo-terminal's master side to the socket at ``path``, with the name of the other side."""
    number = int.from_bytes(fcntl.ioctl(master, TIOCGPTN, bytes(4)), sys.byteorder)
    send(path, f"/dev/pts/{number}", master)


def send(path: str, text: str, fd: int) -> None:
    """Send one descriptor to a listening socket.

    Raises:
        HostError: nobody listens there.
    """
    try:
        socket = _sys.unix_connect(path, SOCK_STREAM)
        try:
            _sys.sendmsg(socket, text.encode(), (fd,))
        finally:
            os.close(socket)
    except OSError as error:
        raise HostError(f"socket {path}: {(error.strerror or '').lower()}") from error
