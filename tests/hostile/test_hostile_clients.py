"""No packet ends a container but those that are meant to."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.probe import requires

from pycontain.engine import protocol
from pycontain.engine.clients import Client

pytestmark = [pytest.mark.runtime, requires("root")]

NUMBER = b"9" * 5000
PACKETS = [
    *(b"w" + NUMBER + b"\0" + NUMBER, b"w\xb2\0\xb3", b"w", b"w\0", b"w-1\0-1", b"g" + NUMBER, b"g65", b"g-9", b"g"),
    *(
        b"A",
        b"A\xff\xfe\0\0",
        b"A" + b"o" * 30_000,
        b"i" + b"\0" * 30_000,
        b"z",
        b"d",
        b"R",
        b"S",
        b"C1\0",
        b"\0",
        b"?",
    ),
    b"x" * 40_000,
]


def connect() -> socket.socket:
    """Connect to the control socket in the working directory: its whole path is longer than an address may be."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect("control.sock")
    return client


def test_odd_packets(pycontain: Cli, busybox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container = pycontain.ok("run", "-d", busybox, "--", "/bin/sleep", "60").strip()
    monkeypatch.chdir(Path(pycontain.root, "state", "containers", container))
    for packet in PACKETS:
        with connect() as client:
            client.send(packet)
            client.settimeout(0.05)
            try:
                client.recv(65536)
            except (TimeoutError, ConnectionResetError):
                pass
    assert pycontain.ok("ps", "-q", "--no-trunc").split() == [container]


def test_who_asks_and_does_not_read_is_disconnected() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client = Client(ours.fileno(), 10)
    answer = protocol.ERROR + b"x" * 100

    def flood() -> None:
        for _ in range(1_000_000):
            client.send(answer)

    with ours, theirs, pytest.raises(BrokenPipeError):
        flood()
