"""The command's side of :mod:`pycontain.engine.keeping`: hand a terminal to the monitor, or to a process. [lean]"""

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
        self._left = False
        self._connection: Connection | None = None
        self._holder: Holder | None = None
        if saved.shape == MONITORED:
            try:
                self._connection = Connection(entry.directory)
                _sys.sendmsg(self._connection.fd, protocol.KEEP, (created.terminal,))
            except (WrongState, OSError):
                self._connection = None  # it is about to end, or its monitor has died
        if self._connection is None:
            self._holder = Holder(settings, created)

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._connection is not None:
            if not self._left:
                self._connection.send(protocol.KEEP)
            self._connection.close()
        if self._holder is not None and not self._left:
            self._holder.end()

    def leave(self) -> None:
        """Let the process go on without us."""
        self._left = True
        if self._holder is not None:
            self._holder.leave()


class Holder:
    """A process of ours that has the terminal, too, in place of a monitor, and reads it when we have gone."""

    def __init__(self, settings: Settings, created: Created) -> None:
        reader, self._writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.setsid()
                _let_go((reader, created.terminal, created.pidfd))
                monitors.join(settings)
                if not os.read(reader, 1):
                    _drain(created.terminal, created.pidfd)
            finally:
                os._exit(0)
        os.close(reader)

    def end(self) -> None:
        """The process has ended: let nobody hold its terminal any more."""
        try:
            os.write(self._writer, b"x")
        except BrokenPipeError:
            pass  # somebody has killed it
        os.waitpid(self._pid, 0)
        os.close(self._writer)

    def leave(self) -> None:
        """Leave the terminal to it, as our death does."""
        os.close(self._writer)


def _let_go(keep: tuple[int, ...]) -> None:
    """Have nothing of the command's but these descriptors."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in range(3):
        os.dup2(null, number)
    close_others(keep)


def _drain(master: int, pidfd: int) -> None:
    """Read a terminal and drop what comes, until its process ends or nobody has the other side."""
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
