"""The words that a monitor speaks with its creator and its clients. [lean]

All sockets are AF_UNIX SEQPACKET: a packet is one letter and its fields. No packet is longer than MAX_PACKET.

::

    creator → monitor (handoff)  C pid NUL options                     + fds: start channel[, pty master]
    monitor → init (start)       S                                  init answers by EOF (runs) or E + the error

    client → monitor                         monitor → client
    S            start the program           s started_ns             it runs: the client writes that down and says R
                                             e fields (NUL between)   it does not: errors.from_fields
    A flags      attach: any of "ioe"        a flags                  attached: "t" has a terminal, "i" open stdin
    i data       for the program's stdin
    z            end of stdin
    w rows NUL columns                       o data                   stdout, or the terminal
    k            still there, only slow      r data                   stderr
    g number     send this signal
    R            recorded
    W            wait                        x code NUL signal NUL oom NUL error       at the end, also to attached ones
    K [+ fd]     hold this terminal of an exec while I am there, and read it when I have gone; without fd: let it go
    Q            counters                    q lines NUL bytes NUL clients NUL error   dropped so far

A client may attach before it starts the program, so that nothing is lost. A client that reads nothing for as long as
the monitor is patient while its queue is full, and does not say ``k``, is disconnected and counted.
"""

from __future__ import annotations

from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SEQPACKET = 5  # socket.SOCK_SEQPACKET
MAX_PACKET = 32 * 1024 + 1
ALIVE_S = 3.0
CONTROL_SOCKET = "control.sock"

HANDOFF = b"C"
START, ATTACH, INPUT, INPUT_END, RESIZE, ALIVE, SIGNAL, RECORDED, WAIT, QUERY, KEEP = (
    b"%c" % c for c in b"SAizwkgRWQK"
)
STARTED, ERROR, ATTACHED, OUTPUT, ERROR_OUTPUT, EXIT, COUNTERS = (b"%c" % c for c in b"seaorxq")

STDIN, STDOUT, STDERR, TERMINAL = "i", "o", "e", "t"


class MonitorOptions(Record):
    """What a monitor must know of its container while it runs; text, whole numbers and booleans by their defaults.

    ``log_max_size`` in bytes, 0: no limit. ``stdin_once``: stdin ends when the client that was attached to it goes.
    Times in seconds, 0: none; ``patience_s``: how long output waits for a client or a disk that does not take it;
    ``start_within_s``: a container that nobody starts in this time is ended, because its command has died.
    ``late`` is what only the end or a failure needs: :class:`LateOptions` as JSON.
    """

    id: str = ""
    log_driver: str = "none"
    log_path: str = ""
    log_max_size: int = 0
    log_max_file: int = 1
    tty: bool = False
    stdin_once: bool = False
    remove: bool = False
    stop_signal: int = 15
    stop_timeout_s: float = 10.0
    timeout_s: float = 0.0
    patience_s: float = 10.0
    start_within_s: float = 0.0
    late: str = "{}"


class LateOptions(Record):
    """``settings``: runtime.settings.Settings as a dict; ``paths``: the files that are tried for the command."""

    settings: dict[str, Any]
    command: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class Exit(Record):
    """How a container ended: what EXIT packets and the state file say of it."""

    exit_code: int
    signal: int = 0
    oom_killed: bool = False
    error: str = ""


def pack(kind: bytes, *fields: object) -> bytes:
    """Return a packet of one letter and fields, as text with NUL between them."""
    return kind + "\0".join(str(field).replace("\0", "") for field in fields).encode("utf-8", "surrogateescape")


def fields_of(packet: bytes) -> list[str]:
    """Return the fields of a packet as text."""
    return packet[1:].decode("utf-8", "surrogateescape").split("\0")


def pack_handoff(pid: int, options: MonitorOptions, late: LateOptions) -> bytes:
    """Return the packet by which a creator gives its container to the monitor."""
    from pycontain import lean_json

    options = options.replace(late=lean_json.dumps(late.asdict(), surrogates=True))
    values = (int(value) if isinstance(value, bool) else value for _, value in options._items())
    return pack(HANDOFF, pid, *values)


def read_handoff(packet: bytes) -> tuple[int, MonitorOptions]:
    """Return pid and options of a handoff packet."""
    pid, *texts = fields_of(packet)
    values: dict[str, Any] = {}
    for (name, default), text in zip(MonitorOptions()._items(), texts, strict=True):
        values[name] = text == "1" if isinstance(default, bool) else type(default)(text)
    return int(pid), MonitorOptions(**values)


def read_late(options: MonitorOptions) -> LateOptions:
    """Return the options that come late."""
    from pycontain import lean_json

    document: Any = lean_json.loads(options.late, source="handoff", surrogates=True)
    return LateOptions(document["settings"], tuple(document["command"]), tuple(document["paths"]))


def pack_exit(end: Exit) -> bytes:
    """Return the packet that tells how the container ended."""
    return pack(EXIT, end.exit_code, end.signal, int(end.oom_killed), end.error)


def read_exit(packet: bytes) -> Exit:
    """Return what :func:`pack_exit` packed."""
    exit_code, signal, oom_killed, error = fields_of(packet)
    return Exit(int(exit_code), int(signal), oom_killed == "1", error)
