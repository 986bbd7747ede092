"""The little of Kubernetes' Container Runtime Interface that a kubelet needs to run a pod, as a client.

Neither crictl nor generated messages: the calls are gRPC, which curl can carry, and their messages are few. A message
is a dict by field number; what comes back is read the same way.

Source: k8s.io/cri-api runtime/v1/api.proto; protobuf.dev/programming-guides/encoding; grpc PROTOCOL-HTTP2
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

Message = dict[int, Any]

#: States of a container.
CREATED, RUNNING, EXITED = 0, 1, 2


class CallError(Exception):
    """The server refused; the text is its own."""


class RuntimeService:
    """``runtime.v1.RuntimeService`` on a Unix socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def call(self, method: str, request: Message) -> dict[int, list[Any]]:
        """Call a method.

        Raises:
            CallError: the server's status is not 0.
        """
        body = encode(request)
        done = subprocess.run(
            [
                *("curl", "--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", str(self.socket)),
                *("--header", "content-type: application/grpc", "--header", "te: trailers", "--max-time", "60"),
                *("--data-binary", "@-", "--dump-header", "/dev/stderr"),
                f"http://localhost/runtime.v1.RuntimeService/{method}",
            ],
            input=b"\0" + len(body).to_bytes(4, "big") + body,
            capture_output=True,
            check=False,
        )
        trailers = done.stderr.decode()
        if "grpc-status: 0" not in trailers:
            raise CallError(f"{method}: {trailers}")
        return decode(done.stdout[5:])


def encode(message: Message) -> bytes:
    """Return a message as bytes: int and bool, str and bytes, a dict for a message, a list for what repeats."""
    data = b""
    for number, value in message.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                data += _varint(number << 3) + _varint(int(item) & (1 << 64) - 1)
            else:
                content = encode(item) if isinstance(item, dict) else item.encode() if isinstance(item, str) else item
                data += _varint(number << 3 | 2) + _varint(len(content)) + content
    return data


def decode(data: bytes) -> dict[int, list[Any]]:
    """Return {field: values}: ints, and bytes for everything with a length."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value, at = _read_varint(data, at)
        if key & 7 == 2:
            found.setdefault(key >> 3, []).append(data[at : at + value])
            at += value
        else:
            found.setdefault(key >> 3, []).append(value)
    return found


def _varint(value: int) -> bytes:
    data = b""
    while value > 0x7F:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at
