"""``diff``: what a container has changed in its root file system, read from the upper layers of its overlays.

The layers hold names that the container made: they are walked by descriptor and nothing in them is opened but
directories. An ordinary user's layers belong to ids that only its user namespace has, so they are read from in there.

In a layer, a character device 0:0 (or the attribute ``whiteout``) is a name that was removed, a directory with the
attribute ``opaque`` one that hides what was below, one with ``redirect`` one that was moved.
Source: Documentation/filesystems/overlayfs.rst
"""

from __future__ import annotations

import errno
import os
import stat
from typing import IO

from pycontain import lean_json
from pycontain.engine import config, lifecycle, remaking
from pycontain.engine.insider import Insider, Tree
from pycontain.errors import WrongState
from pycontain.kernel import _sys
from pycontain.kernel.constants import O_PATH, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS
from pycontain.plan.rootfs import RootSource
from pycontain.record import Record
from pycontain.runtime import probe
from pycontain.runtime.settings import Settings

ADDED, CHANGED, DELETED = "A", "C", "D"
KINDS = {CHANGED: 0, ADDED: 1, DELETED: 2}  # as docker's API numbers them
_STAY = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
_LOOK = O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPACES = ("trusted.overlay.", "user.overlay.")
_TOO_DEEP = 2000


class Layer(Record):
    """One overlay: its upper directory, what lies below it, and where it is in the container ("" for the root)."""

    upper: str
    lower: str
    place: str


def diff(settings: Settings, reference: str) -> list[tuple[str, str]]:
    """Return (A, C or D; absolute path) for each change, sorted by path.

    Raises:
        WrongState: its layers cannot be read: it writes to its root itself, or keeps them in memory.
    """
    entry, state, _status = lifecycle.look(settings, reference)
    root = remaking.root_source(state.root_source)
    if not root.overlay:
        raise WrongState(
            f"container {reference} writes to its root directory itself: nothing tells what has changed there"
        )
    if root.memory_bytes:
        raise WrongState(
            f"container {reference} keeps its changes in memory, where only itself can see them",
            hint="--root on a file system that can hold upper layers: ext4, xfs, btrfs",
        )
    mounts = frozenset("/" + mount.destination.strip("/") for mount in config.load(entry).mounts)
    if probe.is_privileged():
        return sorted(_read(root, mounts), key=lambda change: os.fsencode(change[1]))

    def job(_tree: Tree, stream: IO[bytes]) -> None:
        stream.write(lean_json.dumps([list(one) for one in _read(root, mounts)], surrogates=True).encode())

    with Insider(settings, reference, job, write=False) as insider:
        text = insider.stream.read().decode()
    found = lean_json.loads(text, source="changes", surrogates=True) if text else []
    assert isinstance(found, list), "written by the job"
    return sorted(((kind, path) for kind, path in found), key=lambda change: os.fsencode(change[1]))


def _layers(root: RootSource) -> list[Layer]:
    layers = [Layer(f"{root.overlay}/root/upper", root.path, "")]
    for number, mount in enumerate(root.mounts):
        layers.append(Layer(f"{root.overlay}/system{number}/upper", mount.path, mount.target.rstrip("/")))
    return layers


def _read(root: RootSource, mounts: frozenset[str]) -> list[tuple[str, str]]:
    places = frozenset(mount.target.rstrip("/") for mount in root.mounts)
    changes: list[tuple[str, str]] = []
    for layer in _layers(root):
        if not os.path.isdir(layer.upper):
            continue
        upper = os.open(layer.upper, _LIST)
        lower = os.open(layer.lower, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            reader = _Reader(lower, layer.place, mounts | places, changes)
            reader.directory(upper, layer.place, "", 0)
        finally:
            os.close(upper)
            os.close(lower)
    return changes


class _Reader:
    """Compares one upper layer with what is below; ``ours`` are places that are made for mounts, not by the container.

    ``lower`` paths are relative; None says that nothing is below.
    """

    def __init__(self, lower: int, place: str, ours: frozenset[str], changes: list[tuple[str, str]]) -> None:
        self._lower = lower
        self._place = place
        self._ours = ours
        self._changes = changes

    def directory(self, upper: int, path: str, below: str | None, depth: int) -> bool:
        """Add the changes in an open directory of the layer; return whether there are any, or one that is not ours."""
        if depth > _TOO_DEEP:
            raise WrongState(f"{path}: directories are nested too deep")
        count = len(self._changes)
        only_ours = False
        for name in sorted(os.listdir(upper), key=os.fsencode):
            inside = f"{path}/{name}"
            if inside in self._ours:
                only_ours = True
                continue
            try:
                found = _sys.openat2(upper, name, _LOOK, 0, _STAY)
            except FileNotFoundError:
                continue
            try:
                # what was made for a mount further down is no change either
                only_ours |= self._name(found, inside, None if below is None else f"{below}/{name}".lstrip("/"), depth)
            finally:
                os.close(found)
        return only_ours and len(self._changes) == count

    def _name(self, found: int, path: str, below: str | None, depth: int) -> bool:
        """Add what one name of the layer says; return whether it is there for a mount and nothing else."""
        status = os.fstat(found)
        before = self._below(below)
        if _is_whiteout(found, status):
            if before is not None:
                self._changes.append((DELETED, path))
            return False
        kind = ADDED if before is None else CHANGED
        if not stat.S_ISDIR(status.st_mode):
            self._changes.append((kind, path))
            return False
        moved = _attribute(found, "redirect")
        inner = below if before is not None and stat.S_ISDIR(before.st_mode) else None
        if moved:
            inner = (
                moved.strip("/") if moved.startswith("/") else f"{(below or '').rpartition('/')[0]}/{moved}".strip("/")
            )
        elif _attribute(found, "opaque") == "y":
            self._hidden(path, inner, found)
            inner = None
        at = len(self._changes)
        listed = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            only_ours = self.directory(listed, path, inner, depth + 1)
        finally:
            os.close(listed)
        if only_ours and (before is None or _same(status, before, times=False)):
            return True
        if before is None or not _same(status, before, times=True) or len(self._changes) > at:
            self._changes.insert(at, (kind, path))
        return False

    def _hidden(self, path: str, below: str | None, found: int) -> None:
        """Add what a directory that hides the one below has no longer."""
        if below is None:
            return
        directory = _sys.openat2(self._lower, below, _LIST, 0, _STAY)
        try:
            names = os.listdir(directory)
        finally:
            os.close(directory)
        for name in names:
            try:
                os.stat(name, dir_fd=found, follow_symlinks=False)
            except FileNotFoundError:
                self._changes.append((DELETED, f"{path}/{name}"))

    def _below(self, below: str | None) -> os.stat_result | None:
        if below is None:
            return None
        try:
            found = _sys.openat2(self._lower, below, _LOOK, 0, _STAY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise
        try:
            status = os.fstat(found)
            return None if _is_whiteout(found, status) else status
        finally:
            os.close(found)


def _is_whiteout(found: int, status: os.stat_result) -> bool:
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    return stat.S_ISREG(status.st_mode) and not status.st_size and _attribute(found, "whiteout") != ""


def _attribute(found: int, name: str) -> str:
    """Return an attribute of the overlay's, "" where there is none."""
    for space in _SPACES:
        try:
            return os.fsdecode(os.getxattr(f"/proc/self/fd/{found}", space + name)) or "y"
        except OSError:
            continue  # there is none, or only root of the host may see it
    return ""


def _same(one: os.stat_result, other: os.stat_result, *, times: bool) -> bool:
    """Tell whether a directory was only copied up: its mode is that of the one below, and its time with ``times``."""
    return one.st_mode == other.st_mode and (not times or one.st_mtime_ns == other.st_mtime_ns)
