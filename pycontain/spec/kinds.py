"""What a value of a document may be, as small objects that tables are made of.

[lean]

A kind reads a value (:meth:`decode`) and writes it back (:meth:`encode`). While reading, the way from the root of the
document is a chain of (parent, key) pairs, which costs next to nothing until an error has to print it.
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.lean_json import child_path, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Protocol

    from pycontain.record import Record

    Chain = tuple[Any, str | int] | None

    class Kind(Protocol):
        """Reads and writes one value."""

        def decode(self, value: Any, at: Chain, warnings: list[str]) -> Any:
            """Return the value as records hold it, None for the record's default.

            Raises:
                SpecError: it is not of this kind.
            """

        def encode(self, value: Any) -> Any:
            """Return the value as JSON has it."""

    # attribute of the record, key in the document, kind, one of the three words below
    Row = tuple[str, str, Kind, int]

OPTIONAL, REQUIRED, ALWAYS = 0, 1, 2  # ALWAYS: may be absent, but is written even where it equals the default
MAX_WARNINGS = 50


def path_of(at: Chain) -> str:
    """Return the JSON path of a chain: ``linux.namespaces[2].type``."""
    keys: list[str | int] = []
    while at is not None:
        at, key = at
        keys.append(key)
    path = ""
    for key in reversed(keys):
        path = f"{path}[{key}]" if isinstance(key, int) else child_path(path, key)
    return path


def wrong(at: Chain, rule: str) -> SpecError:
    """Return the error for the value at the end of a chain."""
    return SpecError(path_of(at), rule)


def type_name(value: object) -> str:
    """Return what JSON calls a value: "string", "null", …; numbers are shown themselves."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        # a number of 4300 digits is legal JSON; repr() of anything longer raises
        return repr(value) if isinstance(value, float) or -(1 << 70) < value < 1 << 70 else "a number beyond 64 bits"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array" if isinstance(value, (list, tuple)) else "no JSON value"


class Text:
    """A string that can reach the kernel: no NUL, valid Unicode. With ``may_be_absent``, "" is read as absent.

    Writers in Go leave out empty strings and read absent ones as empty, so the two have always meant the same.
    """

    def __init__(self, *, may_be_absent: bool = False) -> None:
        self.may_be_absent = may_be_absent

    def decode(self, value: Any, at: Chain, warnings: list[str]) -> str | None:
        if type(value) is not str:
            raise wrong(at, f"expected string, got {type_name(value)}")
        if not value and self.may_be_absent:
            return None
        if "\0" in value:
            raise wrong(at, "must not contain a NUL character")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise wrong(at, "is not valid Unicode text") from None
        return value

    def encode(self, value: Any) -> Any:
        return value


class Choice:
    """One of a few words. With ``may_be_absent``, "" is read as absent."""

    def __init__(self, words: Iterable[str], *, may_be_absent: bool = False) -> None:
        self.words = tuple(words)
        self.may_be_absent = may_be_absent

    def decode(self, value: Any, at: Chain, warnings: list[str]) -> str | None:
        if type(value) is str:
            if value in self.words:
                return value
            if not value and self.may_be_absent:
                return None
            raise wrong(at, f"{quoted(value)} is not one of {', '.join(self.words)}")
        raise wrong(at, f"expected string, got {type_name(value)}")

    def encode(self, value: Any) -> Any:
        return value


class Integer:
    """A whole number within bounds; ``name`` is the specification's word for it. 1.0 is none."""

    def __init__(self, name: str, low: int, high: int) -> None:
        self.name, self.low, self.high = name, low, high

    def decode(self, value: Any, at: Chain, warnings: list[str]) -> int:
        if type(value) is int and self.low <= value <= self.high:
            return value
        raise wrong(at, f"expected {self.name}, got {type_name(value)}")

    def encode(self, value: Any) -> Any:
        return value


class Boolean:
    """true or false."""

    def decode(self, value: Any, at: Chain, warnings: list[str]) -> bool:
        if value is True or value is False:
            return value
        raise wrong(at, f"expected boolean, got {type_name(value)}")

    def encode(self, value: Any) -> Any:
        return value


class Array:
    """An array with items of one kind; a tuple in records."""

    def __init__(self, item: Kind) -> None:
        self.item = item

    def decode(self, value: Any, at: Chain, warnings: list[str]) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise wrong(at, f"expected array, got {type_name(value)}")
        decode = self.item.decode
        return tuple([decode(item, (at, index), warnings) for index, item in enumerate(value)])

    def encode(self, value: Any) -> Any:
        return [self.item.encode(item) for item in value]


class Strings(Array):
    """An array of strings. A seccomp profile has hundreds, so that good ones are recognised all at once."""

    def __init__(self) -> None:
        super().__init__(Text())

    def decode(self, value: Any, at: Chain, warnings: list[str]) -> tuple[str, ...]:
        if isinstance(value, (list, tuple)):
            try:
                whole = "".join(value)
            except TypeError:
                whole = "\0"
            if whole.isascii() and "\0" not in whole:
                return tuple(value)
        return super().decode(value, at, warnings)


class Map:
    """An object with free keys and values of one kind."""

    def __init__(self, item: Kind) -> None:
        self.item = item

    def decode(self, value: Any, at: Chain, warnings: list[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(at, f"expected object, got {type_name(value)}")
        decode = self.item.decode
        for key in value:
            if type(key) is not str or "\0" in key or not _is_unicode(key):
                raise wrong(at, "keys must be strings without NUL characters")
        return {key: decode(item, (at, key), warnings) for key, item in value.items()}

    def encode(self, value: Mapping[str, Any]) -> Any:
        return {key: self.item.encode(item) for key, item in value.items()}


class Table:
    """An object whose properties are the rows of a table; a record of class ``cls``.

    Unknown properties are no error: the specification forbids that. Each becomes a warning.
    """

    def __init__(self, cls: type[Record], rows: tuple[Row, ...], ignored: Mapping[str, str] | None = None) -> None:
        self.cls = cls
        self.rows = rows
        self.ignored = ignored or {}
        self._plan = [(name, key, kind.decode, necessity == REQUIRED) for name, key, kind, necessity in rows]

    def decode(self, value: Any, at: Chain, warnings: list[str]) -> Any:
        if type(value) is not dict:
            raise wrong(at, f"expected object, got {type_name(value)}")
        fields: dict[str, Any] = {}
        found = 0
        for name, key, decode, required in self._plan:
            if key in value:
                found += 1
                item = decode(value[key], (at, key), warnings)
                if item is not None:
                    fields[name] = item
            elif required:
                raise wrong((at, key), "is required")
        if found != len(value):
            self._warn(value, at, warnings)
        return self.cls(**fields)

    def _warn(self, value: dict[Any, Any], at: Chain, warnings: list[str]) -> None:
        known = {key for _, key, _, _ in self.rows}
        for key in value:
            if key not in known and len(warnings) <= MAX_WARNINGS:
                why = self.ignored.get(key, "unknown property, ignored")
                warnings.append(f"{path_of((at, str(key)))}: {why}" if len(warnings) < MAX_WARNINGS else "and more")

    def encode(self, value: Any) -> dict[str, Any]:
        document: dict[str, Any] = {}
        defaults = self.cls._defaults
        for name, key, kind, necessity in self.rows:
            item = getattr(value, name)
            if item is not None and (necessity or item != defaults[name]):
                document[key] = kind.encode(item)
        return document


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


TEXT = Text()
NAME = Text(may_be_absent=True)
STRINGS = Strings()
BOOLEAN = Boolean()
INT32 = Integer("int32", -(1 << 31), (1 << 31) - 1)
INT64 = Integer("int64", -(1 << 63), (1 << 63) - 1)
UINT16 = Integer("uint16", 0, (1 << 16) - 1)
UINT32 = Integer("uint32", 0, (1 << 32) - 1)
UINT64 = Integer("uint64", 0, (1 << 64) - 1)
