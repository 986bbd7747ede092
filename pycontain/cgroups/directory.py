"""One cgroup directory, held by a descriptor: its interface files are opened below it, never by path again. [lean]"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_READ_SIZE = 1 << 16


class Directory:
    """A cgroup's directory; ``fd`` serves openat(2), CLONE_INTO_CGROUP and bpf(2).

    Raises:
        OSError: as open(2), with the path.
    """

    __slots__ = ("fd", "path")

    def __init__(self, path: str) -> None:
        # not O_PATH: children() reads the directory
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = path

    def read(self, name: str) -> str:
        """Return what the file says, without the last newline.

        Raises:
            OSError: with the file's path.
        """
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fd)
            try:
                chunks = [os.read(fd, _READ_SIZE)]
                while chunks[-1]:
                    chunks.append(os.read(fd, _READ_SIZE))
            finally:
                os.close(fd)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{self.path}/{name}") from None
        return b"".join(chunks).decode(errors="surrogateescape").rstrip("\n")

    def read_or(self, name: str, default: str) -> str:
        """Return what the file says, ``default`` where there is no such file or cgroup (any more)."""
        try:
            return self.read(name)
        except (FileNotFoundError, NotADirectoryError):
            return default
        except OSError as error:
            if error.errno == errno.ENODEV:  # the cgroup was removed while we held it
                return default
            raise

    def write(self, name: str, text: str) -> None:
        """Write ``text``, each line with a write(2) of its own, as interface files take it.

        An empty text empties a list.

        Raises:
            OSError: with the file's path.
        """
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.fd)
            try:
                for line in text.split("\n"):
                    os.write(fd, line.encode(errors="surrogateescape") or b"\n")
            finally:
                os.close(fd)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{self.path}/{name}") from None

    def children(self) -> tuple[str, ...]:
        """Return the names of the cgroups right below this one."""
        with os.scandir(self.fd) as entries:
            return tuple(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Directory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
