"""The owner's side: a Python program, perhaps with threads, and the launcher that it has started.

The owner never forks. Its first request starts a launcher with posix_spawn(3), which is a grandchild from the
beginning, so that no waitpid(2) of the owner meets it. A child that the owner makes by fork(2) has nothing of all this:
its copies of the sockets and pipes are closed in it, and its own first request starts a launcher of its own.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import sys
import threading
from contextlib import ExitStack

import pycontain
from pycontain.engine import requests
from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import SOCK_SEQPACKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READY_WITHIN_S = 30.0
# where the launcher finds its socket and the pidfd of its owner
_CHANNEL, _OWNER = 3, 4
_ABOVE = 10
_MOST_SAID = 4096


class Call:
    """A request that was sent: ``control`` is the socket of its maker, the others our ends of the container's streams.

    ``stdin`` is -1 where there is none. :meth:`drop` closes one, :meth:`close` what is left.
    """

    def __init__(self, owner: Owner, control: int, stdin: int, stdout: int, stderr: int) -> None:
        self._owner = owner
        self.control = control
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.open = {fd for fd in (control, stdin, stdout, stderr) if fd >= 0}

    def drop(self, fd: int) -> None:
        """Close one of the descriptors; a second call does nothing."""
        self._owner.drop(self.open, fd)

    def give_up(self) -> None:
        """Have the container ended: to close the socket is not enough where a fork in C has left a copy of it."""
        try:
            _sys.sendmsg(self.control, requests.KILL)
        except OSError:
            pass  # it has ended by itself

    def close(self) -> None:
        """Close what is open."""
        for fd in tuple(self.open):
            self.drop(fd)


class Owner:
    """What this process holds: the launcher's socket, and the calls that are under way in its threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._channel = -1
        self._launched_by: tuple[object, ...] = ()
        self._calls: set[Call] = set()
        # a fork between the making of a descriptor and its place in our books would leave a copy in the child
        os.register_at_fork(
            before=lambda: self._lock.acquire(),
            after_in_parent=lambda: self._lock.release(),
            after_in_child=self._forget,
        )

    def call(self, document: dict[str, Any], *, stdin: bool) -> Call:
        """Send a request to the launcher, which is started if there is none.

        Raises:
            HostError: no launcher can be started.
        """
        with self._lock:
            ours, theirs = _ends(stdin=stdin)
            call = Call(self, *ours)
            self._calls.add(call)
            try:
                self._send(document, theirs)
            except BaseException:
                call.close()
                raise
            finally:
                for fd in theirs:
                    os.close(fd)
            return call

    def drop(self, among: set[int], fd: int) -> None:
        """Close a descriptor if it is still among these, and forget calls that have none."""
        with self._lock:
            if fd in among:
                among.discard(fd)
                os.close(fd)
            if not among:
                self._calls = {call for call in self._calls if call.open}

    def _send(self, document: dict[str, Any], fds: tuple[int, ...]) -> None:
        # a launcher that was started with other rights would make containers with those
        identity = (os.getresuid(), os.getresgid(), os.getgroups())
        if self._channel >= 0 and self._launched_by == identity:
            try:
                requests.send_request(self._channel, document, fds)
                return
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was killed, and has not taken the request
        if self._channel >= 0:
            os.close(self._channel)
            self._channel = -1
        self._channel = launch()
        self._launched_by = identity
        requests.send_request(self._channel, document, fds)

    def _forget(self) -> None:
        """In a child of fork(2): close what is our parent's."""
        self._lock = threading.RLock()
        for call in self._calls:
            for fd in call.open:
                os.close(fd)
            call.open.clear()
        self._calls.clear()
        if self._channel >= 0:
            os.close(self._channel)
        self._channel = -1


def _ends(*, stdin: bool) -> tuple[tuple[int, int, int, int], tuple[int, ...]]:
    """Return our ends (control, stdin or -1, stdout, stderr) and those for the launcher."""
    made: list[int] = []
    try:
        made += _sys.socketpair(SOCK_SEQPACKET)
        for _ in range(3 if stdin else 2):
            made += os.pipe()
    except OSError as error:
        for fd in made:
            os.close(fd)
        raise HostError(f"pipes: {(error.strerror or '').lower()}", hint="more descriptors: ulimit -n") from error
    control, told, *pipes = made
    entry, ours_in = (pipes[0], pipes[1]) if stdin else (-1, -1)
    ours_out, stdout, ours_err, stderr = pipes[-4:]
    theirs = (told, entry, stdout, stderr) if stdin else (told, stdout, stderr)
    return (control, ours_in, ours_out, ours_err), theirs


def launch() -> int:
    """Start a launcher for this process and return the socket to it.

    Raises:
        HostError: it does not start; says what it said.
    """
    program = _program()
    try:
        channel, said = _start(program)
    except OSError as error:
        cause = (error.strerror or "").lower()
        raise HostError(f"{program}: {cause}", hint="more processes and descriptors: ulimit -u, ulimit -n") from error
    try:
        _await_ready(program, channel, said)
    except BaseException:
        os.close(channel)
        raise
    finally:
        os.close(said)
    return channel


def _start(program: str) -> tuple[int, int]:
    """Start it and return our ends of its socket and of the pipe that is its standard error.

    Raises:
        OSError: a descriptor or a process cannot be had.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        channel, its_channel = _sys.socketpair(SOCK_SEQPACKET)
        ours.callback(os.close, channel)
        theirs.callback(os.close, its_channel)
        said, says = os.pipe()
        ours.callback(os.close, said)
        theirs.callback(os.close, says)
        watched = _sys.pidfd_open(os.getpid())
        theirs.callback(os.close, watched)
        high = []
        for fd in (its_channel, watched, says):
            # above those that they become: one must not be closed by the other's move
            high.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE))
            theirs.callback(os.close, high[-1])
        _spawn(program, *high)
        ours.pop_all()
    return channel, said


def _spawn(program: str, channel: int, watched: int, says: int) -> None:
    null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0)
    moves = [(0, 1), (says, 2), (channel, _CHANNEL), (watched, _OWNER)]
    pid = os.posix_spawn(
        program,
        [program, "--internal-launcher", str(_CHANNEL), str(_OWNER)],
        os.environ,
        file_actions=[null, *((os.POSIX_SPAWN_DUP2, source, target) for source, target in moves)],
        setsigmask=(),
        setsigdef=range(1, 32),
    )
    try:
        os.waitpid(pid, 0)  # it has forked the launcher, and is gone
    except ChildProcessError:
        pass  # somebody else here waits for every child


def _await_ready(program: str, channel: int, said: int) -> None:
    """Wait until the launcher can take requests.

    Raises:
        HostError: it cannot, or belongs to another version.
    """
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    packet = b""
    if poll.poll(READY_WITHIN_S * 1000):
        try:
            packet, _, _ = _sys.recvmsg(channel, requests.MAX_PACKET)
        except ConnectionResetError:
            pass
    if packet[:1] != requests.READY:
        os.set_blocking(said, False)
        try:
            text = os.read(said, _MOST_SAID).decode(errors="replace").strip()
        except BlockingIOError:
            text = ""
        raise HostError(f"{program}: the launcher does not start: {text or 'it says nothing'}", hint="pycontain doctor")
    version = packet[1:].decode()
    if version != pycontain.__version__:
        raise HostError(
            f"{program} has version {version}, this library {pycontain.__version__}", hint="install pycontain again"
        )


def _program() -> str:
    """Return the native program of this installation.

    Raises:
        HostError: it is not there.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # PREFIX/lib/pythonX/site-packages/pycontain; elsewhere, as beside the sources, that of the environment
    prefix = os.path.normpath(f"{package}/../../../..")
    for candidate in (f"{prefix}/bin/pycontain", f"{sys.prefix}/bin/pycontain", shutil.which("pycontain")):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise HostError(
        f"the program pycontain is neither in {prefix}/bin nor in {sys.prefix}/bin", hint="install pycontain again"
    )


OWNER = Owner()
