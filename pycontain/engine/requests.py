"""What an owner and its launcher say to each other: requests, results, errors. [lean]

::

    owner                                launcher              maker, one for each container
      | <------------ READY ---------------- |
      | -- RUN, document [control, stdio] -> | -- fork ----------> |
      |                                                            |  makes the container, attends to it, removes it
      | -- KILL --------------------------------------- control -> |
      | <- DONE, document | FAILED, fields ------------ control -- |  exits

Packets of SOCK_SEQPACKET sockets: a letter, then JSON or the fields of an error. A request that is too long for one
packet comes in a file in memory, whose descriptor is the last one.
"""

from __future__ import annotations

import os

from pycontain import lean_json
from pycontain.errors import PycontainError, StageError, from_fields
from pycontain.kernel import _sys
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READY = b"R"
RUN = b"C"
LONG_RUN = b"L"
KILL = b"K"
DONE = b"D"
FAILED = b"F"

MAX_PACKET = 64 * 1024
# control, stdin, stdout, stderr, and the file of a long request
MAX_FDS = 5
OPTIONS, STORE, DIRECTORY, TIMEOUT = "options", "store", "directory", "timeout_s"


class Ended(Record):
    """How a container has ended and what it has used; times in nanoseconds, None where the host does not tell."""

    exit_code: int
    signal: int
    oom_killed: bool
    timed_out: bool
    wall_ns: int
    cpu_ns: int | None = None
    memory_peak: int | None = None
    notes: tuple[str, ...] = ()


def send_request(fd: int, document: dict[str, Any], fds: tuple[int, ...]) -> None:
    """Send a request with the descriptors of its container.

    Raises:
        OSError: the launcher has gone.
    """
    data = lean_json.dumps(document, surrogates=True).encode("utf-8", "surrogateescape")
    if len(data) < MAX_PACKET:
        _sys.sendmsg(fd, RUN + data, fds)
        return
    memory = os.memfd_create("pycontain-request", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(data)
        _sys.sendmsg(fd, LONG_RUN, (*fds, memory))
    finally:
        os.close(memory)


def read_request(packet: bytes, fds: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Return the document of a request and the descriptors of its container."""
    data = packet[1:]
    if packet[:1] == LONG_RUN:
        *others, memory = fds
        fds = tuple(others)
        data = os.pread(memory, os.fstat(memory).st_size, 0)
        os.close(memory)
    return _document(data), fds


def send_end(fd: int, ended: Ended) -> None:
    """Tell the owner how the container has ended; that it has gone meanwhile is no error."""
    _tell(fd, DONE + lean_json.dumps(ended.asdict(), surrogates=True).encode("utf-8", "surrogateescape"))


def send_error(fd: int, error: PycontainError) -> None:
    """Tell the owner why there is no container; that it has gone meanwhile is no error."""
    _tell(fd, FAILED + "\0".join(error.to_fields()).encode("utf-8", "surrogateescape")[: MAX_PACKET - 1])


def _tell(fd: int, packet: bytes) -> None:
    try:
        _sys.sendmsg(fd, packet)
    except (BrokenPipeError, ConnectionResetError):
        pass


def read_end(packet: bytes) -> Ended:
    """Return what the maker told.

    Raises:
        PycontainError: the error that it told of.
        StageError: it was killed before it told anything.
    """
    kind, data = packet[:1], packet[1:]
    if kind == FAILED:
        raise from_fields(data.decode("utf-8", "surrogateescape").split("\0"))
    if kind != DONE:
        raise StageError(
            "the process that keeps the container was killed", stage="host", hint="what is left: pycontain prune"
        )
    document = _document(data)
    document["notes"] = tuple(document["notes"])
    return Ended(**document)


def _document(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a packet; both sides are ours, of one version."""
    document = lean_json.loads(data.decode("utf-8", "surrogateescape"), source="packet", surrogates=True)
    assert isinstance(document, dict)
    return document
