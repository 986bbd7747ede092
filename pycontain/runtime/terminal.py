"""The user's side of a session: raw terminal, window size, detach keys, signals, copying. [lean]

Whatever ends a session, the terminal is as it was before: exceptions and signals leave through :class:`RawTerminal`'s
exit; only SIGKILL cannot be caught. In raw mode the keys for signals go to the container as bytes; a SIGTSTP from
elsewhere restores the terminal, stops this process, and makes it raw again when it continues.
"""

from __future__ import annotations

import _signal
import os
import select
import termios
import time

from pycontain.errors import UsageError
from pycontain.kernel import _sys
from pycontain.runtime.deadline import Deadline
from pycontain.runtime.forwarding import FORWARDED, forwarder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pycontain.plan.process import ProcessPlan
    from pycontain.runtime.create import Created

DRAIN_S = 2.0
CHUNK = 32 * 1024
# A pipe that polls as writable takes this much without blocking. (O_NONBLOCK on the user's own descriptors would hold
# for everybody who shares them, the shell included.)
_PIECE = 4096
_QUIET_S = 0.1

_JOB_CONTROL = (_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGCONT)


class KeyFilter:
    """Looks for the detach keys in what is typed; holds back what may be their beginning."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what to pass on, and whether the keys were typed; what follows them is forgotten."""
        keys = self._keys
        if not keys:
            return data, False
        data = self._held + data
        found = data.find(keys)
        if found >= 0:
            self._held = b""
            return data[:found], True
        held = next((n for n in range(min(len(keys) - 1, len(data)), 0, -1) if data.endswith(keys[:n])), 0)
        cut = len(data) - held
        self._held = data[cut:]
        return data[:cut], False


def size_of(fd: int) -> tuple[int, int] | None:
    """Return (rows, columns) of a terminal, or None when it is none or has no size."""
    try:
        rows, columns = _sys.tty_get_size(fd)
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


class RawTerminal:
    """Context manager that makes a terminal pass every byte on, and restores it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved = termios.tcgetattr(fd)

    def __enter__(self) -> RawTerminal:
        self.apply()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def apply(self) -> None:
        """Switch to raw mode. Source: cfmakeraw in termios(3)."""
        attributes = [*self._saved[:6], list(self._saved[6])]
        attributes[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        attributes[1] &= ~termios.OPOST
        attributes[2] = attributes[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        attributes[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def restore(self) -> None:
        """Put the terminal back as it was; one that has been hung up needs nothing."""
        try:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)
        except termios.error:
            pass


class Signals:
    """Context manager that catches signals and makes them readable at :attr:`fd`; former handlers come back."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers
        self._before: dict[int, object] = {}
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._former_wakeup = -1

    def __enter__(self) -> Signals:
        self._former_wakeup = _signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = _signal.signal(number, _nothing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not set from Python, which cannot be put back
            _signal.signal(number, _signal.SIG_DFL if handler is None else handler)
        _signal.set_wakeup_fd(self._former_wakeup)
        os.close(self.fd)
        os.close(self._writer)

    def read(self) -> list[int]:
        """Return the numbers that have arrived, in their order."""
        try:
            return list(os.read(self.fd, 4096))
        except BlockingIOError:
            return []


def _nothing(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor has told already."""


def session_signals(terminal: RawTerminal | None, *, proxy: bool = True) -> tuple[int, ...]:
    """Return the signals that a session catches: all that can be forwarded; without ``proxy`` those that would end it.

    Where standard input is a terminal, those of job control are meant for this process: Ctrl-Z stops it.
    """
    wanted = {_signal.SIGWINCH}
    if terminal is not None:
        wanted.add(_signal.SIGTSTP)
    if proxy:
        wanted |= set(FORWARDED) - (set(_JOB_CONTROL) if os.isatty(0) else set())
    else:
        wanted |= {_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM}
    return tuple(sorted(wanted))


def die_by(number: int) -> None:
    """End as an uncaught signal ends a process; call it after everything has been restored."""
    _signal.signal(number, _signal.SIG_DFL)
    _signal.raise_signal(number)


class Flow:
    """Bytes from ``source`` to ``sink``, at most one chunk in between.

    ``outward``: from the container to the user. ``owned``: the container's side is a pipe, closed when the user's side
    ends; otherwise it is a terminal that both directions share.
    """

    def __init__(self, source: int, sink: int, *, outward: bool, owned: bool = False, keys: bytes = b"") -> None:
        self.source = source
        self.sink = sink
        self.outward = outward
        self.over = False
        self.detached = False
        self._owned = owned
        self._ended = False
        self._filter = KeyFilter(keys)
        self._pending = b""

    def wants(self) -> tuple[int, int]:
        """Return the descriptor to poll next, and for what."""
        return (self.sink, select.POLLOUT) if self._pending else (self.source, select.POLLIN)

    def advance(self) -> None:
        """Read or write once, as :meth:`wants` said."""
        if self._pending:
            self._write()
        else:
            self._pending, self.detached, self._ended = self._read()
            if self.detached and self._pending:
                self._write()  # what was typed before the keys; there is no next time
        if self._ended and not self._pending:
            self.end()

    def end(self) -> None:
        """Copy nothing more."""
        if not self.over:
            self.over = True
            if self._owned:
                os.close(self.source if self.outward else self.sink)

    def _write(self) -> None:
        try:
            self._pending = self._pending[os.write(self.sink, self._pending[:_PIECE]) :]
        except BlockingIOError:
            pass
        except OSError:
            self.end()  # EPIPE or EIO: nobody is there to read

    def _read(self) -> tuple[bytes, bool, bool]:
        """Return data, whether the detach keys were typed, and whether this was the end."""
        try:
            data = os.read(self.source, CHUNK)
        except BlockingIOError:
            return b"", False, False
        except OSError:
            data = b""  # EIO: a terminal whose other side is closed
        return (*self._filter.feed(data), not data)


def relay(
    pidfd: int,
    flows: tuple[Flow, ...],
    *,
    forward: Callable[[int], None],
    resized: Callable[[], None] | None = None,
    terminal: RawTerminal | None = None,
    blocked: tuple[int, ...] = (),
    deadline: Deadline | None = None,
) -> bool:
    """Copy until the process of ``pidfd`` has ended and its output is read; return False when the user detached.

    ``forward`` gets each signal that is meant for the container, ``resized`` is called first and after SIGWINCH.
    ``terminal`` is the user's, raw already. Without flows this forwards signals and waits. Signals that the caller has
    ``blocked`` are let in as soon as they are caught. At ``deadline`` the process is killed.
    """
    drained = 0.0  # when the last of its output must have come
    deadline = deadline or Deadline()
    with Signals(session_signals(terminal)) as signals:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, blocked)
        if resized is not None:
            resized()
        while True:
            active = [flow for flow in flows if not flow.over]
            if drained and (not active or time.monotonic() > drained):
                return True
            events = {signals.fd: select.POLLIN} if drained else {signals.fd: select.POLLIN, pidfd: select.POLLIN}
            for fd, event in (flow.wants() for flow in active):
                events[fd] = events.get(fd, 0) | event
            deadline.check(forward)
            ready = _poll(events, _QUIET_S if drained else deadline.left_s())
            if drained and not ready:
                return True  # somebody else holds the other end, and is silent
            if not _advance(active, ready):
                return False
            if ready.get(signals.fd):
                handle_signals(signals.read(), forward=forward, resized=resized, terminal=terminal)
            if not drained and ready.get(pidfd):
                drained = time.monotonic() + DRAIN_S
                for flow in flows:
                    if not flow.outward:
                        flow.end()


def _advance(flows: list[Flow], ready: dict[int, int]) -> bool:
    """Let every flow go on whose descriptor is ready; return False when the user detached."""
    for flow in flows:
        fd, event = flow.wants()
        if ready.get(fd, 0) & (event | select.POLLHUP | select.POLLERR):
            flow.advance()
    return not any(flow.detached for flow in flows)


def relay_terminal(
    master: int, pidfd: int, *, interactive: bool, detach_keys: bytes, forward: Callable[[int], None]
) -> bool:
    """Be the user's terminal for a process that has the other side of ``master``; see :func:`relay`.

    Raises:
        UsageError: ``interactive``, and standard input is not a terminal.
    """

    def resized() -> None:
        size = size_of(0) or size_of(1)
        if size is not None:
            _sys.tty_set_size(master, *size)

    os.set_blocking(master, False)
    outward = Flow(master, 1, outward=True)
    if not interactive:
        return relay(pidfd, (outward,), forward=forward, resized=resized)
    require_terminal()
    with RawTerminal(0) as terminal:
        inward = Flow(0, master, outward=False, keys=detach_keys)
        return relay(pidfd, (inward, outward), forward=forward, resized=resized, terminal=terminal)


def attend(
    created: Created,
    process: ProcessPlan,
    *,
    interactive: bool,
    detach_keys: bytes = b"",
    detached: Callable[[], None] | None = None,
) -> int:
    """Start a process, be its terminal, and return its exit code; 0 when the user detached: ``detached`` is called.

    Raises:
        UsageError: ``interactive``, and standard input is not a terminal; the process has been killed then.
        ExecError: the command cannot be executed.
    """
    from pycontain.runtime import create

    try:
        if interactive:
            require_terminal()
        create.start(created, process)
    except BaseException:
        create.abandon(created)
        raise
    if not be_terminal(created, interactive=interactive, detach_keys=detach_keys):
        if detached is not None:
            detached()
        say_detached()
        return 0
    return create.wait(created)[0]


def be_terminal(created: Created, *, interactive: bool, detach_keys: bytes = b"") -> bool:
    """Be the terminal of a process that has been started, until it ends; return False when the user detached."""
    forward = forwarder(created.pidfd)
    return relay_terminal(
        created.terminal, created.pidfd, interactive=interactive, detach_keys=detach_keys, forward=forward
    )


def relay_pipes(
    pidfd: int,
    stdin: int,
    stdout: int,
    stderr: int,
    *,
    forward: Callable[[int], None],
    blocked: tuple[int, ...] = (),
    deadline: Deadline | None = None,
) -> None:
    """Join a process's pipes, which are ours and get closed, to our own standard streams; see :func:`relay`.

    ``stdin`` is -1 when the process is to see the end of input at once.
    """
    flows = [Flow(stdout, 1, outward=True, owned=True), Flow(stderr, 2, outward=True, owned=True)]
    if stdin >= 0:
        os.set_blocking(stdin, False)
        flows.append(Flow(0, stdin, outward=False, owned=True))
    relay(pidfd, tuple(flows), forward=forward, blocked=blocked, deadline=deadline)
    for flow in flows:
        flow.end()


def say_detached() -> None:
    """Tell that the keys to leave were read, in docker's words."""
    try:
        os.write(2, b"read escape sequence\n")
    except OSError:
        pass  # nobody is there to be told


def require_terminal() -> None:
    """Check that there is a terminal to type on.

    Raises:
        UsageError: standard input is something else.
    """
    if not os.isatty(0):
        raise UsageError(
            "-t: standard input is not a terminal", hint="leave out -t, or run this from a terminal (script, ssh -t)"
        )


def handle_signals(
    numbers: list[int],
    *,
    forward: Callable[[int], None],
    resized: Callable[[], None] | None,
    terminal: RawTerminal | None,
) -> None:
    """Do what the signals that arrived ask for."""
    for number in numbers:
        if number == _signal.SIGTSTP and terminal is not None:
            terminal.restore()
            _signal.raise_signal(_signal.SIGSTOP)
            terminal.apply()
            number = _signal.SIGWINCH  # the window may have changed meanwhile
        if number != _signal.SIGWINCH:
            forward(number)
        elif resized is not None:
            resized()


def _poll(events: dict[int, int], timeout_s: float | None) -> dict[int, int]:
    poll = select.poll()
    for fd, event in events.items():
        poll.register(fd, event)
    return dict(poll.poll(None if timeout_s is None else timeout_s * 1000))
