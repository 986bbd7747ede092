"""Numbers as users write them: sizes, CPU shares of time, durations, counts. [lean]

Every parser takes the option's name first, so that an error names it: ``--memory: 'abc' is not a size``.
"""

from __future__ import annotations

from pycontain.errors import UsageError

_UNITS = {"": 0, "b": 0} | {
    letter + tail: shift
    for letter, shift in (("k", 10), ("m", 20), ("g", 30), ("t", 40), ("p", 50))
    for tail in ("", "b", "ib")
}
_DURATIONS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
MAX_INT64 = 2**63 - 1
CPU_PERIOD_US = 100_000
SIZE_HINT = "a number with b, k, m, g or t behind it, for example 64m or 1.5g"


def is_number(text: str) -> bool:
    """Tell whether ``text`` is nothing but ASCII digits (``str.isdigit`` alone takes digits of every script)."""
    return text.isascii() and text.isdigit()


def _decimal(text: str) -> tuple[int, int] | None:
    """Return (digits, decimal places) of an unsigned decimal number, None when ``text`` is not one."""
    whole, _, fraction = text.partition(".")
    if not is_number(whole or "0") or (fraction and not is_number(fraction)) or not (whole or fraction):
        return None
    if len(text) > 40:
        return None
    return int((whole or "0") + fraction), len(fraction)


def parse_size(option: str, text: str) -> int:
    """Return bytes; units are powers of 1024 and fractions are cut, as docker's ``RAMInBytes`` does.

    Raises:
        UsageError: ``text`` is no size, negative, or more than a signed 64-bit number.
    """
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    suffix = text[len(number) :].lower()
    decimal = _decimal(number.removesuffix(" "))
    if decimal is None or suffix not in _UNITS:
        raise UsageError(f"{option}: {text!r} is not a size", hint=SIZE_HINT)
    value = (decimal[0] << _UNITS[suffix]) // int(10 ** decimal[1])
    if value > MAX_INT64:
        raise UsageError(f"{option}: {text!r} is more than {MAX_INT64} bytes", hint=SIZE_HINT)
    return value


def parse_size_or_unlimited(option: str, text: str) -> int:
    """Return bytes, or -1 for "-1" and "unlimited".

    Raises:
        UsageError: as :func:`parse_size`.
    """
    return -1 if text in ("-1", "unlimited") else parse_size(option, text)


def parse_cpus(option: str, text: str) -> int:
    """Return the CPU time in microseconds that ``text`` CPUs give in a period of :data:`CPU_PERIOD_US`.

    Raises:
        UsageError: not a number, or less than 0.01.
    """
    decimal = _decimal(text)
    if decimal is None:
        raise UsageError(f"{option}: {text!r} is not a number of CPUs", hint="for example 0.5 or 2")
    quota = decimal[0] * CPU_PERIOD_US // int(10 ** decimal[1])
    if quota < 1000:
        raise UsageError(f"{option}: {text!r} is too little", hint="the least is 0.01, a hundredth of one CPU")
    if quota > MAX_INT64:
        raise UsageError(f"{option}: {text!r} is too much", hint="for example 0.5 or 2")
    return quota


def parse_integer(option: str, text: str, least: int, most: int) -> int:
    """Return a whole number between ``least`` and ``most``, both included.

    Raises:
        UsageError: not a whole number, or outside the range.
    """
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not is_number(digits) or len(digits) > 20:
        raise UsageError(f"{option}: {text!r} is not a whole number", hint=f"a number from {least} to {most}")
    value = int(text)
    if not least <= value <= most:
        raise UsageError(f"{option}: {text} is out of range", hint=f"a number from {least} to {most}")
    return value


def parse_duration_ns(option: str, text: str) -> int:
    """Return nanoseconds of ``90``, ``1.5h``, ``-3d`` or ``1h30m``; without a unit the number is seconds.

    Raises:
        UsageError: not a duration, or longer than a signed 64-bit number of nanoseconds.
    """
    rest = text[1:] if text[:1] in ("-", "+") else text
    total = 0
    good = bool(rest)
    while rest and good:
        number_length = len(rest) - len(rest.lstrip("0123456789."))
        tail = rest[number_length:]
        unit = tail[: len(tail) - len(tail.lstrip("abcdefghijklmnopqrstuvwxyz"))]
        decimal = _decimal(rest[:number_length])
        if decimal is None or (unit or "s") not in _DURATIONS or (not unit and rest != text.lstrip("+-")):
            good = False
        else:
            total += decimal[0] * _DURATIONS[unit or "s"] // int(10 ** decimal[1])
        rest = tail[len(unit) :]
    if not good or total > MAX_INT64:
        raise UsageError(f"{option}: {text!r} is not a duration", hint="for example 90s, 15m, 1h30m or 2d")
    return -total if text.startswith("-") else total
