"""What the way to a container's first instruction may import.

On that way are the modules that say [lean] in their docstring, and whatever of ours those load at their start. From
elsewhere they may load only what stands in ``LIGHT``; what is needed rarely is imported in a function. The
import-budget test measures the same from outside, on the running program.
"""

from __future__ import annotations

import pytest
from architecture.source import Module, module_of, package_modules, parse

#: Modules of the standard library that are compiled in, frozen, or a small shared object; under a millisecond in all.
LIGHT = {
    "__future__", "_frozen_importlib", "_frozen_importlib_external", "_imp", "_json", "_sha2", "_sha256", "_signal",
    "_thread", "array", "binascii", "errno", "fcntl", "gc", "itertools", "marshal", "os", "posix", "select", "stat",
    "struct", "sys", "termios", "time", "zlib",
}  # fmt: skip


def start_path(modules: dict[str, Module]) -> set[str]:
    """Return the modules of ours that are loaded when all lean ones are, the packages they lie in included."""
    waiting = [name for name, module in modules.items() if module.is_lean]
    loaded: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in loaded or name not in modules:
            continue
        loaded.add(name)
        waiting.append(name.rpartition(".")[0])
        waiting += [module_of(item.name, modules) for item in modules[name].imports if item.when == "start"]
    return loaded


def heavy_imports(modules: dict[str, Module]) -> list[str]:
    """Return one line for each import on the start path that is neither ours nor light."""
    return [
        f"{name}:{item.line} imports {item.name}"
        for name in sorted(start_path(modules))
        for item in modules[name].imports
        if item.when == "start" and item.name.partition(":")[0] not in LIGHT and not _is_ours(item.name)
    ]


def _is_ours(name: str) -> bool:
    return name.partition(":")[0].partition(".")[0] == "pycontain"


def test_start_path_loads_only_what_is_light() -> None:
    assert heavy_imports(package_modules()) == []


def test_start_path_is_not_empty() -> None:
    """The marks that the other test starts from exist."""
    assert {"pycontain.record", "pycontain.errors"} <= start_path(package_modules())


@pytest.mark.parametrize(
    "text",
    [
        "import json",
        "from typing import Any",
        "try:\n    import re\nexcept ImportError:\n    pass",
        "import pycontain.fat",
    ],
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
