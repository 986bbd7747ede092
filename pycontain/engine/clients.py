"""The clients of a monitor: a bounded queue each, so that a slow one costs no memory and a dead one no time. [lean]"""

from __future__ import annotations

import posix
import time

from pycontain.engine import protocol
from pycontain.engine.loop import MSG_DONTWAIT, READ, WRITE
from pycontain.kernel import _sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.engine.loop import Loop

MAX_CLIENTS = 200
_HIGH = 256 * 1024
_LOW = _HIGH // 4
# Output stops at _HIGH. Only answers come beyond it: to a client that asks and asks, and does not read.
_MOST = 8 << 20


class Client:
    """One connection. ``streams`` holds the letters it is attached to, ``waits`` whether it wants to know the end."""

    def __init__(self, fd: int, patience_s: float) -> None:
        self.fd = fd
        self._patience_s = patience_s
        self.streams = ""
        self.waits = False
        self.full = False
        # its packets are not read, because the container does not read its stdin
        self.held = False
        self._queue: list[bytes] = []
        self._queued = 0
        self._progress = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether all that was sent has left."""
        return not self._queue

    def send(self, packet: bytes) -> None:
        """Send now, or queue while the client does not read.

        Raises:
            OSError: the client has gone, or must go.
        """
        if not self._queue:
            try:
                _sys.sendmsg(self.fd, packet, (), MSG_DONTWAIT)
                return
            except BlockingIOError:
                self._progress = time.monotonic()
        self._queue.append(packet)
        self._queued += len(packet)
        if self._queued >= _HIGH:
            self.full = True
        if self._queued > _MOST:
            raise BrokenPipeError

    def flush(self) -> None:
        """Send of the queue what the client takes.

        Raises:
            OSError: the client has gone.
        """
        sent = 0
        try:
            for packet in self._queue:
                _sys.sendmsg(self.fd, packet, (), MSG_DONTWAIT)
                sent += 1
                self._queued -= len(packet)
        except BlockingIOError:
            pass
        if sent:
            del self._queue[:sent]
            self.alive()
        if self._queued < _LOW:
            self.full = False

    def alive(self) -> None:
        """Note that the client is there, only slow."""
        self._progress = time.monotonic()

    def patience_s(self) -> float:
        """Return after how many seconds without a sign this client counts as stalled."""
        return max(self._progress + self._patience_s - time.monotonic(), 0.0)


class Clients:
    """All clients of one listening socket.

    ``received`` gets each packet and its descriptors, ``gone`` each client that has left, ``drained`` is called when
    queues got shorter.
    """

    def __init__(
        self,
        loop: Loop,
        listener: int,
        patience_s: float,
        *,
        received: Callable[[Client, bytes, tuple[int, ...]], None],
        gone: Callable[[Client], None],
        drained: Callable[[], None],
    ) -> None:
        self.disconnected = 0
        self.closing = False
        self._loop = loop
        self._listener = listener
        self._patience_s = patience_s
        self._received = received
        self._gone = gone
        self._drained = drained
        self._all: dict[int, Client] = {}
        posix.set_blocking(listener, False)
        loop.watch(listener, READ, self._accept)

    def any_full(self) -> bool:
        """Return whether some client's queue is so long that output should wait."""
        return any(client.full for client in self._all.values())

    def idle(self) -> bool:
        """Return whether every client has got everything."""
        return all(client.idle for client in self._all.values())

    def everyone(self) -> list[Client]:
        """Return all clients, in the order in which they came."""
        return list(self._all.values())

    def broadcast(self, stream: str, packet: bytes) -> None:
        """Send a packet to all clients that are attached to this stream."""
        for client in self.everyone():
            if stream in client.streams:
                self.send(client, packet)

    def send(self, client: Client, packet: bytes) -> None:
        """Send a packet to one client; one that has gone is forgotten."""
        try:
            client.send(packet)
        except OSError:
            return self.drop(client)
        return self._arrange(client)

    def hold(self, client: Client, held: bool) -> None:
        """Stop or go on reading what this client sends."""
        client.held = held
        self._arrange(client)

    def drop(self, client: Client) -> None:
        """Disconnect a client."""
        if self._all.pop(client.fd, None) is None:
            return
        self._loop.forget(client.fd)
        posix.close(client.fd)
        self._gone(client)
        self._drained()

    def _accept(self, _mask: int) -> None:
        try:
            fd = _sys.unix_accept(self._listener)
        except BlockingIOError:
            return
        except OSError:
            # Out of descriptors: the connection stays in the backlog, and trying at once would spin.
            self._loop.change(self._listener, 0)
            self._loop.after("accept", 1.0, lambda: self._loop.change(self._listener, READ))
            return
        _pid, uid, _gid = _sys.peer_credentials(fd)
        if uid not in (0, posix.geteuid()) or len(self._all) >= MAX_CLIENTS:
            posix.close(fd)
            return
        client = self._all[fd] = Client(fd, self._patience_s)
        self._loop.watch(fd, READ, lambda mask: self._ready(client, mask))

    def _ready(self, client: Client, mask: int) -> None:
        try:
            if not client.idle:
                client.flush()
                self._drained()
            if mask & ~WRITE and not client.held:
                packet, fds, _flags = _sys.recvmsg(client.fd, protocol.MAX_PACKET, 1, MSG_DONTWAIT)
                if not packet:
                    return self.drop(client)
                client.alive()
                self._received(client, packet, fds)
        except BlockingIOError:
            pass
        except OSError:
            return self.drop(client)
        return self._arrange(client)

    def _arrange(self, client: Client) -> None:
        """Watch for what this client can do next."""
        if client.fd in self._all:
            self._loop.change(client.fd, (0 if client.held else READ) | (0 if client.idle else WRITE))
            if not client.idle and not self._loop.pending("stall"):
                self._loop.after("stall", client.patience_s() + 0.01, self._drop_stalled)

    def _drop_stalled(self) -> None:
        busy = [client for client in self.everyone() if not client.idle]
        for client in busy:
            if client.patience_s() == 0 and (client.full or self.closing):
                self.disconnected += 1
                self.drop(client)
        left = [client.patience_s() for client in busy if client.fd in self._all]
        if left:
            self._loop.after("stall", max(min(left), 0.1), self._drop_stalled)
