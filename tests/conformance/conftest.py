"""The runtime under test, with a root directory of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import images
from harness.oci import Oci


@pytest.fixture
def oci(busybox: Path) -> Iterator[Oci]:
    """Yield the program; at the end nothing may be left of its containers."""
    place = images.memory_directory("oci-")
    try:
        runtime = Oci(place / "root", place, busybox)
        yield runtime
        runtime.remove_all()
        assert runtime.left() == []
    finally:
        images.remove(place)


@pytest.fixture
def scratch_root(busybox: Path) -> Iterator[Path]:
    """Yield a copy of the root that a test may change, where device nodes can be made and used."""
    place = images.memory_directory("oci-root-")
    try:
        shutil.copytree(busybox, place / "root", symlinks=True)
        yield place / "root"
    finally:
        images.remove(place)


@pytest.fixture
def shared(oci: Oci) -> Path:
    """Return a directory of the host with a file in it."""
    directory = oci.place / "shared"
    directory.mkdir()
    (directory / "file").write_text("of the host\n")
    return directory
