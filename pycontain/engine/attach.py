"""The user's side of an attached container: a client of its monitor. [lean]

One connection carries everything (see protocol). Output waits in this process while the user's side is slow, and the
monitor is told that we live; a monitor that has given us up all the same (we were stopped) is asked again.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from pycontain.engine import exits, protocol, waiting
from pycontain.engine.loop import MSG_DONTWAIT
from pycontain.errors import NotFound, PycontainError, WrongState, from_fields
from pycontain.kernel import _sys
from pycontain.runtime.terminal import (
    CHUNK,
    KeyFilter,
    RawTerminal,
    Signals,
    die_by,
    handle_signals,
    require_terminal,
    say_detached,
    session_signals,
    size_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.engine.protocol import Exit
    from pycontain.runtime.state import Entry

BROKEN_PIPE = protocol.Exit(128 + _signal.SIGPIPE, _signal.SIGPIPE)
_PIECE = 4096


class Connection:
    """A client's end of the control socket; a context manager."""

    def __init__(self, directory: str) -> None:
        """Connect to the monitor of the container in ``directory``.

        Raises:
            WrongState: there is none: the container has ended, or was never monitored; or its monitor was killed.
        """
        container = directory.rpartition("/")[2][:12]
        try:
            self.fd = _sys.unix_connect(f"{directory}/{protocol.CONTROL_SOCKET}", protocol.SEQPACKET)
        except FileNotFoundError:
            raise WrongState(f"container {container} is not running") from None
        except ConnectionRefusedError:
            hint = f"nobody has its output or input any more; a new one comes by: pycontain restart {container}"
            raise WrongState(f"the monitor of container {container} has died", hint=hint) from None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def send(self, kind: bytes, *fields: object) -> None:
        """Send one packet; that the monitor has gone is learnt by receiving."""
        try:
            _sys.sendmsg(self.fd, protocol.pack(kind, *fields))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self, flags: int = 0) -> bytes:
        """Return the next packet, or b"" when the monitor has gone.

        Raises:
            BlockingIOError: MSG_DONTWAIT was given and there is none.
        """
        try:
            return _sys.recvmsg(self.fd, protocol.MAX_PACKET, 0, flags)[0]
        except ConnectionResetError:
            # It went without reading our last packet. What it sent before can still be read.
            return _sys.recvmsg(self.fd, protocol.MAX_PACKET, 0, flags)[0]

    def start(self, entry: Entry) -> None:
        """Start the program and write down that it runs.

        Raises:
            PycontainError: it cannot be executed, or was started before.
        """
        self.send(protocol.START)
        self.started(entry, self.expect(protocol.STARTED))

    def started(self, entry: Entry, fields: list[str]) -> None:
        """Write down that the program runs, as the monitor has told, and tell the monitor."""
        try:
            waiting.record_running(entry, int(fields[0]))
        except NotFound:
            pass  # it has ended and has been removed
        self.send(protocol.RECORDED)

    def expect(self, kind: bytes, timeout_s: float | None = None) -> list[str]:
        """Return the fields of the next packet of this kind, others are passed over; None waits for ever.

        Raises:
            PycontainError: the monitor reports an error, goes before, or is silent for too long.
        """
        while True:
            if not exits.wait_readable(self.fd, timeout_s):
                raise PycontainError("the monitor does not answer", hint="a disk may hang; see state D in ps")
            packet = self.receive()
            if packet[:1] == kind:
                return protocol.fields_of(packet)
            if packet[:1] == protocol.ERROR:
                raise from_fields(protocol.fields_of(packet))
            if not packet or packet[:1] == protocol.EXIT:
                raise ended_early(protocol.read_exit(packet) if packet else None)


def ended_early(end: Exit | None) -> PycontainError:
    """Return the error for a container that ended instead of starting."""
    reason = end.error if end is not None and end.error else "its process is gone"
    return PycontainError(f"the container ended before it was started: {reason}", hint="pycontain ps -a")


class Outlet:
    """A queue before one of the user's descriptors, written only when it can take something."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.broken = False
        self._queue: list[bytes] = []

    @property
    def waiting(self) -> bool:
        """Whether something is left to write."""
        return bool(self._queue)

    def put(self, data: bytes) -> None:
        """Queue."""
        if not self.broken:
            self._queue.append(data)

    def write(self) -> None:
        """Write one piece; to be called when the descriptor is writable."""
        data = self._queue[0]
        try:
            done = os.write(self.fd, data[:_PIECE])
        except BlockingIOError:
            return
        except OSError:
            self.broken = True
            self._queue = []
            return
        if done < len(data):
            self._queue[0] = data[done:]
        else:
            del self._queue[0]


class Session:
    """One attachment: ``streams`` are letters of protocol ("ioe"); ``proxy`` forwards signals to the container."""

    def __init__(self, entry: Entry, connection: Connection, *, streams: str, detach_keys: bytes, proxy: bool) -> None:
        self._entry = entry
        self._connection = connection
        self._streams = streams
        self._keys = detach_keys
        self._proxy = proxy
        self._filter = KeyFilter(b"")
        self._outlets = {protocol.OUTPUT: Outlet(1), protocol.ERROR_OUTPUT: Outlet(2)}
        self._typed: list[bytes] = []
        self._reading = False
        self._detached = False
        self._end: Exit | None = None
        self._deadly = 0
        self._told_alive = 0.0
        connection.send(protocol.ATTACH, streams)
        modes = connection.expect(protocol.ATTACHED)[0]
        self._tty = protocol.TERMINAL in modes
        self._reading = protocol.STDIN in streams and protocol.STDIN in modes

    def run(self, *, start: bool) -> Exit | None:
        """Serve until the container ends, and return how; None when the user detached.

        Raises:
            PycontainError: ``start``, and the program cannot be started; or the monitor has gone.
            UsageError: the container's terminal wants one here, and standard input is none.
        """
        terminal = None
        if self._tty and self._reading:
            require_terminal()
            self._filter = KeyFilter(self._keys)
            terminal = RawTerminal(0)
        try:
            with Signals(session_signals(terminal, proxy=self._proxy)) as signals:
                if terminal is not None:
                    terminal.apply()
                if self._tty:
                    self._resize(redraw=not start)
                if start:
                    self._connection.send(protocol.START)
                self._serve(signals, terminal)
        finally:
            if terminal is not None:
                terminal.restore()
        if self._deadly:
            die_by(self._deadly)
        if self._detached:
            say_detached()
        return self._end

    def _serve(self, signals: Signals, terminal: RawTerminal | None) -> None:
        while not (self._detached or self._deadly):
            slow = [outlet for outlet in self._outlets.values() if outlet.waiting]
            if self._end is not None and not slow:
                return
            if self._outlets[protocol.OUTPUT].broken:
                self._end = BROKEN_PIPE
                return
            ready = self._poll(signals.fd, slow)
            for outlet in slow:
                if outlet.fd in ready:
                    outlet.write()
            if signals.fd in ready:
                handle_signals(signals.read(), forward=self._forward, resized=self._resize, terminal=terminal)
            if self._connection.fd in ready:
                self._exchange()
            if 0 in ready and not self._typed:
                self._type()
        if self._detached:
            self._send_typed()  # before the keys; a program that reads nothing holds nobody here

    def _poll(self, signals: int, slow: list[Outlet]) -> dict[int, int]:
        poll = select.poll()
        poll.register(signals, select.POLLIN)
        for outlet in slow:
            poll.register(outlet.fd, select.POLLOUT)
        if self._end is None:
            mask = (0 if slow else select.POLLIN) | (select.POLLOUT if self._typed else 0)
            if mask:
                poll.register(self._connection.fd, mask)
        if self._reading and not self._typed and self._end is None:
            poll.register(0, select.POLLIN)
        ready = dict(poll.poll(protocol.ALIVE_S * 1000 if slow else None))
        now = time.monotonic()
        if slow and now - self._told_alive > protocol.ALIVE_S:
            self._told_alive = now
            self._connection.send(protocol.ALIVE)
        return ready

    def _exchange(self) -> None:
        """Send what was typed and take what the monitor sends, as far as it goes without waiting."""
        self._send_typed()
        try:
            packet = self._connection.receive(MSG_DONTWAIT)
        except BlockingIOError:
            return
        kind = packet[:1]
        if kind in self._outlets:
            self._outlets[kind].put(packet[1:])
        elif kind == protocol.STARTED:
            self._connection.started(self._entry, protocol.fields_of(packet))
        elif kind == protocol.ERROR:
            raise from_fields(protocol.fields_of(packet))
        elif kind == protocol.EXIT:
            self._end = protocol.read_exit(packet)
        elif not packet:
            self._attach_again()

    def _send_typed(self) -> None:
        try:
            while self._typed:
                _sys.sendmsg(self._connection.fd, self._typed[0], (), MSG_DONTWAIT)
                del self._typed[0]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._typed = []

    def _type(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b""  # EIO: our terminal has been hung up
        kept, self._detached = self._filter.feed(data)
        if kept:
            self._typed.append(protocol.INPUT + kept)
        if not data:
            self._reading = False
            self._typed.append(protocol.INPUT_END)

    def _forward(self, number: int) -> None:
        if self._proxy:
            self._connection.send(protocol.SIGNAL, number)
        else:
            self._deadly = number

    def _resize(self, *, redraw: bool = False) -> None:
        """Tell the size of our terminal; another one first makes the program draw its screen again."""
        size = size_of(0) or size_of(1)
        if size is not None:
            if redraw:
                self._connection.send(protocol.RESIZE, size[0] + 1, size[1])
            self._connection.send(protocol.RESIZE, *size)

    def _attach_again(self) -> None:
        """The monitor has disconnected us: it lost patience while we were stopped, or it has died.

        Raises:
            PycontainError: it has died.
        """
        container = self._entry.id[:12]
        try:
            connection = Connection(self._entry.directory)
            connection.send(protocol.ATTACH, self._streams)
            connection.expect(protocol.ATTACHED)
        except PycontainError:
            raise PycontainError(
                f"the monitor of container {container} has gone", hint=f"pycontain inspect {container}"
            ) from None
        os.dup2(connection.fd, self._connection.fd, inheritable=False)
        connection.close()
        note = f"pycontain: some output was missed while this command was stopped: pycontain logs {container}\r\n"
        self._outlets[protocol.ERROR_OUTPUT].put(note.encode())


def start_detached(entry: Entry) -> None:
    """Start a container that waits to be started, and leave it to its monitor.

    Raises:
        PycontainError: it cannot be executed, or was started before.
    """
    with Connection(entry.directory) as connection:
        connection.start(entry)


def serve(entry: Entry, *, streams: str, detach_keys: bytes, proxy: bool, start: bool = False) -> int:
    """Be attached until the container ends, and return its exit code; 0 when the user detached.

    Raises:
        WrongState: it does not run.
        PycontainError: ``start``, and it cannot be started.
    """
    with Connection(entry.directory) as connection:
        session = Session(entry, connection, streams=streams, detach_keys=detach_keys, proxy=proxy)
        end = session.run(start=start)
    return 0 if end is None else end.exit_code
