"""``export``: a container's root file system as a tar stream, without what is mounted in it."""

from __future__ import annotations

import os
import stat
from typing import IO

from pycontain.engine.insider import Insider, Tree
from pycontain.engine.packing import Packer
from pycontain.errors import StoreError
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import Store

_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def export(settings: Settings, reference: str, output: int) -> tuple[str, ...]:
    """Write the stream to a descriptor and return lines for the user.

    Names have no slash before them and are sorted by their bytes; the place of a mount is an empty directory or file.

    Raises:
        PycontainError: there is no such container, or something cannot be read.
    """
    saved = Store(settings).find(reference).load().root_source
    # what carries the system of @host belongs to the root, although it is mounted
    cross = [mount["target"].strip("/") for mount in saved.get("mounts", ())]

    def job(tree: Tree, stream: IO[bytes]) -> None:
        packer = Packer(stream, tree.note, stay=True, cross=cross, skip=True)
        packer.pack(tree.find("/", follow=True), "")
        packer.finish()

    with Insider(settings, reference, job, write=False, direct=output) as insider:
        pass
    return insider.notes


def export_to_file(settings: Settings, reference: str, path: str) -> tuple[str, ...]:
    """Write the stream to a file, which is there only when it is complete; return lines for the user.

    Raises:
        StoreError: the file cannot be made.
        PycontainError: as :func:`export`.
    """
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        return _in_place(settings, reference, path)
    whole = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(whole), f".{os.urandom(8).hex()}")
    try:
        output = os.open(temporary, _MAKE, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {(error.strerror or '').lower()}", hint="choose another file: --output") from error
    try:
        notes = export(settings, reference, output)
        os.rename(temporary, whole)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(output)
    return notes


def _in_place(settings: Settings, reference: str, path: str) -> tuple[str, ...]:
    """Write to what is no regular file, as /dev/null or a pipe with a name."""
    try:
        output = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(f"{path}: {(error.strerror or '').lower()}", hint="choose another file: --output") from error
    try:
        return export(settings, reference, output)
    finally:
        os.close(output)
