"""``cp``: files from a container and into it, as a tar stream between two processes (see engine.insider).

Which names mean what is docker's: a directory that exists gets what is copied, a path that does not exist becomes it,
a source that ends in ``/.`` is its content.
"""

from __future__ import annotations

import os
import stat
from typing import IO

from pycontain.engine.insider import Insider, Tree
from pycontain.engine.packing import Packer
from pycontain.engine.unpacking import Ground, Unpacker, in_container, on_host
from pycontain.errors import StoreError, UsageError
from pycontain.kernel.constants import O_PATH
from pycontain.record import Record
from pycontain.runtime.settings import Settings

STREAM = "-"
# the name that the top of what is copied has in a stream between us
_TOP = "."
_FORM = "pycontain cp CONTAINER:PATH DEST|-, or pycontain cp SRC|- CONTAINER:PATH"


class Side(Record):
    """One side of a copy: ``container`` is "" for the host; ``path`` is as it was given."""

    container: str
    path: str

    @property
    def is_stream(self) -> bool:
        """Whether it is standard input or output."""
        return not self.container and self.path == STREAM

    @property
    def is_content(self) -> bool:
        """Whether the path means what is in a directory."""
        return os.path.basename(self.path) in (".", "..") or not self.path.strip("/")

    @property
    def name(self) -> str:
        """The last name of the path, _TOP where it has none."""
        return _TOP if self.is_content else os.path.basename(self.path.rstrip("/"))


class Copied(Record):
    """What a copy has done: how many bytes, and lines for the user."""

    bytes: int
    notes: tuple[str, ...]


def parse_side(text: str) -> Side:
    """Return what a word of the command line names: ``CONTAINER:PATH``, or a path of the host.

    Raises:
        UsageError: a part is empty.
    """
    container, colon, path = text.partition(":")
    if not colon or "/" in container or text.startswith("."):
        if not text:
            raise UsageError("a path is empty", hint=_FORM)
        return Side("", text)
    if not container or not path:
        missing = "path" if container else "container"
        raise UsageError(f"{text!r}: the {missing} is missing", hint="a file of the host with a colon: ./a:b")
    return Side(container, path)


def copy(settings: Settings, source: Side, goal: Side, *, archive: bool, follow: bool) -> Copied:
    """Copy between a container and the host. ``archive`` keeps owners, ``follow`` resolves the source's last link.

    Raises:
        UsageError: not exactly one side is a container, or the paths do not go together.
        StoreError: something cannot be read or written, or leads out of where it belongs.
    """
    if bool(source.container) == bool(goal.container):
        what = "copying between containers is not possible" if source.container else "neither path is in a container"
        raise UsageError(what, hint=_FORM)
    if source.container:
        return _copy_out(settings, source, goal, archive=archive, follow=follow)
    if source.is_stream:
        return _stream_in(settings, goal)
    return _copy_in(settings, source, goal, archive=archive, follow=follow)


# From a container


def _copy_out(settings: Settings, source: Side, goal: Side, *, archive: bool, follow: bool) -> Copied:
    name = source.name if goal.is_stream else _TOP

    def job(tree: Tree, stream: IO[bytes]) -> None:
        found = tree.find(source.path, follow=follow)
        _note_mounts(tree, source)
        packer = Packer(stream, tree.note)
        packer.pack(found, name)
        packer.finish()

    if goal.is_stream:
        with Insider(settings, source.container, job, write=False, direct=1) as insider:
            pass
        return Copied(0, insider.notes)
    place = _on_host(source, goal.path)
    notes: list[str] = []
    unpacker = Unpacker(place.begin, notes.append, own=archive, programs=archive)
    try:
        with Insider(settings, source.container, job, write=False) as insider:
            unpacker.unpack(insider.stream)
    finally:
        place.close()
    return Copied(unpacker.bytes, (*insider.notes, *notes))


def _note_mounts(tree: Tree, source: Side) -> None:
    above = "/" + source.path.strip("/")
    missing = [one for one in tree.mounts if one.startswith(f"{above.rstrip('/')}/")]
    if missing:
        tree.note(f"not there while the container does not run: what is mounted at {', '.join(missing)}")


class _HostPlace:
    """Where on the host something goes: into the open ``directory``, under ``name``, "" for its content."""

    def __init__(self, directory: str, name: str, refusal: str, shown: str) -> None:
        self._fd = _open_directory(directory, shown)
        self._name = name
        self._refusal = refusal  # what to say of a source of the wrong kind: (is it a directory)
        self._shown = shown

    def begin(self, is_directory: bool) -> tuple[Ground, str]:
        """Return the ground for what is about to come.

        Raises:
            StoreError: it does not go there.
        """
        if self._refusal == "directory" and is_directory:
            raise StoreError(f"{self._shown}: is a file; a directory cannot take its place", hint="remove it first")
        if self._refusal == "file" and not is_directory:
            raise StoreError(f"{self._shown}: there is no such directory", hint="make it first")
        return on_host(self._fd), self._name

    def close(self) -> None:
        os.close(self._fd)


def _on_host(source: Side, path: str) -> _HostPlace:
    if os.path.isdir(path):
        return _HostPlace(path, "" if source.is_content else source.name, "", path)
    if os.path.lexists(path):
        whole = os.path.realpath(path)
        return _HostPlace(os.path.dirname(whole), os.path.basename(whole), "directory", path)
    above, name = os.path.split(path.rstrip("/"))
    return _HostPlace(above or ".", name, "file" if path.endswith("/") else "", path)


def _open_directory(path: str, shown: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(
            f"{shown}: {path}: {(error.strerror or '').lower()}", hint="make the directory first"
        ) from error


# Into a container


def _copy_in(settings: Settings, source: Side, goal: Side, *, archive: bool, follow: bool) -> Copied:
    found = _open_source(source.path, follow=follow)
    try:
        notes: list[str] = []

        def job(tree: Tree, stream: IO[bytes]) -> None:
            def begin(is_directory: bool) -> tuple[Ground, str]:
                return _in_container(tree, source, goal.path, is_directory=is_directory)

            Unpacker(begin, tree.note, own=archive, programs=True).unpack(stream)

        with Insider(settings, goal.container, job, write=True) as insider:
            counted = _Counted(insider.stream)
            packer = Packer(counted, notes.append)
            packer.pack(found, _TOP)
            packer.finish()
    finally:
        os.close(found)
    return Copied(counted.bytes, (*notes, *insider.notes))


def _open_source(path: str, *, follow: bool) -> int:
    try:
        return os.open(path, O_PATH | os.O_CLOEXEC | (0 if follow or path.endswith("/") else os.O_NOFOLLOW))
    except OSError as error:
        raise StoreError(f"{path}: {(error.strerror or '').lower()}") from error


def _in_container(tree: Tree, source: Side, path: str, *, is_directory: bool) -> tuple[Ground, str]:
    """Return the ground for a copy into a container. It runs in the insider.

    Raises:
        StoreError: source and goal do not go together.
    """
    path = "/" + path.lstrip("/")
    kind = _kind(tree, path)
    if kind == "directory":
        return in_container(tree.root, path), "" if source.is_content else source.name
    if kind and is_directory:
        raise StoreError(f"{path}: is a file; a directory cannot take its place", hint="remove it first")
    if not kind and path.endswith("/") and not is_directory:
        raise StoreError(f"{path}: there is no such directory", hint="make it first")
    above, name = os.path.split(path.rstrip("/"))
    if _kind(tree, above) != "directory":
        raise StoreError(f"{above}: there is no such directory", hint="make it first")
    return in_container(tree.root, above), name


def _kind(tree: Tree, path: str) -> str:
    """Return ``directory``, ``file`` or "" for what a path in the container leads to."""
    try:
        found = tree.find(path, follow=True)
    except FileNotFoundError:
        return ""
    try:
        return "directory" if stat.S_ISDIR(os.fstat(found).st_mode) else "file"
    finally:
        os.close(found)


def _stream_in(settings: Settings, goal: Side) -> Copied:
    """Unpack standard input, which holds owners as the container has them, in a directory of a container."""

    def job(tree: Tree, stream: IO[bytes]) -> None:
        path = "/" + goal.path.lstrip("/")
        if _kind(tree, path) != "directory":
            raise StoreError(f"{path}: there is no such directory", hint="an archive is unpacked in one that exists")

        def begin(_is_directory: bool) -> tuple[Ground, str]:
            return in_container(tree.root, path), ""

        Unpacker(begin, tree.note, own=True, programs=True).unpack(stream)

    with Insider(settings, goal.container, job, write=True, direct=0) as insider:
        pass
    return Copied(0, insider.notes)


class _Counted:
    """A stream that knows how many bytes went through."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.bytes = 0

    def write(self, data: bytes, /) -> int:
        self.bytes += len(data)
        return self._stream.write(data)
