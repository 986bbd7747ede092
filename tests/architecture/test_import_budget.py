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
from harness import images, probe
from harness.cli import Cli
from harness.oci import Oci
from harness.probe import requires
from harness.tools import load_tool
from harness.waiting import until

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

#: The same of the runtime of engines, whose commands each read their own: a way in for all, then one for each.
OCI_PACKAGES = ("pycontain", "pycontain.oci")
OCI_GROUPS = {
    "create": ("pycontain.oci.main", "pycontain.oci.verbs", "pycontain.oci.making"),
    "state": ("pycontain.oci.main", "pycontain.oci.listing"),
    "start": ("pycontain.oci.main", "pycontain.oci.verbs"),
    "exec": ("pycontain.oci.main", "pycontain.oci.exec"),
    "kill": ("pycontain.oci.main", "pycontain.oci.verbs"),
    "list": ("pycontain.oci.main", "pycontain.oci.listing"),
    "delete": ("pycontain.oci.main", "pycontain.oci.verbs"),
    "run": ("pycontain.oci.main", "pycontain.oci.run"),
}

#: Rooms of ours that may be loaded.
BOTH = {"runtime", "plan", "spec", "cgroups", "kernel", "launcher", "record", "errors", "lean_json", "sizes"}
ROOMS = {"run": {"cli", "engine", *BOTH}, "oci": {"oci", *BOTH}}

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


def _trace(path: Path, argv: list[str]) -> str:
    """Run a command, and return which files its processes opened until it ended."""
    # as its grandchild, strace does not wait for a container that stays
    command = ["strace", "-D", "-f", "-o", str(path), "-e", "trace=open,openat", *argv]
    # pipes are handed on; the output to anything else is copied, which needs some modules more
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.wait(60) == 0, argv
    until(lambda: f"{process.pid} +++ exited" in re.sub(" +", " ", path.read_text(errors="replace")))
    return path.read_text(errors="replace")


def _killed_one_by_one() -> int:
    """Return 1 where there is no cgroup.kill, for the module that is loaded then (``cgroups.freezer``), otherwise 0."""
    return int(probe.cgroup2_mount() is None)


def test_run_loads_only_what_the_table_allows(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    pycontain.ok("run", "--rm", busybox, "--", "/bin/true")  # what is compiled or cached once is there
    trace = _trace(tmp_path / "trace", pycontain.argv("run", "--rm", str(busybox), "--", "/bin/true"))
    assert loaded(trace) - START - CODECS == OURS
    # once for its table, and once for each thing that is read: a module that is in no group has been imported
    assert trace.count("/pycontain/modules.pack") == 1 + len(PACKAGES_OF_OURS) + len(GROUPS) + _killed_one_by_one()


def test_commands_of_the_runtime_load_only_what_the_table_allows(busybox: Path, tmp_path: Path) -> None:
    place = images.memory_directory("oci-")
    try:
        oci = Oci(place / "root", place, busybox)
        bundle = str(oci.bundle(oci.config("sleep", "1000")))
        words = {"create": ("-b", bundle, "c"), "exec": ("c", "true"), "kill": ("c", "KILL"), "list": ()}
        words |= {"delete": ("-f", "c"), "run": ("-d", "-b", bundle, "c")}
        for command, groups in OCI_GROUPS.items():
            trace = _trace(tmp_path / command, oci.argv(command, *words.get(command, ("c",))))
            assert loaded(trace) - START - CODECS == OURS, command
            others = _killed_one_by_one() if command == "delete" else 0
            assert trace.count("/pycontain/modules.pack") == 1 + len(OCI_PACKAGES) + len(groups) + others, command
        oci.remove_all()
    finally:
        images.remove(place)


@pytest.mark.parametrize(
    ("program", "used"), [("run", GROUPS), ("oci", tuple({name for names in OCI_GROUPS.values() for name in names}))]
)
def test_groups_hold_only_what_the_table_allows(program: str, used: tuple[str, ...]) -> None:
    sources = tool.Sources(REPOSITORY / "pycontain")
    rooms = {name.split(".")[1] for group in used for name in tool.groups(sources)[group] if "." in name}
    assert rooms - ROOMS[program] == set()


def test_the_trace_is_read_rightly() -> None:
    trace = f"""1 openat(AT_FDCWD, "{STDLIB}/json/__pycache__/__init__.cpython-311.pyc", O_RDONLY|O_CLOEXEC) = 3
1 openat(AT_FDCWD, "{STDLIB}/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so", O_RDONLY|O_CLOEXEC) = 4
1 openat(AT_FDCWD, "{PACKAGES}/click/core.py", O_RDONLY) = -1 ENOENT (No such file or directory)
1 open("{PACKAGES}/pycontain/__pycache__/errors.cpython-311.pyc", O_RDONLY) = 12
1 openat(AT_FDCWD, "/lib/x86_64-linux-gnu/libc.so", O_RDONLY) = 3"""
    assert loaded(trace) == {"json", "_json", "pycontain.errors"}
