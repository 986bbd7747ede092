"""The runtime under test, with a root directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import images
from harness.attacks import Old
from harness.oci import Oci
from harness.references import Reference, falls_before


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
        images.copy(busybox, place / "root")
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


@pytest.fixture
def reference(busybox: Path) -> Iterator[Old]:
    """Yield a function that returns an old runtime; the test is skipped where it is not old enough."""
    made: list[Reference] = []

    def make(name: str, fixed: tuple[int, ...]) -> Oci:
        place = images.memory_directory("reference-")
        made.append(Reference(falls_before(name, fixed), place, busybox))
        return made[-1]

    yield make
    for one in made:
        one.remove_all()
        images.remove(one.place)
