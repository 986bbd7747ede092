"""The binary form of CRIU's messages: as much of Protocol Buffers as they use. Pure.

A message is a dict of values by field name; its type is a dict of :class:`Field` by the same names. What is not in
the dict is not sent; what a type does not know is skipped. Source: protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pycontain.record import Record

NUMBER, BOOLEAN, TEXT, MESSAGE = "number", "boolean", "text", "message"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT = 10


class Field(Record):
    """One field: its number, what it holds, the type of an inner message, and whether there may be more than one."""

    number: int
    kind: str = NUMBER
    inner: Mapping[str, Any] = {}
    many: bool = False


Type = Mapping[str, Field]


def encode(kind: Type, message: Mapping[str, Any]) -> bytes:
    """Return the bytes of a message.

    Raises:
        KeyError: the type has no such field.
    """
    data = bytearray()
    for name, value in message.items():
        field = kind[name]
        for one in value if field.many else (value,):
            _put(data, field, one)
    return bytes(data)


def _put(data: bytearray, field: Field, value: Any) -> None:
    if field.kind in (NUMBER, BOOLEAN):
        data += _varint(field.number << 3 | _VARINT) + _varint(int(value))
        return
    inner = encode(field.inner, value) if field.kind == MESSAGE else value.encode("utf-8", "surrogateescape")
    data += _varint(field.number << 3 | _BYTES) + _varint(len(inner)) + inner


def _varint(value: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first; a negative one is 64 bits long."""
    value &= (1 << 64) - 1
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def decode(kind: Type, data: bytes) -> dict[str, Any]:
    """Return the message in some bytes.

    Raises:
        ValueError: the bytes are none of this type.
    """
    fields = {field.number: (name, field) for name, field in kind.items()}
    message: dict[str, Any] = {}
    for number, wire, value in _entries(data):
        if number not in fields:
            continue
        name, field = fields[number]
        if (wire == _VARINT) != (field.kind in (NUMBER, BOOLEAN)) or wire not in (_VARINT, _BYTES):
            raise ValueError(f"field {name} has wire type {wire}")
        one = _value(field, value)
        if field.many:
            message.setdefault(name, []).append(one)
        else:
            message[name] = one
    return message


def _value(field: Field, value: int | bytes) -> Any:
    if isinstance(value, int):
        return bool(value) if field.kind == BOOLEAN else value - (value >> 63 << 64)
    return decode(field.inner, value) if field.kind == MESSAGE else value.decode("utf-8", "surrogateescape")


def _entries(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield (field number, wire type, value) of each field of a message."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _read_varint(data, at)
            yield key >> 3, wire, value
            continue
        if wire == _BYTES:
            size, at = _read_varint(data, at)
        elif wire in _FIXED_SIZES:
            size = _FIXED_SIZES[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("the message ends too early")
        yield key >> 3, wire, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT):
        if at + index >= len(data):
            raise ValueError("the message ends too early")
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & (1 << 64) - 1, at + index + 1
    raise ValueError("a number of more than ten bytes")
