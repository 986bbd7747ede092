"""Copies the content of one open directory into another, of which the first may be somebody's whom we do not trust.

Every name is opened by descriptor below its directory, links are copied and never followed, devices and sockets are
left out.
"""

from __future__ import annotations

import errno
import os
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_DEPTH = 256


def copy_directory(source: int, goal: int, depth: int = _DEPTH) -> None:
    """Copy what is in one open directory to another, then its own owner, mode and times where this user may set them.

    A name that is there already stays as it is.

    Raises:
        OSError: something cannot be read or written.
    """
    if depth == 0:
        raise OSError(errno.ELOOP, "directories are nested too deep")
    present = set(os.listdir(goal))
    for name in os.listdir(source):
        if name in present:
            continue
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=goal)
            inner, below = os.open(name, _DIRECTORY, dir_fd=source), os.open(name, _DIRECTORY, dir_fd=goal)
            try:
                copy_directory(inner, below, depth - 1)
            finally:
                os.close(inner)
                os.close(below)
        elif stat.S_ISREG(status.st_mode):
            _copy_file(source, goal, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=goal)
            _own(name, status, goal)
        elif stat.S_ISFIFO(status.st_mode):
            os.mkfifo(name, stat.S_IMODE(status.st_mode), dir_fd=goal)
            _own(name, status, goal)
    _keep(os.fstat(source), goal)


def _copy_file(source: int, goal: int, name: str) -> None:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    reading = os.open(name, flags, dir_fd=source)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=goal)
        try:
            status = os.fstat(reading)
            if not stat.S_ISREG(status.st_mode):
                return
            _copy_data(reading, writing, status.st_size)
            _keep(status, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_data(reading: int, writing: int, size: int) -> None:
    """Copy what is written in a file and leave its holes: a petabyte of nothing must not fill the disk."""
    os.ftruncate(writing, size)
    at = 0
    while at < size:
        try:
            at = os.lseek(reading, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # only a hole is left
            raise
        end = os.lseek(reading, at, os.SEEK_HOLE)
        os.lseek(writing, at, os.SEEK_SET)
        while at < end:
            done = os.sendfile(writing, reading, at, min(end - at, 1 << 24))
            if not done:
                return  # it became shorter
            at += done


def _keep(status: os.stat_result, fd: int) -> None:
    """Give an open file or directory the owner, mode and times of another; the owner first, it clears setuid."""
    try:
        os.chown(fd, status.st_uid, status.st_gid)
    except PermissionError:
        pass  # an ordinary user owns what it makes
    os.chmod(fd, stat.S_IMODE(status.st_mode))
    os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def _own(name: str, status: os.stat_result, directory: int) -> None:
    try:
        os.chown(name, status.st_uid, status.st_gid, dir_fd=directory, follow_symlinks=False)
    except PermissionError:
        pass
