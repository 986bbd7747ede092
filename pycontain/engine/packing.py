"""Packs a tree that somebody else has made into a tar stream: of a container, or of the caller's own files.

Everything is by descriptor. Links are packed and never followed, nothing but regular files and directories is opened,
and a name is opened only after its descriptor has told what it is: a FIFO that is put in a file's place does not hold
us up, a device is not touched. Depth costs no descriptors (see runtime.walk). Names are sorted, so that the same tree
is the same stream.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Callable, Collection
from typing import Any, Protocol, cast

from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    O_PATH,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)

_STAY = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
_LOOK = O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BLOCK = 1 << 18
# the only attributes that mean the same anywhere: of others the kernel or a security module is the master
_ATTRIBUTES = ("user.", "security.capability")
XATTR = "SCHILY.xattr."
# a hole of fewer bytes is not worth the map
_WORTH = 1 << 16
# tarfile loses its place behind a file with holes whose size is in an extended header, too
_MOST = 1 << 33


class Writable(Protocol):
    """Where the stream goes."""

    def write(self, data: bytes, /) -> int: ...


class Packer:
    """Writes a tar stream (pax). ``own`` false gives everything to root. ``note`` gets what was left out and why.

    ``stay`` keeps to one file system, but for the paths ``cross`` (relative, of directories): what else is mounted
    becomes an empty directory or file. ``skip`` leaves out what may not be read, rather than fail.
    """

    def __init__(
        self,
        output: Writable,
        note: Callable[[str], None],
        *,
        own: bool = True,
        stay: bool = False,
        cross: Collection[str] = (),
        skip: bool = False,
    ) -> None:
        self._note = note
        self._own = own
        self._stay = stay
        self._cross = frozenset(cross)
        self._skip = skip
        self._links: dict[tuple[int, int], str] = {}
        self._tar: Any = tarfile.open(  # noqa: SIM115  (closed by finish)
            None,
            "w|",
            cast("Any", output),
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
            bufsize=_BLOCK,
        )

    def finish(self) -> None:
        """Write the end of the stream."""
        self._tar.close()

    def pack(self, found: int, name: str) -> None:
        """Pack what an O_PATH descriptor is of, under ``name`` ("": only what is in it), with all that is below.

        Raises:
            OSError: something cannot be read, or was moved away meanwhile (ESTALE).
        """
        status = os.fstat(found)
        if not stat.S_ISDIR(status.st_mode):
            self._one(found, name, status)
            return
        if name:
            self._one(found, name, status)
        here = os.open(f"/proc/self/fd/{found}", _LIST)
        # of each directory above: its identity, and what is left to do in it, last first
        above: list[tuple[tuple[int, int], list[str]]] = []
        path = [name] if name else []
        left = _names(here)
        try:
            while left or above:
                if not left:
                    identity, left = above.pop()
                    here = _go_back(here, identity)
                    path.pop()
                    continue
                child = left.pop()
                inner = self._child(here, "/".join((*path, child)), child)
                if inner >= 0:
                    above.append((_identity(here), left))
                    os.close(here)
                    here = inner
                    path.append(child)
                    left = _names(here)
        finally:
            os.close(here)

    def _child(self, here: int, path: str, name: str) -> int:
        """Pack one name of a directory; return a descriptor of it where it is a directory to go into, otherwise -1."""
        inside = f"{path}/"
        try:
            resolve = _STAY | RESOLVE_NO_XDEV if self._stay and path not in self._cross else _STAY
            found = _sys.openat2(here, name, _LOOK, 0, resolve)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return -1  # gone meanwhile
            if error.errno == errno.EXDEV:
                self._mount_point(here, name, path)
                return -1
            raise OSError(error.errno, error.strerror, inside[:-1]) from error
        try:
            status = os.fstat(found)
            self._one(found, path, status)
            return os.open(f"/proc/self/fd/{found}", _LIST) if stat.S_ISDIR(status.st_mode) else -1
        except OSError as error:
            if self._skip and error.errno in (errno.EACCES, errno.EPERM):
                self._note(f"{path}: may not be read")
                return -1
            raise OSError(error.errno, error.strerror, path) from error
        finally:
            os.close(found)

    def _mount_point(self, here: int, name: str, path: str) -> None:
        """Pack the place of a mount: what lies below it cannot be seen, and what is mounted is not part of the tree."""
        is_directory = stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode)
        member = tarfile.TarInfo(path)
        member.type, member.mode = (tarfile.DIRTYPE, 0o755) if is_directory else (tarfile.REGTYPE, 0o644)
        self._add(member)

    def _one(self, found: int, path: str, status: os.stat_result) -> None:
        member = tarfile.TarInfo(path)
        member.mode = stat.S_IMODE(status.st_mode)
        member.mtime = status.st_mtime_ns // 10**9
        if status.st_mtime_ns % 10**9:
            _headers(member)["mtime"] = f"{member.mtime}.{status.st_mtime_ns % 10**9:09}"
        if self._own:
            member.uid, member.gid = status.st_uid, status.st_gid
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            self._regular(found, member, status)
        elif kind == stat.S_IFDIR:
            member.type = tarfile.DIRTYPE
            self._attributes(found, member)
            self._add(member)
        elif kind == stat.S_IFLNK:
            member.type, member.linkname = tarfile.SYMTYPE, os.readlink("", dir_fd=found)
            self._add(member)
        elif kind == stat.S_IFIFO:
            member.type = tarfile.FIFOTYPE
            self._add(member)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            member.type = tarfile.CHRTYPE if kind == stat.S_IFCHR else tarfile.BLKTYPE
            member.devmajor, member.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
            self._add(member)
        else:
            self._note(f"{path}: a socket cannot be archived")

    def _regular(self, found: int, member: tarfile.TarInfo, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), member.name)
            if first != member.name:
                member.type, member.linkname = tarfile.LNKTYPE, first
                self._add(member)
                return
        self._attributes(found, member)
        if not status.st_size:
            self._add(member)  # nor is it opened: reading some files of /proc waits
            return
        # open() is closed to a sealed process
        fd = os.open(f"/proc/self/fd/{found}", _READ)
        try:
            self._content(fd, member, status)
        finally:
            os.close(fd)

    def _content(self, fd: int, member: tarfile.TarInfo, status: os.stat_result) -> None:
        member.size = status.st_size
        segments = _segments(fd, status)
        if segments is None:
            self._add(member, _Exactly(fd, ((0, member.size),)))
            return
        head = _sparse_map(segments)
        _headers(member).update(
            {
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": member.name,
                "GNU.sparse.realsize": str(member.size),
            }
        )
        above, _, last = member.name.rpartition("/")
        member.name = f"{above}/GNUSparseFile.0/{last}" if above else f"GNUSparseFile.0/{last}"
        member.size = len(head) + sum(size for _, size in segments)
        self._add(member, _Exactly(fd, segments, head))

    def _attributes(self, found: int, member: tarfile.TarInfo) -> None:
        path = f"/proc/self/fd/{found}"
        try:
            for name in sorted(os.listxattr(path)):
                if name.startswith(_ATTRIBUTES):
                    value = os.getxattr(path, name)
                    _headers(member)[XATTR + name] = value.decode("utf-8", "surrogateescape")
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENODATA, errno.EACCES, errno.EPERM):
                raise

    def _add(self, member: tarfile.TarInfo, data: _Exactly | None = None) -> None:
        self._tar.addfile(member, data)
        self._tar.members.clear()  # tarfile keeps them for a listing that nobody asks for


class _Exactly:
    """Reads the segments of a file, after ``head``; a file that has become shorter ends in zeros."""

    def __init__(self, fd: int, segments: tuple[tuple[int, int], ...], head: bytes = b"") -> None:
        self._fd = fd
        self._segments = list(reversed(segments))
        self._head = head

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes: no more than are left are ever asked for."""
        data, self._head = self._head[:size], self._head[size:]
        parts = [data]
        size -= len(data)
        while size and self._segments:
            offset, length = self._segments.pop()
            count = min(size, length)
            got = os.pread(self._fd, count, offset) or bytes(count)
            parts.append(got)
            size -= len(got)
            if len(got) < length:
                self._segments.append((offset + len(got), length - len(got)))
        return b"".join(parts)


def _segments(fd: int, status: os.stat_result) -> tuple[tuple[int, int], ...] | None:
    """Return (offset, size) of what is written in a file with holes, None for a file without."""
    if status.st_size - status.st_blocks * 512 < _WORTH:
        return None
    found: list[tuple[int, int]] = []
    at = 0
    while at < status.st_size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
            end = min(os.lseek(fd, at, os.SEEK_HOLE), status.st_size)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            return None  # this file system does not tell
        if end > at:
            found.append((at, end - at))
        at = end
    if sum(size for _, size in found) >= _MOST:
        return None
    # as GNU tar does: the last entry tells where the file ends
    return (*found, (status.st_size, 0))


def _headers(member: tarfile.TarInfo) -> dict[str, str]:
    """Return the extended headers of a member, to be changed."""
    return cast("dict[str, str]", member.pax_headers)


def _sparse_map(segments: tuple[tuple[int, int], ...]) -> bytes:
    """Return the map before the data, version 1.0. Source: GNU tar manual, "Storing Sparse Files"."""
    text = "".join(f"{offset}\n{size}\n" for offset, size in segments)
    data = f"{len(segments)}\n{text}".encode()
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _names(directory: int) -> list[str]:
    """Return the names in a directory in descending order of their bytes."""
    return sorted(os.listdir(directory), key=os.fsencode, reverse=True)


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino


def _go_back(directory: int, identity: tuple[int, int]) -> int:
    """Close a directory and return the one above it, which must be the one that it was entered from."""
    parent = os.open("..", _LIST, dir_fd=directory)
    if _identity(parent) != identity:
        os.close(parent)
        raise OSError(errno.ESTALE, "a directory was moved meanwhile")
    os.close(directory)
    return parent
