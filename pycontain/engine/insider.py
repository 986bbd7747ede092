"""A process with the rights of a container's root, and no more, that has the container's tree open.

::

    command ── fork ──► insider: the tree's descriptor, then the container's user namespace, sealed
       │ ◄──── tar stream ────► │ packs or unpacks (engine.packing, engine.unpacking)
       │ ◄──── outcome ──────── │ exits

The command itself never looks at a name of the container's, and the insider never enters its root: it stays in the
host's mount namespace, walks the tree by descriptor, loads no module once it has begun, and executes nothing. Owners
are those of the container because it sees them from in there.

The tree of a container that runs is what its first process sees, volumes and binds included. That of one that has ended
is mounted anew where nobody else sees it: to read, from its layers without writing to them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, NoReturn

from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.engine import assembly, config, lifecycle, remaking
from pycontain.errors import HostError, PycontainError, StageError, StoreError, WrongState, from_fields
from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    O_PATH,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    SIGKILL,
    SOCK_SEQPACKET,
    WEXITED,
)
from pycontain.plan.facts import USERNS_JOINED, UserNamespace, saved_users
from pycontain.runtime import idmap, probe, processes, seal
from pycontain.runtime.channel import decode
from pycontain.runtime.init import close_others
from pycontain.runtime.oldroot import StoppedRoot
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import STOPPED

_TREE = O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_DONE, _FAILED, _GONE = b"D", b"F", b"G"
_MAX_NOTES = 20
_MAX_MESSAGE = 60_000


class Tree:
    """What a job gets: ``root``, a descriptor of the container's root, and ``note`` for what the user should know.

    ``mounts`` are the places of mounts that are not there because the container does not run.
    """

    def __init__(self, root: int, mounts: tuple[str, ...]) -> None:
        self.root = root
        self.mounts = mounts
        self.notes: list[str] = []
        self._left_out = 0

    def note(self, text: str) -> None:
        """Keep a line for the user; of very many only the number."""
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(text[:1000])
        else:
            self._left_out += 1

    def last_notes(self) -> list[str]:
        """Return the lines, with one that counts those left out."""
        return [*self.notes, *([f"and {self._left_out} more"] if self._left_out else [])]

    def find(self, path: str, *, follow: bool) -> int:
        """Return an O_PATH descriptor of a path in the container, whose last link is followed or not.

        Raises:
            OSError: there is none, or it leads nowhere.
        """
        try:
            found = _sys.openat2(self.root, path if path.strip("/") else ".", _look(follow), 0, _IN_ROOT)
        except OSError as error:
            self._refuse_hidden(path, path)
            raise OSError(error.errno, error.strerror, path) from error
        if self.mounts:
            top, place = (os.readlink(f"/proc/self/fd/{fd}") for fd in (self.root, found))
            try:
                self._refuse_hidden(path, place.removeprefix(top.rstrip("/")))
            except WrongState:
                os.close(found)
                raise
        return found

    def _refuse_hidden(self, path: str, place: str) -> None:
        """Raise WrongState for a place at or below a mount that is missing."""
        place = f"/{place.strip('/')}/"
        hidden = next((one for one in self.mounts if place.startswith(f"{one}/")), "")
        if hidden:
            raise WrongState(
                f"{path}: what is mounted at {hidden} is not there while the container does not run",
                hint="start it first: pycontain start",
            )


def _look(follow: bool) -> int:
    return O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)


class Insider:
    """Runs ``job`` with a container's tree and a stream, in a process of its own; use as a context manager.

    ``stream`` is this end of the pipe: to read what the job packs, with ``write`` to give what it unpacks. With
    ``direct`` (a descriptor) the job's stream is that and there is none here. When the block ends, so has the job; its
    failure is raised, before one of the block: what goes wrong there follows from it.
    """

    def __init__(
        self,
        settings: Settings,
        reference: str,
        job: Callable[[Tree, IO[bytes]], None],
        *,
        write: bool,
        direct: int | None = None,
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self._target = _Target(settings, reference, write=write)
        self._job = job
        self._write = write
        self._direct = direct
        self.stream: IO[bytes]

    def __enter__(self) -> Insider:
        target = self._target
        target.open()
        try:
            self._begin(target)
        except BaseException:
            target.close()
            raise
        return self

    def _begin(self, target: _Target) -> None:
        reading, writing = os.pipe()
        theirs, ours = (reading, writing) if self._write else (writing, reading)
        self._report, report = _sys.socketpair(SOCK_SEQPACKET)
        ready, told = os.pipe()
        parent = os.getpid()
        try:
            pid, self._pidfd = _sys.clone3(target.clone_flags)
        except OSError as error:
            raise HostError(f"new process: {(error.strerror or '').lower()}", hint="pycontain doctor") from error
        if pid == 0:
            stream = theirs if self._direct is None else self._direct
            self._be_insider(target, stream, report, (ready, told, parent))
        for fd in (theirs, report, ready):
            os.close(fd)
        self.stream = open(ours, "wb" if self._write else "rb", buffering=1 << 18)  # noqa: SIM115
        try:
            target.prepare(pid)
            os.write(told, b"x")
        except BaseException:
            self._kill()
            raise
        finally:
            os.close(told)

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        try:
            if kind is not None and not issubclass(kind, (PycontainError, OSError)):
                _sys.pidfd_send_signal(self._pidfd, SIGKILL)
            self._close_stream()
            if kind is None or issubclass(kind, (PycontainError, OSError)):
                self._finish(failed=kind is not None)
        finally:
            self._kill()
            self._target.close()

    def _close_stream(self) -> None:
        try:
            self.stream.close()
        except BrokenPipeError:
            pass  # the job has told why

    def _kill(self) -> None:
        _sys.pidfd_send_signal(self._pidfd, SIGKILL)
        _sys.waitid_pidfd(self._pidfd, WEXITED)
        os.close(self._pidfd)
        os.close(self._report)

    def _finish(self, *, failed: bool) -> None:
        data = _sys.recvmsg(self._report, 1 << 17)[0]
        if data[:1] == _FAILED:
            raise from_fields(decode(data))
        if failed:
            return  # its own error is the first
        if data[:1] == _GONE:
            raise BrokenPipeError
        if data[:1] != _DONE:
            raise StageError("the process that looks at the container's files has died", stage="host")
        self.notes = tuple(note for note in decode(data) if note)

    def _be_insider(self, target: _Target, stream: int, report: int, start: tuple[int, int, int]) -> NoReturn:
        try:
            ready, told, parent = start
            os.close(told)
            if os.read(ready, 1):
                close_others((stream, report, *target.fds))
                # before it is sealed
                with open(stream, "rb" if self._write else "wb", buffering=1 << 18, closefd=False) as file:
                    tree = target.enter(parent)
                    self._job(tree, file)
                _sys.sendmsg(report, _DONE + _packed(tree.last_notes()))
            os._exit(0)
        except BrokenPipeError:
            _sys.sendmsg(report, _GONE)
        except PycontainError as error:
            _sys.sendmsg(report, _FAILED + _packed(error.to_fields()))
        except OSError as error:
            where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            _sys.sendmsg(report, _FAILED + _packed(StoreError(f"{where}{(error.strerror or '').lower()}").to_fields()))
        except BaseException as error:  # a fork must not run its parent's code
            failure = StageError(f"internal error: {type(error).__name__}: {error}", stage="host")
            _sys.sendmsg(report, _FAILED + _packed(failure.to_fields()))
        finally:
            os._exit(1)


class _Target:
    """The container: what must be opened before the fork, and the way in after it."""

    def __init__(self, settings: Settings, reference: str, *, write: bool) -> None:
        self.settings = settings
        self.reference = reference
        self.write = write
        self.fds: tuple[int, ...] = ()
        self.clone_flags = 0
        self._stopped: StoppedRoot | None = None
        self._lock: object = None
        self._maps: UserNamespace | None = None
        self._mounts: tuple[str, ...] = ()
        self._userns = -1

    def open(self) -> None:
        """Open the tree of a container that runs, or find out what one that has ended is made of.

        Raises:
            PycontainError: there is no such container, or it cannot be looked at.
        """
        self.entry, self.state, status = lifecycle.look(self.settings, self.reference)
        if status == STOPPED:
            self._open_stopped()
        else:
            self._open_running()

    def _open_running(self) -> None:
        pidfd = processes.open_pidfd(self.state.pid, self.state.pid_start)
        if pidfd is None:
            raise WrongState(f"container {self.reference} has just ended")
        opened: list[int] = []
        try:
            opened.append(os.open(f"/proc/{self.state.pid}/root", _TREE))
            if os.stat(f"/proc/{self.state.pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
                self._userns = os.open(f"/proc/{self.state.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
                opened.append(self._userns)
            if processes.has_ended(pidfd):
                # what was opened by its pid may be another's
                raise WrongState(f"container {self.reference} has just ended")
            self.fds = tuple(opened)
        except OSError as error:
            cause = (error.strerror or "").lower()
            raise HostError(f"look at container {self.reference}: {cause}", hint="has it ended meanwhile?") from error
        finally:
            os.close(pidfd)
            if not self.fds:
                for fd in opened:
                    os.close(fd)

    def _open_stopped(self) -> None:
        userns = saved_users(self.state.userns)
        if userns.kind == USERNS_JOINED:
            raise WrongState(
                f"container {self.reference} has the users of another one and does not run",
                hint=f"pycontain start {self.reference}",
            )
        root, spec = remaking.root_source(self.state.root_source), config.load(self.entry)
        if self.write:
            if spec.root.readonly:
                raise WrongState(f"the root of container {self.reference} is read-only")
            if root.memory_bytes:
                raise WrongState(
                    f"container {self.reference} keeps what it writes in memory, while it runs",
                    hint=f"pycontain start {self.reference}",
                )
            lock = self.entry.lock()
            self._lock = lock
            if self.entry.status(self.entry.load()) != STOPPED:
                lock.release()
                raise WrongState(f"container {self.reference} has just been started", hint="try again")
            remaking.clear_volatile(root)
        privileged = probe.is_privileged()
        facts = assembly.facts_for(self.settings, userns, Cgroup(CgroupPaths()), privileged=privileged)
        staging = f"{self.entry.directory}/trees"
        os.makedirs(staging, 0o700, exist_ok=True)
        self._mounts = tuple(one.destination.rstrip("/") for one in spec.mounts if one.type in (None, "bind", "none"))
        self._stopped = StoppedRoot(root, facts, staging, write=self.write)
        if not privileged and userns.new:
            self._maps, self.clone_flags = userns, CLONE_NEWUSER | CLONE_NEWNS
        elif userns.new:
            self._userns = idmap.open_userns(userns)
            self.fds = (self._userns,)

    def prepare(self, pid: int) -> None:
        """Do what only this side can for the process that enters."""
        if self._maps is not None:
            idmap.write_maps(pid, self._maps)

    def enter(self, parent: int) -> Tree:
        """Take on the rights of the container's root for good, and return its tree."""
        root = self.fds[0] if self._stopped is None else self._stopped.make(self._userns)
        seal.preload()
        seal.seal()
        # ids mean nothing in there until they are set, and no process in there may look at this one
        _sys.prctl(PR_SET_DUMPABLE, 0)
        if self._maps is None and os.geteuid() == 0:
            os.setgroups([])
        if self._userns >= 0:
            _sys.setns(self._userns, CLONE_NEWUSER)
        if self._userns >= 0 or self._maps is not None:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        _sys.prctl(PR_SET_DUMPABLE, 0)
        _sys.prctl(PR_SET_PDEATHSIG, SIGKILL)
        os.umask(0)
        if os.getppid() != parent:
            os._exit(1)
        return Tree(root, self._mounts)

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = ()
        if self._lock is not None:
            self._lock.release()  # type: ignore[attr-defined]
            self._lock = None


def _packed(fields: list[str]) -> bytes:
    return "\0".join(fields).encode("utf-8", "surrogateescape")[:_MAX_MESSAGE]
