"""pycontain-security(7) names tests that are there, and every test of a numbered attack is named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from docs.documents import REPOSITORY

PAGE = (REPOSITORY / "man" / "source" / "pycontain-security.7.md").read_text(encoding="utf-8")
TESTS = REPOSITORY / "tests"
#: Their descriptions begin with the number of the attack.
NUMBERED = (
    *(TESTS / "conformance").glob("test_attacks*.py"),
    TESTS / "hostile" / "test_hostile_attacks.py",
)
NAMED = re.compile(r"^ +(\w+\.py)::(\w+)$", re.MULTILINE)


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]


def entries() -> dict[str, str]:
    """Return what the page says under each number or title of its list of tests."""
    listing = PAGE.partition("# TESTS\n")[2].split("```")[1]
    return {match[1]: match[2] for match in re.finditer(r"^(\S.*)\n((?: .*\n)+)", listing, re.MULTILINE)}


def test_every_test_that_is_named_is_there() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 60
    for file, name in named:
        paths = list(TESTS.rglob(file))
        assert any(function.name == name for path in paths for function in functions(path)), f"{file}::{name}"


def test_every_attack_has_tests() -> None:
    rows = re.findall(r"^\| (\d[^|]*) \|", PAGE, re.MULTILINE)
    assert len(rows) == 16
    found = entries()
    assert [row for row in rows if row not in found] == ["15 to 18"]
    for row in rows:
        for word in ("  pycontain:\n", "  pycontain-oci:\n", "  control:\n"):
            assert word in found.get(row, word), f"attack {row} has no {word}"


def test_every_test_of_a_numbered_attack_is_named() -> None:
    found = entries()
    for path in NUMBERED:
        for function in functions(path):
            description = ast.get_docstring(function) or ""
            numbers = re.match(r"(\d+(?:, \d+)*): ", description)
            if function.name.startswith("test_") and not function.name.startswith("test_control_"):
                assert numbers is not None, f"{path.name}::{function.name} does not begin with a number"
                for number in numbers[1].split(", "):
                    texts = [text for key, text in found.items() if number in key.split(", ")]
                    assert any((path.name, function.name) in NAMED.findall(text) for text in texts), function.name
