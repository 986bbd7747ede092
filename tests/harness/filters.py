"""Configurations with seccomp filters, and an agent that their notifications go to."""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.oci import Oci

MKDIR = ["mkdir", "mkdirat"]
SIGSYS = 31
# linux/seccomp.h: SECCOMP_IOCTL_NOTIF_RECV and _SEND, struct seccomp_notif, struct seccomp_notif_resp
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
NOTIFICATION, ANSWER = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")


def filtered(oci: Oci, *args: str, action: str = "SCMP_ACT_ERRNO", names: list[str] = MKDIR, **rule: Any) -> Any:
    """Return a configuration with one rule for some calls."""
    document = oci.config(*args)
    document["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": names, "action": action, **rule}],
    }
    return document


def profile(document: Any) -> dict[str, Any]:
    """Return the filter of a configuration."""
    found: dict[str, Any] = document["linux"]["seccomp"]
    return found


class Server:
    """Listens as a seccomp agent does, and answers every notification with an errno."""

    def __init__(self, path: Path, errno: int = 0) -> None:
        self.messages: list[tuple[dict[str, Any], int]] = []
        self.calls: list[int] = []
        self._errno = errno
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(8)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                data, control, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(64))
                fds = array.array("i")
                for level, kind, content in control:
                    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                    fds.frombytes(content)
                while more := connection.recv(65536):
                    data += more
            self.messages.append((json.loads(data), len(fds)))
            for fd in fds:
                thread = threading.Thread(target=self._answer, args=(fd,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _answer(self, fd: int) -> None:
        while True:
            request = bytearray(NOTIFICATION.size)
            try:
                fcntl.ioctl(fd, NOTIF_RECV, request)
                number, _, _, call, *_ = NOTIFICATION.unpack(request)
                self.calls.append(call)
                fcntl.ioctl(fd, NOTIF_SEND, ANSWER.pack(number, 0, -self._errno, 0))
            except OSError:
                os.close(fd)
                return

    def close(self) -> None:
        """Take no more, and wait for those who answer."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()


@contextmanager
def listening(path: Path, errno: int = 0) -> Iterator[Server]:
    """Yield an agent at a path."""
    server = Server(path, errno)
    try:
        yield server
    finally:
        server.close()
