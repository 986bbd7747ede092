"""Terminals of ``exec -t``, which outlive the command that asked for them. [lean]

::

    exec ── K + pty master ──► monitor: holds it, so that nothing hangs up when the command dies or detaches
      │ is the user's terminal       │
      │ ── K alone: has ended ─────► closes it
      └─ goes without a word ──────► reads and drops what is still written, until nobody has the other side

For a container without a monitor (``run --rm`` in the foreground) a fork of the command does it: engine.detaching.
"""

from __future__ import annotations

import posix

from pycontain.engine.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.engine.clients import Client
    from pycontain.engine.loop import Loop

MOST = 200
_CHUNK = 4096


class Kept:
    """The monitor's side: one terminal for each client at most."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._held: dict[Client, int] = {}
        self._drained: set[int] = set()

    def take(self, client: Client, fds: tuple[int, ...]) -> None:
        """Hold the terminal that came with a packet; without one, give up what this client had."""
        self.release(client)
        for fd in fds[1:]:
            posix.close(fd)
        if fds and len(self._held) + len(self._drained) < MOST:
            self._held[client] = fds[0]
        elif fds:
            posix.close(fds[0])

    def release(self, client: Client) -> None:
        """Close the terminal of a client whose process has ended."""
        fd = self._held.pop(client, -1)
        if fd >= 0:
            posix.close(fd)

    def gone(self, client: Client) -> None:
        """Read a terminal from now on whose client has gone: its process must not wait for room in it."""
        fd = self._held.pop(client, -1)
        if fd >= 0:
            posix.set_blocking(fd, False)
            self._drained.add(fd)
            self._loop.watch(fd, READ, lambda _mask: self._drop(fd))

    def _drop(self, fd: int) -> None:
        try:
            if posix.read(fd, _CHUNK):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # EIO: nobody has the other side any more
        self._loop.forget(fd)
        self._drained.discard(fd)
        posix.close(fd)
