"""The modules of this package in one file, ``modules.pack``, and the importer that serves them. [lean]

A start imports about a hundred small modules. Finding, checking and reading each of them costs the interpreter more
than running them, so the build compiles them into one file (tools/modulepack.py)::

    header     magic, version, the interpreter's magic number, three lengths, two checks
    importer   marshalled: the code of this module, which the start file runs before anything can be imported
    table      marshalled: {group: (offset, size, groups before it)}, and one line of text for each module: name,
               whether it is a package (1 or 0), offset, size, check of its source
    groups     marshalled: ((name, is it a package, code), …), a module after all that it imports and that no group
               before it holds
    modules    marshalled: the code of each one, for those that are imported later

A group is one read and one unmarshal, and its modules run one after the other without the import system's look-ups.
Whatever the file does not hold, or cannot give because it was replaced or damaged, is imported as usual.
:func:`examine` says what is wrong with a file.
"""

from __future__ import annotations

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, ExtensionFileLoader, SourceFileLoader
from _imp import _fix_co_filename, extension_suffixes, source_hash  # type: ignore[attr-defined]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

    Groups = dict[str, tuple[int, int, tuple[str, ...]]]

FILE = "/pycontain/modules.pack"
EXTENSION = "pycontain.kernel._sys"
VERSION = b"pycontain modules 1\0" + MAGIC_NUMBER
HEADER_BYTES = 56
# what unmarshalling a damaged file raises
_DAMAGE = (OSError, ValueError, EOFError, TypeError)


class Loader(SourceFileLoader):
    """The loader of one module: the usual one of its source file, but its code is there already."""

    def __init__(self, name: str, path: str, code: CodeType | None) -> None:
        self.name = name
        self.path = path
        self._code = code

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code, the first time from the pack, then (for tools) from the source."""
        code, self._code = self._code, None
        return super().get_code(fullname) if code is None else code


class Pack:
    """A finder for ``sys.meta_path``; ``top`` is the directory that holds the package.

    The lines of the table stay one string: the objects they stand for would be 40 KB in every monitor.
    """

    def __init__(self, top: str, file: tuple[int, int, int], start: int, groups: Groups, lines: str) -> None:
        self.top = top
        self.groups = groups
        self.lines = lines
        self._file = file
        self._start = start
        self._held = -1

    def hold(self) -> None:
        """Keep the file open: what is imported weeks later is of this build, whatever has been installed meanwhile.

        Not for a process that enters a container, which must hold no descriptor of the host's files.
        """
        try:
            fd = posix.open(self.top + FILE, posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            return
        if _identity(fd) == self._file:
            self._held = fd
        else:
            posix.close(fd)

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of a module, after everything that its group holds has been imported."""
        try:
            if name in self.groups:
                offset, size, before = self.groups[name]
                if all(group in sys.modules for group in before):
                    return self._run_group(offset, size)
            at = self.lines.find(f"\n{name} ")
            if at < 0:
                return self._extension() if name == EXTENSION else None
            _, is_package, start, length, _ = self.lines[at + 1 : self.lines.index("\n", at + 1)].split(" ")
            return self._spec(name, is_package == "1", self._read(int(start), int(length)))
        except _Unreadable:
            return None

    def _extension(self) -> ModuleSpec | None:
        """Return the specification of the one module that is no Python, where the build puts it."""
        path = f"{self.top}/{EXTENSION.replace('.', '/')}{extension_suffixes()[0]}"
        try:
            posix.stat(path)
        except OSError:
            return None
        return ModuleSpec(EXTENSION, ExtensionFileLoader(EXTENSION, path), origin=path)

    def _run_group(self, offset: int, size: int) -> ModuleSpec:
        """Run the modules that a group's own one imports, and return the specification of this one."""
        *members, last = self._read(offset, size)
        for name, is_package, code in members:
            if name not in sys.modules:
                self._run(name, is_package, code)
        return self._spec(*last)

    def _run(self, name: str, is_package: bool, code: CodeType) -> None:
        """Do what ``import`` does, without looking for anything."""
        spec = self._spec(name, is_package, None)
        module = type(sys)(name)
        names = module.__dict__
        names["__spec__"] = spec
        names["__loader__"] = spec.loader
        names["__package__"] = spec.parent
        names["__file__"] = spec.origin
        if spec.submodule_search_locations is not None:
            names["__path__"] = spec.submodule_search_locations
        _fix_co_filename(code, spec.origin)
        sys.modules[name] = module
        try:
            exec(code, names)  # noqa: S102  (as the import system does)
        except BaseException:
            del sys.modules[name]
            raise
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)

    def _spec(self, name: str, is_package: bool, code: CodeType | None) -> ModuleSpec:
        directory = f"{self.top}/{name.replace('.', '/')}"
        path = f"{directory}/__init__.py" if is_package else f"{directory}.py"
        if code is not None:
            _fix_co_filename(code, path)
        spec = ModuleSpec(name, Loader(name, path, code), origin=path, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [directory]
        return spec

    def difference(self) -> str:
        """Return which module's source is not the one that the pack was made from, or ""."""
        for line in self.lines.splitlines()[1:]:
            name, is_package, _, _, source = line.split(" ")
            path = str(self._spec(name, is_package == "1", None).origin)
            try:
                with open(path, "rb") as file:
                    if check(file.read()).hex() != source:
                        return f"it was made from another {path}"
            except FileNotFoundError:
                return f"it was made from {path}, which is missing"
        return ""

    def _read(self, offset: int, size: int) -> Any:
        """Return what is marshalled there.

        Raises:
            _Unreadable: the file is another one by now, or damaged.
        """
        try:
            if self._held >= 0:
                return marshal.loads(posix.pread(self._held, size, self._start + offset))  # noqa: S302  (as a .pyc file)
            # opened anew: a process that enters a container must hold no descriptor of the host's files
            fd = posix.open(self.top + FILE, posix.O_RDONLY | posix.O_CLOEXEC)
            try:
                if _identity(fd) == self._file:
                    return marshal.loads(posix.pread(fd, size, self._start + offset))  # noqa: S302  (as a .pyc file)
            finally:
                posix.close(fd)
        except _DAMAGE as error:
            raise _Unreadable from error
        raise _Unreadable


class _Unreadable(Exception):
    """The pack cannot give what it should hold."""


def install(top: str, fd: int, head: bytes, data: bytes) -> bool:
    """Serve this package's modules from the open file, of which ``head`` and ``data`` (importer and table) are read.

    Returns whether this can be done.
    """
    pack = _opened(top, fd, head, data)
    if pack is not None:
        sys.meta_path.insert(0, pack)
    return pack is not None


def _opened(top: str, fd: int, head: bytes, data: bytes) -> Pack | None:
    importer, total = int.from_bytes(head[28:32], "little"), int.from_bytes(head[32:36], "little")
    identity = _identity(fd)
    if identity[1] != total:
        return None
    groups, lines = marshal.loads(data[importer:])  # noqa: S302  (checked for damage, and as trusted as we are)
    return Pack(top, identity, HEADER_BYTES + len(data), groups, lines)


def header(importer: bytes, table: bytes, rest: bytes) -> bytes:
    """Return the header of a file with these parts."""
    data = importer + table
    lengths = (len(data), len(importer), HEADER_BYTES + len(data) + len(rest), 0)
    return VERSION + b"".join(length.to_bytes(4, "little") for length in lengths) + check(data) + check(rest)


def _identity(fd: int) -> tuple[int, int, int]:
    status = posix.fstat(fd)
    return status.st_ino, status.st_size, status.st_mtime_ns


def check(data: bytes) -> bytes:
    """Return the 8 bytes by which damage to ``data`` is noticed."""
    return source_hash(1, data)


def examine(top: str) -> str:
    """Return what is wrong with the pack of the package in the directory ``top``, or "" if it is as it was made."""
    try:
        with open(top + FILE, "rb") as file:
            whole = file.read()
            head = whole[:HEADER_BYTES]
            if not head.startswith(VERSION):
                return "it was made for another interpreter"
            start = HEADER_BYTES + int.from_bytes(head[24:28], "little")
            data, rest = whole[HEADER_BYTES:start], whole[start:]
            if (check(data), check(rest)) != (head[40:48], head[48:56]):
                return "it is damaged"
            pack = _opened(top, file.fileno(), head, data)
    except FileNotFoundError:
        return "it is missing"
    return "it is damaged" if pack is None else pack.difference()
