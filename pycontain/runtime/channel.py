"""The conversation between the process that makes a container and the container's first process.

A SOCK_SEQPACKET pair carries one message per packet: a type byte, then fields separated by NUL, then descriptors.

::

    maker                                      init
      |  (clone; writes the id maps, limits)    |
      | ---------------- MAPPED --------------> |   only with a user namespace of its own
      |  (opens trees in the host's view)       |  (host name, loopback, file systems of its namespaces)
      | ---------------- TREES [fds] ---------> |   fields: the trees' names, in the order of the descriptors
      |                                         |  (mounts, pivot_root)
      | <--------------- TERMINAL [fd] -------- |   only with a terminal: the master side
      |                                         |  (ids, capabilities, labels)
      | <--------------- HOOKS ---------------- |   only with hooks of the runtime before pivot_root
      | ---------------- HOOKED --------------> |
      | <--------------- READY ---------------- |
      |              state: created             |
      | ---------------- KEPT ----------------> |   only where somebody else starts it: runtime.held
      | ---------------- START ---------------> |  finish(): close_range, seccomp, execve
      | <--------------- end of file ---------- |   the program runs

    at any time before: <------ FAILED -------- fields of an error (errors.to_fields)
    from finish():      <------ an exec record  the system call's errno, in binary: kernel._sys.finish

End of file before READY means that the process was killed; it is never success. :class:`Sequence` knows which
message is due; it is pure and tested without a process.
"""

from __future__ import annotations

import os

from pycontain.errors import PycontainError, StageError, from_fields
from pycontain.kernel import _sys
from pycontain.runtime import processes

MAPPED = b"M"
TREES = b"T"
TERMINAL = b"P"
READY = b"R"
HOOKS = b"H"
HOOKED = b"h"
KEPT = b"K"
LISTENER = b"N"
START = b"S"
FAILED = b"F"
EXEC_FAILED = b"E"
END = b""

MAX_MESSAGE = 64 * 1024
MAX_FDS = 250  # SCM_MAX_FD is 253 (include/net/scm.h)


class Sequence:
    """Which messages may come next, for one side of one start; a message out of turn is a fault of ours or an attack.

    ``mapped``, ``trees``, ``terminal`` and ``hooks`` tell whether these optional messages belong to this start;
    ``held``: this conversation ends with KEPT, and START comes by another one, which is ``begun``.
    """

    def __init__(
        self,
        *,
        mapped: bool,
        terminal: bool,
        trees: bool = True,
        hooks: bool = False,
        held: bool = False,
    ) -> None:
        steps = [(MAPPED, "init")] if mapped else []
        if trees:
            steps.append((TREES, "init"))
        if terminal:
            steps.append((TERMINAL, "maker"))
        if hooks:
            steps += [(HOOKS, "maker"), (HOOKED, "init")]
        steps += [(READY, "maker"), (KEPT if held else START, "init"), (END, "maker")]
        self._due = steps

    @classmethod
    def begun(cls) -> Sequence:
        """Return the sequence of a conversation that is about the start alone."""
        sequence = cls(mapped=False, terminal=False, trees=False)
        del sequence._due[0]
        return sequence

    def due(self) -> tuple[bytes, str]:
        """Return ``(message, receiver)`` that is due; receiver is "init" or "maker"."""
        return self._due[0]

    def accept(self, kind: bytes, receiver: str) -> None:
        """Note that ``receiver`` got a message.

        Raises:
            StageError: it was not due; END early means that the other side died.
        """
        if not self._due or self._due[0] != (kind, receiver):
            if kind == END:
                raise StageError("the other side of the start has gone before it was complete", stage=receiver)
            due = self._due[0][0] if self._due else b"nothing"
            raise StageError(f"message {kind!r} out of turn, {due!r} was due", stage=receiver)
        del self._due[0]


class Channel:
    """One end of the conversation."""

    def __init__(self, fd: int, sequence: Sequence, side: str) -> None:
        self.fd = fd
        self._sequence = sequence
        self._side = side
        # the process at the other end, where somebody else may stop it
        self.watched = 0
        self._other = "maker" if side == "init" else "init"

    def send(self, kind: bytes, fields: tuple[str, ...] = (), fds: tuple[int, ...] = ()) -> None:
        """Send one message.

        Raises:
            OSError: EPIPE when the other side has gone.
            StageError: the message is not due.
        """
        if kind != FAILED:
            self._sequence.accept(kind, self._other)
        _sys.sendmsg(self.fd, kind + "\0".join(fields).encode("utf-8", "surrogateescape"), fds)

    def receive(self, kind: bytes) -> tuple[list[str], tuple[int, ...]]:
        """Wait for the message that is due and return its fields and descriptors.

        Raises:
            PycontainError: the error that the other side reported, or StageError when it died, was stopped for
                seconds or spoke out of turn.
        """
        if self.watched:
            processes.await_answer(self.fd, self.watched)
        try:
            data, fds, _flags = _sys.recvmsg(self.fd, MAX_MESSAGE, MAX_FDS)
        except ConnectionResetError:
            # It died before it read all that was sent, which is told once and before what it said: its reason.
            data, fds, _flags = _sys.recvmsg(self.fd, MAX_MESSAGE, MAX_FDS)
        got = data[:1]
        fields = decode(data)
        if got == FAILED:
            raise from_fields(fields)
        self._sequence.accept(got, self._side)
        if got != kind:
            raise StageError(f"message {got!r} where {kind!r} was expected", stage=self._side)
        return fields, fds

    def fail(self, error: PycontainError) -> None:
        """Report an error to the other side; that it has gone meanwhile is no further error."""
        try:
            self.send(FAILED, tuple(error.to_fields()))
        except OSError:
            pass

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            try:
                os.close(fd)
            except OSError:
                pass  # it is closed all the same: close(2) NOTES


def decode(data: bytes) -> list[str]:
    """Return the fields of a message without its type byte."""
    return data[1:].decode("utf-8", "surrogateescape").split("\0") if len(data) > 1 else []
