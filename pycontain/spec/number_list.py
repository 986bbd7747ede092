"""Lists of CPUs or memory nodes: ``0-3,7``.

[lean]
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.lean_json import quoted

LIMIT = 8192  # CONFIG_NR_CPUS of the largest kernels that are built


def parse_number_list(text: str, path: str) -> tuple[int, ...]:
    """Return the numbers of a list in ascending order, each once; blanks around numbers are allowed, "" is empty.

    Raises:
        SpecError: the text is no such list, a range runs backwards, or a number is :data:`LIMIT` or more.
    """
    numbers: set[int] = set()
    for part in text.split(",") if text.strip(" ") else ():
        first, dash, last = part.partition("-")
        low, high = _number(first), _number(last if dash else first)
        if low is None or high is None:
            raise SpecError(path, f"{quoted(text)} is no list such as 0-3,7")
        if low > high or high >= LIMIT:
            raise SpecError(path, f"{quoted(part)} is no range from a lower to a higher number below {LIMIT}")
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def _number(text: str) -> int | None:
    text = text.strip(" ")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
