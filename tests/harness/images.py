"""Root file systems for tests, built on demand by the recipes in ``images/``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


#: Where in memory the directories of this run lie: tmpfs, where a test guest or a container has one.
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()

#: What the paths of all of them begin with.
OWN_PREFIX = f"{_MEMORY}/pycontain-test-{os.getpid()}-"


def rootfs(name: str) -> Path:
    """Return the root file system of image ``name``, building it first where it is missing or outdated.

    In a test guest it is a copy on the ext4 disk made there: the host's files that a guest sees lie on a file system
    that cannot be idmapped.
    """
    disk = os.environ.get("PYCONTAIN_TEST_DISK")
    built = REPOSITORY / "images" / name / "rootfs"
    if not disk:
        subprocess.run(["sh", str(REPOSITORY / "images" / "build.sh"), name], check=True, stdin=subprocess.DEVNULL)
        return built
    copy = Path(disk) / "images" / name
    if not copy.exists():
        copy.parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", str(built), str(copy)], check=True)
    return copy


def copy(source: Path, target: Path, owner: int | None = None) -> Path:
    """Copy the tree ``source`` to the new directory ``target``, handing all of it to uid and gid ``owner`` if given."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
    if owner is not None:
        for directory, _, files in os.walk(target):
            for path in (directory, *(os.path.join(directory, file) for file in files)):
                os.chown(path, owner, owner, follow_symlinks=False)
    return target


def memory_directory(prefix: str, on: str | None = None) -> Path:
    """Return a new directory on tmpfs, or below the directory ``on``.

    On tmpfs an overlay's upper layer works even where the disk is itself an overlay.
    """
    base, _, own = OWN_PREFIX.rpartition("/")
    path = Path(tempfile.mkdtemp(prefix=own + prefix, dir=on or base))
    path.chmod(0o755)
    return path


def remove(path: Path) -> None:
    """Remove a tree that may hold directories nobody may read."""
    subprocess.run(["chmod", "-R", "u+rwX", str(path)], check=False, capture_output=True)
    shutil.rmtree(path, ignore_errors=True)
