"""What the way to a container's first instruction may import: a module that says [lean] in its docstring is on it.

A lean module may load, at its start, only what stands in ``LIGHT`` and other lean modules; what it needs rarely it may
import in a function. The import-budget test measures the same from outside, on the running program.
"""

from __future__ import annotations

import pytest
from architecture.source import COMPILED, Module, module_of, package_modules, parse

#: Modules of the standard library that are compiled in, frozen, or a small shared object; together under a millisecond.
LIGHT = {
    "__future__", "_json", "_sha256", "_signal", "_thread", "array", "binascii", "errno", "fcntl", "gc", "itertools", "marshal",
    "os", "posix", "select", "stat", "struct", "sys", "termios", "time", "zlib",
}  # fmt: skip

#: Top modules that all rooms use and that are lean without saying so.
ALSO_LEAN = {"pycontain", "pycontain.record", "pycontain.errors", *COMPILED}


def heavy_imports(modules: dict[str, Module]) -> list[str]:
    """Return one line for each import of a lean module that is not lean itself."""
    lean = {name for name, module in modules.items() if module.is_lean} | ALSO_LEAN
    # importing a.b.c loads the packages a and a.b first
    packages = {name for name, module in modules.items() if module.path.name == "__init__.py"}
    found = []
    for name in sorted(lean & set(modules)):
        for item in modules[name].imports:
            target = module_of(item.name, modules)
            if item.when == "start" and target not in LIGHT | lean:
                if target in packages and not modules[target].imports:
                    continue  # a package that only has a docstring
                found.append(f"{name}:{item.line} imports {target}")
    return found


def test_lean_modules_import_only_what_is_light() -> None:
    assert heavy_imports(package_modules()) == []


def test_packages_of_lean_modules_are_light() -> None:
    modules = package_modules()
    parents = {name.rpartition(".")[0] for name, module in modules.items() if module.is_lean}
    heavy = [
        f"{name}:{item.line} imports {item.name}"
        for name in sorted(parents)
        for item in modules[name].imports
        if item.when == "start" and item.name.partition(":")[0] not in LIGHT
    ]
    assert heavy == []


@pytest.mark.parametrize(
    "text",
    ["import json", "from typing import Any", "try:\n    import re\nexcept ImportError:\n    pass", "import pycontain.fat"],
)
def test_a_heavy_import_is_noticed(text: str) -> None:
    modules = {
        "pycontain.thin": parse("pycontain.thin", f'"""Thin. [lean]"""\n{text}'),
        "pycontain.fat": parse("pycontain.fat", '"""Fat."""\nimport json'),
    }
    assert len(heavy_imports(modules)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    import json",
        "if TYPE_CHECKING:\n    from typing import Any",
        "try:\n    from _sha256 import sha256\nexcept ImportError:\n    from hashlib import sha256",
        "import os, sys\nfrom pycontain.errors import UsageError",
    ],
)
def test_a_light_import_is_allowed(text: str) -> None:
    assert heavy_imports({"pycontain.thin": parse("pycontain.thin", f'"""Thin. [lean]"""\n{text}')}) == []
