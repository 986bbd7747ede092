"""Which modules of the standard library and of others a start really loads, seen from outside by strace.

The table is an allow-list: a module that is not in it makes the start slower, or was loaded after the root changed.
Modules that are compiled into the interpreter or frozen show no file and cost next to nothing.
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
from harness.cli import Cli, describe
from harness.probe import requires
from harness.tools import load_tool

pytestmark = [pytest.mark.runtime, requires("root", "program:strace")]

#: What the interpreter itself needs to start, and what is small enough for the start path.
START = {"encodings", "encodings.aliases", "encodings.utf_8", "__future__", "_json", "struct", "_struct"}
#: Codecs that are loaded before the container is entered, so that no look-up happens inside.
CODECS = {"encodings.latin_1"}

#: Files of ours that are opened; everything else comes from the pack.
OURS = {"pycontain.launcher._start", "pycontain.modules", "pycontain.kernel._sys"}
#: What is read from the pack: packages that are imported before the first group, then these groups.
PACKAGES_OF_OURS = ("pycontain", "pycontain.cli")
GROUPS = ("pycontain.cli.main", "pycontain.cli.running", "pycontain.engine.spawn", "pycontain.engine.config")

#: Rooms of ours that may be loaded.
ROOMS = {
    "run": {
        "cli",
        "engine",
        "runtime",
        "plan",
        "spec",
        "cgroups",
        "kernel",
        "launcher",
        "record",
        "errors",
        "lean_json",
        "sizes",
    }
}

REPOSITORY = Path(__file__).resolve().parents[2]
tool = load_tool("modulepack")

STDLIB = Path(sysconfig.get_path("stdlib"))
PACKAGES = Path(sysconfig.get_path("platlib"))


def loaded(trace: str) -> set[str]:
    """Return the dotted names of the modules whose files were opened with success."""
    names = set()
    for path in re.findall(r'open(?:at)?\((?:\w+, )?"([^"]+\.(?:pyc|py|so|pack))", [^)]*\) = \d', trace):
        for top in (STDLIB / "lib-dynload", PACKAGES, STDLIB):
            if path.startswith(f"{top}/"):
                words = path[len(str(top)) + 1 :].replace("__pycache__/", "").split("/")
                words[-1] = words[-1].partition(".")[0]
                names.add(".".join(words).removesuffix(".__init__"))
                break
    return names


def _trace(cli: Cli, path: Path, *args: str) -> str:
    command = ["strace", "-f", "-o", str(path), "-e", "trace=open,openat", *cli.argv(*args)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, describe(done)
    return path.read_text(errors="replace")


def test_run_loads_only_what_the_table_allows(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    pycontain.ok("run", "--rm", busybox, "--", "/bin/true")  # what is compiled or cached once is there
    trace = _trace(pycontain, tmp_path / "trace", "run", "--rm", str(busybox), "--", "/bin/true")
    assert loaded(trace) - START - CODECS == OURS
    # once for its table, and once for each thing that is read: a module that is in no group has been imported
    assert trace.count("/pycontain/modules.pack") == 1 + len(PACKAGES_OF_OURS) + len(GROUPS)


def test_groups_hold_only_what_the_table_allows() -> None:
    sources = tool.Sources(REPOSITORY / "pycontain")
    rooms = {name.split(".")[1] for group in GROUPS for name in tool.groups(sources)[group] if "." in name}
    assert rooms - ROOMS["run"] == set()


def test_the_trace_is_read_rightly() -> None:
    trace = f"""1 openat(AT_FDCWD, "{STDLIB}/json/__pycache__/__init__.cpython-311.pyc", O_RDONLY|O_CLOEXEC) = 3
1 openat(AT_FDCWD, "{STDLIB}/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so", O_RDONLY|O_CLOEXEC) = 4
1 openat(AT_FDCWD, "{PACKAGES}/click/core.py", O_RDONLY) = -1 ENOENT (No such file or directory)
1 open("{PACKAGES}/pycontain/__pycache__/errors.cpython-311.pyc", O_RDONLY) = 12
1 openat(AT_FDCWD, "/lib/x86_64-linux-gnu/libc.so", O_RDONLY) = 3"""
    assert loaded(trace) == {"json", "_json", "pycontain.errors"}
