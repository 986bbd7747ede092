"""Signals by name or number. [lean]"""

from __future__ import annotations

from pycontain.kernel.constants import SIGNALS, SIGRTMAX
from pycontain.sizes import is_number


def signal_number(text: str) -> int:
    """Return the number of ``TERM``, ``sigterm``, ``15``, ``0`` or ``RTMIN+3``, -1 where there is no such signal."""
    if is_number(text) and len(text) < 4 and int(text) <= SIGRTMAX:
        return int(text)
    name = text.upper()
    return SIGNALS.get(name if name.startswith("SIG") else f"SIG{name}", -1)
