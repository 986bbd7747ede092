"""The write-ahead journal of one container: what has been made, so that anyone can undo it.

Each line is an intent, appended by one ``write`` before the thing is made: tab-separated words, the first names the
kind. The file lies on tmpfs beside the state and is not synced: it must survive a killed process, not a power cut,
after which nothing of what it names exists (upper layers on disk keep an intent file of their own).

Kinds: ``cgroup PATH`` (absolute directory), ``process PID START`` (start time in clock ticks, proc_pid_stat(5) field
22), ``directory PATH`` (made by us, removed with all below), ``userns BASE`` (claimed range), ``name NAME``,
``parent PATH`` (a cgroup above one, removed when nobody else is in it), ``scope NAME MANAGER`` (systemd unit),
``idmap UIDS GIDS`` (the maps of an ordinary user's container, whose files only root of such a namespace can remove),
``rdt PATH`` (directory of resctrl), ``volume NAME`` (used; it stays when the container goes), ``withdrawn KIND …``
(that intent came to nothing: the thing is somebody else's).
"""

from __future__ import annotations

import os

from pycontain.errors import StoreError

CGROUP = "cgroup"
PARENT = "parent"
PROCESS = "process"
DIRECTORY = "directory"
USERNS = "userns"
NAME = "name"
SCOPE = "scope"
IDMAP = "idmap"
RDT = "rdt"
MOUNTS = "mounts"
VOLUME = "volume"
WITHDRAWN = "withdrawn"


class Journal:
    """Append-only list of intents in the file ``journal`` of a container's state directory."""

    def __init__(self, directory: str) -> None:
        self.path = f"{directory}/journal"

    def intend(self, kind: str, *words: str) -> None:
        """Append one intent; it is in the file before this returns.

        Raises:
            StoreError: the line cannot be written; then nothing may be made.
        """
        line = "\t".join(
            (kind, *(word.replace("%", "%25").replace("\t", "%09").replace("\n", "%0A") for word in words))
        )
        data = os.fsencode(line + "\n")
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _drop_torn(fd)
                if os.write(fd, data) != len(data):
                    raise StoreError(f"write {self.path}: file system full", hint="free space there")
            finally:
                os.close(fd)
        except OSError as error:
            cause = (error.strerror or "").lower()
            raise StoreError(f"write {self.path}: {cause}", hint=f"look at: df {os.path.dirname(self.path)}") from error

    def withdraw(self, kind: str, *words: str) -> None:
        """Take an intent back: somebody else has made that meanwhile.

        Raises:
            StoreError: as :meth:`intend`; the intent stands then.
        """
        self.intend(WITHDRAWN, kind, *words)

    def load(self) -> list[tuple[str, ...]]:
        """Return the intents that stand, oldest first; a torn last line (a killed writer) is none and is left out."""
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return []
        lines = data.split(b"\n")[:-1]
        found: list[tuple[str, ...]] = []
        for line in lines:
            kind, *words = (_unescape(word) for word in os.fsdecode(line).split("\t"))
            if kind != WITHDRAWN:
                found.append((kind, *words))
            elif tuple(words) in found:
                found.remove(tuple(words))
        return found


def _drop_torn(fd: int) -> None:
    """Cut off a last line without its end: the next intent must not become part of what a killed writer left."""
    size = os.lseek(fd, 0, os.SEEK_END)
    if size and os.pread(fd, 1, size - 1) != b"\n":
        os.ftruncate(fd, os.pread(fd, size, 0).rfind(b"\n") + 1)


def _unescape(word: str) -> str:
    return word.replace("%0A", "\n").replace("%09", "\t").replace("%25", "%")
