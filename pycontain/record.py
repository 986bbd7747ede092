"""Frozen, slotted record classes without the import cost of ``dataclasses``.

``import dataclasses`` costs more than a whole container start, and its decorator runs ``exec`` for every class.
A :class:`Record` subclass declares annotated fields with optional defaults; type checkers see a frozen data class
(``dataclass_transform``), the interpreter sees ``__slots__`` and one shared ``__init__``.

A module that declares records needs ``from __future__ import annotations``: field types stay unevaluated text.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_options):
        """Stand in for :func:`typing.dataclass_transform`, which only type checkers need."""
        return lambda cls: cls


_set = object.__setattr__


@dataclass_transform(frozen_default=True)
class RecordMeta(type):
    """Turn the annotations of a class body into slots, keeping defaults aside in ``_defaults``."""

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> RecordMeta:
        own = {k: v for k, v in body.get("__annotations__", {}).items() if not str(v).startswith("ClassVar")}
        defaults: dict[str, object] = {}
        fields: dict[str, str] = {}
        for base in reversed(bases):
            fields.update(getattr(base, "_fields", {}))
            defaults.update(getattr(base, "_defaults", {}))
        new = tuple(field for field in own if field not in fields)
        for field in own:
            if field in body:
                defaults[field] = body.pop(field)
        fields.update(own)
        body["__slots__"] = new
        body["_fields"] = fields
        body["_defaults"] = defaults
        return super().__new__(mcs, name, bases, body)


class Record(metaclass=RecordMeta):
    """Base of all value classes: immutable, compared by value, built by position or keyword.

    Raises:
        TypeError: a field is missing, unknown, or given twice.
        AttributeError: on assignment after construction.
    """

    if TYPE_CHECKING:
        _fields: ClassVar[dict[str, str]]
        _defaults: ClassVar[dict[str, Any]]
    else:

        def __init__(self, *args, **kwargs):
            fields = self._fields
            if len(args) > len(fields):
                raise TypeError(f"{type(self).__name__}() takes {len(fields)} fields, got {len(args)}")
            # zip stops at the shorter side: the fields given by position
            for name, value in zip(fields, args, strict=False):
                if name in kwargs:
                    raise TypeError(f"{type(self).__name__}() got field {name!r} twice")
                kwargs[name] = value
            defaults = self._defaults
            for name in fields:
                if name in kwargs:
                    _set(self, name, kwargs.pop(name))
                elif name in defaults:
                    _set(self, name, defaults[name])
                else:
                    raise TypeError(f"{type(self).__name__}() needs field {name!r}")
            if kwargs:
                raise TypeError(f"{type(self).__name__}() has no field {next(iter(kwargs))!r}")

        def __setattr__(self, name, value):
            raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

        __delattr__ = None

    def _items(self) -> Iterator[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in self._fields)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with the named fields changed."""
        return type(self)(**{**dict(self._items()), **changes})

    def asdict(self) -> dict[str, Any]:
        """Return the fields as plain dicts, lists and scalars, ready for JSON; records nest."""
        return {name: _plain(value) for name, value in self._items()}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    def __hash__(self) -> int:
        return hash((type(self), *(value for _, value in self._items())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._items())})"


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.asdict()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
