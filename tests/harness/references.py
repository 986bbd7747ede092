"""Other runtimes, old enough to fall for attacks that are known by now: controls of tests that we do not.

They run in a mount namespace of their own, where all that they mount is gone with them. crun refuses a machine that has
version 1 controllers beside a cgroup2 hierarchy: there the latter is hidden from it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.oci import Oci

_ALONE = 'for place in /sys/fs/cgroup/unified; do mountpoint -q $place && umount $place; done; exec "$@"'
_CGROUPS = Path("/sys/fs/cgroup")
_PARENT = "pycontain-reference"


def version(name: str) -> tuple[int, ...]:
    """Return the version of a runtime, () where it is not installed."""
    if shutil.which(name) is None:
        return ()
    said = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


class Reference(Oci):
    """Another runtime, driven as ours is."""

    def __init__(self, name: str, place: Path, rootfs: Path) -> None:
        self.name = name
        alone = ("unshare", "-m", "--propagation", "private", "sh", "-c", _ALONE, "sh", name)
        super().__init__(place / "root", place, rootfs, alone)

    def config(self, *args: str) -> dict[str, Any]:
        """Return a configuration as old runtimes take it."""
        document = super().config(*args)
        document["ociVersion"] = "1.0.2"
        document["linux"]["cgroupsPath"] = f"/{_PARENT}/{self.place.name}"
        return document

    def remove_all(self) -> None:
        """Remove every container, and the cgroups above them."""
        super().remove_all()
        for directory in (*_CGROUPS.glob(f"*/{_PARENT}"), _CGROUPS / _PARENT):
            if directory.is_dir() and not any(one.is_dir() for one in directory.iterdir()):
                directory.rmdir()


def falls_before(name: str, fixed: tuple[int, ...]) -> str:
    """Return the name of a runtime that an attack works on, or skip the test where it is newer or missing."""
    found = version(name)
    if not found:
        pytest.skip(f"no {name}")
    if found >= fixed:
        pytest.skip(f"{name} {'.'.join(map(str, found))} is not fooled any more")
    return name
