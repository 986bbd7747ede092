"""``--timeout``: when a process that we attend to is killed for running too long. [lean]"""

from __future__ import annotations

import _signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# poll(2) takes milliseconds as an int: 24 days are the most that it can wait
_LONGEST_WAIT_S = 86400.0


class Deadline:
    """A moment ``timeout_s`` seconds from now (0: never); ``passed`` tells whether it has come to that."""

    def __init__(self, timeout_s: float = 0) -> None:
        self.timeout_s = timeout_s
        self.passed = False
        self._at = time.monotonic() + timeout_s if timeout_s else 0.0

    def left_s(self) -> float | None:
        """Return how long to wait before :meth:`check` is due again, None for ever."""
        if not self._at or self.passed:
            return None
        return min(max(0.0, self._at - time.monotonic()), _LONGEST_WAIT_S)

    def check(self, send: Callable[[int], None]) -> None:
        """Kill by ``send`` if the time is over; once."""
        if self.left_s() == 0.0:
            self.passed = True
            send(_signal.SIGKILL)

    def note(self) -> str:
        """Return the line for the user."""
        return timeout_note(self.timeout_s)


def timeout_note(timeout_s: float) -> str:
    """Return what is said of a container that ``--timeout`` has ended."""
    return f"timeout: killed after {timeout_s:g} s"


def timeout_error(timeout_s: float) -> str:
    """Return why such a container has ended, as the monitor writes it into the state."""
    return f"ran longer than --timeout {timeout_s:g}"
