"""The monitor: one small process per container that outlives the command which made it. [lean]

It starts the program when a client asks, copies output to the log and to attached clients and input from them, keeps
the exit status, tells a kill for lack of memory from others, writes the end into the state file and answers those who
wait. The words it speaks: :mod:`pycontain.engine.protocol`. Its parts: loop, supervised (the process), streams (with
logwriter, logfile, feeder), clients.

What it holds against: a full or hanging disk (lines are dropped and counted), clients that stop reading (output waits
for them, at most MonitorOptions.patience_s without a sign of life), a program that closes its stdout early, processes
from outside (exec) that keep it open after the end (streams.DRAIN_S). SIGTERM stops the container as ``stop`` does,
because a host that shuts down ends its processes so; SIGINT, SIGHUP and SIGQUIT are ignored, because the end of the
session that made a detached container is no reason to stop it.

It waits for weeks and there may be hundreds: while the container runs, neither ``os`` nor the state modules are loaded.
That the program runs is written by the client that started it, and by the monitor only when that client has died first.
"""

from __future__ import annotations

import _signal
import posix
import sys
import time

from pycontain.engine import protocol
from pycontain.engine.clients import Client, Clients
from pycontain.engine.keeping import Kept
from pycontain.engine.loop import Loop
from pycontain.engine.streams import Streams
from pycontain.engine.supervised import Supervised
from pycontain.kernel import _sys
from pycontain.runtime.deadline import timeout_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from pycontain.cgroups.cgroup import Cgroup
    from pycontain.engine.protocol import Exit, MonitorOptions
    from pycontain.errors import PycontainError
    from pycontain.runtime.state import Entry

_HANDOFF_SIZE = 256 * 1024
_KILL_PATIENCE_S = 10.0
_THAW_S = 0.2
_RECORD_AGAIN_S = 1.0
# int() refuses what is much longer, and an error here ends the container
_LONGEST_NUMBERS = 32
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Monitor:
    """One container's monitor, from the moment the creator has handed it over."""

    def __init__(
        self,
        loop: Loop,
        directory: str,
        options: MonitorOptions,
        process: tuple[int, int],
        control: int,
        streams: tuple[int, int, int, int],
    ) -> None:
        """``process``: pid and start channel; ``streams``: stdin, stdout, stderr, pty master, -1 for none."""
        self.done = False
        self._loop = loop
        self._directory = directory
        self._options = options
        self._starters: list[Client] = []
        self._started_ns = 0
        self._failure: PycontainError | None = None
        self._reason = ""  # why the container was ended from here
        self._end: Exit | None = None
        self._finished = False
        self._kept = Kept(loop)
        self._clients = Clients(
            loop, control, options.patience_s, received=self._received, gone=self._gone, drained=self._arrange
        )
        self._streams = Streams(
            loop,
            options,
            streams,
            emit=self._clients.broadcast,
            congested=self._clients.any_full,
            input_drained=self._input_drained,
        )
        pid, channel = process
        self._process = Supervised(
            loop, pid, channel, running=self._on_running, failed=self._on_failed, ended=self._on_ended
        )
        self._packets: dict[bytes, Callable[[Client, bytes], None]] = {
            protocol.START: self._start,
            protocol.ATTACH: self._attach,
            protocol.INPUT: self._input,
            protocol.INPUT_END: self._input_end,
            protocol.RESIZE: self._resize,
            protocol.SIGNAL: self._signal,
            protocol.RECORDED: self._recorded,
            protocol.WAIT: self._wait,
            protocol.QUERY: self._query,
        }
        loop.signals({_signal.SIGTERM: self.stop, _signal.SIGCHLD: self._process.reap_others})
        if options.start_within_s:
            loop.after("start", options.start_within_s, self._not_started)
        self._process.reap_others()

    def stop(self) -> None:
        """Ask the program to end with its stop signal, and kill it when it does not in time."""
        if not self._started_ns:
            return self._kill("stopped before it was started")
        self._process.signal(self._options.stop_signal)
        if self._options.stop_timeout_s >= 0:
            self._loop.after("stop", self._options.stop_timeout_s, lambda: self._kill(""))
        return None

    def fail(self, error: BaseException) -> None:
        """After an error of our own: end the container rather than leave it without a keeper, and write why."""
        self._process.kill(_KILL_PATIENCE_S)
        if not self._finished:
            self._record(protocol.Exit(137, 9, error=f"the monitor failed: {type(error).__name__}: {error}"), {})

    # What clients send

    def _received(self, client: Client, packet: bytes, fds: tuple[int, ...]) -> None:
        keep = packet[:1] == protocol.KEEP
        if keep:
            self._kept.take(client, fds)
        for fd in () if keep else fds:
            posix.close(fd)
        handler = self._packets.get(packet[:1])
        if handler is not None:
            handler(client, packet)

    def _start(self, client: Client, _packet: bytes) -> None:
        if self._process.asked or self._end is not None:
            from pycontain.errors import WrongState

            error = WrongState(f"container {self._options.id[:12]} has been started already")
            return self._clients.send(client, protocol.pack(protocol.ERROR, *error.to_fields()))
        self._starters.append(client)
        return self._process.start()

    def _attach(self, client: Client, packet: bytes) -> None:
        client.streams = protocol.fields_of(packet)[0]
        modes = protocol.TERMINAL if self._options.tty else ""
        if self._streams.feeder is not None and self._streams.feeder.open:
            modes += protocol.STDIN
        self._clients.send(client, protocol.pack(protocol.ATTACHED, modes))
        if self._finished:
            self._tell_end(client)

    def _input(self, client: Client, packet: bytes) -> None:
        feeder = self._streams.feeder
        if feeder is not None and protocol.STDIN in client.streams:
            feeder.put(packet[1:])
            client.held = feeder.full

    def _input_end(self, client: Client, _packet: bytes) -> None:
        if self._options.stdin_once and self._streams.feeder is not None and protocol.STDIN in client.streams:
            self._streams.feeder.end()

    def _input_drained(self) -> None:
        for client in self._clients.everyone():
            if client.held:
                self._clients.hold(client, False)

    def _resize(self, _client: Client, packet: bytes) -> None:
        rows, _, columns = packet[1:].partition(b"\0")
        if rows.isdigit() and columns.isdigit() and len(packet) < _LONGEST_NUMBERS:
            self._streams.resize(int(rows), int(columns))

    def _signal(self, _client: Client, packet: bytes) -> None:
        if packet[1:].isdigit() and len(packet) < _LONGEST_NUMBERS and int(packet[1:]) <= 64:
            self._process.signal(int(packet[1:]))

    def _recorded(self, client: Client, _packet: bytes) -> None:
        if client in self._starters:
            self._starters.remove(client)

    def _wait(self, client: Client, _packet: bytes) -> None:
        client.waits = True
        if self._finished:
            self._tell_end(client)

    def _query(self, client: Client, _packet: bytes) -> None:
        lines, size, error = self._streams.counters()
        self._clients.send(client, protocol.pack(protocol.COUNTERS, lines, size, self._clients.disconnected, error))

    def _gone(self, client: Client) -> None:
        self._kept.gone(client)
        if client in self._starters:
            self._starters.remove(client)
            if self._started_ns and self._end is None:
                self._record_running()
        feeder = self._streams.feeder
        if self._options.stdin_once and feeder is not None and protocol.STDIN in client.streams and not feeder.terminal:
            feeder.end()

    def _arrange(self) -> None:
        self._streams.arrange()
        if self._finished and self._clients.idle():
            self.done = True

    # What the process does

    def _on_running(self) -> None:
        self._started_ns = time.time_ns()
        for client in list(self._starters):
            self._clients.send(client, protocol.pack(protocol.STARTED, self._started_ns))
        if not self._starters:
            self._record_running()
        limit = self._options.timeout_s
        if limit:
            self._loop.after("timeout", limit, lambda: self._kill(timeout_error(limit)))

    def _on_failed(self, answer: bytes) -> None:
        from pycontain.errors import from_fields
        from pycontain.runtime.channel import EXEC_FAILED, decode
        from pycontain.runtime.credentials import exec_error

        if answer[:1] == EXEC_FAILED:
            late = protocol.read_late(self._options)
            number, step = (int.from_bytes(answer[at : at + 4], "little", signed=True) for at in (1, 5))
            self._failure = exec_error(late.command[0], late.paths, number, step)
        else:
            self._failure = from_fields(decode(answer))

    def _on_ended(self, end: Exit) -> None:
        from pycontain.engine import waiting

        for timer in ("timeout", "stop", "thaw", "record"):
            self._loop.cancel(timer)
        if self._failure is not None:
            end = protocol.Exit(self._failure.exit_code, error=str(self._failure))
        elif self._reason and not end.error:
            end = end.replace(error=self._reason)
        # before the cgroup goes; and what came from outside (exec, or a host pid namespace) ends with the container
        cgroup = waiting.cgroup_of(self._entry())
        if cgroup is not None and waiting.clear(cgroup):
            end = end.replace(oom_killed=True)
        self._end = end
        self._streams.drain(lambda: self._finish(end, cgroup))

    def _not_started(self) -> None:
        if not self._process.asked:
            self._kill("the command that made it ended before it started it")

    def _kill(self, reason: str) -> None:
        self._reason = reason
        self._process.signal(_signal.SIGKILL)
        self._loop.after("thaw", _THAW_S, self._kill_frozen)

    def _kill_frozen(self) -> None:
        """Kill through the cgroup: a process that cgroup v1 has frozen does not die by a signal alone."""
        from pycontain.engine import waiting

        cgroup = waiting.cgroup_of(self._entry()) if self._end is None else None
        if cgroup is not None:
            waiting.clear(cgroup)

    def _entry(self) -> Entry:
        from pycontain.engine import waiting

        return waiting.entry_of(protocol.read_late(self._options), self._options.id)

    def _record_running(self) -> None:
        from pycontain.engine import waiting
        from pycontain.errors import NotFound, PycontainError

        try:
            waiting.record_running(self._entry(), self._started_ns)
        except NotFound:
            pass  # it is being removed
        except PycontainError:
            # no room there: until it is written, everybody takes the container for one that was never started
            self._loop.after("record", _RECORD_AGAIN_S, self._record_running)

    def _record(self, end: Exit, log: dict[str, object]) -> None:
        from pycontain.engine import waiting
        from pycontain.errors import PycontainError

        try:
            waiting.record_exit(self._entry(), end, started_ns=self._started_ns, log=log)
        except PycontainError:
            pass  # tmpfs full, or the file damaged: those who wait are told all the same

    def _finish(self, end: Exit, cgroup: Cgroup | None) -> None:
        """Everything is read: write the log, remove what the container had, write the state, and tell everybody.

        The state comes last: once it says stopped, another command may give the container a new cgroup and socket.
        """
        log = self._streams.finish()
        if self._clients.disconnected:
            log["disconnected_clients"] = self._clients.disconnected
        try:
            posix.unlink(f"{self._directory}/{protocol.CONTROL_SOCKET}")
        except OSError:
            pass  # removed with the container
        self._leave(cgroup)
        self._record(end, log)
        if self._options.remove:
            self._dispose()
        self._finished = self._clients.closing = True
        for client in self._clients.everyone():
            self._tell_end(client)
        self._arrange()

    def _leave(self, cgroup: Cgroup | None) -> None:
        """Remove the container's cgroup and leave the monitors'; what does not go is left to rm and prune."""
        from pycontain.engine import monitors
        from pycontain.errors import PycontainError

        try:
            monitors.leave(self._entry().store.settings)
            if cgroup is not None:
                cgroup.remove()
        except (OSError, PycontainError):
            pass

    def _dispose(self) -> None:
        """Remove the container; what does not go is left to rm and prune."""
        from pycontain.engine import waiting
        from pycontain.errors import PycontainError

        entry = self._entry()
        try:
            with entry.lock():
                waiting.dispose(entry, volumes=True)
        except (OSError, PycontainError):
            pass

    def _tell_end(self, client: Client) -> None:
        if client in self._starters and self._failure is not None:
            self._clients.send(client, protocol.pack(protocol.ERROR, *self._failure.to_fields()))
        if self._end is not None and (client.waits or client.streams or client in self._starters):
            self._clients.send(client, protocol.pack_exit(self._end))


def main(arguments: list[str]) -> NoReturn:
    """Run the monitor of the container in a directory; never returns.

    Arguments: CONTAINER_DIR HANDOFF_FD CONTROL_FD STDIN_FD STDOUT_FD STDERR_FD, -1 for none. Exits quietly when the
    creator goes without handing over a container: it has told why itself.
    """
    directory = arguments[0]
    handoff, control, *streams = (int(argument) for argument in arguments[1:6])
    _introduce(directory.rpartition("/")[2])
    for finder in sys.meta_path:
        # pycontain.modulepack, where the package was installed with one
        if hasattr(finder, "hold"):
            finder.hold()
    for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT):
        _signal.signal(number, _signal.SIG_IGN)
    packet, fds, _flags = _sys.recvmsg(handoff, _HANDOFF_SIZE, 2)
    posix.close(handoff)
    if packet[:1] != protocol.HANDOFF or not fds:
        posix._exit(0)
    pid, options = protocol.read_handoff(packet)
    loop = Loop()
    master = fds[1] if len(fds) > 1 else -1
    monitor = Monitor(loop, directory, options, (pid, fds[0]), control, (streams[0], streams[1], streams[2], master))
    try:
        while not monitor.done:
            loop.step()
    except BaseException as error:  # whatever it is: the container must not be left without a keeper
        monitor.fail(error)
    finally:
        posix._exit(0)


def _introduce(container: str) -> None:
    """Set the names that ps shows, and be the parent of orphans: without that no exit status would come here.

    By the C half of python-prctl: its other half would cost 190 KiB here.
    """
    try:
        import _prctl
    except ImportError:
        # it is a dependency, but no reason to leave a container without a keeper
        _sys.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        _sys.set_name("pycontain:mon")
        return
    _prctl.prctl(_prctl.PR_SET_CHILD_SUBREAPER, 1)
    _prctl.prctl(_prctl.PR_SET_NAME, "pycontain:mon")
    _prctl.set_proctitle(f"pycontain: monitor of {container[:12]}")
