"""Unpacks a tar stream below a directory that it cannot lead out of.

The stream may be hostile, and so may be who else writes in the directory. tarfile reads the headers; what they name is
made here, by descriptor:

* a name has no ".." in it, and is looked up below the directory whatever it begins with;
* on the host (:func:`on_host`) no symbolic link below the directory is followed, one that the stream has just made or
  one that was there; in a container (:func:`in_container`) links lead to places in the container's root;
* every file is made anew under its name (O_EXCL), never opened; a hard link leads to what lies below the directory.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Callable
from typing import IO, Any, cast

from pycontain.engine.packing import XATTR
from pycontain.errors import StoreError
from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    O_PATH,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
)
from pycontain.kernel.reading import read_file
from pycontain.record import Record

_DIRECTORY = O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 1 << 18
# somebody who puts a name back as fast as we remove it does not keep us for ever
_ATTEMPTS = 16
_PRIVILEGED_BITS = stat.S_ISUID | stat.S_ISGID
# what tarfile raises of headers that are none
_DAMAGE = (tarfile.TarError, EOFError, ValueError, OverflowError, IndexError)
_CAPABILITY = "security.capability"


class Ground(Record):
    """A directory to unpack into: ``base`` is a descriptor, ``below`` a path from there, ``resolve`` how it is gone."""

    base: int
    below: str
    resolve: int

    def open(self, path: str) -> int:
        """Return an O_PATH descriptor of a directory, given relative to the ground.

        Raises:
            OSError: it is missing, none, or behind a link that is not followed (ELOOP, EXDEV).
        """
        return _sys.openat2(self.base, f"{self.below}/{path}".strip("/") or ".", _DIRECTORY, 0, self.resolve)


def on_host(directory: int) -> Ground:
    """Return the ground for files of a container on the host: below a directory, with no link followed."""
    return Ground(directory, "", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)


def in_container(root: int, path: str) -> Ground:
    """Return the ground for files in a container whose root is open."""
    return Ground(root, path, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


class Unpacker:
    """Makes the members of a stream. ``note`` gets what was left out.

    ``begin`` is told whether the first member is a directory, and returns the ground and what stands before each name
    there: "" makes the archive's own top the ground itself, which stays as it is. Without ``own`` everything belongs to
    whoever unpacks, and devices are left out; without ``programs`` setuid, setgid and capabilities are dropped.
    """

    def __init__(
        self, begin: Callable[[bool], tuple[Ground, str]], note: Callable[[str], None], *, own: bool, programs: bool
    ) -> None:
        self._begin = begin
        self._begun = False
        self._ground: Ground
        self._before = ""
        self._note = note
        self._own = own
        self._programs = programs
        # directories get their modes and times when nothing more comes into them
        self._directories: list[tuple[str, tarfile.TarInfo]] = []
        self._parent: tuple[str, int] = ("", -1)
        self.bytes = 0

    def unpack(self, stream: IO[bytes]) -> None:
        """Make everything in the stream.

        Raises:
            StoreError: the stream is no archive, a name leads out of the ground, something cannot be made.
        """
        try:
            with open_stream(stream) as archive:
                for member in archive:
                    self.take(archive, member)
                    cast("Any", archive).members.clear()  # kept for a listing that nobody asks for
        except _DAMAGE as error:
            raise StoreError(f"damaged archive: {error}", hint="it must be an uncompressed tar archive") from error
        finally:
            self.close()

    def close(self) -> None:
        """Finish the directories."""
        try:
            # a stream may name thousands
            while self._directories:
                path, member = self._directories.pop()
                try:
                    directory = self._ground.open(path)
                except OSError as error:
                    raise _refused(path, error) from error
                try:
                    self._finish(f"/proc/self/fd/{directory}", member)
                except OSError as error:
                    raise _refused(path, error) from error
                finally:
                    os.close(directory)
        finally:
            if self._parent[1] >= 0:
                os.close(self._parent[1])
            self._parent = ("", -1)

    def take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Make one member.

        Raises:
            StoreError: its name leads out of the ground, or it cannot be made.
        """
        if not self._begun:
            self._ground, self._before = self._begin(member.isdir())
            self._begun = True
        path = self._place(member.name, member)
        if not path:
            if not member.isdir():
                raise StoreError(f"{member.name}: is not a directory")
            return
        above, _, name = path.rpartition("/")
        try:
            parent = self._open_parent(above)
            self._make(archive, member, parent, path, name)
        except OSError as error:
            raise _refused(path, error) from error

    def _place(self, name: str, member: tarfile.TarInfo) -> str:
        """Return where a name of the archive is below the ground."""
        inside = _inside(name, member.name)
        return f"{self._before}/{inside}".strip("/") if self._before else inside

    def _open_parent(self, path: str) -> int:
        if self._parent[1] < 0 or self._parent[0] != path:
            found = self._provide(path)
            if self._parent[1] >= 0:
                os.close(self._parent[1])
            self._parent = (path, found)
        return self._parent[1]

    def _provide(self, path: str) -> int:
        """Return a descriptor of a directory, made with what is missing above it."""
        try:
            return self._ground.open(path)
        except FileNotFoundError:
            parts = path.split("/")
        for end in range(1, len(parts) + 1):
            parent = self._ground.open("/".join(parts[: end - 1]))
            try:
                os.mkdir(parts[end - 1], 0o755, dir_fd=parent)
            except FileExistsError:
                pass
            finally:
                os.close(parent)
        return self._ground.open(path)

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, path: str, name: str) -> None:
        if (member.ischr() or member.isblk()) and not self._may_make_devices():
            self._note(f"{path}: a device is left out")
            return
        self._clear(member, parent, path, name)
        if member.isdir():
            self._directories.append((path, member))
        elif member.islnk():
            self._link(member, parent, name)
        elif member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
            self._finish_link(member, parent, name)
        elif member.isfifo() or member.ischr() or member.isblk():
            kind = stat.S_IFIFO if member.isfifo() else stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
            self._finish_node(member, parent, name, kind)
        else:
            self._write(archive, member, parent, name)

    def _may_make_devices(self) -> bool:
        return self._own and os.geteuid() == 0 and _in_first_namespace()

    def _clear(self, member: tarfile.TarInfo, parent: int, path: str, name: str) -> None:
        """Remove what is in a member's way; a directory is made, or stays.

        Raises:
            StoreError: a directory would take the place of something else, or the other way round.
        """
        for _attempt in range(_ATTEMPTS):
            if member.isdir():
                try:
                    os.mkdir(name, 0o700, dir_fd=parent)
                    return
                except FileExistsError:
                    pass
            try:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                if member.isdir():
                    continue
                return
            if stat.S_ISDIR(status.st_mode) != member.isdir():
                ours, theirs = ("a directory", "something else")[:: 1 if member.isdir() else -1]
                raise StoreError(f"{path}: is {theirs} there, and {ours} in the archive", hint="remove it first")
            if member.isdir():
                return
            if member.islnk() and self._place(member.linkname, member) == path:
                raise StoreError(f"{path}: is a hard link to itself")
            try:
                os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                pass
        raise StoreError(f"{path}: keeps changing")

    def _link(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        """Make a hard link to an earlier member, which must lie below the ground as well."""
        above, _, last = self._place(member.linkname, member).rpartition("/")
        directory = self._ground.open(above)
        try:
            for _attempt in range(_ATTEMPTS):
                try:
                    os.link(last, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
                    return
                except FileExistsError:
                    os.unlink(name, dir_fd=parent)
            raise FileExistsError(errno.EEXIST, "it keeps changing")
        finally:
            os.close(directory)

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
        opened = archive.extractfile(member)
        if opened is None:
            raise StoreError(f"{member.name}: is of no kind that can be unpacked")
        # the buffer around it asks the stream whether it can seek, which that does not know
        source = cast("Any", opened).raw
        fd = os.open(name, _MAKE, 0o600, dir_fd=parent)
        try:
            pieces: list[tuple[int, int]] = cast("Any", member).sparse or [(0, member.size)]
            for offset, size in pieces:
                source.seek(offset)
                os.lseek(fd, offset, os.SEEK_SET)
                self._copy(source, fd, size)
            os.ftruncate(fd, member.size)
            self._finish(f"/proc/self/fd/{fd}", member)
        finally:
            os.close(fd)

    def _copy(self, source: IO[bytes], fd: int, size: int) -> None:
        while size:
            data = source.read(min(size, _BLOCK))
            if not data:
                raise EOFError("it ends in the middle of a file")
            size -= len(data)
            self.bytes += len(data)
            while data:
                data = data[os.write(fd, data) :]

    def _finish_link(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        if self._own:
            self._chown(member, name, dir_fd=parent)
        moment = _nanoseconds(member)
        os.utime(name, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)

    def _finish_node(self, member: tarfile.TarInfo, parent: int, name: str, kind: int) -> None:
        """Finish a FIFO or device by a descriptor that does not open it, if it is still what was made."""
        found = os.open(name, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_IFMT(os.fstat(found).st_mode) == kind:
                self._finish(f"/proc/self/fd/{found}", member)
        finally:
            os.close(found)

    def _finish(self, path: str, member: tarfile.TarInfo) -> None:
        """Set owner, mode, attributes and time; ``path`` is a descriptor's, the owner first: it clears setuid."""
        if self._own:
            self._chown(member, path)
        mode = member.mode & 0o7777
        os.chmod(path, mode if self._programs else mode & ~_PRIVILEGED_BITS)
        for key, text in member.pax_headers.items():
            name = key.removeprefix(XATTR)
            if name != key and (name.startswith("user.") or (name == _CAPABILITY and self._programs)):
                self._attribute(path, member, name, text.encode("utf-8", "surrogateescape"))
        moment = _nanoseconds(member)
        os.utime(path, ns=(moment, moment))

    def _chown(self, member: tarfile.TarInfo, path: str, *, dir_fd: int | None = None) -> None:
        try:
            os.chown(path, member.uid, member.gid, dir_fd=dir_fd, follow_symlinks=dir_fd is None)
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            raise StoreError(
                f"{member.name}: cannot belong to {member.uid}:{member.gid} there",
                hint="without --archive it belongs to whoever copies it, in a container to root",
            ) from error

    def _attribute(self, path: str, member: tarfile.TarInfo, name: str, value: bytes) -> None:
        try:
            os.setxattr(path, name, value)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENOSPC):
                raise
            self._note(f"{member.name}: attribute {name} is left out: {(error.strerror or '').lower()}")


def open_stream(stream: IO[bytes]) -> tarfile.TarFile:
    """Return a reader of a stream, which is gone through once.

    Raises:
        tarfile.TarError: it does not begin like an archive.
    """
    return tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape", bufsize=_BLOCK)


def _inside(name: str, member: str) -> str:
    """Return a name of an archive as a path below the ground, "" for the ground itself.

    Raises:
        StoreError: it leads out of it.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise StoreError(f"{member!r} leads out of the archive" if name == member else f"{member!r}: leads to {name!r}")
    return "/".join(parts)


def _nanoseconds(member: tarfile.TarInfo) -> int:
    text = member.pax_headers.get("mtime", "")
    whole, _, fraction = text.partition(".")
    if whole.isdigit() and len(whole) < 12:
        return int(whole) * 10**9 + int((fraction + "0" * 9)[:9] if fraction.isdigit() else 0)
    return max(0, min(int(member.mtime), 1 << 33)) * 10**9


def _in_first_namespace() -> bool:
    """Return whether this process is root of the host: nobody else may make devices."""
    return read_file("/proc/self/uid_map").split() == [b"0", b"0", str(2**32 - 1).encode()]


def _refused(path: str, error: OSError) -> StoreError:
    if error.errno in (errno.ELOOP, errno.EXDEV):
        return StoreError(
            f"{path}: lies behind a symbolic link, which is not followed", hint="copy into a directory that has none"
        )
    return StoreError(f"{path}: {(error.strerror or str(error)).lower()}")
