"""Annotations that ask for properties of systemd's unit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jeepney import DBusAddress, new_method_call

from pycontain.errors import SpecError
from pycontain.oci.unitproperties import PREFIX, parse, properties


def sent(typed: tuple[str, Any]) -> bytes:
    """Return a message with the value in it."""
    address = DBusAddress("/", bus_name="org.example", interface="org.example")
    message: bytes = new_method_call(address, "Set", "v", (typed,)).serialise(serial=1)
    return message


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("true", ("b", True)),
        (" boolean false ", ("b", False)),
        ("'inactive-or-failed'", ("s", "inactive-or-failed")),
        (r'"a \"b\" \n\u00e4"', ("s", 'a "b" \nä')),
        ("objectpath '/a/b'", ("o", "/a/b")),
        ("5", ("i", 5)),
        ("-0x10", ("i", -16)),
        ("010", ("i", 8)),
        ("1.5", ("d", 1.5)),
        ("1e3", ("d", 1000.0)),
        ("0x1e3", ("i", 483)),
        ("double 2", ("d", 2.0)),
        ("byte 255", ("y", 255)),
        ("int16 -32768", ("n", -32768)),
        ("uint64 18446744073709551615", ("t", 2**64 - 1)),
        ("['a.service', 'b.service']", ("as", ["a.service", "b.service"])),
        ("[uint32 1,uint32 2]", ("au", [1, 2])),
        ("[('/dev/null', 'rw')]", ("a(ss)", [("/dev/null", "rw")])),
        ("('a',)", ("(s)", ("a",))),
        ("[['a'], ['b', 'c']]", ("aas", [["a"], ["b", "c"]])),
    ],
)
def test_values(text: str, typed: tuple[str, Any]) -> None:
    found = parse(text)
    assert found == typed
    assert type(found[1]) is type(typed[1])
    sent(found)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "x", "'a", "a'", "'a' 'b'", "5 6", "[", "[]", "[1", "[1,", "[1,]", "[1 2]", "[1, 'a']", "(", "()",
        "byte 256", "byte -1", "uint32 'a'", "string 5", "uint64", "int8 5", "2147483648", "08", "5x", "truefalse",
        "1..2", "uint64 1.5", "{'a': 'b'}", "<5>", "@as []", "'a'b", "]", r"'\u0000'", r"'\ud800'", r"'\UFFFFFFFF'",
        "objectpath 'a'", "[" * 40 + "1" + "]" * 40, "[" * 100000, "(,)",
    ],
)  # fmt: skip
def test_what_is_no_value(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what is wrong differs
        parse(text)


@given(st.text() | st.text(alphabet="[](),'\"\\ 0123456789.-+eExtruefalsuint64byo"))
def test_any_text_is_a_value_or_none(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    sent(found)


def test_annotations() -> None:
    given = {
        "org.example": "anything",
        f"{PREFIX}CollectMode": "'inactive-or-failed'",
        f"{PREFIX}TimeoutStopUSec": "uint64 7",
        f"{PREFIX}TimeoutStartSec": "1.5",
        f"{PREFIX}RuntimeMaxSec": "uint32 4",
    }
    assert properties(given) == {
        "CollectMode": ("s", "inactive-or-failed"),
        "TimeoutStopUSec": ("t", 7),
        "TimeoutStartUSec": ("t", 1_500_000),
        "RuntimeMaxUSec": ("t", 4_000_000),
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "true"),
        ("A B", "true"),
        ("Ünit", "true"),
        ("CollectMode", "inactive"),
        ("TimeoutStopSec", "'5'"),
        ("TimeoutStopSec", "-1"),
        ("TimeoutStopSec", "uint64 18446744073709551615"),
        ("PIDs", "[uint32 1]"),
        ("Slice", "'user.slice'"),
        ("Delegate", "false"),
    ],
)
def test_annotations_that_are_refused(name: str, text: str) -> None:
    with pytest.raises(SpecError, match=r"annotations.*systemd"):
        properties({PREFIX + name: text})
