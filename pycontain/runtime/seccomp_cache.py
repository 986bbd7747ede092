"""Compiled seccomp filters kept between starts. [lean]

Compiling Docker's profile for three architectures takes milliseconds, reading the outcome a tenth of one; the compiler
is not even loaded when the filter is found. A file is named after everything that the filter depends on. It counts
only where nobody but this user could have written it and its digest is right; whatever is odd is compiled again.

File: SHA-256 of name and rest, flags and length of the program (32 bits each, little endian), the program, the names
of unresolved calls with NUL between them.
"""

from __future__ import annotations

import os
import stat
import struct

try:
    from _sha256 import sha256  # type: ignore[import-not-found]
except ImportError:
    try:
        # its name since Python 3.12
        from _sha2 import sha256  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256

from pycontain.plan.seccomp_filter import FILTER_VERSION, CompiledFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.seccomp import LinuxSeccomp

_HEAD = struct.Struct("<32sII")
_LARGEST_FILE = 1 << 17
# profiles come and go with containers; whoever has more than this many starts again with an empty cache
_MOST_FILES = 256


def cached_filter(
    directory: str, profile: LinuxSeccomp, machine: str, *, path: str = "linux.seccomp"
) -> CompiledFilter:
    """Return what ``plan.seccomp.compile_filter`` returns, from a file in ``directory`` where it is there.

    ``machine`` is that of uname(2), ``path`` the profile's JSON path. The directory is made when a filter is first
    written; what cannot be written is compiled again the next time.

    Raises:
        SpecError: the profile is wrong.
        HostError: there is no table of system calls for the machine.
    """
    rules = [
        (rule.names, rule.action, rule.errno_ret, [(a.index, a.value, a.value_two, a.op) for a in rule.args])
        for rule in profile.syscalls
    ]
    content = (
        machine,
        profile.default_action,
        profile.default_errno_ret,
        profile.architectures,
        profile.flags,
        rules,
    )
    name = _name("profile", content)
    found = _read(directory, name)
    if found is None:
        from pycontain.plan.seccomp import compile_filter
        from pycontain.plan.seccomp_tables import native_arch

        found = compile_filter(profile, native_arch(machine), path=path)
        _write(directory, name, found)
    return found


def cached_default_filter(
    directory: str, caps: frozenset[str], machine: str, kernel: tuple[int, int]
) -> CompiledFilter:
    """Return the filter of ``plan.seccomp_profile.default_profile``, as :func:`cached_filter` without making it.

    ``caps`` is the bounding set (CAP_* names), ``kernel`` (major, minor).

    Raises:
        HostError: there is no table of system calls for the machine.
    """
    name = _name("default", (sorted(caps), machine, kernel))
    found = _read(directory, name)
    if found is None:
        from pycontain.plan.seccomp import compile_filter
        from pycontain.plan.seccomp_profile import default_profile
        from pycontain.plan.seccomp_tables import native_arch

        arch = native_arch(machine)
        found = compile_filter(default_profile(caps, arch, kernel), arch)
        _write(directory, name, found)
    return found


def _name(kind: str, content: object) -> str:
    """Return the file's name; ``content`` is made of strings, numbers, tuples and lists, so repr() tells all of it."""
    return str(sha256(f"{FILTER_VERSION} {kind} {content!r}".encode()).hexdigest())


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _open_directory(directory: str) -> int:
    """Return a descriptor of a directory that nobody else can write to, -1 where there is none."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
    if not _is_ours(os.fstat(fd)):
        os.close(fd)
        return -1
    return fd


def _read(directory: str, name: str) -> CompiledFilter | None:
    """Return a filter from its file, None where there is no file or anything about it is odd."""
    directory_fd = _open_directory(directory)
    if directory_fd < 0:
        return None
    try:
        # a FIFO of that name must not block us
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory_fd)
    except OSError:
        return None
    finally:
        os.close(directory_fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or not _is_ours(status) or status.st_size > _LARGEST_FILE:
            return None
        return _unpack(name, os.read(fd, _LARGEST_FILE + 1))
    except OSError:
        return None
    finally:
        os.close(fd)


def _unpack(name: str, data: bytes) -> CompiledFilter | None:
    if len(data) < _HEAD.size:
        return None
    digest, flags, length = _HEAD.unpack_from(data)
    if digest != sha256(name.encode() + data[len(digest) :]).digest() or length % 8 or not length:
        return None
    rest = data[_HEAD.size :]
    names = rest[length:].decode()
    return CompiledFilter(program=rest[:length], flags=flags, unresolved=tuple(names.split("\0")) if names else ())


def _write(directory: str, name: str, compiled: CompiledFilter) -> None:
    """Write a filter's file by rename; does nothing where that is not possible."""
    rest = compiled.program + "\0".join(compiled.unresolved).encode()
    body = _HEAD.pack(b"", compiled.flags, len(compiled.program))[32:] + rest
    if len(body) + 32 > _LARGEST_FILE:
        return
    try:
        os.mkdir(directory, 0o700)
    except OSError:
        pass  # it is there, or the next step fails
    directory_fd = _open_directory(directory)
    if directory_fd < 0:
        return
    temporary = f"{name}.{os.getpid()}"
    try:
        _make_room(directory_fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=directory_fd)
        try:
            os.write(fd, sha256(name.encode() + body).digest() + body)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except OSError:
        pass  # a full disk: the next start compiles again
    finally:
        os.close(directory_fd)


def _make_room(directory_fd: int) -> None:
    names = os.listdir(directory_fd)
    if len(names) >= _MOST_FILES:
        for name in names:
            os.unlink(name, dir_fd=directory_fd)
