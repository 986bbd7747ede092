"""The command's side of :mod:`pycontain.engine.keeping`: hand a terminal over, or leave a process behind. [lean]"""

from __future__ import annotations

import os
import select

from pycontain.engine import monitors, protocol
from pycontain.engine.attach import Connection
from pycontain.errors import WrongState
from pycontain.kernel import _sys
from pycontain.runtime.init import close_others
from pycontain.runtime.state import MONITORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.create import Created
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Entry, State

_CHUNK = 4096


class Keeper:
    """Sees to it that the terminal of a process is not hung up when this command goes. A context manager.

    A normal end of the block means that the process has ended, unless :meth:`leave` was called; then, and when this
    command is killed, the process goes on.
    """

    def __init__(self, settings: Settings, entry: Entry, saved: State, created: Created) -> None:
        self._settings = settings
        self._created = created
        self._left = False
        self._connection: Connection | None = None
        if saved.shape == MONITORED:
            try:
                self._connection = Connection(entry.directory)
                _sys.sendmsg(self._connection.fd, protocol.KEEP, (created.terminal,))
            except (WrongState, OSError):
                self._connection = None  # it is about to end, or its monitor has died

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._connection is not None:
            if not self._left:
                self._connection.send(protocol.KEEP)
            self._connection.close()

    def leave(self) -> None:
        """Let the process go on without us."""
        self._left = True
        if self._connection is None and os.fork() == 0:
            try:
                os.setsid()
                monitors.join(self._settings)
                self._drain()
            finally:
                os._exit(0)

    def _drain(self) -> None:
        """Read the terminal and drop what comes, until the process ends or nobody has the other side."""
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for number in range(3):
            os.dup2(null, number)
        master, pidfd = self._created.terminal, self._created.pidfd
        close_others((master, pidfd))
        poll = select.poll()
        for fd in (master, pidfd):
            poll.register(fd, select.POLLIN)
        os.set_blocking(master, False)
        while True:
            ready = dict(poll.poll())
            if master in ready:
                try:
                    if not os.read(master, _CHUNK):
                        return
                except BlockingIOError:
                    pass
                except OSError:
                    return
            elif pidfd in ready:
                return
