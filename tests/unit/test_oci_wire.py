"""The codec of CRIU's messages: against bytes that are written down, and against itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.oci.criu import REQUEST, RESPONSE, RESTORE
from pycontain.oci.wire import BOOLEAN, MESSAGE, NUMBER, TEXT, Field, Type, decode, encode

_NUMBERS = st.integers(-(2**63), 2**63 - 1)


def _values(field: Field) -> st.SearchStrategy[Any]:
    one = {
        NUMBER: lambda: _NUMBERS,
        BOOLEAN: st.booleans,
        TEXT: st.text,
        MESSAGE: lambda: _messages(field.inner),
    }[field.kind]()
    return st.lists(one, min_size=1, max_size=4) if field.many else one


def _messages(kind: Type) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: _values(field) for name, field in kind.items()})


@given(_messages(REQUEST))
def test_what_is_sent_is_what_arrives(message: dict[str, Any]) -> None:
    assert decode(REQUEST, encode(REQUEST, message)) == message


def test_bytes_as_documented() -> None:
    """The examples of protobuf.dev/programming-guides/encoding."""
    kind = {"a": Field(1), "b": Field(2, TEXT), "c": Field(3, MESSAGE, {"a": Field(1)}), "e": Field(5, many=True)}
    assert encode(kind, {"a": 150}) == bytes.fromhex("089601")
    assert encode(kind, {"b": "testing"}) == bytes.fromhex("120774657374696e67")
    assert encode(kind, {"c": {"a": 150}}) == bytes.fromhex("1a03089601")
    assert encode(kind, {"a": -2}) == bytes.fromhex("08feffffffffffffffff01")
    assert decode(kind, bytes.fromhex("280128022803")) == {"e": [1, 2, 3]}
    request = {"type": RESTORE, "opts": {"rst_sibling": True, "inherit_fd": [{"key": "pipe:[7]", "fd": 1}]}}
    assert encode(REQUEST, request).hex() == "08021212d00101da010c0a08706970653a5b375d1001"


def test_unknown_fields_are_skipped() -> None:
    known = encode(RESPONSE, {"type": 1, "success": True})
    unknown = {"n": Field(900), "t": Field(901, TEXT)}
    extra = encode(unknown, {"n": 7, "t": "x"}) + b"\x09" + bytes(8) + b"\x0d" + bytes(4)
    with pytest.raises(ValueError, match="wire type 1"):
        decode(RESPONSE, known + extra)  # field 1, but as a fixed number
    assert decode(RESPONSE, encode(unknown, {"n": 7, "t": "x"}) + known) == {"type": 1, "success": True}
    fixed = bytes((*_key(900, 1), *bytes(8), *_key(900, 5), *bytes(4)))
    assert decode(RESPONSE, fixed + known) == {"type": 1, "success": True}


def _key(number: int, wire: int) -> bytes:
    return encode({"key": Field(0)}, {"key": number << 3 | wire})[1:]


@pytest.mark.parametrize("text", ["08", "12", "1205", "0b", "08ffffffffffffffffffffff01", "0a00", "10"])
def test_what_is_no_message(text: str) -> None:
    with pytest.raises(ValueError, match=r"early|wire|number"):
        decode(RESPONSE, bytes.fromhex(text))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    try:
        found = decode(RESPONSE, data)
    except (ValueError, UnicodeDecodeError):
        return
    assert decode(RESPONSE, encode(RESPONSE, found)) == found
