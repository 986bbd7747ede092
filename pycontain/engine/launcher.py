"""The launcher: makes containers for a Python program, which may have threads and therefore never forks itself.

::

    owner ── posix_spawn ──► pycontain: forks and is gone ──► launcher ── fork ──► maker, one for each container

One thread, started by the native program, so its interpreter is sealed. All that a container needs is loaded before the
first request. It ends when its owner has ended or has closed the socket, and the last maker has gone. A maker that is
killed leaves its container to the launcher; one whose owner or launcher is killed ends the container by itself.
"""

from __future__ import annotations

import _signal
import gc
import os
import select

import pycontain
from pycontain.cgroups import devices, limits, stats
from pycontain.engine import config, launched, requests
from pycontain.engine.launched import Job
from pycontain.errors import PycontainError, StageError
from pycontain.kernel import _sys
from pycontain.plan import device_filter
from pycontain.runtime import idmap, remove, seal, settings, state
from pycontain.runtime.init import close_others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

#: What only some containers need, and every fork would have to import again.
PRELOADED = (config, device_filter, devices, idmap, limits, stats)


def main(arguments: Sequence[str]) -> NoReturn:
    """Serve the owner whose socket and pidfd the arguments name; never returns."""
    channel, owner = map(int, arguments)
    close_others((channel, owner))
    for fd in (channel, owner):
        os.set_inheritable(fd, False)
    os.chdir("/")
    os.umask(os.umask(0o077) | 0o022)
    seal.preload()
    _sys.set_name("pycontain-launch")
    launcher = Launcher(channel, owner)
    gc.collect()
    gc.freeze()  # what a collection would touch in a maker is copied for it
    _sys.sendmsg(channel, requests.READY + pycontain.__version__.encode())
    os.dup2(0, 2)  # what went wrong until now was for the owner to read
    launcher.serve()
    os._exit(0)


class Launcher:
    """``channel`` is the socket of requests, ``owner`` the owner's pidfd."""

    def __init__(self, channel: int, owner: int) -> None:
        self._channel = channel
        self._guards = (owner, _sys.pidfd_open(os.getpid()))
        self._makers: dict[int, Job] = {}
        self._woken, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._waker = waker
        _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
        _signal.set_wakeup_fd(waker)

    def serve(self) -> None:
        """Make containers until the owner has gone, then wait for those that are left."""
        poll = select.poll()
        for fd in (self._channel, self._guards[0], self._woken):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap(os.WNOHANG)
            if self._guards[0] in ready or (self._channel in ready and not self._take()):
                break
        while self._makers:
            self._reap(0)

    def _take(self) -> bool:
        """Take one request; return whether there may be another."""
        try:
            packet, fds, _ = _sys.recvmsg(self._channel, requests.MAX_PACKET, requests.MAX_FDS)
        except ConnectionResetError:
            return False
        if not packet:
            return False
        document, fds = requests.read_request(packet, fds)
        job = Job(document, fds)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_maker(job)
            self._makers[pid] = job
        except OSError as error:
            failure = StageError(f"fork: {error.strerror}", stage="host", hint="ulimit -u, or pids.max of the cgroup")
            requests.send_error(job.control, failure)
        finally:
            job.close()
        return True

    def _be_maker(self, job: Job) -> NoReturn:
        try:
            self._forget()
            launched.make(job, self._guards)
        finally:  # a fork must not run its parent's code
            os._exit(1)

    def _forget(self) -> None:
        """Give up in a fork what is the launcher's alone."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        for fd in (self._channel, self._woken, self._waker):
            os.close(fd)

    def _reap(self, flags: int) -> None:
        while self._makers:
            pid, status = os.waitpid(-1, flags)
            if pid == 0:
                return
            job = self._makers.pop(pid, None)
            if job is not None and status != 0:
                self._undo(job)

    def _undo(self, job: Job) -> None:
        """Remove the container of a maker that was killed."""
        if os.fork() == 0:
            try:
                self._forget()
                undo(job)
            finally:
                os._exit(0)


def undo(job: Job) -> None:
    """Remove what a maker has left of its container; its journal stays for ``prune`` where that fails."""
    try:
        store = state.Store(settings.load(dict(os.environ), root=job.store))
        entry = state.Entry(store, job.container_id)
        with entry.lock():
            remove.undo(entry)
    except PycontainError:
        pass  # it was not begun, or is removed, or cannot be
