"""Every Python program in README and the manual runs; what it says of itself are its assertions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.documents import REPOSITORY, documents, fences
from harness import images
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root")]

PROGRAMS = [
    pytest.param("\n".join(lines), id=f"{path.relative_to(REPOSITORY)}:{line}")
    for path in documents()
    for line, information, lines in fences(path)
    if information == "python"
]


@pytest.fixture
def desk(busybox: Path) -> Iterator[Path]:
    """Yield a directory with a root file system in ``rootfs``."""
    directory = images.memory_directory("examples-")
    try:
        (directory / "rootfs").symlink_to(busybox)
        yield directory
    finally:
        images.remove(directory)


@pytest.mark.parametrize("text", PROGRAMS)
def test_program(text: str, desk: Path) -> None:
    assert "assert " in text
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text], cwd=desk, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_some_are_run() -> None:
    assert len(PROGRAMS) >= 2
