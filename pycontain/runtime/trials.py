"""Asks the kernel for something in a child process, so that the answer is a fact and nothing of this process changes.

Each trial forks (one thread only), tries in namespaces of the child's own, and tells what the kernel said.
"""

from __future__ import annotations

import errno
import os
import signal

from pycontain.kernel import _sys
from pycontain.kernel import constants as kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IDS = "0 100000 65536\n"


def attempt(action: Callable[[], object]) -> str:
    """Return "" when ``action`` succeeds in a child process, else what went wrong there."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "failed"
        try:
            os.close(reading)
            action()
            text = ""
        except OSError as error:
            text = (error.strerror or str(error)).lower()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, text.encode())
            os._exit(0 if not text else 1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return said if said or status == 0 else "the child was killed"


def namespace(flag: int) -> Callable[[], None]:
    """Return a trial of one kind of namespace; an ordinary user makes a user namespace first."""

    def action() -> None:
        if os.geteuid() != 0 and flag != kernel.CLONE_NEWUSER:
            _sys.unshare(kernel.CLONE_NEWUSER | flag)
        else:
            _sys.unshare(flag)

    return action


def user_namespace_with_map() -> None:
    """Make a user namespace, map the own id to root in it, and make a tmpfs there as its root may.

    AppArmor on Ubuntu allows the first and then takes the capabilities away: only a mount shows it.
    """
    uid, gid = os.geteuid(), os.getegid()
    _sys.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    _sys.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE, None)
    context = _sys.fsopen("tmpfs", kernel.FSOPEN_CLOEXEC)
    _sys.fsconfig_create(context)
    _sys.fsmount(context, kernel.FSMOUNT_CLOEXEC, 0)


def idmapped_mount(path: str) -> Callable[[], None]:
    """Return a trial of a mount of ``path`` with shifted owners (privileged)."""

    def action() -> None:
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _sys.unshare(kernel.CLONE_NEWUSER)
                os.write(ready[1], b"x")
                os.read(go[0], 1)
            finally:
                os._exit(0)
        os.close(ready[1])
        try:
            if not os.read(ready[0], 1):
                raise OSError(errno.EPERM, "no user namespace can be made")
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                    file.write(_IDS)
            with open(f"/proc/{pid}/ns/user", "rb", buffering=0) as space:
                tree = _sys.open_tree(kernel.AT_FDCWD, path, kernel.OPEN_TREE_CLONE | kernel.OPEN_TREE_CLOEXEC)
                _sys.mount_setattr(
                    tree, "", kernel.AT_EMPTY_PATH, attr_set=kernel.MOUNT_ATTR_IDMAP, userns_fd=space.fileno()
                )
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    return action


def overlay(directory: str, *, privileged: bool) -> Callable[[], None]:
    """Return a trial of an overlay whose upper layer lies in ``directory`` (existing, writable), in memory for ""."""

    def action() -> None:
        if not directory:
            _mount_overlay("", privileged=privileged)
            return
        import shutil
        import tempfile

        place = tempfile.mkdtemp(prefix=".pycontain-doctor-", dir=directory)
        try:
            for name in ("lower", "upper", "work"):
                os.mkdir(f"{place}/{name}")
            # An own child mounts: its mount namespace is gone when the directories are removed.
            failure = attempt(lambda: _mount_overlay(place, privileged=privileged))
            if failure:
                raise OSError(0, failure)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    return action


def _mount_overlay(place: str, *, privileged: bool) -> None:
    if privileged:
        _sys.unshare(kernel.CLONE_NEWNS)
        _sys.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE, None)
    else:
        user_namespace_with_map()
    if not place:
        # seen by nobody else: this process has a mount namespace of its own, and ends
        place = "/tmp"
        _sys.mount("tmpfs", place, "tmpfs", 0, None)
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{place}/{name}")
    context = _sys.fsopen("overlay", kernel.FSOPEN_CLOEXEC)
    if not privileged:
        _sys.fsconfig_set_flag(context, "userxattr")
    for key, name in (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")):
        _sys.fsconfig_set_string(context, key, f"{place}/{name}")
    _sys.fsconfig_create(context)
    _sys.fsmount(context, kernel.FSMOUNT_CLOEXEC, 0)
