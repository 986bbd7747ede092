"""Roots that a test may fill with what it likes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import images


@pytest.fixture
def root(busybox: Path) -> Iterator[Path]:
    """Yield a copy of the busybox root on a file system that can be idmapped (tmpfs only from Linux 6.3 on)."""
    directory = images.memory_directory("hostile-", on=os.environ.get("PYCONTAIN_TEST_DISK"))
    yield images.copy(busybox, directory / "rootfs")
    images.remove(directory)
