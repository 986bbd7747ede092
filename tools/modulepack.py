#!/usr/bin/env python3
"""Compile the package's modules into one file: modulepack.py OUTPUT. Its form: pycontain/modulepack.py.

Run by the build, with the interpreter that the package is for.
"""

from __future__ import annotations
import __future__

import ast
import marshal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from pycontain import modulepack  # noqa: E402

#: Groups: the module that some process imports first -> modules that it imports later, but nearly always.
GROUPS: dict[str, tuple[str, ...]] = {
    "pycontain.cli.main": (),
    "pycontain.cli.running": (),
    "pycontain.engine.spawn": (
        "pycontain.cgroups.limits",
        "pycontain.cgroups.devices",
        "pycontain.plan.device_filter",
        "pycontain.runtime.idmap",
    ),
    "pycontain.engine.config": (),
    "pycontain.engine.exec": (),
    "pycontain.engine.monitor": (),
    "pycontain.oci.main": ("pycontain.oci.invocation",),
    "pycontain.oci.listing": (),
    "pycontain.oci.verbs": (),
    "pycontain.oci.making": ("pycontain.cgroups.limits",),
    "pycontain.oci.run": (),
    "pycontain.oci.exec": (),
}
#: What a process has imported before it imports the module that a group is named after.
BEFORE = {
    "pycontain.cli.running": ("pycontain.cli.main",),
    "pycontain.engine.spawn": ("pycontain.cli.main", "pycontain.cli.running"),
    "pycontain.engine.config": ("pycontain.cli.main", "pycontain.cli.running", "pycontain.engine.spawn"),
    "pycontain.engine.exec": ("pycontain.cli.main", "pycontain.cli.running"),
    "pycontain.oci.listing": ("pycontain.oci.main",),
    "pycontain.oci.verbs": ("pycontain.oci.main",),
    "pycontain.oci.making": ("pycontain.oci.main", "pycontain.oci.verbs"),
    "pycontain.oci.run": ("pycontain.oci.main",),
    "pycontain.oci.exec": ("pycontain.oci.main",),
}


class Lean(ast.NodeTransformer):
    """Takes out what no running program looks at: a third of what a start has to read.

    Docstrings, annotations of functions, and what only type checkers execute. Annotations in classes stay: records are
    made from them.
    """

    def visit_Module(self, node: ast.Module) -> ast.AST:
        node.body = [self._without_annotation(statement) for statement in node.body]
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or ast.Pass()
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        # the compiler gets it as a flag; executed it would import a module
        return ast.Pass() if node.module == "__future__" else node

    @staticmethod
    def _without_annotation(node: ast.stmt) -> ast.stmt:
        if not isinstance(node, ast.AnnAssign):
            return node
        plain = ast.Pass() if node.value is None else ast.Assign([node.target], node.value)
        return ast.copy_location(plain, node)

    def _without_docstring(self, node: ast.Module | ast.ClassDef | ast.FunctionDef) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.Pass()
        return self.generic_visit(node)


class Sources:
    """The package's source files by module name."""

    def __init__(self, package: Path) -> None:
        self.paths: dict[str, Path] = {}
        for path in sorted(package.rglob("*.py")):
            parts = [package.name, *path.relative_to(package).with_suffix("").parts]
            self.paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        self._imported: dict[str, list[str]] = {}

    def is_package(self, name: str) -> bool:
        return self.paths[name].name == "__init__.py"

    def compile(self, name: str) -> CodeType:
        """Return the lean code of a module; its file name is a placeholder that the importer replaces."""
        tree = ast.fix_missing_locations(Lean().visit(ast.parse(self.paths[name].read_bytes())))
        code = compile(tree, "<pack>", "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)
        assert isinstance(code, CodeType)
        return code

    def imported(self, name: str) -> list[str]:
        """Return the modules of this package that a module imports when it is executed, parents first."""
        if name not in self._imported:
            self._imported[name] = list(self._look_for_imports(name))
        return self._imported[name]

    def _look_for_imports(self, name: str) -> Iterator[str]:
        tree = Lean().visit(_Outermost().visit(ast.parse(self.paths[name].read_bytes())))
        found: list[str] = []
        for statement in ast.walk(tree):
            if isinstance(statement, ast.Import):
                found += [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom):
                assert not statement.level, f"{name}: relative import"
                found.append(str(statement.module))
                found += [f"{statement.module}.{alias.name}" for alias in statement.names]
        for one in found:
            yield from (known for known in (*_parents(one), one) if known in self.paths)

    def closure(self, roots: tuple[str, ...], without: set[str]) -> list[str]:
        """Return all that the roots import, and they, each after what it imports itself."""
        order: list[str] = []
        seen = set(without)

        def add(name: str) -> None:
            if name in seen:
                return
            seen.add(name)
            # a package is executed before what lies in it
            for parent in _parents(name):
                add(parent)
            for one in self.imported(name):
                add(one)
            order.append(name)

        for root in roots:
            add(root)
        return order


class _Outermost(ast.NodeTransformer):
    """Leaves only what is executed with the module itself."""

    def visit_FunctionDef(self, _node: ast.FunctionDef) -> ast.AST:
        return ast.Pass()


def _parents(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:end]) for end in range(1, len(words))]


def groups(sources: Sources) -> dict[str, list[str]]:
    """Return the modules of each group in the order in which they are executed, last the one it is named after."""
    made: dict[str, list[str]] = {}
    for root, later in GROUPS.items():
        loaded = {name for group in BEFORE.get(root, ()) for name in made[group]}
        members = sources.closure((*later, root), loaded)
        made[root] = [*(name for name in members if name != root), root]
    return made


class Rest:
    """What lies behind the table: marshalled things one after the other."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, thing: object) -> tuple[int, int]:
        """Append a thing and return its offset and size."""
        blob = marshal.dumps(thing)
        self.data += blob
        return len(self.data) - len(blob), len(blob)


def build(package: Path) -> bytes:
    """Return the file for a package's sources."""
    sources = Sources(package)
    codes = {name: sources.compile(name) for name in sources.paths}
    rest = Rest()
    places = {
        root: (*rest.add(tuple((name, sources.is_package(name), codes[name]) for name in names)), BEFORE.get(root, ()))
        for root, names in groups(sources).items()
    }
    lines = [""]
    for name, path in sources.paths.items():
        offset, size = rest.add(codes[name])
        source = modulepack.check(path.read_bytes()).hex()
        lines.append(f"{name} {int(sources.is_package(name))} {offset} {size} {source}")
    importer, table = marshal.dumps(codes["pycontain.modulepack"]), marshal.dumps((places, "\n".join([*lines, ""])))
    return modulepack.header(importer, table, rest.data) + importer + table + rest.data


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(build(ROOT / "pycontain"))
