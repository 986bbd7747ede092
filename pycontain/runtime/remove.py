"""Undo a container from its journal: whatever was begun, by whoever, at whatever point it stopped. Idempotent."""

from __future__ import annotations

import errno
import os
import select
import time

from pycontain.cgroups import tree
from pycontain.errors import HostError, StoreError
from pycontain.kernel import _sys
from pycontain.kernel.constants import SIGKILL
from pycontain.runtime import journal, processes
from pycontain.runtime.walk import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from pycontain.plan.facts import UserNamespace
    from pycontain.runtime.journal import Journal
    from pycontain.runtime.state import Entry

    class Journaled(Protocol):
        """Whatever keeps a journal of what was made for it."""

        journal: Journal


GONE_WITHIN_S = 10.0
_RACES = 100
EMPTY_WITHIN_S = 5.0


def undo(entry: Entry) -> None:
    """Remove everything that the journal names, then the container's directory and name; the lock is held.

    Raises:
        HostError: a process does not die, or a cgroup does not go; the rest is done, and a second call goes on.
        StoreError: a directory cannot be removed.
    """
    intents = undo_made(entry)
    for kind, *words in intents:
        if kind == journal.NAME:
            entry.store.release_name(words[0], entry.id)
    remove_tree(entry.directory)


def undo_made(entry: Entry) -> list[tuple[str, ...]]:
    """Remove everything that the journal names but the container itself, and return the journal's intents."""
    intents = entry.journal.load()
    kill(entry, intents)
    users = None
    for kind, *words in intents:
        if kind == journal.IDMAP:
            from pycontain.runtime import idmap

            users = idmap.from_text(words[0], words[1])
    for kind, *words in reversed(intents):
        if kind == journal.DIRECTORY:
            remove_tree(words[0], users)
        elif kind == journal.USERNS:
            from pycontain.runtime import idranges
            from pycontain.runtime.settings import USERNS_CLAIMS

            idranges.release(USERNS_CLAIMS, int(words[0]), entry.directory)
    cgroups = [words[0] for kind, *words in reversed(intents) if kind == journal.CGROUP]
    remove_cgroups(cgroups)
    for path in {os.path.dirname(path) for path in cgroups}:
        remove_shared(path)
    return intents


def remove_cgroups(paths: list[str]) -> None:
    """Remove cgroups whose processes have been killed, with those that the container made below.

    Raises:
        HostError: one does not go.
    """
    tree.remove(paths, EMPTY_WITHIN_S)


def remove_shared(path: str) -> None:
    """Remove the cgroup above all containers and that of the monitors, if nobody is left in them."""
    try:
        for child in (f"{path}/monitors", path):
            if os.path.isdir(child):
                os.rmdir(child)
    except OSError:
        pass  # others are in it; whoever makes the next container makes it again


def kill(entry: Journaled, intents: list[tuple[str, ...]] | None = None) -> None:
    """Kill every process of the container: its cgroups' and those that the journal names; return when they are gone.

    Raises:
        HostError: one is still there after 10 s.
    """
    if intents is None:
        intents = entry.journal.load()
    cgroups = [words[0] for kind, *words in intents if kind == journal.CGROUP]
    # those of v1 hold the same processes
    if not sum(_kill_cgroup(path) for path in cgroups):
        _kill_members([path for path in cgroups if os.path.isdir(path)])
    waiting = []
    for kind, *words in intents:
        if kind == journal.PROCESS:
            pidfd = processes.open_pidfd(int(words[0]), int(words[1]))
            if pidfd is not None:
                waiting.append((pidfd, words[0]))
    try:
        for pidfd, _ in waiting:
            try:
                _sys.pidfd_send_signal(pidfd, SIGKILL, 0)
            except ProcessLookupError:
                pass
        _await(waiting)
    finally:
        for pidfd, _ in waiting:
            os.close(pidfd)


def _await(waiting: list[tuple[int, str]]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    for pidfd, pid in waiting:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise HostError(
                f"process {pid} of the container does not end",
                hint="it may wait for a file system or device that hangs (state D in ps); try again later",
            )


def _kill_cgroup(path: str) -> bool:
    """Kill every process in and below a cgroup in one step; return whether that could be done."""
    try:
        fd = os.open(f"{path}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # a v1 hierarchy, a kernel before 5.14, or gone
    try:
        os.write(fd, b"1")
        return True
    except OSError:
        return False  # removed meanwhile, or threaded
    finally:
        os.close(fd)


def _kill_members(paths: list[str]) -> None:
    """Kill every process of the cgroups of one container one by one, those that are frozen too."""
    if not paths:
        return
    from pycontain.cgroups.cgroup import Cgroup, CgroupPaths

    unified = next((path for path in paths if os.path.exists(f"{path}/cgroup.controllers")), "")
    freezer = next((path for path in paths if os.path.exists(f"{path}/freezer.state")), "")
    v1 = {"freezer": freezer} if freezer else {"any": paths[0]}
    with Cgroup(CgroupPaths(unified=unified, v1={} if unified else v1)) as cgroup:
        cgroup.kill()


def remove_tree(path: str, users: UserNamespace | None = None) -> None:
    """Remove a directory with all below it, by descriptor; one that is gone is no error.

    ``users``: the maps of the container whose files these are; what this user may not remove, root of such a user
    namespace may.

    Never follows a link and never enters a mount: what is mounted somewhere below is not ours to remove.

    Raises:
        StoreError: something in it cannot be removed.
    """
    parent, name = os.path.split(path)
    try:
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        try:
            _remove_entry(fd, name)
        except PermissionError:
            if users is None:
                raise
            from pycontain.runtime import idmap

            if not idmap.run_inside(users, lambda: _remove_entry(fd, name)):
                raise
    except OSError as error:
        raise StoreError(
            f"remove {path}: {(error.strerror or '').lower()}", hint="remove it again; pycontain prune tries too"
        ) from error
    finally:
        os.close(fd)


def _remove_entry(parent: int, name: str) -> None:
    for attempt in range(_RACES):
        try:
            walk(parent, name, file=_unlink, leave=_rmdir, open_all=True)
            return
        except OSError as error:
            # who wants the lock may have made its file anew, between the last file's end and the directory's
            if error.errno != errno.ENOTEMPTY or attempt == _RACES - 1:
                raise


def _unlink(directory: int, name: str, _status: os.stat_result) -> None:
    os.unlink(name, dir_fd=directory)


def _rmdir(directory: int, name: str) -> None:
    os.rmdir(name, dir_fd=directory)
