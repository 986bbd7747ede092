"""The launcher in an installation made for the test: which interpreter, how it is sealed, what it inherits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import pycontain.launcher

NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
SYSTEM = Path(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
LAUNCHER = Path(sys.prefix) / "bin/pycontain"
NOBODY = 65534

REPORT = """
import json, os, sys
def main(arguments=None):
    flags = {name: getattr(sys.flags, name) for name in ("isolated", "no_site", "utf8_mode", "dont_write_bytecode")}
    answer = {"argv": sys.argv[1:], "arguments": arguments, "path": sys.path, "flags": flags}
    answer |= {"environ": dict(os.environ), "executable": sys.executable, "stdlib": os.__file__}
    json.dump(answer | {"exe": os.readlink("/proc/self/exe")}, sys.stdout)
    sys.exit(7)
"""

# Become another program with the own file still open, so that it is not busy; try to write into it as its owner may.
WRITE = """
import os
def main():
    os.dup2(os.open("/proc/self/exe", os.O_PATH), 50, inheritable=True)
    os.execv("/usr/bin/python3", ["python3", "-c", code])
code = '''
import os
def attempt(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        print(function.__name__, error.errno)
attempt(os.chmod, "/proc/self/fd/50", 0o777)
fd = attempt(os.open, "/proc/self/fd/50", os.O_WRONLY)
if fd is not None:
    attempt(os.write, fd, b"overwritten")
'''
"""

AGAIN = """
import os, sys
def main():
    print(os.readlink("/proc/self/exe"), flush=True)
    if sys.argv[1:] == ["again"]:
        return
    os.execv("/proc/self/exe", [*sys.orig_argv, "again"])
"""


@dataclass
class Installation:
    """A directory that looks like a virtual environment with the package in it."""

    prefix: Path

    def run(
        self,
        *arguments: str,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
        program: str = "bin/pycontain",
    ) -> subprocess.CompletedProcess[str]:
        command = [self.prefix / program, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=env, user=user, check=False, timeout=30, cwd="/", group=user
        )

    def report(
        self, *arguments: str, user: int | None = None, env: Mapping[str, str] | None = None
    ) -> dict[str, object]:
        result = self.run(*arguments, user=user, env=env)
        assert (result.returncode, result.stderr) == (7, "")
        answer = json.loads(result.stdout)
        assert isinstance(answer, dict)
        return answer


Install = Callable[..., Installation]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Return the maker of an installation that runs ``main`` and names ``interpreter`` in its pyvenv.cfg."""
    if not LAUNCHER.exists():
        pytest.skip(f"the launcher is not installed: {LAUNCHER}")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # another user must reach it

    def make(main: str, *, interpreter: Path = SYSTEM, config: str | None = None) -> Installation:
        package = tmp_path / "lib" / NAME / "site-packages/pycontain"
        for folder in (tmp_path / "bin", package / "launcher", package / "cli", package / "engine"):
            folder.mkdir(parents=True)
        shutil.copy(LAUNCHER, tmp_path / "bin/pycontain")
        source = Path(pycontain.launcher.__file__).parent
        for name in ("__init__.py", "_start.py"):
            shutil.copy(source / name, package / "launcher" / name)
        (package / "cli/main.py").write_text(main)
        (package / "engine/monitor.py").write_text(REPORT)
        (tmp_path / "pyvenv.cfg").write_text(
            config or f"home = /nonexistent\nversion = 3\nexecutable = {interpreter}\n"
        )
        return Installation(tmp_path)

    return make


@pytest.fixture
def own_interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the interpreter that an unprivileged user owns, with the standard library beside it."""
    prefix = tmp_path_factory.mktemp("python")
    prefix.chmod(0o755)
    (prefix / "bin").mkdir()
    (prefix / "lib").mkdir()
    (prefix / "lib" / NAME).symlink_to(Path(os.__file__).parent)
    copy = prefix / "bin" / NAME
    shutil.copy(SYSTEM, copy)
    if os.geteuid() == 0:
        os.chown(copy, NOBODY, NOBODY)
    return copy


def unprivileged() -> int | None:
    """Return the user to become, None when we are one already."""
    return NOBODY if os.geteuid() == 0 else None


requires_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_the_environment_holds_a_program_not_a_script() -> None:
    if not LAUNCHER.exists():
        pytest.skip(f"the launcher is not installed: {LAUNCHER}")
    assert LAUNCHER.read_bytes()[:4] == b"\x7fELF"
    assert os.access(LAUNCHER, os.X_OK)


def test_arguments_flags_path_and_exit_code(install: Install) -> None:
    installation = install(REPORT)
    report = installation.report("run", "-it", "a b", "")
    assert report["argv"] == ["run", "-it", "a b", ""]
    assert report["flags"] == {"isolated": 1, "no_site": 1, "utf8_mode": 1, "dont_write_bytecode": 1}
    path = report["path"]
    assert isinstance(path, list)
    assert path[0] == str(installation.prefix / "lib" / NAME / "site-packages")
    assert [entry for entry in path if "-packages" in entry] == path[:1]
    assert report["executable"] == str(SYSTEM)
    assert report["stdlib"] == os.path.realpath(os.__file__)


def test_monitor_entry(install: Install) -> None:
    assert install("def main(): return 1").report("--internal-monitor", "x")["arguments"] == ["x"]


def test_link_to_the_program(install: Install) -> None:
    installation = install(REPORT)
    (installation.prefix / "link").symlink_to("bin/pycontain")
    assert installation.run(program="link").returncode == 7


def test_environment_is_scrubbed(install: Install) -> None:
    steering = {"LD_LIBRARY_PATH": "/x", "LD_BIND_NOW": "1", "PYTHONPATH": "/x", "PYTHONHOME": "/x", "GCONV_PATH": "/x"}
    report = install(REPORT).report(env={**steering, "HOME": "/h", "LDFLAGS": "x", "LC_ALL": "C.UTF-8"})
    assert report["environ"] == {"HOME": "/h", "LDFLAGS": "x", "LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize("key", ["executable = {}", "base-executable = {}\nexecutable = /nonexistent", "home={folder}"])
def test_each_maker_of_environments_names_the_interpreter_its_way(install: Install, key: str) -> None:
    config = key.format(SYSTEM, folder=SYSTEM.parent) + "\nversion = 3.x\n"
    assert install(REPORT, config=config).report()["executable"] == str(SYSTEM)


@requires_root
def test_root_runs_from_a_read_only_mount(install: Install, own_interpreter: Path) -> None:
    content = own_interpreter.read_bytes()
    assert install(WRITE, interpreter=own_interpreter).run().stdout == "chmod 30\nopen 30\n"  # EROFS
    assert own_interpreter.read_bytes() == content


def test_the_same_interpreter_unsealed_is_overwritten(own_interpreter: Path, tmp_path: Path) -> None:
    # the control of the two tests around: their refusal comes from the seal
    program = tmp_path / "write.py"
    program.write_text(f"{WRITE}\nmain()\n")
    assert subprocess.run([own_interpreter, program], capture_output=True, check=True).stdout == b""
    assert own_interpreter.read_bytes().startswith(b"overwritten")


def test_user_runs_own_interpreter_from_a_sealed_copy(install: Install, own_interpreter: Path) -> None:
    user, content = unprivileged(), own_interpreter.read_bytes()
    installation = install(WRITE, interpreter=own_interpreter)
    assert installation.run(user=user).stdout == "write 1\n"  # EPERM
    assert own_interpreter.read_bytes() == content
    (installation.prefix / "lib" / NAME / "site-packages/pycontain/cli/main.py").write_text(REPORT)
    report = installation.report(user=user)
    assert report["exe"] == "/memfd:pycontain (deleted)"
    assert report["executable"] == str(own_interpreter)


@pytest.mark.skipif(SYSTEM.stat().st_uid != 0, reason="the interpreter does not belong to root")
def test_user_cannot_write_the_interpreter_of_root(install: Install) -> None:
    assert install(WRITE).run(user=unprivileged()).stdout == "chmod 1\nopen 13\n"  # EPERM, EACCES


@pytest.mark.parametrize("own", [False, True])
def test_the_program_can_start_over(install: Install, own_interpreter: Path, own: bool) -> None:
    installation = install(AGAIN, interpreter=own_interpreter if own else SYSTEM)
    result = installation.run(user=unprivileged() if own else None)
    first, second = result.stdout.splitlines()
    assert (second, result.stderr) == (first, "")


@pytest.fixture
def origin_interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program in place of an interpreter that finds a library by $ORIGIN and prints what it was given."""
    prefix = tmp_path_factory.mktemp("origin")
    (prefix / "bin").mkdir()
    (prefix / "lib").mkdir()
    library = prefix / "library.c"
    library.write_text("int answer(void) { return 7; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", prefix / "lib/libanswer.so", library], check=True)
    source = prefix / "program.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\nint answer(void);\nint main(int n, char **argv) {\n"
        'puts(getenv("LD_LIBRARY_PATH")); for (int i = 1; i < n; i++) puts(argv[i]); return answer(); }'
    )
    program = prefix / "bin" / NAME
    origin = "-Wl,-rpath,/nonexistent:$ORIGIN/../lib:${ORIGIN}/x"
    subprocess.run(["cc", "-o", program, source, "-L", prefix / "lib", "-lanswer", origin], check=True)
    return program


def test_interpreter_with_its_libraries_beside_it(install: Install, origin_interpreter: Path) -> None:
    result = install(REPORT, interpreter=origin_interpreter).run("x", env={"LD_LIBRARY_PATH": "/theirs"})
    assert result.returncode == 7, result.stderr
    folder = origin_interpreter.parent
    libraries = f"/nonexistent:{folder}/../lib:{folder}/x"
    assert result.stdout.splitlines()[:4] == [libraries, "-ISB", "-Xutf8", f"-Xpycontain.libraries={libraries}"]


def test_start_takes_the_library_path_out_of_the_environment(install: Install) -> None:
    start = install(REPORT).prefix / "lib" / NAME / "site-packages/pycontain/launcher/_start.py"
    command = [SYSTEM, "-ISB", "-Xpycontain.libraries=/x", start]
    result = subprocess.run(command, capture_output=True, text=True, env={"LD_LIBRARY_PATH": "/x"}, check=False)
    assert "LD_LIBRARY_PATH" not in json.loads(result.stdout)["environ"]


@requires_root
def test_setuid_is_refused(install: Install) -> None:
    installation = install(REPORT)
    program = installation.prefix / "bin/pycontain"
    os.chown(program, NOBODY, NOBODY)
    program.chmod(0o4755)
    if os.statvfs(program).f_flag & os.ST_NOSUID:
        pytest.skip("the file system is mounted nosuid")
    result = installation.run()
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr == "pycontain: must not be installed setuid or with file capabilities\n"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("version = 3\n", "names no interpreter"),
        ("executable = /nonexistent/python\n", "interpreter /nonexistent/python: No such file or directory"),
        ("executable = /etc/passwd\n", "/etc/passwd is not a program"),
    ],
)
def test_broken_environment_is_named(install: Install, config: str, message: str) -> None:
    result = install(REPORT, config=config).run()
    assert (result.returncode, result.stdout) == (125, "")
    assert message in result.stderr
    assert result.stderr.startswith("pycontain: ")
    assert result.stderr.count("\n") == 1


def test_missing_package_is_named(install: Install) -> None:
    installation = install(REPORT)
    shutil.rmtree(installation.prefix / "lib")
    result = installation.run()
    assert result.returncode == 125
    assert f"neither below {installation.prefix}/lib" in result.stderr
