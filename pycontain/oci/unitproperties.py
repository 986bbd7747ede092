"""Properties of the unit of systemd that annotations ask for: ``org.systemd.property.NAME``.

Values are in GVariant's text form, as for runc and crun: ``true``, ``'text'``, ``uint64 5``, ``['a', 'b']``.

Source: GVariant Text Format of GLib's manual; org.freedesktop.systemd1(5); systemd.scope(5)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from pycontain.errors import SpecError
from pycontain.lean_json import child_path

PREFIX = "org.systemd.property."
#: what ``cgroupsPath`` and the container itself are in: another value would take the container out of its own cgroup
_OURS = ("Delegate", "PIDs", "Slice")
_USEC = 1_000_000
_NUMBERS = {
    "byte": ("y", 0, (1 << 8) - 1),
    "int16": ("n", -(1 << 15), (1 << 15) - 1),
    "uint16": ("q", 0, (1 << 16) - 1),
    "int32": ("i", -(1 << 31), (1 << 31) - 1),
    "uint32": ("u", 0, (1 << 32) - 1),
    "int64": ("x", -(1 << 63), (1 << 63) - 1),
    "uint64": ("t", 0, (1 << 64) - 1),
}
_TOKEN = re.compile(
    r"""\s*(?:(?:(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"""|(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?))"""
    r"""|(?P<word>[a-z]+[0-9]*))(?![^][(),\s])|(?P<mark>[][(),]))""",
    re.DOTALL,
)
_OBJECT_PATH = re.compile(r"/|(?:/[A-Za-z0-9_]+)+")
#: of arrays in arrays, and of tuples in tuples, by the D-Bus specification
_DEEPEST = 32
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_CONTROLS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}

#: a D-Bus signature and a value of that type
Typed = tuple[str, Any]


def properties(annotations: Mapping[str, str]) -> dict[str, Typed]:
    """Return the properties that annotations ask for, by name.

    Raises:
        SpecError: a name or value is none.
    """
    found = {}
    for key, text in annotations.items():
        name = key.removeprefix(PREFIX)
        if name == key:
            continue
        path = child_path("annotations", key)
        if not (name.isascii() and name.isalpha()) or name in _OURS:
            raise SpecError(path, "is not a property that can be set")
        try:
            typed = parse(text)
            # what unit files call FooSec is FooUSec, in microseconds, on the bus
            if name.endswith("Sec") and name[-4:-3].islower():
                name, typed = f"{name[:-3]}USec", _microseconds(typed)
        except ValueError as error:
            raise SpecError(
                path, f"{text!r}: {error}", hint="for example true, 'text', uint64 5 or ['a', 'b']"
            ) from None
        found[name] = typed
    return found


def _microseconds(typed: Typed) -> Typed:
    signature, value = typed
    if signature not in "ynqiuxtd" or not 0 <= value * _USEC < 1 << 64:
        raise ValueError("is not a number of seconds")
    return "t", int(value * _USEC)


def parse(text: str) -> Typed:
    """Return a value and its type.

    Raises:
        ValueError: the text is none.
    """
    tokens = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"{text[position:].strip()[:20]!r} is not understood")
        tokens.append((str(match.lastgroup), str(match[str(match.lastgroup)])))
        position = match.end()
    typed = _value(tokens, _DEEPEST)
    if tokens:
        raise ValueError(f"{tokens[0][1]!r} is too much")
    return typed


def _value(tokens: list[tuple[str, str]], depth: int) -> Typed:
    """Return the value at the beginning of ``tokens``, which is taken away from them."""
    if not tokens or not depth:
        raise ValueError("lies too deep" if tokens else "a value is missing")
    kind, text = tokens.pop(0)
    if kind == "text":
        return "s", _unescaped(text)
    if kind == "number":
        return ("d", float(text)) if re.search(r"^[^xX]*[.eE]", text) else _number("int32", text)
    if text in ("true", "false"):
        return "b", text == "true"
    if kind == "word":
        return _of_type(text, tokens)
    if text in "[(":
        return _several(tokens, depth - 1, array=text == "[")
    raise ValueError(f"{text!r} is no value")


def _of_type(name: str, tokens: list[tuple[str, str]]) -> Typed:
    kind, text = tokens.pop(0) if tokens else ("", "")
    if name in _NUMBERS and kind == "number":
        return _number(name, text)
    if name == "double" and kind == "number":
        return "d", float(text)
    if name == "string" and kind == "text":
        return "s", _unescaped(text)
    if name == "objectpath" and kind == "text" and _OBJECT_PATH.fullmatch(text[1:-1]):
        return "o", text[1:-1]
    if name == "boolean" and text in ("true", "false"):
        return "b", text == "true"
    raise ValueError(f"{name} {text} is no value")


def _number(name: str, text: str) -> Typed:
    signature, least, most = _NUMBERS[name]
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("", text)
    # as in C a leading zero is octal
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
    value = int(f"{sign}{digits}", 8 if octal else 16 if digits[:2] in ("0x", "0X") else 10)
    if not least <= value <= most:
        raise ValueError(f"{text} is not between {least} and {most}")
    return signature, value


def _several(tokens: list[tuple[str, str]], depth: int, *, array: bool) -> Typed:
    end = "]" if array else ")"
    found: list[Typed] = []
    while tokens and tokens[0][1] != end:
        if found and tokens.pop(0)[1] != ",":
            raise ValueError("a comma is missing")
        # a tuple of one ends with a comma
        if tokens and tokens[0][1] == end and not array and len(found) == 1:
            break
        found.append(_value(tokens, depth))
    if not tokens or not found:
        raise ValueError("is empty or has no end")
    tokens.pop(0)
    signatures = [signature for signature, _ in found]
    values = [value for _, value in found]
    if not array:
        return f"({''.join(signatures)})", tuple(values)
    if len(set(signatures)) > 1:
        raise ValueError("has values of several types")
    return f"a{signatures[0]}", values


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        word = match[1]
        if len(word) == 1:
            return _CONTROLS.get(word, word)
        return chr(min(int(word[1:], 16), sys.maxunicode + 1))  # which is a ValueError

    found = _ESCAPE.sub(one, text[1:-1])
    if "\0" in found:
        raise ValueError("a text holds no zero")
    return found.encode().decode()  # a lone surrogate is a ValueError
