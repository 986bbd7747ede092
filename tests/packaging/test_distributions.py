"""Wheel and sdist: what they hold, and that an installation of each Python that is here works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.distributions import REPOSITORY, Distributions
from harness.probe import requires

pytestmark = [pytest.mark.timeout(600), pytest.mark.background("distributions")]

WITHOUT = Path(__file__).with_name("without.sh")
INCLUDE = "/usr/include"
PYTHON_H = f"python{sys.version_info.major}.{sys.version_info.minor}/Python.h"
VERSIONS = ("3.11", "3.12", "3.13")


def interpreter(version: str) -> Path | None:
    """Return a real interpreter of a version: of the system, on PATH, or of pyenv; a shim of pyenv's is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    places = [Path("/usr/bin"), *sorted(pyenv.glob(f"{version}.*/bin")), *map(Path, os.get_exec_path())]
    for path in (place / f"python{version}" for place in places):
        if path.is_file() and path.resolve().read_bytes()[:4] == b"\x7fELF":
            return path
    return None


def names_in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_programs_modules_pages_and_completions(distributions: Distributions) -> None:
    names = names_in_wheel(distributions.wheel)
    data = "pycontain-0.1.0.data"
    expected = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "pycontain").rglob("*.py")}
    expected |= {f"{data}/scripts/pycontain", f"{data}/scripts/pycontain-oci", "pycontain/py.typed"}
    expected |= {"pycontain/modules.pack", "pycontain/reaper/pycontain-init"}
    pages = (REPOSITORY / "man").glob("*.[1-8]")
    expected |= {f"{data}/data/share/man/man{page.name[-1]}/{page.name}" for page in pages}
    completions = ("bash-completion/completions/pycontain", "zsh/site-functions/_pycontain")
    expected |= {f"{data}/data/share/{name}" for name in (*completions, "fish/vendor_completions.d/pycontain.fish")}
    expected |= {"pycontain-0.1.0.dist-info/licenses/LICENSE"}
    assert expected - names == set()
    assert len([name for name in names if re.fullmatch(r"pycontain/kernel/_sys\.cpython-.*\.so", name)]) == 1
    assert [name for name in names if name.endswith((".c", ".h", ".pyc"))] == []


def test_sdist_holds_what_the_repository_holds(distributions: Distributions) -> None:
    with tarfile.open(distributions.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"meson.build", "meson_options.txt", "LICENSE", "tools/modulepack.py", "debian/rules", ".ci/run"} <= names
    assert [name for name in names if name.startswith((".venv", ".git/", "build/", "dist/"))] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_sdist_installs_and_works(
    distributions: Distributions, version: str, tmp_path: Path, pycontain: Cli, busybox: Path
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"this host lacks python{version}")
    environment = tmp_path / "environment"
    subprocess.run([python, "-m", "venv", environment], check=True)
    # nothing of ours is at hand there: pip gets what builds it, and builds python-prctl
    install = [environment / "bin/pip", "--disable-pip-version-check", "install", "--quiet", distributions.sdist]
    done = subprocess.run(install, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    own = Cli(pycontain.root, program=environment / "bin/pycontain")
    assert f"python: {version}." in own.ok("version")
    assert own.ok("run", "--rm", busybox, "id", "-u") == "0\n"
    own.ok("run", "--detach", "--name", "box", busybox, "sleep", "100")
    own.ok("update", "--pids-limit", "50", "box")
    assert "box" in own.ok("stats", "--no-stream", "box")
    assert own.ok("exec", "box", "echo", "x") == "x\n"
    own.ok("rm", "--force", "box")
    assert "modules.pack" not in own.run("doctor").stdout
    library = f"import pycontain; print(pycontain.run({str(busybox)!r}, ['echo', 'x']).stdout)"
    python_in_it = [environment / "bin/python", "-W", "error", "-c", library]
    answer = subprocess.run(python_in_it, capture_output=True, text=True, cwd="/")
    assert answer.stdout == "b'x\\n'\n", answer.stderr
    oci = subprocess.run([environment / "bin/pycontain-oci", "--version"], capture_output=True, text=True, check=True)
    assert oci.stdout.startswith("runc version 0.1.0+pycontain\n")
    assert (environment / "share/man/man1/pycontain-run.1").is_file()


def _build(source: Path, *prefix: str | Path, path: str) -> str:
    """Return what pip says of a source that cannot be built."""
    environment = {**os.environ, "PATH": path}
    wheel = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-build-isolation", "--no-deps"]
    command = [*prefix, *wheel, "--wheel-dir", source.parent / "wheels", source]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode != 0, "built without what it needs"
    (message,) = re.findall(r"missing to build pycontain: (.*)", done.stdout + done.stderr)
    return message


@pytest.fixture
def source(distributions: Distributions, tmp_path: Path) -> Path:
    """Return the sdist, unpacked."""
    subprocess.run(["tar", "--extract", f"--file={distributions.sdist}"], cwd=tmp_path, check=True)
    return tmp_path / "pycontain-0.1.0"


@requires("root", "fs:overlay")
@pytest.mark.parametrize(
    ("headers", "packages"),
    [
        (("sys/capability.h",), ["libcap-dev"]),
        ((PYTHON_H,), ["python3-dev"]),
        (("stdio.h",), ["gcc and libc6-dev"]),
        (("sys/capability.h", PYTHON_H), ["libcap-dev", "python3-dev"]),
    ],
)
def test_a_missing_header_is_named_with_its_package(
    source: Path, headers: tuple[str, ...], packages: list[str]
) -> None:
    files = [f"{INCLUDE}/{header}" for header in headers]
    if missing := [file for file in files if not Path(file).exists()]:
        pytest.skip(f"this host lacks {missing[0]}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    said = _build(source, "sh", WITHOUT, " ".join(files), path=path)
    assert re.findall(r"\(packages? ([^;]*);", said) == packages
    for header in set(headers) - {"stdio.h"}:
        assert Path(header).name in said


def test_a_missing_compiler_is_named_with_its_package(source: Path) -> None:
    said = _build(source, path=str(Path(sys.executable).parent))
    assert said == "a C compiler that works (packages gcc and libc6-dev; Fedora: gcc and glibc-devel)"
