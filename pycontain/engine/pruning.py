"""``prune``: removes containers that have ended, and what killed commands or a reboot left behind.

A container that is being made has its lock held; one that waits to be started is somebody's and stays.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pycontain.engine import userns, waiting
from pycontain.errors import HostError, NotFound, PycontainError
from pycontain.record import Record
from pycontain.runtime import idranges, processes, remove
from pycontain.runtime.settings import USERNS_CLAIMS, Settings
from pycontain.runtime.state import STOPPED, Entry, State, Store
from pycontain.runtime.walk import walk


class Pruned(Record):
    """Ids of containers, other things by what they were, bytes of their files, and what could not be removed."""

    containers: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    reclaimed_bytes: int = 0
    failures: tuple[str, ...] = ()


def prune(settings: Settings, *, want: Callable[[State], bool] | None = None) -> Pruned:
    """Remove every container that has ended, and all leftovers; a failure stops nothing.

    With ``want`` only the containers that it agrees to: of leftovers nobody knows when they were made and for what.
    """
    store = Store(settings)
    removed: list[str] = []
    leftovers: list[str] = []
    failures: list[str] = []
    reclaimed = 0
    for container_id in store.ids():
        size = _size_of(settings, container_id)
        try:
            gone = _prune_one(Entry(store, container_id), want)
        except PycontainError as error:
            failures.append(f"{container_id[:12]}: {error}")
            continue
        if gone:
            (removed if gone == STOPPED else leftovers).append(container_id)
            reclaimed += size
    if want is not None:
        return Pruned(tuple(removed), (), reclaimed, tuple(failures))
    # an ordinary user's layers hold files of the user's subordinate ids
    users = userns.of_user(keep=False) if settings.rootless else None
    for path in _without_container(store):
        size = _size_below(path)
        try:
            remove.remove_tree(path, users)
        except PycontainError as error:
            failures.append(str(error))
            continue
        leftovers.append(path)
        reclaimed += size
    leftovers += [*_prune_names(store), *_prune_claims()]
    return Pruned(tuple(removed), tuple(leftovers), reclaimed, tuple(failures))


def _prune_one(entry: Entry, want: Callable[[State], bool] | None) -> str:
    """Remove a container if it may go; return its status, "creating" for a leftover, "" when it stays."""
    try:
        with entry.lock(wait=False):
            state = _load(entry)
            if state is None and want is not None:
                return ""
            if state is not None:
                if entry.status(state) != STOPPED or (want is not None and not want(state)):
                    return ""
                if state.status != STOPPED and processes.is_alive(state.monitor_pid, state.monitor_start):
                    return ""  # its end is about to be written
            waiting.dispose(entry, volumes=False)
            return STOPPED if state is not None else "creating"
    except (BlockingIOError, NotFound):
        return ""


def _load(entry: Entry) -> State | None:
    """Return the state, None where there is none; a damaged one is an error: rm -f is for those."""
    try:
        return entry.load()
    except NotFound:
        return None


def _without_container(store: Store) -> list[str]:
    """Return directories of data that belong to no container.

    They are listed first and their containers looked for afterwards: a container's own directory is made before
    anything else of it.
    """
    found = []
    for kind in ("overlay", "logs", "files"):
        directory = f"{store.settings.data}/{kind}"
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        found += [f"{directory}/{name}" for name in names if not os.path.isdir(f"{store.containers}/{name}")]
    return found


def _prune_names(store: Store) -> list[str]:
    found = []
    try:
        names = os.listdir(store.names)
    except OSError:
        return []
    for name in names:
        owner = store.owner_of(name)
        if owner is not None and not os.path.isdir(f"{store.containers}/{owner}"):
            store.release_name(name, owner)
            found.append(f"name {name}")
    return found


def _prune_claims() -> list[str]:
    """Give back ranges of user ids whose container has gone; those of other users cannot be seen and stay."""
    try:
        return [f"user ids from {base}" for base in idranges.release_stale(USERNS_CLAIMS)]
    except (OSError, HostError):
        return []


def _size_of(settings: Settings, container_id: str) -> int:
    return sum(_size_below(f"{settings.data}/{kind}/{container_id}") for kind in ("overlay", "logs", "files"))


def _size_below(path: str) -> int:
    """Return how many bytes of disk the files at and below a path use, as far as they can be seen."""
    total = 0

    def add(_directory: int, _name: str, status: os.stat_result) -> None:
        nonlocal total
        total += status.st_blocks * 512

    try:
        parent = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        walk(parent, os.path.basename(path), file=add, leave=lambda _directory, _name: None, open_all=False)
    except OSError:
        pass  # a directory that this user may not read: what follows is not counted
    finally:
        os.close(parent)
    return total
