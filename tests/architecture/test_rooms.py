"""Who may import whom. Arrows are drawn from the source, imports in functions and for types included.

::

    record errors lean_json modulepack sizes  <-  kernel
                                        <-  spec  <-  plan
                                        <-  cgroups  ->  kernel, spec
    runtime  ->  plan, spec, kernel, cgroups
    engine   ->  runtime, plan, spec, kernel, cgroups
    oci      ->  runtime, plan, spec, kernel, cgroups
    api      ->  engine
    cli      ->  engine
    launcher ->  cli, engine, oci

The package itself names what ``api`` has, for type checkers only: it is imported when it is asked for.
"""

from __future__ import annotations

import pytest
from architecture.source import COMPILED, Module, module_of, package_modules, parse

FOUNDATION = {"record", "errors", "lean_json", "modulepack", "sizes", ""}

#: room: the rooms that it may import from, beside the foundation and itself.
ARROWS: dict[str, set[str]] = {
    "record": set(),
    "errors": set(),
    "lean_json": set(),
    "modulepack": set(),
    "sizes": set(),
    "": {"api"},
    "api": {"engine"},
    "kernel": set(),
    "reaper": set(),
    "spec": set(),
    "plan": {"spec"},
    "cgroups": {"kernel", "spec"},
    "runtime": {"plan", "spec", "kernel", "cgroups"},
    "engine": {"runtime", "plan", "spec", "kernel", "cgroups"},
    "oci": {"runtime", "plan", "spec", "kernel", "cgroups"},
    "cli": {"engine"},
    "launcher": {"cli", "engine", "oci"},
}

#: Single modules that a room may import although the room they lie in is closed to it, each with its reason.
WINDOWS: dict[tuple[str, str], str] = {
    ("cli", "pycontain.runtime.settings"): "the command line makes the settings that every function of engine takes",
}


def wrong_arrows(modules: dict[str, Module]) -> list[str]:
    """Return one line for each import that no arrow allows."""
    found = []
    for module in modules.values():
        if module.room not in ARROWS:
            found.append(f"{module.name}: room {module.room!r} is not in the table")
            continue
        for item in module.imports:
            target = module_of(item.name, modules)
            if target.partition(".")[0] != "pycontain":
                continue
            room = [*target.split("."), ""][1]
            allowed = ARROWS[module.room] | FOUNDATION | {module.room}
            if room not in allowed and (module.room, target) not in WINDOWS:
                found.append(f"{module.name}:{item.line} imports {target}: {module.room} -> {room}")
    return found


def cycles(modules: dict[str, Module]) -> list[list[str]]:
    """Return the cycles among modules, imports for types left out: those are never executed."""
    edges = {
        name: {module_of(item.name, modules) for item in module.imports if item.when != "types"} & set(modules) - {name}
        for name, module in modules.items()
    }
    # what leads to no cycle is taken away leaf by leaf; what stays is in a cycle or leads into one
    while leaves := [name for name, targets in edges.items() if not targets & set(edges)]:
        for name in leaves:
            del edges[name]
    return [[name, *sorted(targets & set(edges))] for name, targets in edges.items()]


def missing(modules: dict[str, Module]) -> list[str]:
    """Return imports of modules of ours that do not exist."""
    known = set(modules) | COMPILED
    return [
        f"{module.name}:{item.line} imports {item.name}"
        for module in modules.values()
        for item in module.imports
        if item.name.startswith("pycontain") and module_of(item.name, modules) not in known
    ]


def test_every_import_follows_an_arrow() -> None:
    assert wrong_arrows(package_modules()) == []


def test_no_module_imports_itself_through_others() -> None:
    assert cycles(package_modules()) == []


def test_every_import_of_ours_exists() -> None:
    assert missing(package_modules()) == []


def test_every_window_is_used() -> None:
    modules = package_modules()
    seen = {(module.room, module_of(item.name, modules)) for module in modules.values() for item in module.imports}
    assert set(WINDOWS) - seen == set()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pycontain.kernel.mounts", "from pycontain.runtime import seal"),
        ("pycontain.plan.compile", "def f():\n    from pycontain.kernel import _sys"),
        ("pycontain.spec.mounts", "if TYPE_CHECKING:\n    from pycontain.plan.ops import Op"),
        ("pycontain.errors", "from pycontain import spec"),
        ("pycontain.engine.run", "try:\n    x\nexcept OSError:\n    import pycontain.cli.main"),
        ("pycontain.engine.run", "from ..cli import main"),
        ("pycontain.drawer.thing", ""),
    ],
)
def test_a_wrong_arrow_is_noticed(name: str, text: str) -> None:
    assert len(wrong_arrows({name: parse(name, text)})) == 1


def test_a_cycle_is_noticed() -> None:
    texts = {"pycontain.plan.a": "import pycontain.plan.b", "pycontain.plan.b": "def f():\n    from . import a"}
    texts["pycontain.plan.c"] = "from pycontain.plan.a import x"
    modules = {name: parse(name, text) for name, text in texts.items()}
    assert sorted(row[0] for row in cycles(modules)) == ["pycontain.plan.a", "pycontain.plan.b", "pycontain.plan.c"]
    assert cycles({**modules, "pycontain.plan.b": parse("pycontain.plan.b", "")}) == []
