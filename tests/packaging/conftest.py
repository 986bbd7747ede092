"""The packages that the tests here look at: each is made once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from harness import probe
from harness.distributions import DebianPackage, Distributions, build_debian, build_distributions

NEEDED_FOR_DEBIAN = ("root", "program:dpkg-buildpackage", "program:dh_python3", "program:mmdebstrap")


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Return sdist and wheel."""
    return build_distributions(tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="session")
def debian_build(tmp_path_factory: pytest.TempPathFactory) -> tuple[DebianPackage, Path] | None:
    """Return the Debian package and the tar of a Debian; None where the tests of it are skipped."""
    if not all(probe.has(name) for name in NEEDED_FOR_DEBIAN):
        return None
    return build_debian(tmp_path_factory.mktemp("debian"))


@pytest.fixture
def debian_package(debian_build: tuple[DebianPackage, Path]) -> DebianPackage:
    return debian_build[0]


@pytest.fixture
def debian_root(debian_build: tuple[DebianPackage, Path], tmp_path: Path) -> Path:
    """Return a Debian of the test's own."""
    root = tmp_path / "root"
    root.mkdir()
    extract = ["tar", "--extract", "--numeric-owner", "--exclude=./dev/*", f"--file={debian_build[1]}"]
    subprocess.run(extract, cwd=root, check=True)
    return root
