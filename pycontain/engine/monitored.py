"""Make a container whose parent is a monitor that outlives this command. [lean]

::

    command ── fork ──► M: session, subreaper, cgroup ── fork ──► C: makes the container (all modules are loaded)
       │                    │ execve: the lean monitor boots         │ clone ──► init
       │                    │ ◄────────── handoff: init, channel, terminal ──┤
       │ ◄────────────────────────── report: ready, or the error ────────────┘ exits; init's parent is now M
       ▼
    attaches to M's control socket, which was listening before the fork
"""

from __future__ import annotations

import _signal
import os
import sys

from pycontain.engine import exits, monitors, protocol
from pycontain.engine.assembly import make_log_directory
from pycontain.engine.making import Making
from pycontain.engine.options import LOG_NONE
from pycontain.errors import PycontainError, StageError, from_fields
from pycontain.kernel import _sys
from pycontain.kernel.constants import PR_SET_CHILD_SUBREAPER
from pycontain.runtime import state
from pycontain.runtime.channel import decode
from pycontain.runtime.init import Stdio, close_others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pycontain.engine.options import RunOptions
    from pycontain.engine.remaking import Remaking
    from pycontain.runtime.create import Created
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Entry

    # a container that is made, or made again
    Subject = Making | Remaking

READY = b"R"
FAILED = b"F"
BACKLOG = 64
INTERRUPT = (_signal.SIGINT,)
DIE_S = 10.0
# After this a container whose command was killed between making and starting it is ended by its monitor.
START_WITHIN_S = 60.0


def make(settings: Settings, options: RunOptions, *, start_within_s: float = 0) -> tuple[Entry, tuple[str, ...]]:
    """Return a container whose init waits to be started, kept by its monitor, and lines for the user.

    If nobody starts it within ``start_within_s`` (0: no limit) it is ended: the command that should has died.

    Raises:
        PycontainError: it could not be made; nothing is left then.
    """
    with Making(settings, options) as making:
        return making.entry, _fork(making, start_within_s)


def make_again(settings: Settings, entry: Entry) -> tuple[str, ...]:
    """Give a stopped container new processes and a new monitor; init waits to be started. Returns lines for the user.

    Raises:
        PycontainError: they could not be made; the container is stopped as before.
    """
    from pycontain.engine.remaking import Remaking

    with Remaking(settings, entry) as making:
        return _fork(making, START_WITHIN_S)


def _fork(making: Subject, start_within_s: float) -> tuple[str, ...]:
    ends = _Ends(making, start_within_s)
    ours, theirs = _sys.socketpair(protocol.SEQPACKET)
    # until there is somebody whom it can end, Ctrl-C waits
    _signal.pthread_sigmask(_signal.SIG_BLOCK, INTERRUPT)
    pid = os.fork()
    if pid == 0:
        _be_monitor(making, ends, theirs)
    os.close(theirs)
    ends.close()
    try:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, INTERRUPT)
        data, _, _ = _sys.recvmsg(ours, protocol.MAX_PACKET)
    except BaseException:
        _end(pid, ours)
        raise
    os.close(ours)
    if data[:1] == FAILED:
        os.waitpid(pid, 0)
        raise from_fields(decode(data))
    if data[:1] != READY:
        raise StageError("the process that makes the container has died", stage="host")
    return tuple(note for note in decode(data) if note)


def _end(pid: int, report: int) -> None:
    """Kill monitor and creator, and return when both are dead: neither may make what the caller is about to undo."""
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    # They have a process group of their own, unless the monitor dies before; twice: it may fork as it gets the signal.
    for _ in range(2):
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, _signal.SIGKILL)
            except ProcessLookupError:
                pass
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    os.waitpid(pid, 0)
    while exits.wait_readable(report, DIE_S) and _sys.recvmsg(report, protocol.MAX_PACKET)[0]:
        pass


class _Ends:
    """The descriptors of both sides: the container's stdio, the monitor's ends, the handoff, the control socket."""

    def __init__(self, making: Subject, start_within_s: float) -> None:
        self.start_within_s = start_within_s
        options, path = making.attended, f"{making.entry.directory}/{protocol.CONTROL_SOCKET}"
        if os.path.lexists(path):
            os.unlink(path)  # of a monitor that has ended
        self.control = _sys.unix_listen(path, protocol.SEQPACKET, BACKLOG, 0o600)
        self.handoff, self.handed = _sys.socketpair(protocol.SEQPACKET)
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.stdin = self.stdout = self.stderr = -1
        inside = [self.null] * 3
        if not options["tty"]:
            if options["interactive"]:
                inside[0], self.stdin = os.pipe()
            self.stdout, inside[1] = os.pipe()
            self.stderr, inside[2] = os.pipe()
        self.inside = tuple(inside)

    @property
    def monitors(self) -> tuple[int, ...]:
        """What the monitor needs, in the order of its arguments."""
        return (self.handoff, self.control, self.stdin, self.stdout, self.stderr)

    def close(self) -> None:
        for fd in {*self.inside, *self.monitors, self.handed, self.null}:
            if fd >= 0:
                os.close(fd)


def _be_monitor(making: Subject, ends: _Ends, report: int) -> NoReturn:
    try:
        os.setsid()
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, INTERRUPT)
        _sys.prctl(PR_SET_CHILD_SUBREAPER, 1)
        monitors.join(making.settings)
        if os.fork() == 0:
            _be_creator(making, ends, report)
        os.chdir("/")
        for number in range(3):
            os.dup2(ends.null, number)
        arguments = [making.entry.directory, *map(str, ends.monitors)]
        command, variables = [*_interpreter(), "--internal-monitor", *arguments], environment()
        # what the caller has left open, a lock or the end of a pipe, must not live as long as the container
        close_others((report, *ends.monitors))
        for fd in ends.monitors:
            if fd >= 0:
                os.set_inheritable(fd, True)
        os.execve("/proc/self/exe", command, variables)
    except BaseException as error:  # a fork must not run its parent's code
        _fail(report, error)


def _be_creator(making: Subject, ends: _Ends, report: int) -> NoReturn:
    try:
        for fd in ends.monitors:
            if fd >= 0:
                os.close(fd)
        if making.attended["log"]["driver"] != LOG_NONE:
            make_log_directory(making.settings, making.entry)
        created = making.create(Stdio(*ends.inside), tied=False, forget=lambda: _forget(making, ends, report))
        making.save(created, shape=state.MONITORED, status=state.CREATED, attended_by=os.getppid())
        fds = (created.channel.fd,) if created.terminal < 0 else (created.channel.fd, created.terminal)
        try:
            _sys.sendmsg(ends.handed, _handoff(making, created, ends.start_within_s), fds)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise StageError("the monitor of the container has died", stage="host") from error
        _sys.sendmsg(report, READY + "\0".join(making.notes).encode())
        os._exit(0)
    except BaseException as error:  # a fork must not run its parent's code
        _fail(report, error)


def _forget(making: Subject, ends: _Ends, report: int) -> None:
    """Close in init what is the creator's alone: with the report open there, the command would not see it die."""
    making.lock.forget()
    os.close(report)
    os.close(ends.handed)


def _fail(report: int, error: BaseException) -> NoReturn:
    if not isinstance(error, PycontainError):
        error = StageError(f"internal error: {type(error).__name__}: {error}", stage="host")
    try:
        _sys.sendmsg(report, FAILED + "\0".join(error.to_fields()).encode("utf-8", "surrogateescape"))
    finally:
        os._exit(1)


def _handoff(making: Subject, created: Created, start_within_s: float) -> bytes:
    options, settings, plan = making.attended, making.settings, making.plan
    late = protocol.LateOptions(settings.asdict(), plan.process.argv, plan.process.paths)
    log = options["log"]
    told = protocol.MonitorOptions(
        id=making.entry.id,
        log_driver=log["driver"],
        log_path=f"{settings.data}/logs/{making.entry.id}/container.log",
        log_max_size=max(log["max_size"], 0),
        log_max_file=log["max_file"],
        tty=options["tty"],
        stdin_once=options["interactive"] and not options["detach"],
        remove=options["remove"],
        stop_signal=options["stop_signal"],
        stop_timeout_s=float(options["stop_timeout_s"]),
        timeout_s=float(options["timeout_s"]),
        start_within_s=start_within_s,
    )
    return protocol.pack_handoff(created.pid, told, late)


def _interpreter() -> list[str]:
    """Return how this interpreter was started, up to the start file: the monitor is started in the same way."""
    start = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "launcher", "_start.py")
    flags = sys.orig_argv[1 : sys.orig_argv.index(start)] if start in sys.orig_argv else ["-I", "-S"]
    return [sys.executable, *flags, start]


def environment() -> dict[str, str]:
    """Return the monitor's environment: of the caller's nothing but where this interpreter's own libraries are.

    It is never empty: python-prctl's set_proctitle reads the first variable without looking whether there is one. The
    others keep the allocator from holding on to what a burst of output needed, see mallopt(3).
    """
    found = {
        "LC_ALL": "C.UTF-8",
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "16384",
        "MALLOC_TRIM_THRESHOLD_": "16384",
        "MALLOC_TOP_PAD_": "0",
    }
    libraries = sys._xoptions.get("pycontain.libraries")
    if isinstance(libraries, str):
        found["LD_LIBRARY_PATH"] = libraries
    return found
