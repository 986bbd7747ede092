"""Size, names and words: what keeps files small, named after a thing, and free of what belongs elsewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from architecture.source import REPOSITORY, package_modules, tracked_files

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

#: Tables made from a source by a tool; read by programs rather than by people.
GENERATED = ("pycontain/plan/data/",)

CODE = {".py", ".pyi", ".c", ".h", ".sh"}

#: A module or folder is named after what it holds; these names hold anything.
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "stuff"}

#: Marks of work left undone.
UNDONE = ("TO" + "DO", "FIX" + "ME", "XX" + "X:", "NotImplemented" + "Error")

#: Places and tools of whoever builds the project: nothing that a clone elsewhere would have.
FOREIGN = ("/wo" + "rk/", "/opt/" + "pypi", "CONTRACT" + ".md", "disabled-by-" + "farm")


def code_files() -> list[Path]:
    """Return the tracked files that people write as code."""
    files = tracked_files()
    return [path for path in files if path.suffix in CODE and not _name(path).startswith(GENERATED)]


def long_functions(text: str, suffix: str) -> Iterator[str]:
    """Yield ``name (lines)`` for each function that is too long; in C a body stands between braces at the margin."""
    if suffix == ".py":
        for node in _functions(ast.parse(text).body):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines >= MAX_FUNCTION_LINES:
                yield f"{node.name} ({lines} lines)"
    elif suffix == ".c":
        for match in re.finditer(r"^([^\n]*\))\n\{\n(.*?)^\}$", text, re.MULTILINE | re.DOTALL):
            lines = match[0].count("\n") + 1
            if lines >= MAX_FUNCTION_LINES:
                yield f"{match[1]} ({lines} lines)"


def _functions(body: Iterable[ast.AST]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions among statements and those inside of them."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, field, ())
            if isinstance(inner, list):
                yield from _functions(inner)


def words_in(text: str, words: tuple[str, ...]) -> list[str]:
    """Return which of ``words`` stand in ``text``."""
    return [word for word in words if word in text]


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def test_files_are_short() -> None:
    counts = {_name(path): _text(path).count("\n") for path in code_files()}
    assert {name: lines for name, lines in counts.items() if lines >= MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    assert [f"{_name(path)}: {row}" for path in code_files() for row in long_functions(_text(path), path.suffix)] == []


def test_no_drawers() -> None:
    parts = {_name(path): set(path.relative_to(REPOSITORY).with_suffix("").parts) for path in tracked_files()}
    assert [name for name, words in parts.items() if words & DRAWERS] == []


def test_nothing_foreign_in_tracked_files() -> None:
    found = {_name(path): words_in(f"{_name(path)}\n{_text(path)}", FOREIGN) for path in tracked_files()}
    assert {name: words for name, words in found.items() if words} == {}


def test_nothing_undone_in_the_package() -> None:
    texts = {_name(path): _text(path) for path in code_files() if _name(path).startswith("pycontain/")}
    assert {name: words for name, text in texts.items() if (words := words_in(text, UNDONE))} == {}


def test_no_mocks() -> None:
    """A mock repeats what its author believes of the code under test."""
    mock = "unittest" + ".mock"
    assert [_name(path) for path in code_files() if mock in _text(path)] == []


def test_every_module_says_what_it_is_for() -> None:
    modules = package_modules().values()
    assert [module.name for module in modules if module.text.strip() and not ast.get_docstring(module.tree)] == []


@pytest.mark.parametrize(
    ("head", "line", "tail", "suffix"),
    [
        ("def f():\n", "    x = 1\n", "", ".py"),
        ("class C:\n    async def f(self):\n", "        x = 1\n", "", ".py"),
        ("static int\nf(int a)\n{\n", "    a++;\n", "}\n", ".c"),
    ],
)
def test_a_long_function_is_noticed(head: str, line: str, tail: str, suffix: str) -> None:
    assert len(list(long_functions(head + line * MAX_FUNCTION_LINES + tail, suffix))) == 1
    assert list(long_functions(head + line * (MAX_FUNCTION_LINES // 2) + tail, suffix)) == []


def test_foreign_words_are_noticed() -> None:
    assert words_in("see " + FOREIGN[0] + "x", FOREIGN) == [FOREIGN[0]]
