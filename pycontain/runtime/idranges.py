"""Ranges of host ids for user namespaces: one range belongs to one container until it is removed.

A claim is a file named by the first id in one directory for the whole host, holding the state directory of its
owner; containers that join the owner's user namespace have claims on the same range. Ranges are looked for where
systemd's UIDS-GIDS document puts those of containers, 0x80000 to 0x6FFFFFFF, and skipped when anything else may use an
id in them: subordinate ids of any user, accounts and groups, running processes.
"""

from __future__ import annotations

import errno
import fcntl
import os

from pycontain.errors import HostError
from pycontain.runtime.journal import USERNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.journal import Journal

SIZE = 65536
FIRST = 0x80000
LAST = 0x6FFF0000
ATTEMPTS = 256


def claim(directory: str, owner: str, container_id: str, journal: Journal) -> int:
    """Return the first host id of a free range of SIZE ids, now claimed for ``owner`` (a state directory).

    Raises:
        HostError: no free range was found, or the claims cannot be written.
    """
    with _Claims(directory) as claims:
        used = _used_ranges()
        slots = (LAST - FIRST) // SIZE
        start = int(container_id[:8], 16)
        for step in range(ATTEMPTS):
            base = FIRST + (start + step * 7919) % slots * SIZE
            if base in claims.taken or any(low < base + SIZE and base <= high for low, high in used):
                continue
            journal.intend(USERNS, str(base))
            claims.write(str(base), owner)
            return base
    raise HostError(f"no free range of {SIZE} user ids in {ATTEMPTS} tries", hint="remove containers: pycontain prune")


def share(directory: str, base: int, owner: str, journal: Journal) -> None:
    """Claim a range for a further container, which joins the user namespace of the one that has it.

    A range that nobody has claimed, one that the user chose, is left alone.
    """
    with _Claims(directory) as claims:
        if base in claims.taken:
            journal.intend(USERNS, str(base))
            claims.write(f"{base}.{os.path.basename(owner)}", owner)


def release(directory: str, base: int, owner: str) -> None:
    """Give up what ``owner`` has of a range."""
    if os.path.isdir(directory):
        with _Claims(directory) as claims:
            for name in (str(base), f"{base}.{os.path.basename(owner)}"):
                if claims.owners.get(name) == owner:
                    os.unlink(f"{directory}/{name}")


def release_stale(directory: str) -> list[int]:
    """Give up the claims of containers that have gone, and return the ranges' first ids."""
    if not os.path.isdir(directory):
        return []
    with _Claims(directory) as claims:
        stale = [name for name, owner in claims.owners.items() if not os.path.isdir(owner)]
        for name in stale:
            os.unlink(f"{directory}/{name}")
    return [int(name.partition(".")[0]) for name in stale]


class _Claims:
    """The directory of claims, locked: ``owners`` by the file's name, ``taken`` the ranges that somebody has.

    A file is named by the first id of its range; those of further containers have their id behind it. A file without
    an owner in it was made by a process that was killed at it: with the lock held it is nobody's.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def __enter__(self) -> _Claims:
        try:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            self._lock = os.open(f"{self._directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(
                f"{self._directory}: {(error.strerror or '').lower()}", hint="--userns host does without"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self.owners = self._read()
        except BaseException:
            os.close(self._lock)
            raise
        self.taken = {int(name.partition(".")[0]) for name in self.owners}
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._lock)

    def write(self, name: str, owner: str) -> None:
        """Make a claim."""
        fd = os.open(f"{self._directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, os.fsencode(owner))
        finally:
            os.close(fd)

    def _read(self) -> dict[str, str]:
        owners = {}
        for name in os.listdir(self._directory):
            if not name.partition(".")[0].isdigit():
                continue
            path = f"{self._directory}/{name}"
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                owner = file.read()
            if owner:
                owners[name] = owner
            else:
                os.unlink(path)
        return owners


def _used_ranges() -> list[tuple[int, int]]:
    """Return (first, last) of every range or single id at or above FIRST that somebody else may use."""
    used: list[tuple[int, int]] = []
    for path in ("/etc/subuid", "/etc/subgid"):
        for fields in _colon_lines(path):
            if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
                first = int(fields[1])
                used.append((first, first + int(fields[2]) - 1))
    ids: set[int] = set()
    for path in ("/etc/passwd", "/etc/group"):
        for fields in _colon_lines(path):
            ids.update(int(field) for field in fields[2:4] if field.isdigit())
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                status = os.stat(f"/proc/{name}")
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ESRCH):
                    continue
                raise
            ids.add(status.st_uid)
            ids.add(status.st_gid)
    used.extend((number, number) for number in ids if number >= FIRST)
    return used


def _colon_lines(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.split(":") for line in file.read().splitlines()]
    except FileNotFoundError:
        return []
