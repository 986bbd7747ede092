"""Mounts of a container that has no mount namespace: they are the runtime's, below the container's root. [lean]

What is mounted there before is journaled; what is there besides when the container is removed was made for it.
"""

from __future__ import annotations

import os

from pycontain.errors import SpecError
from pycontain.kernel import _sys
from pycontain.kernel.constants import MNT_DETACH, UMOUNT_NOFOLLOW
from pycontain.oci.mountinfo import mount_table
from pycontain.runtime import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.journal import Journal


def intend(root: str, intents: Journal) -> None:
    """Note that mounts are about to be made below a container's root.

    Raises:
        SpecError: the root is the host's own, in which nobody could tell them from others.
    """
    if root == "/":
        raise SpecError("mounts", "need a mount namespace where the root is the host's", hint='add {"type": "mount"}')
    intents.intend(journal.MOUNTS, root, " ".join(number for number, _ in _below(root)))


def remove(root: str, before: str) -> None:
    """Unmount what has been mounted below a root, the last one first. Idempotent."""
    kept = before.split()
    for number, place in reversed(_below(root)):
        if number not in kept:
            try:
                _sys.umount2(place, MNT_DETACH | UMOUNT_NOFOLLOW)
            except OSError:
                pass  # gone with what it was mounted on


def _below(root: str) -> list[tuple[str, str]]:
    """Return number and place of each mount below a directory."""
    return [
        (str(mount.id), mount.path)
        for mount in mount_table(os.getpid())
        if mount.path.startswith(f"{root.rstrip('/')}/")
    ]
