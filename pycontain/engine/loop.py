"""A small event loop on epoll: descriptors, timers, signals. Knows nothing of containers. [lean]

This module and the others that a resting monitor holds use ``posix`` where others use ``os``: the wrapper costs each
monitor 260 KiB, a tenth of what it has.
"""

from __future__ import annotations

import _signal
import posix
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int], None]

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
MSG_DONTWAIT = 0x40  # linux/socket.h


class Loop:
    """Calls a handler with the event mask of its descriptor, and timers when they are due."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._masks: dict[int, int] = {}
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}

    def watch(self, fd: int, mask: int, handler: Handler) -> None:
        """Begin to watch a descriptor."""
        self._handlers[fd] = handler
        self._masks[fd] = 0
        self.change(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        """Watch for these events only; 0 stops watching (epoll would go on to report a hang-up)."""
        before = self._masks[fd]
        if mask == before:
            return
        if not before:
            self._epoll.register(fd, mask)
        elif not mask:
            self._epoll.unregister(fd)
        else:
            self._epoll.modify(fd, mask)
        self._masks[fd] = mask

    def forget(self, fd: int) -> None:
        """Stop watching; to be called before the descriptor is closed."""
        if fd in self._handlers:
            self.change(fd, 0)
            del self._handlers[fd], self._masks[fd]

    def after(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        """Call back once after so many seconds; a timer of the same name is replaced."""
        self._timers[name] = (time.monotonic() + seconds, callback)

    def cancel(self, name: str) -> None:
        """Forget a timer; one that has fired or never was is no error."""
        self._timers.pop(name, None)

    def pending(self, name: str) -> bool:
        """Return whether the timer is set and has not fired."""
        return name in self._timers

    def signals(self, handlers: dict[int, Callable[[], None]]) -> None:
        """Have these signals call back from the loop, outside signal context. May be called once."""
        reader, writer = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in handlers:
            _signal.signal(number, _note)

        def arrived(_mask: int) -> None:
            for number in set(posix.read(reader, 512)):
                handlers[number]()

        self.watch(reader, READ, arrived)

    def step(self) -> None:
        """Wait for the next events or timer and handle them."""
        now = time.monotonic()
        timeout = min((due for due, _ in self._timers.values()), default=None)
        events = self._epoll.poll(None if timeout is None else max(timeout - now, 0))
        for fd, mask in events:
            # an earlier handler of this round may have closed it
            handler = self._handlers.get(fd)
            if handler is not None and self._masks[fd]:
                handler(mask)
        if timeout is not None:
            now = time.monotonic()
            for name in [name for name, (due, _) in self._timers.items() if due <= now]:
                timer = self._timers.pop(name, None)
                if timer is not None:
                    timer[1]()


def _note(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor has told the loop already."""
