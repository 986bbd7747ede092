"""The process that a monitor watches: from the start channel to its exit status. [lean]"""

from __future__ import annotations

import posix

from pycontain.engine.exits import exit_of, exit_of_status, exit_of_stranger, kill_and_wait
from pycontain.engine.loop import MSG_DONTWAIT, READ
from pycontain.engine.protocol import START, Exit
from pycontain.kernel import _sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.engine.loop import Loop

_NOBODYS_CHILD = Exit(255, error="the exit status went to another process")
_REAP_EVERY_S = 0.005
_REAP_ATTEMPTS = 400
_TRACER_ATTEMPTS = 100
_ANSWERS_WITHIN_S = 5.0


class Supervised:
    """A container's init. Calls back: ``running`` or ``failed`` (with init's message) after start, and ``ended``."""

    def __init__(
        self,
        loop: Loop,
        pid: int,
        channel: int,
        *,
        running: Callable[[], None],
        failed: Callable[[bytes], None],
        ended: Callable[[Exit], None],
    ) -> None:
        self.pid = pid
        self.asked = False
        self._loop = loop
        self._channel = channel
        self._running = running
        self._failed = failed
        self._ended = ended
        self._attempts = 0
        self._pidfd = -1
        try:
            # This pid cannot have gone to another process: nobody but its parent can have waited for it, and that is
            # the creator, who does not, or ourselves.
            self._pidfd = _sys.pidfd_open(pid)
        except OSError:
            loop.after("lost", 0, lambda: ended(_NOBODYS_CHILD))
        else:
            loop.watch(self._pidfd, READ, lambda _mask: self._reap())

    def start(self) -> None:
        """Let the program begin; ``running`` or ``failed`` tells the outcome."""
        self.asked = True
        try:
            _sys.sendmsg(self._channel, START)
        except OSError:
            return  # init has died; its pidfd tells
        self._loop.watch(self._channel, READ, lambda _mask: self._answered())
        self._loop.after("answer", _ANSWERS_WITHIN_S, self._silent)

    def signal(self, number: int) -> None:
        """Send a signal; one that has gone already is no error."""
        if self._pidfd >= 0:
            try:
                _sys.pidfd_send_signal(self._pidfd, number)
            except OSError:
                pass

    def kill(self, timeout_s: float) -> None:
        """Kill and wait for the end, without calling back."""
        if self._pidfd >= 0:
            kill_and_wait(self._pidfd, timeout_s)

    def reap_others(self) -> None:
        """Take the exit statuses of processes that became our children: nobody asks for them."""
        while True:
            try:
                info = posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
            except ChildProcessError:
                return
            if info is None:
                return
            if info.si_pid == self.pid and self._pidfd >= 0:
                self._reap()
            else:
                posix.waitpid(info.si_pid, posix.WNOHANG)

    def _silent(self) -> None:
        """Kill a process that somebody in the pid namespace it has joined stopped before its program began."""
        from pycontain.runtime import processes  # this rare

        if processes.is_stopped(self.pid):
            self.signal(9)
        else:
            self._loop.after("answer", _ANSWERS_WITHIN_S, self._silent)

    def _answered(self) -> None:
        """Read init's answer: nothing but the end of the channel when the program has been executed."""
        try:
            answer = _sys.recvmsg(self._channel, 65536, 0, MSG_DONTWAIT)[0]
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        self._loop.cancel("answer")
        self._loop.forget(self._channel)
        posix.close(self._channel)
        self._channel = -1
        if answer:
            self._failed(answer)
        else:
            self._running()

    def _reap(self) -> None:
        if self._pidfd < 0:
            return
        try:
            got = _sys.waitid_pidfd(self._pidfd, posix.WEXITED | posix.WNOHANG)
        except ChildProcessError:
            # Its parent, the creator, has not gone yet; then it is ours. Nobody else would wait for it.
            self._attempts += 1
            end = exit_of_stranger(self._pidfd)
            if end is None and self._attempts < _REAP_ATTEMPTS:
                self._loop.change(self._pidfd, 0)
                self._loop.after("reap", _REAP_EVERY_S, self._reap)
                return
            end = end or _NOBODYS_CHILD
        else:
            if got is None:
                # it has ended, but its tracer, somebody inside, has to be told first
                self._attempts += 1
                end = self._exit_of_zombie() if self._attempts >= _TRACER_ATTEMPTS else None
                if end is None:
                    self._loop.change(self._pidfd, 0)
                    self._loop.after("reap", _REAP_EVERY_S, self._reap)
                    return
            else:
                end = exit_of(got[1], got[2])
        self._loop.cancel("reap")
        self._loop.forget(self._pidfd)
        posix.close(self._pidfd)
        self._pidfd = -1
        if self.asked and self._channel >= 0:
            # A program this short: its end may be seen before its beginning.
            self._answered()
        self._ended(end)

    def _exit_of_zombie(self) -> Exit | None:
        from pycontain.runtime import processes  # this rare

        status = processes.exit_of_zombie(self.pid)
        return None if status is None else exit_of_status(status)
