"""Times and sizes in the words that docker uses for them. Pure. [lean]"""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def duration(seconds: float) -> str:
    """Return ``3 minutes``, ``About an hour``, ``2 weeks``. Source: docker/go-units HumanDuration."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, size, unit in ((24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks"), (24 * 730, 24 * 30, "months")):
        if hours < limit:
            return f"{hours // size} {unit}"
    return f"{hours // (24 * 365)} years"


def size_decimal(count: int) -> str:
    """Return ``1.45kB``: three digits, powers of 1000. Source: docker/go-units HumanSizeWithPrecision."""
    return _scaled(count, 1000.0, _DECIMAL, 3)


def size_binary(count: int) -> str:
    """Return ``1.449MiB``: four digits, powers of 1024. Source: docker/go-units BytesSize."""
    return _scaled(count, 1024.0, _BINARY, 4)


def _scaled(count: int, base: float, units: tuple[str, ...], digits: int) -> str:
    value, index = float(count), 0
    while value >= base and index < len(units) - 1:
        value /= base
        index += 1
    return f"{value:.{digits}g}{units[index]}"
