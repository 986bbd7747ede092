"""lean_json against the standard library's json, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from harness.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from pycontain import lean_json
from pycontain.errors import SpecError
from pycontain.lean_json import child_path, dumps, loads, quoted

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([0, 2, 4]))
@examples(50)
def test_writes_what_json_writes(value: Any, indent: int) -> None:
    separators = (",", ": ") if indent else (",", ":")
    assert dumps(value, indent=indent) == json.dumps(value, indent=indent or None, separators=separators)


@given(VALUES)
@examples(50)
def test_reads_what_json_wrote(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert loads(text, source="x") == value
    assert loads(text.encode(), source="x") == value


@given(st.text(alphabet='{}[]",:.0123456789eE+-tfnNIrualsy \\/\nu\ud800\ufeff\0', max_size=30))
@examples(200)
def test_any_text_is_read_as_json_reads_it_or_refused(text: str) -> None:
    value, error = attempt(text)
    if error is None:
        assert value == json.loads(text)
    else:
        assert "\n" not in str(error)


@given(st.binary(max_size=30))
@examples(50)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    _, error = attempt(data)
    assert error is None or str(error).startswith("x: ")


def attempt(text: str | bytes) -> tuple[object, SpecError | None]:
    try:
        return loads(text, source="x"), None
    except SpecError as error:
        return None, error


REFUSED = [
    ("", "line 1 column 1", "expecting value"),
    ("  ", "line 1 column 3", "expecting value"),
    ("{", "line 1 column 2", "expecting property name enclosed in double quotes"),
    ('{"a": 1,\n "b" 2}', "line 2 column 6", "expecting ':' delimiter"),
    ("nul", "line 1 column 1", "expecting value"),
    ("\0", "line 1 column 1", "expecting value"),
    ("'a'", "line 1 column 1", "expecting value"),
    ('"a', "line 1 column 1", "unterminated string"),
    ('"a\nb"', "line 1 column 3", "invalid control character"),
    ("[1] x", "line 1 column 5", "data after the end of the document"),
    ("{}\n{}", "line 2 column 1", "data after the end of the document"),
    ("01", "line 1 column 2", "data after the end of the document"),
    ("\ufeff{}", "line 1 column 1", "byte order mark"),
    (b"\xef\xbb\xbf{}", "line 1 column 1", "byte order mark"),
    (b'{"a":\n "\xff"}', "line 2 column 3", "is not UTF-8 text"),
    (b"\xff\xfe{\x00}\x00", "line 1 column 1", "is not UTF-8 text"),
    ('{"a": 1, "a": 1}', "a", "duplicate key"),
    ('{"a": [{"b": 1}, {"b": 1, "c": 2, "b": 3}]}', "a[1].b", "duplicate key"),
    ('{"a": {"x.y": 1, "x.y": 2}}', 'a["x.y"]', "duplicate key"),
    ('{"a": [NaN]}', "a[0]", "number is not a finite one"),
    ('{"a": Infinity}', "a", "number is not a finite one"),
    ('{"a": -Infinity}', "a", "number is not a finite one"),
    ('{"a": 1e999}', "a", "number is not a finite one"),
    ('{"a": NaN, "b": }', "", "NaN is not JSON"),
    ('{"a": "\\ud800"}', "a", "has half of a surrogate pair"),
    ('["\\udfff\\ud800"]', "[0]", "has half of a surrogate pair"),
    ('{"b": {"\\uD800": 1}}', "b", "has half of a surrogate pair"),
    ('["\udc80"]', "line 1 column 3", "is not valid Unicode text"),
    ("1" * 5000, "", "a number has too many digits"),
    ("[" * 65 + "]" * 65, "", "is nested deeper than 64 levels"),
    ('{"a":' * 65 + "1" + "}" * 65, "", "is nested deeper than 64 levels"),
    ("[" * 100_000, "", "is nested deeper than 64 levels"),
]


@pytest.mark.parametrize(("text", "path", "rule"), REFUSED, ids=[ascii(row[0])[:24] for row in REFUSED])
@pytest.mark.parametrize("scanner", ["private", "public"])
def test_refused(text: str | bytes, path: str, rule: str, scanner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if scanner == "public":
        monkeypatch.setattr(lean_json, "_scanner", lean_json._public_scanner)
    with pytest.raises(SpecError) as caught:
        loads(text, source="doc")
    assert (caught.value.path, caught.value.rule, caught.value.source) == (path, rule, "doc")


@pytest.mark.parametrize("text", [" " * 100 + "1", b" " * 100 + b"1", '"' + "é" * 50 + '"'], ids=ascii)
def test_size_is_that_in_bytes(text: str | bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setattr(lean_json, "MAX_BYTES", size)
    loads(text, source="x")
    monkeypatch.setattr(lean_json, "MAX_BYTES", size - 1)
    with pytest.raises(SpecError, match="x: is larger than"):
        loads(text, source="x")


def test_limits() -> None:
    assert lean_json.MAX_BYTES == 8 << 20
    assert loads("[" * 64 + "]" * 64, source="x")
    assert loads('"\\ud83d\\ude00"', source="x") == "\U0001f600"


class Strange:
    """A scanner of a Python to come, whose answer has another shape."""

    def __init__(self, context: object) -> None:
        pass

    def __call__(self, text: str, start: int) -> object:
        return {"a": [1, "b"]}


@pytest.mark.parametrize("scanner", [None, Strange, 5])
def test_without_the_private_scanner_the_public_module_reads(scanner: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("_json.make_scanner", scanner)
    assert loads('{"a": [1.5, true, "x"]}', source="x") == {"a": [1.5, True, "x"]}


def test_neither_json_nor_re_is_loaded() -> None:
    code = (
        "import sys; from pycontain import lean_json as j; j.dumps(j.loads('{\"a\": [1, 2.5]}', source='')); "
        "print([m for m in ('json', 're', 'enum', 'typing') if m in sys.modules])"
    )
    path = lean_json.__file__.removesuffix("/pycontain/lean_json.py")
    program = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_keys_keep_their_order() -> None:
    assert dumps({"b": 1, "a": (2, None)}) == '{"b":1,"a":[2,null]}'
    assert dumps({}, indent=2) + dumps([], indent=2) == "{}[]"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [float("nan")]}, "a[0]: nan has no JSON form"),
        ([float("-inf")], "[0]: -inf has no JSON form"),
        ({"a": {1, 2}}, "a: set has no JSON form"),
        ({"a": {1: 2}}, "a: key 1 is no string"),
        (b"x", "value: bytes has no JSON form"),
    ],
)
def test_what_has_no_json_form(value: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        dumps(value)
    assert str(caught.value) == message


def test_a_name_that_is_no_text_cannot_be_written() -> None:
    with pytest.raises(SpecError) as caught:
        dumps({"bundle": "/a\udcff"})
    assert str(caught.value) == 'bundle: "/a\\udcff" is not valid Unicode text'


def test_paths_are_one_line_of_ascii() -> None:
    assert child_path("", "a") == "a"
    assert child_path("a", "b") == "a.b"
    assert child_path("a", "net.core") == 'a["net.core"]'
    assert child_path("a", "b\n\x1b[31m") == 'a["b\\n\\u001b[31m"]'
    assert child_path("a", "é") == 'a["\\u00e9"]'
    assert quoted("x" * 100) == '"' + "x" * 60 + '..."'
