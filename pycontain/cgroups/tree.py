"""Making and removing cgroup directories, and passing controllers down to them. [lean]

In cgroup v2 a controller exists in a cgroup only if every cgroup above it names it in ``cgroup.subtree_control``, and a
cgroup that does so may hold no processes of its own (only the root of the whole hierarchy may). In a container, or in a
scope that systemd delegated, those processes are ours: they move to a leaf, :data:`LEAF`, first.

Source: cgroups(7) "no internal processes" rule; cgroup-v2.rst "Top-down Constraint"; cgroup-v1/cpusets.rst
"""

from __future__ import annotations

import errno
import os
import time

from pycontain.cgroups.directory import Directory
from pycontain.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LEAF = "pycontain-init"

# another pycontain may remove the empty parent between any two steps of ours
_RACES = 500
# what a cgroup says that was removed: to a look-up, and to who has it open
GONE = (errno.ENOENT, errno.ENODEV)
REMOVE_TIMEOUT_S = 2.0


class Taken(HostError):
    """The cgroup is another container's by now: what was intended has not been made."""


def make(path: str, journal: Callable[[str], None], prepare: Callable[[], None] | None = None) -> bool:
    """Make the cgroup ``path``; return whether it is new. ``journal`` gets the path before anything is made.

    Missing cgroups above it are made too. They are shared with other containers and not journaled. ``prepare`` is
    called when they are there; it may raise OSError because they vanished again.

    Raises:
        Taken: somebody else has made it after the journal got it.
        HostError: the host refuses.
    """
    if os.path.isdir(path):
        return False
    journal(path)
    for _ in range(_RACES):
        try:
            if prepare is not None:
                prepare()
            os.mkdir(path, 0o755)
            return True
        except FileExistsError:
            raise Taken(
                f"make cgroup {path}: another container makes it too", hint="give it a path of its own"
            ) from None
        except OSError as error:
            if error.errno not in GONE:
                raise _cannot_make(path, error) from error
            make_parents(path)
    raise HostError(f"make cgroup {path}: {os.path.dirname(path)} vanished {_RACES} times")


def make_parents(path: str) -> None:
    """Make every missing cgroup above ``path``. They may vanish again at once: the caller tries again.

    Raises:
        HostError: the host refuses.
    """
    missing = []
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno in GONE:
                return
            raise _cannot_make(directory, error) from error


def _cannot_make(path: str, error: OSError) -> HostError:
    hints = {
        errno.EROFS: "cgroups are mounted read-only here: run in a privileged container, or without limits",
        errno.EACCES: "let systemd delegate a cgroup: systemd-run --user --scope -p Delegate=yes pycontain …",
        errno.EPERM: "let systemd delegate a cgroup: systemd-run --user --scope -p Delegate=yes pycontain …",
        errno.EAGAIN: "cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached",
        errno.ENOSPC: "the kernel has no room for another cgroup (memory cgroups: 65535)",
    }
    reason = (error.strerror or "").lower()
    return HostError(f"make cgroup {path}: {reason}", requirement="cgroup", hint=hints.get(error.errno or 0, ""))


def enable(path: str, controllers: Iterable[str], required: Iterable[str], *, anchor: str, own: str) -> None:
    """Let the children of cgroup ``path`` (v2) have ``controllers``, enabled in the cgroups above too where needed.

    Nothing above ``anchor`` is touched. Processes leave a cgroup for a leaf only if it is ``own``, our own cgroup. What
    is not ``required`` may fail.

    Raises:
        OSError: ENOENT or ENODEV: ``path`` vanished, make it again.
        HostError: a required controller cannot be had here.
    """
    with Directory(path) as directory:
        missing = set(controllers) - set(directory.read("cgroup.subtree_control").split())
        if not missing:
            return
        lacking = missing - set(directory.read("cgroup.controllers").split())
        if lacking and path.startswith(anchor.rstrip("/") + "/"):
            enable(os.path.dirname(path), lacking, required, anchor=anchor, own=own)
            lacking = missing - set(directory.read("cgroup.controllers").split())
        needed = sorted(lacking.intersection(required))
        if needed:
            raise HostError(
                f"cgroup {path}: controller {', '.join(needed)} is not available here",
                requirement="cgroup:" + ",".join(needed),
                hint=f"enable it in cgroup.subtree_control of {os.path.dirname(path)}",
            )
        _enable_here(directory, sorted(missing - lacking), set(required), is_own=path == own)


def _enable_here(directory: Directory, controllers: list[str], required: set[str], *, is_own: bool) -> None:
    """Enable all at once; if that fails, one by one, so that one that the kernel refuses does not cost the others.

    Never in a cgroup with processes: with nothing but threaded controllers (cpu, pids) that succeeds, and makes a
    threaded domain of it whose children take no process.
    """
    # only the hierarchy's root has no cgroup.type, and only it may have both
    if directory.read_or("cgroup.type", "") and directory.read("cgroup.procs"):
        if not is_own:
            for controller in required.intersection(controllers):
                raise _cannot_enable(directory.path, controller, OSError(errno.EBUSY, os.strerror(errno.EBUSY)))
            return
        move_to_leaf(directory)
    try:
        directory.write("cgroup.subtree_control", _plus(controllers))
    except OSError as all_at_once:
        # ENOENT may also be about a controller
        if all_at_once.errno in GONE and not os.path.isdir(directory.path):
            raise
        for controller in controllers:
            try:
                directory.write("cgroup.subtree_control", _plus([controller]))
            except OSError as error:
                if controller in required:
                    raise _cannot_enable(directory.path, controller, error) from error


def _plus(controllers: Iterable[str]) -> str:
    return " ".join(f"+{controller}" for controller in controllers)


def move_to_leaf(directory: Directory) -> None:
    """Move every process of the cgroup, ourselves among them, into its child :data:`LEAF`.

    Raises:
        OSError: a process cannot be moved.
    """
    leaf = f"{directory.path}/{LEAF}"
    if not os.path.isdir(leaf):
        os.mkdir(leaf, 0o755)
    with Directory(leaf) as target:
        for _ in range(_RACES):
            # 0 is a process of another pid namespace: writing it would move ourselves
            pids = [pid for pid in directory.read("cgroup.procs").split() if pid != "0"]
            if not pids:
                return
            for pid in pids:
                try:
                    target.write("cgroup.procs", pid)
                except ProcessLookupError:
                    pass


def _cannot_enable(path: str, controller: str, error: OSError) -> HostError:
    if error.errno == errno.EBUSY:
        return HostError(
            f"cgroup {path}: {controller} cannot be enabled for its children: it has processes of its own",
            requirement=f"cgroup:{controller}",
            hint="put the container below a cgroup without processes (cgroupsPath, --cgroup-parent)",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "let systemd delegate a cgroup: systemd-run --user --scope -p Delegate=yes pycontain …"
    else:
        hint = f"see whether cgroup.type of {path} is domain"
    reason = (error.strerror or "").lower()
    return HostError(f"cgroup {path}: enable {controller}: {reason}", requirement=f"cgroup:{controller}", hint=hint)


def inherit_cpuset(path: str) -> None:
    """Copy cpus and mems down to the v1 cpuset ``path``, and before to every empty one above it.

    Raises:
        OSError: a file cannot be read or written.
    """
    with Directory(path) as directory:
        for name in ("cpuset.cpus", "cpuset.mems"):
            if directory.read(name).strip():
                continue
            parent = os.path.dirname(path)
            with Directory(parent) as above:
                if not above.read(name).strip():
                    inherit_cpuset(parent)
                directory.write(name, above.read(name))


def processes(path: str) -> tuple[int, ...]:
    """Return the ids of the processes in the cgroup and in those below it; none if it is gone."""
    found: dict[int, None] = {}
    try:
        directory = Directory(path)
    except FileNotFoundError:
        return ()
    with directory:
        try:
            text = directory.read_or("cgroup.procs", "")
        except OSError as error:
            # a threaded cgroup: its processes are listed in the domain above
            if error.errno != errno.EOPNOTSUPP:
                raise
            text = ""
        for word in text.split():
            found[int(word)] = None
        for child in directory.children():
            for pid in processes(f"{path}/{child}"):
                found[pid] = None
    return tuple(found)


def remove(paths: Iterable[str], timeout_s: float = REMOVE_TIMEOUT_S) -> None:
    """Remove these cgroups and what is below them; what is gone already is fine.

    The kernel needs a moment after the last process has ended: EBUSY is waited for, all in all ``timeout_s``.

    Raises:
        HostError: a cgroup still has processes, or cannot be removed.
    """
    deadline = time.monotonic() + timeout_s
    for path in paths:
        pause_s = 0.0005
        while not _remove_tree(path):
            if time.monotonic() + pause_s > deadline:
                pids = " ".join(str(pid) for pid in processes(path)[:10])
                raise HostError(
                    f"remove cgroup {path}: {'still has processes: ' + pids if pids else 'device or resource busy'}",
                    hint="end them first (kill --all), then delete again",
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.05)


def _remove_tree(path: str) -> bool:
    """Remove a cgroup with those below it; return whether it is gone."""
    if _rmdir(path):
        return True
    try:
        with Directory(path) as directory:
            children = directory.children()
    except FileNotFoundError:
        return True
    for child in children:
        _remove_tree(f"{path}/{child}")
    return bool(children) and _rmdir(path)


def _rmdir(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        reason = (error.strerror or "").lower()
        raise HostError(f"remove cgroup {path}: {reason}") from error
    return True
