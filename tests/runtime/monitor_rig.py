"""Plays everybody around a monitor: the command that forks it, the creator, and clients; the container is a shell.

The shell waits on its start channel as a container's init does; nothing else of a container is there, so that what is
tested is the monitor alone.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import struct
import time
from pathlib import Path
from typing import Any

from harness.cli import LAUNCHER

from pycontain.engine import protocol
from pycontain.engine.monitored import environment
from pycontain.engine.protocol import LateOptions, MonitorOptions
from pycontain.kernel import _sys
from pycontain.kernel.constants import PR_SET_CHILD_SUBREAPER
from pycontain.runtime import processes
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import CREATED, State, Store

ID = "c" * 64


class Connection:
    """A client of the control socket; packets are kept by letter as they come."""

    def __init__(self, path: Path) -> None:
        self.fd = _sys.unix_connect(str(path), protocol.SEQPACKET)
        self.output = bytearray()
        self.errors = bytearray()

    def send(self, kind: bytes, data: bytes = b"") -> None:
        _sys.sendmsg(self.fd, kind + data)

    def until(self, letter: bytes, timeout_s: float = 10) -> bytes:
        """Return the next packet of this kind; output that comes before is collected."""
        deadline = time.monotonic() + timeout_s
        while True:
            ready, _, _ = select.select([self.fd], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"no {letter!r} within {timeout_s} s; output so far {self.output[-200:]!r}"
            try:
                packet = _sys.recvmsg(self.fd, protocol.MAX_PACKET)[0]
            except ConnectionResetError:
                continue  # it went without reading our last packet; what it sent before is still there
            assert packet, f"the monitor closed the connection before {letter!r}; output {self.output[-200:]!r}"
            if packet[:1] == protocol.OUTPUT:
                self.output += packet[1:]
            elif packet[:1] == protocol.ERROR_OUTPUT:
                self.errors += packet[1:]
            if packet[:1] == letter:
                return packet

    def until_output(self, text: bytes, timeout_s: float = 10) -> None:
        """Wait until the output holds ``text``."""
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            self.until(protocol.OUTPUT, deadline - time.monotonic())

    def attach(self, streams: str = "oe") -> str:
        self.send(protocol.ATTACH, streams.encode())
        return protocol.fields_of(self.until(protocol.ATTACHED))[0]

    def start(self) -> None:
        self.send(protocol.START)
        self.until(protocol.STARTED)
        self.send(protocol.RECORDED)

    def end(self, timeout_s: float = 10) -> protocol.Exit:
        return protocol.read_exit(self.until(protocol.EXIT, timeout_s))

    def close(self) -> None:
        os.close(self.fd)


class Rig:
    """One monitor with a shell for a container."""

    def __init__(
        self, directory: Path, command: str, *, tty: bool = False, stdin: bool = False, **options: Any
    ) -> None:
        settings = Settings(state=str(directory / "state"), data=str(directory / "data"))
        store = Store(settings)
        store.prepare()
        self.entry, lock = store.add(ID, "one")
        self.log_path = directory / "container.log"
        self.entry.save(
            State(id=ID, name="one", created_ns=time.time_ns(), boot_id=processes.boot_id(), status=CREATED)
        )
        lock.release()
        self.directory = Path(self.entry.directory)
        late = {key: options.pop(key) for key in ("paths",) if key in options}
        self.late = LateOptions(settings.asdict(), (command,), **late)
        self.options = MonitorOptions(
            id=ID, tty=tty, **{"log_driver": "json-file", "log_path": str(self.log_path)} | options
        )
        self.command = command
        self.connections: list[Connection] = []
        self.pid = self._fork(tty, stdin)

    def _fork(self, tty: bool, stdin: bool) -> int:
        control = _sys.unix_listen(str(self.directory / "control.sock"), protocol.SEQPACKET, 64, 0o600)
        handoff, theirs = _sys.socketpair(protocol.SEQPACKET)
        inside, outside = ([-1] * 3, [-1] * 3) if tty else _pipes(stdin)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                _sys.prctl(PR_SET_CHILD_SUBREAPER, 1)
                if os.fork() == 0:
                    self._create(theirs, inside, (control, handoff, *outside), tty)
                else:
                    _close(theirs, *inside)
                    self._become_monitor(handoff, control, outside)
            finally:
                os._exit(0)
        _close(control, handoff, theirs, *inside, *outside)
        return pid

    def _become_monitor(self, handoff: int, control: int, streams: list[int]) -> None:
        fds = [handoff, control, *streams]
        for fd in fds:
            if fd >= 0:
                os.set_inheritable(fd, True)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3 if "MONITOR_STDERR" not in os.environ else 2):
            os.dup2(null, fd)
        os.close(null)
        arguments = [str(self.directory), *(str(fd) for fd in fds)]
        os.execve(LAUNCHER, [str(LAUNCHER), "--internal-monitor", *arguments], environment())

    def _create(self, handoff: int, inside: list[int], others: tuple[int, ...], tty: bool) -> None:
        """Be the creator: fork the container, hand it over, and go."""
        ours, theirs = _sys.socketpair(protocol.SEQPACKET)
        master, slave = pty.openpty() if tty else (-1, -1)
        pid = os.fork()
        if pid == 0:
            _close(ours, handoff, master, *others)
            self._be_container(theirs, inside, slave)
        start = processes.start_time(pid)
        assert start is not None
        packet = protocol.pack_handoff(pid, self.options, self.late)
        _sys.sendmsg(handoff, packet, (ours, master) if tty else (ours,))
        state = self.entry.load()
        self.entry.save(state.replace(pid=pid, pid_start=start))

    def _be_container(self, channel: int, inside: list[int], slave: int) -> None:
        os.setsid()
        if slave >= 0:
            _sys.tty_make_controlling(slave)
            inside = [slave, slave, slave]
        copies = [os.dup(fd) for fd in inside]
        for number, fd in enumerate(copies):
            os.dup2(fd, number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if _sys.recvmsg(channel, 100)[0] != b"S":
            os._exit(1)
        if self.command == "missing":
            _sys.sendmsg(channel, struct.pack("=cii", b"E", 2, 0))
            os._exit(127)
        os.closerange(3, channel)
        os.closerange(channel + 1, 100)
        os.set_inheritable(channel, False)
        os.execv("/bin/sh", ["sh", "-c", self.command])

    def connect(self) -> Connection:
        connection = Connection(self.directory / "control.sock")
        self.connections.append(connection)
        return connection

    def log(self) -> str:
        return self.log_path.read_text()

    def wait(self, timeout_s: float = 10) -> State:
        """Wait until the monitor has gone, and return what it left as the state."""
        pidfd = os.pidfd_open(self.pid)
        ready, _, _ = select.select([pidfd], [], [], timeout_s)
        os.close(pidfd)
        assert ready, "the monitor does not end"
        os.waitpid(self.pid, 0)
        self.pid = 0
        return self.entry.load()

    def close(self) -> None:
        """End whatever is left."""
        for connection in self.connections:
            connection.close()
        self.connections = []
        state = self.entry.load()
        if state.pid and processes.is_alive(state.pid, state.pid_start):
            os.kill(state.pid, signal.SIGKILL)
        if self.pid:
            try:
                self.wait(3)
            except AssertionError:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise


def _pipes(stdin: bool) -> tuple[list[int], list[int]]:
    """Return the container's ends and the monitor's ends of three pipes; stdin's writing end only if wanted."""
    pairs = [os.pipe() for _ in range(3)]
    inside = [pairs[0][0], pairs[1][1], pairs[2][1]]
    outside = [pairs[0][1], pairs[1][0], pairs[2][0]]
    if not stdin:
        os.close(outside[0])
        outside[0] = -1
    return inside, outside


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
