"""Roots that the tests of a run go over, and a look inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.probe import requires

#: Roots of every kind; each has a shell, coreutils' common programs and /etc/passwd. In a test guest one is enough.
ROOTS = (
    ("busybox",)
    if "PYCONTAIN_GUEST" in os.environ
    else ("busybox", "debian", pytest.param("@host", marks=requires("shifted-host")))
)


@pytest.fixture(params=ROOTS)
def root(request: pytest.FixtureRequest) -> str | Path:
    """Return each root in turn, as it is written on the command line."""
    name: str = request.param
    return name if name.startswith("@") else request.getfixturevalue(name)


@pytest.fixture
def container(pycontain: Cli, busybox: Path) -> str:
    """Return the name of a running container that sleeps."""
    pycontain.ok("run", "-d", "--name", "other", "-h", "other-host", busybox, "--", "/bin/sleep", "1000")
    return "other"
