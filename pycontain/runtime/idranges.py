"""Ranges of host ids for user namespaces: one range belongs to one container until it is removed.

A claim is a file named by the first id in one directory for the whole host, holding the state directory of its
owner. Ranges are looked for where systemd's UIDS-GIDS document puts those of containers, 0x80000 to 0x6FFFFFFF, and
skipped when anything else may use an id in them: subordinate ids of any user, accounts and groups, running processes.
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
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        lock = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"{directory}: {(error.strerror or '').lower()}", hint="--userns host does without") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        used = _used_ranges()
        slots = (LAST - FIRST) // SIZE
        start = int(container_id[:8], 16)
        for step in range(ATTEMPTS):
            base = FIRST + (start + step * 7919) % slots * SIZE
            if any(low < base + SIZE and base <= high for low, high in used):
                continue
            if not os.path.exists(f"{directory}/{base}"):
                journal.intend(USERNS, str(base))
                _write_claim(f"{directory}/{base}", owner)
                return base
    finally:
        os.close(lock)
    raise HostError(f"no free range of {SIZE} user ids in {ATTEMPTS} tries", hint="remove containers: pycontain prune")


def release(directory: str, base: int, owner: str) -> None:
    """Give a range back if ``owner`` still has it."""
    path = f"{directory}/{base}"
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            if file.read() != owner:
                return
        os.unlink(path)
    except FileNotFoundError:
        pass


def _write_claim(path: str, owner: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, os.fsencode(owner))
    finally:
        os.close(fd)


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
