"""The package's modules in one file: what is served, what is fallen back to, and what is said about a bad file."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.tools import load_tool

import pycontain
from pycontain import modulepack

tool = load_tool("modulepack")

MESSAGE = "pycontain: run: ROOTFS is missing\nhint: "
INTERPRETER = [sys._base_executable, "-ISB"]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a copy of the package and its pack; tests must not change it."""
    top = tmp_path_factory.mktemp("packed")
    source = Path(str(pycontain.__file__)).parent
    shutil.copytree(source, top / "pycontain", ignore=shutil.ignore_patterns("__pycache__", "modules.pack"))
    (top / "pycontain" / "modules.pack").write_bytes(tool.build(top / "pycontain"))
    return top


@pytest.fixture
def top(packed: Path, tmp_path: Path) -> Path:
    """Return a copy of the package and its pack that may be changed."""
    shutil.copytree(packed / "pycontain", tmp_path / "pycontain")
    return tmp_path


def start(top: Path, *words: str) -> str:
    """Return what a command of the copy says; it cannot be done."""
    command = [*INTERPRETER, str(top / "pycontain/launcher/_start.py"), *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 125, done
    return done.stderr


def test_the_installed_pack_is_that_of_the_installed_modules() -> None:
    assert modulepack.examine(sysconfig.get_path("platlib")) == ""


def test_a_start_needs_no_other_file(top: Path) -> None:
    for path in (top / "pycontain").rglob("*.py"):
        if path.name != "_start.py":
            path.unlink()
    assert start(top, "run").startswith(MESSAGE)


def test_a_held_pack_outlives_its_installation(top: Path) -> None:
    script = """
import os, shutil, sys
from pycontain import modulepack
top = {top!r}
fd = os.open(top + modulepack.FILE, os.O_RDONLY)
head = os.read(fd, modulepack.HEADER_BYTES)
data = os.read(fd, int.from_bytes(head[24:28], "little"))
modulepack.install(top, fd, head, data)
os.close(fd)
sys.meta_path[0].hold()
shutil.rmtree(top + "/pycontain/engine")
os.unlink(top + modulepack.FILE)
from pycontain.engine import waiting
print(waiting.record_exit.__name__)
"""
    code = f"import sys; sys.path.insert(0, {str(top)!r})\n" + script.format(top=str(top))
    done = subprocess.run([*INTERPRETER, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "record_exit\n", done.stderr


def test_a_traceback_shows_the_sources(packed: Path) -> None:
    text = start(packed, "--log-level", "debug", "run")
    assert f'File "{packed}/pycontain/cli/' in text
    assert "    raise UsageError(" in text


@pytest.mark.parametrize("root", tool.GROUPS)
def test_a_group_can_be_imported_first(packed: Path, root: str) -> None:
    script = f"""import sys; sys.path.insert(0, {str(packed)!r})
from pycontain import modulepack
with open({str(packed / "pycontain/modules.pack")!r}, "rb") as file:
    head = file.read(56)
    modulepack.install({str(packed)!r}, file.fileno(), head, file.read(int.from_bytes(head[24:28], "little")))
import {root}
assert all(hasattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2]) for name in sys.modules
    if name.startswith("pycontain."))
"""
    subprocess.run([*INTERPRETER, "-c", script], check=True, timeout=60)


def flip(start: int, length: int) -> Callable[[bytes], bytes]:
    return lambda data: (
        data[:start] + bytes(byte ^ 0x55 for byte in data[start : start + length]) + data[start + length :]
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flip(20, 4), "it was made for another interpreter"),
        (flip(0, 19), "it was made for another interpreter"),
        (flip(100, 50), "it is damaged"),
        (flip(40, 8), "it is damaged"),
        (flip(30_000, 3_000_000), "it is damaged"),
        (lambda data: data[:-1], "it is damaged"),
        (lambda data: data[:60_000], "it is damaged"),
        (lambda data: data[:30], "it is damaged"),
        (lambda _: b"", "it was made for another interpreter"),
        (None, "it is missing"),
    ],
)  # fmt: skip
def test_without_a_good_pack_modules_are_imported_as_usual(
    top: Path, change: Callable[[bytes], bytes] | None, said: str
) -> None:
    pack = top / "pycontain" / "modules.pack"
    if change is None:
        pack.unlink()
    else:
        pack.write_bytes(change(pack.read_bytes()))
    assert start(top, "run").startswith(MESSAGE)
    assert modulepack.examine(str(top)) == said


def test_a_pack_of_other_sources_is_named(top: Path) -> None:
    assert modulepack.examine(str(top)) == ""
    changed = top / "pycontain" / "record.py"
    changed.write_text(changed.read_text() + "# changed\n")
    assert modulepack.examine(str(top)) == f"it was made from another {changed}"
    changed.unlink()
    assert modulepack.examine(str(top)) == f"it was made from {changed}, which is missing"


@pytest.mark.parametrize("root", ["pycontain.cli.main", "pycontain.engine.spawn", "pycontain.engine.monitor"])
def test_a_group_is_what_its_module_imports(packed: Path, root: str) -> None:
    script = f"import sys; sys.path.insert(0, {str(packed)!r}); import {root}; print(*sys.modules)"
    done = subprocess.run([*INTERPRETER, "-c", script], capture_output=True, text=True, check=True)
    imported = {name for name in done.stdout.split() if name.partition(".")[0] == "pycontain"} - {
        "pycontain.kernel._sys"
    }
    groups = tool.groups(tool.Sources(packed / "pycontain"))
    here = {*groups[root], *(name for group in tool.BEFORE.get(root, ()) for name in groups[group])}
    assert imported - here == set()
    # what is there beside it is what the group names as imported later
    later = tool.Sources(packed / "pycontain").closure(tool.GROUPS[root], imported)
    assert {name for name in groups[root] if name not in imported} == set(later)
