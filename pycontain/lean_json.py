"""Read and write JSON without importing ``json``, whose import alone costs as much as a container's start.

[lean]

CPython's JSON scanner is a C class of the private module ``_json``; :func:`loads` drives it directly. Where that class
is missing or behaves unexpectedly, the public ``json`` module does the same work through :class:`json.JSONDecoder`.

The documents come from strangers, so :func:`loads` is stricter than JSON: no duplicate keys, no data behind the value,
no byte order mark, no NaN or Infinity, no lone surrogates, at most :data:`MAX_DEPTH` levels, at most :data:`MAX_BYTES`
bytes. Whatever is wrong becomes one :class:`SpecError` that names the place.
"""

from __future__ import annotations

from pycontain.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Pairs = list[tuple[str, Any]]
    Scan = Callable[[str, int], tuple[Any, int]]
    # of a string at a JSON path
    Quote = Callable[[str, str], str]

MAX_DEPTH = 64
MAX_BYTES = 8 << 20
_SPACE = " \t\n\r"
_INFINITY = float("inf")


class _Refused(Exception):
    """A value that is JSON but not for us; raised inside the scanner, never leaves this module."""


class _Pairs(list["tuple[str, Any]"]):
    """An object kept as (key, value) pairs while the place of a refused value is looked for."""


class _Strict:
    """What the C scanner asks of its context, in the names of :class:`json.JSONDecoder`; refuses what we refuse."""

    strict = True
    object_hook = None
    parse_int = int

    @staticmethod
    def object_pairs_hook(pairs: Pairs) -> object:
        value = dict(pairs)
        if len(value) != len(pairs):
            raise _Refused("duplicate key")
        return value

    @staticmethod
    def parse_float(text: str) -> float:
        value = float(text)
        if value in (_INFINITY, -_INFINITY):
            raise _Refused("number is out of range")
        return value

    @staticmethod
    def parse_constant(text: str) -> float:
        raise _Refused(f"{text} is not JSON")


class _Lenient:
    """The context that lets refused values pass, so that their place can be found."""

    strict = True
    object_hook = None
    parse_int = int
    object_pairs_hook = _Pairs
    parse_float = float
    parse_constant = float


def loads(text: str | bytes, *, source: str, surrogates: bool = False) -> object:
    """Return the value of one JSON document; ``source`` names it in errors ("config.json").

    ``surrogates`` lets lone surrogates pass: our own files keep what is no UTF-8 text as Python does (PEP 383).

    Raises:
        SpecError: the document breaks JSON or one of the limits above; its path is "line 3 column 7" or a JSON path.
    """
    _check_size(len(text), source)
    if isinstance(text, bytes):
        text = _decoded(text, source)
    elif not text.isascii():
        _check_size(len(_encoded(text, source)), source)
    if text.startswith("\ufeff"):
        raise SpecError(_place(text, 0), "byte order mark", source=source, hint="save the file as UTF-8 without BOM")
    start = len(text) - len(text.lstrip(_SPACE))
    value = _scanned(text, start, source)
    if not surrogates and ("\\ud" in text or "\\uD" in text):
        _check_surrogates(value, source)
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value, source)
    return value


def _check_size(size: int, source: str) -> None:
    if size > MAX_BYTES:
        raise SpecError("", f"is larger than {MAX_BYTES >> 20} MiB", source=source)


def _encoded(text: str, source: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise SpecError(_place(text, error.start), "is not valid Unicode text", source=source) from None


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place(data[: error.start].decode("utf-8"), error.start)
        raise SpecError(place, "is not UTF-8 text", source=source) from None


def _scanned(text: str, start: int, source: str) -> object:
    """Return the value that begins at ``start`` and reaches to the end of the text."""
    try:
        value, end = _scanner(_Strict)(text, start)
    except _Refused as refusal:
        path, rule = _place_of_refusal(text, start) or ("", str(refusal))
        raise SpecError(path, rule, source=source) from None
    except StopIteration as stop:
        raise SpecError(_place(text, int(stop.value or 0)), "expecting value", source=source) from None
    except RecursionError:
        raise SpecError("", f"is nested deeper than {MAX_DEPTH} levels", source=source) from None
    except ValueError as error:
        # json.JSONDecodeError has these two; int() of a number with thousands of digits has neither
        message, position = getattr(error, "msg", "a number has too many digits"), getattr(error, "pos", None)
        place = "" if position is None else _place(text, position)
        message = message[:1].lower() + message[1:].removesuffix(" at").removesuffix(" starting")
        raise SpecError(place, message, source=source) from None
    rest = text[end:].lstrip(_SPACE)
    if rest:
        raise SpecError(_place(text, len(text) - len(rest)), "data after the end of the document", source=source)
    return value


def _scanner(context: type[_Strict | _Lenient]) -> Scan:
    """Return ``scan(text, start) -> (value, end)``, in C where the private module is as we know it."""
    try:
        from _json import make_scanner

        scan: Scan = make_scanner(context)  # type: ignore[arg-type]  # typeshed names the scanner's own type here
        # the shape of the answer is no public promise: try it on something small
        if scan('{"a":[1,"b"]}', 0) == (context.object_pairs_hook([("a", [1, "b"])]), 13):
            return scan
    except (ImportError, AttributeError, TypeError):
        pass
    return _public_scanner(context)


def _public_scanner(context: type[_Strict | _Lenient]) -> Scan:
    from json import JSONDecoder

    return JSONDecoder(
        object_pairs_hook=context.object_pairs_hook,
        parse_float=context.parse_float,
        parse_constant=context.parse_constant,
    ).raw_decode


def _place(text: str, position: int) -> str:
    before = text[:position]
    return f"line {before.count(chr(10)) + 1} column {len(before) - before.rfind(chr(10))}"


def child_path(path: str, key: str) -> str:
    """Return the JSON path of a member: ``linux.sysctl["net.core.somaxconn"]``; pure ASCII, long keys cut."""
    if key.isidentifier() and key.isascii() and len(key) <= 60:
        return f"{path}.{key}" if path else key
    return f"{path}[{quoted(key)}]"


def quoted(text: str) -> str:
    """Return a string of a document as an error may print it: in double quotes, one line, pure ASCII, long ones cut."""
    return _string_writer()(text if len(text) <= 60 else text[:60] + "...")


# ---- where it went wrong: slow, and only run once something did


def _place_of_refusal(text: str, start: int) -> tuple[str, str] | None:
    """Return path and rule of the first refused value, None where a syntax error behind it hides the place."""
    try:
        value, _ = _scanner(_Lenient)(text, start)
    except (ValueError, StopIteration, RecursionError):
        return None
    for path, node in _walk(value):
        if isinstance(node, _Pairs):
            seen: set[str] = set()
            for key, _ in node:
                if key in seen:
                    return child_path(path, key), "duplicate key"
                seen.add(key)
        elif isinstance(node, float) and not -_INFINITY < node < _INFINITY:
            return path, "number is not a finite one"
    return None


def _walk(value: object) -> list[tuple[str, object]]:
    """Return every value with its JSON path, parents first, without recursion."""
    found: list[tuple[str, object]] = [("", value)]
    for path, node in found:
        if isinstance(node, _Pairs):
            found += [(child_path(path, key), item) for key, item in node]
        elif isinstance(node, dict):
            found += [(child_path(path, key), item) for key, item in node.items()]
        elif isinstance(node, list):
            found += [(f"{path}[{index}]", item) for index, item in enumerate(node)]
    return found


def _check_surrogates(value: object, source: str) -> None:
    for path, node in _walk(value):
        for part in (node, *node) if isinstance(node, dict) else (node,):
            if isinstance(part, str) and not _encodable(part):
                raise SpecError(path, "has half of a surrogate pair", source=source)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_depth(value: object, source: str) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for node in level
            for item in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return
    raise SpecError("", f"is nested deeper than {MAX_DEPTH} levels", source=source)


# ---- writing


def dumps(value: object, *, indent: int = 0, surrogates: bool = False) -> str:
    """Return one JSON document, pure ASCII, keys in the order of the dicts; equal input gives equal text.

    ``indent`` is the number of spaces per level; 0 means one line without blanks. ``surrogates`` as in :func:`loads`.

    Raises:
        SpecError: a string has a lone surrogate (a file name that is not UTF-8): no other program could read it.
        TypeError, ValueError: the value is none of dict, list, tuple, str, int, float, bool and None; NaN; infinity.
    """
    parts: list[str] = []
    write_string = _string_writer()

    def quote(text: str, path: str) -> str:
        if not surrogates and not text.isascii() and not _encodable(text):
            raise SpecError(path, f"{quoted(text)} is not valid Unicode text")
        return write_string(text)

    _write(value, parts.append, quote, "\n" if indent else "", " " * indent, "")
    return "".join(parts)


def _write(value: object, out: Callable[[str], None], quote: Quote, newline: str, step: str, path: str) -> None:
    if isinstance(value, str):
        out(quote(value, path))
    elif value is None or value is True or value is False:
        out("null" if value is None else "true" if value else "false")
    elif isinstance(value, int):
        out(int.__repr__(value))
    elif isinstance(value, float):
        if not -_INFINITY < value < _INFINITY:
            raise ValueError(f"{path or 'value'}: {value} has no JSON form")
        out(float.__repr__(value))
    elif isinstance(value, dict):
        _write_items(value, out, quote, newline, step, path)
    elif isinstance(value, (list, tuple)):
        inner = newline + step
        out("[")
        for index, item in enumerate(value):
            out("," + inner if index else inner)
            _write(item, out, quote, inner, step, f"{path}[{index}]")
        out(newline + "]" if value else "]")
    else:
        raise TypeError(f"{path or 'value'}: {type(value).__name__} has no JSON form")


def _write_items(
    value: dict[Any, Any], out: Callable[[str], None], quote: Quote, newline: str, step: str, path: str
) -> None:
    inner = newline + step
    out("{")
    first = True
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"{path or 'value'}: key {key!r} is no string")
        out(inner if first else "," + inner)
        first = False
        out(quote(key, path) + (": " if newline else ":"))
        _write(item, out, quote, inner, step, child_path(path, key))
    out("}" if first else newline + "}")


def _string_writer() -> Callable[[str], str]:
    """Return the function that writes a string, in C where there is one; loading that is left to who writes."""
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return encode_basestring_ascii
