"""Mount points that a container's root lacks and its own root user may not make. [lean]

Without privilege on the host, a directory of somebody else's stays somebody else's inside: it belongs to nobody there,
and nothing can be made in it. What is missing for a mount then goes into the upper layer before the overlay is
mounted, with the directories that lead to it, which belong to the container's root from then on.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.facts import UserNamespace
    from pycontain.spec.mounts import Mount


def provide(lower: str, upper: str, mounts: tuple[Mount, ...], userns: UserNamespace) -> None:
    """Make in the directory ``upper`` what ``mounts`` need and the container's root could not make in ``lower``.

    A path through a symbolic link is left to the start itself, which resolves it below the container's root.

    Raises:
        OSError: the upper layer cannot be written.
    """
    made: list[str] = []
    for mount in mounts:
        target = mount.destination.strip("/")
        if not any(target == above or target.startswith(f"{above}/") for above in made):
            bind = "bind" in mount.options or "rbind" in mount.options
            directory = not bind or os.path.isdir(mount.source or "")
            _provide(lower, upper, target.split("/"), userns, directory=directory)
        made.append(target)


def _provide(lower: str, upper: str, parts: list[str], userns: UserNamespace, *, directory: bool) -> None:
    parents: list[tuple[str, int]] = []
    status = os.stat(lower)
    for part in parts:
        lower = f"{lower}/{part}"
        try:
            below = os.lstat(lower)
        except FileNotFoundError:
            break
        if not stat.S_ISDIR(below.st_mode):
            return
        parents.append((part, stat.S_IMODE(below.st_mode)))
        status = below
    else:
        return
    if userns.is_mapped(status.st_uid, status.st_gid):
        return
    path = upper
    for part, mode in parents:
        path = f"{path}/{part}"
        _make_directory(path, mode)
    *missing, last = parts[len(parents) :]
    for part in missing:
        path = f"{path}/{part}"
        _make_directory(path, 0o755)
    if directory:
        _make_directory(f"{path}/{last}", 0o755)
    elif not os.path.lexists(f"{path}/{last}"):
        os.close(os.open(f"{path}/{last}", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _make_directory(path: str, mode: int) -> None:
    try:
        os.mkdir(path)
        os.chmod(path, mode)
    except FileExistsError:
        pass
