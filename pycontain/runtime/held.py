"""A container that somebody else starts later: its init waits at a socket when its maker has gone. [lean]

::

    maker ── KEPT ──► init        the state is saved: from now on init waits, however long
      exits             │
    starter ─ connect ─►│         <directory>/start.sock, which only the runtime's user can reach
            ── START ──►│  start hooks, finish()
            ◄─ LISTENER ─         with the descriptor, where the seccomp profile notifies
            ◄─ end of file        the program runs; or FAILED, or an exec record

An init whose maker dies before KEPT ends: nobody would know of it. A connection that ends without START is forgotten.
"""

from __future__ import annotations

import _signal
import os
import select
import struct

from pycontain.errors import PycontainError, StageError, WrongState, from_fields
from pycontain.kernel import _sys
from pycontain.kernel.constants import SOCK_SEQPACKET
from pycontain.runtime import processes
from pycontain.runtime.channel import EXEC_FAILED, FAILED, KEPT, LISTENER, START, Channel, Sequence, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

SOCKET = "start.sock"
# what ends a process by default and is sent by people; the first process of a pid namespace would ignore it
ENDING = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)


def listen(directory: str) -> int:
    """Return the socket at which init is to wait; only who may enter the directory can reach it."""
    return _sys.unix_listen(f"{directory}/{SOCKET}", SOCK_SEQPACKET, 4, 0o600)


def hold(channel: Channel, listener: int) -> Channel:
    """In init: return the conversation with whoever starts it.

    Raises:
        StageError: the maker died before it kept the container.
    """
    channel.receive(KEPT)
    channel.close()
    before = [_signal.signal(number, _end) for number in ENDING]
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        poll.poll()  # this returns to Python for a signal, accept does not
        fd = _sys.unix_accept(listener)
        starting = Channel(fd, Sequence.begun(), "init")
        try:
            starting.receive(START)
        except StageError:
            starting.close()
            continue
        os.close(listener)
        for number, handler in zip(ENDING, before, strict=True):
            _signal.signal(number, handler)
        return starting


def _end(number: int, _frame: object) -> NoReturn:
    os._exit(128 + number)


def begin(
    directory: str,
    pid: int,
    program: str,
    paths: tuple[str, ...],
    *,
    listener: Callable[[int], None],
    is_frozen: Callable[[], bool],
) -> None:
    """Let the init ``pid`` of the container in ``directory`` execute its program, and return once that runs.

    ``paths`` are the files that it tries; ``listener`` gets the descriptor of a seccomp profile that notifies.

    Raises:
        WrongState: there is no init that waits.
        StageError: it has died, or was stopped or frozen for seconds.
        PycontainError: what failed inside.
    """
    try:
        fd = _sys.unix_connect(f"{directory}/{SOCKET}", SOCK_SEQPACKET)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise WrongState("cannot start a container that has stopped or does not wait to be started") from error
    try:
        Channel(fd, Sequence.begun(), "maker").send(START)
        processes.await_answer(fd, pid, is_frozen)
        data = answer(fd, listener)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise StageError("the process has died before its program began", stage="init") from error
    finally:
        os.close(fd)
    if data:
        raise begin_error(data, program, paths)


def answer(fd: int, listener: Callable[[int], None]) -> bytes:
    """Return what init says after START, b"" when its program runs; ``listener`` gets a filter's descriptor before."""
    data, fds, _ = _sys.recvmsg(fd, 65536, 1)
    if data[:1] != LISTENER or not fds:
        return data
    try:
        listener(fds[0])
    finally:
        os.close(fds[0])
    return _sys.recvmsg(fd, 65536, 0)[0]


def no_listener(_fd: int) -> None:
    """Refuse the descriptor of a filter that notifies.

    Raises:
        StageError: always.
    """
    raise StageError("seccomp: nobody listens to the filter's notifications", stage="init")


def begin_error(data: bytes, program: str, paths: tuple[str, ...]) -> PycontainError:
    """Return the error in a message that came instead of the end of file after START."""
    if data[:1] == EXEC_FAILED and len(data) == 9:
        from pycontain.runtime.credentials import exec_error

        _, number, step = struct.unpack("=cii", data)
        return exec_error(program, paths, number, step)
    if data[:1] == FAILED:
        return from_fields(decode(data))
    return StageError("init said something that is no message", stage="init")
