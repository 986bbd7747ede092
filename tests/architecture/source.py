"""The project's own source as the architecture tests see it: modules, what each imports, and where."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "pycontain"

When = Literal["start", "later", "types"]


@dataclass(frozen=True)
class Import:
    """One imported module, and when it is loaded.

    ``start``: with the importing module; ``later``: in a function, or after a failed first choice; ``types``: never,
    it is for the type checker.
    """

    name: str
    line: int
    when: When


@dataclass(frozen=True)
class Module:
    """One file of the package; ``name`` is dotted, ``imports`` holds absolute names."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """Return the folder below the package, or the module's own name for one that lies at the top."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""

    @property
    def is_lean(self) -> bool:
        """Return whether the docstring marks the module as one of the start path."""
        return "[lean]" in (ast.get_docstring(self.tree) or "")

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Return every import in source order, ``from a import b`` as ``a:b`` (see :func:`module_of`)."""
        return tuple(_imports(self.tree.body, "start", self._package))

    @property
    def _package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def tracked_files() -> list[Path]:
    """Return every file that git tracks or would take up, so that a new file is judged before it is committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    return [path for name in names if name and (path := REPOSITORY / name).is_file() and not path.is_symlink()]


@cache
def package_modules() -> dict[str, Module]:
    """Return every module of the package by its dotted name."""
    return {module.name: module for module in _modules_below(PACKAGE)}


def parse(name: str, text: str, path: Path = Path("module.py")) -> Module:
    """Return a module made from text; the tests' own controls are made so."""
    return Module(name, path, text, ast.parse(text))


def _modules_below(package: Path) -> Iterator[Module]:
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        yield Module(name, path, text, ast.parse(text))


def _imports(body: list[ast.stmt], when: When, package: str) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield from (Import(f"{base}:{alias.name}", node.lineno, when) for alias in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _imports(node.body, "types" if when == "types" else "later", package)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imports(node.body, "types", package)
            yield from _imports(node.orelse, when, package)
        else:
            yield from _inner_imports(node, when, package)


def _inner_imports(node: ast.stmt, when: When, package: str) -> Iterator[Import]:
    """Yield the imports of a compound statement; an ``except`` branch is the second choice and counts as later."""
    for field in ("body", "orelse", "finalbody"):
        yield from _imports(getattr(node, field, []), when, package)
    for handler in getattr(node, "handlers", []):
        yield from _imports(handler.body, "types" if when == "types" else "later", package)
    for case in getattr(node, "cases", []):
        yield from _imports(case.body, when, package)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def module_of(name: str, modules: dict[str, Module]) -> str:
    """Return the module that an :class:`Import`'s name loads: ``a:b`` is the module a.b where that exists, else a."""
    base, _, member = name.partition(":")
    whole = f"{base}.{member}"
    is_module = whole in modules or whole in COMPILED or (base == "pycontain" and not member.startswith("__"))
    return whole if member and is_module else base


#: Modules of the package that are not Python source.
COMPILED = {"pycontain.kernel._sys"}
