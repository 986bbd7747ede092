"""The functions of templates, and how values look in them. Source: text/template of Go, docker's formatting page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def go_text(value: Any) -> str:
    """Return a value as Go prints it: ``true``, ``[a b]``, ``map[k:v]``, ``<no value>``."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def truth(value: Any) -> bool:
    """Return whether ``if`` takes a value for true: not zero, empty or nil."""
    return bool(value)


def to_json(value: Any) -> str:
    """Return a value as JSON in one line, as docker writes it."""
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            # the zero value of a map of texts, which is what one asks for by key
            value = value.get(key, "")
        elif isinstance(value, (list, tuple)) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise TypeError
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if not isinstance(value, (str, list, tuple)) or any(not 0 <= bound <= len(value) for bound in bounds):
        raise TypeError
    return value[slice(*bounds)] if len(bounds) > 1 else value[bounds[0] if bounds else 0 :]


def _text_only(function: Callable[[str], str]) -> Callable[[Any], str]:
    def checked(value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError
        return function(value)

    return checked


def _join(values: Any, separator: str) -> str:
    if not isinstance(values, (list, tuple)):
        raise TypeError
    return separator.join(go_text(value) for value in values)


def _equal(first: Any, *others: Any) -> bool:
    return any(type(first) is type(other) and first == other for other in others)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def checked(first: Any, second: Any) -> bool:
        if isinstance(first, str) != isinstance(second, str):
            raise TypeError
        return test(first, second)

    return checked


def _print(*values: Any) -> str:
    """Join as Go's Sprint: a space between two values when neither is a text."""
    out = ""
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            out += " "
        out += go_text(value)
    return out


def _printf(form: str, *values: Any) -> str:
    """Fill in ``%s %v %d %q %t %f %x %%`` with flags and widths.

    Raises:
        ValueError: another verb, or too few or too many values.
    """
    out, left = "", list(values)
    while form:
        before, percent, form = form.partition("%")
        out += before
        if not percent:
            break
        flags = form[: len(form) - len(form.lstrip("0123456789.-+ #"))]
        verb, form = form[len(flags) : len(flags) + 1], form[len(flags) + 1 :]
        out += "%" if verb == "%" and not flags else _verb(flags, verb, left.pop(0))
    if left:
        raise ValueError
    return out


def _verb(flags: str, verb: str, value: Any) -> str:
    if verb == "q":
        value = to_json(value) if isinstance(value, str) else value
    if verb in ("d", "x", "X", "o"):
        return f"%{flags}{verb}" % int(value)
    if verb in ("f", "e", "g"):
        return f"%{flags}{verb}" % float(value)
    if verb in ("s", "v", "q", "t"):
        return f"%{flags}s" % go_text(value)
    raise ValueError


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


# name: (function, least and most arguments); ``and`` and ``or`` are done where their arguments are not yet values
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "and": (all, 1, 99),
    "eq": (_equal, 2, 99),
    "ge": (_compare(lambda a, b: bool(a >= b)), 2, 2),
    "gt": (_compare(lambda a, b: bool(a > b)), 2, 2),
    "index": (_index, 1, 99),
    "join": (_join, 2, 2),
    "json": (to_json, 1, 1),
    "le": (_compare(lambda a, b: bool(a <= b)), 2, 2),
    "len": (len, 1, 1),
    "lower": (_text_only(str.lower), 1, 1),
    "lt": (_compare(lambda a, b: bool(a < b)), 2, 2),
    "ne": (lambda a, b: not _equal(a, b), 2, 2),
    "not": (lambda a: not truth(a), 1, 1),
    "or": (any, 1, 99),
    "pad": (_pad, 3, 3),
    "print": (_print, 0, 99),
    "printf": (_printf, 1, 99),
    "println": (lambda *values: " ".join(map(go_text, values)) + "\n", 0, 99),
    "slice": (_slice, 1, 3),
    "split": (lambda text, separator: text.split(separator), 2, 2),
    "title": (_text_only(str.title), 1, 1),
    "truncate": (_truncate, 2, 2),
    "upper": (_text_only(str.upper), 1, 1),
}
CONSTANTS = {"true": True, "false": False, "nil": None}
