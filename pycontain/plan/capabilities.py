"""Names and numbers of capabilities. Source: capabilities(7), linux/capability.h."""

from __future__ import annotations

from pycontain.spec.process import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = CAPABILITIES

NUMBERS = {name: number for number, name in enumerate(NAMES)}
SYS_ADMIN = NUMBERS["CAP_SYS_ADMIN"]
SYS_PTRACE = NUMBERS["CAP_SYS_PTRACE"]


def missing(names: Iterable[str], available: int) -> tuple[str, ...]:
    """Return the known names among these whose bits are not in ``available``, each once."""
    return tuple(name for name in dict.fromkeys(names) if name in NUMBERS and not available >> NUMBERS[name] & 1)


def mask(names: tuple[str, ...], last: int) -> int:
    """Return the bits of the named capabilities, leaving out those above ``last`` and names nobody knows."""
    bits = 0
    for name in names:
        number = NUMBERS.get(name, -1)
        if 0 <= number <= last:
            bits |= 1 << number
    return bits
