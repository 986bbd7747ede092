"""Write the id maps of a new user namespace, from outside it."""

from __future__ import annotations

import os

from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import CLONE_NEWUSER, WEXITED
from pycontain.plan.facts import USERNS_CUSTOM, UserNamespace
from pycontain.spec.ids import IDMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def write_maps(pid: int, userns: UserNamespace) -> None:
    """Write uid_map and gid_map of process ``pid``: directly, or by newuidmap(1) and newgidmap(1) for an ordinary user.

    Raises:
        HostError: the kernel or the helpers refuse the map.

    Source: user_namespaces(7): one write each; without privilege one line with the own id, and setgroups denied.
    """
    own = len(userns.uid_map) == len(userns.gid_map) == 1 and userns.uid_map[0].size == userns.gid_map[0].size == 1
    if os.geteuid() != 0 and not own:
        _by_helper("newuidmap", pid, userns.uid_map)
        _by_helper("newgidmap", pid, userns.gid_map)
        return
    try:
        _write(f"/proc/{pid}/uid_map", _lines(userns.uid_map))
        if os.geteuid() != 0:
            _write(f"/proc/{pid}/setgroups", "deny")
        _write(f"/proc/{pid}/gid_map", _lines(userns.gid_map))
    except OSError as error:
        raise HostError(
            f"map ids of the container: {(error.strerror or '').lower()}",
            requirement="user namespaces",
            hint="pycontain doctor tells what this host allows; no user namespace: --userns host",
        ) from error


def to_text(mappings: tuple[IDMapping, ...]) -> str:
    """Return a map as one word of a journal."""
    return _lines(mappings).replace("\n", ",")


def from_text(uids: str, gids: str) -> UserNamespace:
    """Return the user namespace whose maps :func:`to_text` wrote."""
    rows = (tuple(tuple(map(int, row.split())) for row in text.split(",") if row) for text in (uids, gids))
    uid_map, gid_map = (tuple(IDMapping(*row) for row in group) for group in rows)
    return UserNamespace(USERNS_CUSTOM, uid_map, gid_map)


def run_inside(userns: UserNamespace, work: Callable[[], None]) -> bool:
    """Call ``work`` in a child that is root of a new user namespace with these maps; return whether it succeeded.

    Raises:
        HostError: the namespace cannot be made.
    """
    ready, told = os.pipe()
    pid, pidfd = _sys.clone3(CLONE_NEWUSER)
    if pid == 0:
        try:
            os.close(told)
            if os.read(ready, 1):
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
                work()
                os._exit(0)
        finally:
            os._exit(1)
    os.close(ready)
    try:
        write_maps(pid, userns)
        os.write(told, b"x")
    finally:
        os.close(told)
        result = _sys.waitid_pidfd(pidfd, WEXITED)
        os.close(pidfd)
    return result is not None and result[2] == 0


def open_userns(userns: UserNamespace) -> int:
    """Return a descriptor of a new user namespace with these maps, which nobody is in: for mounts that shift owners.

    Raises:
        HostError: the namespace cannot be made.
    """
    done, ours = os.pipe()
    pid, pidfd = _sys.clone3(CLONE_NEWUSER)
    if pid == 0:
        try:
            os.close(ours)
            os.read(done, 1)
        finally:
            os._exit(0)
    os.close(done)
    try:
        write_maps(pid, userns)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ours)
        _sys.waitid_pidfd(pidfd, WEXITED)
        os.close(pidfd)


def _lines(mappings: tuple[IDMapping, ...]) -> str:
    return "".join(f"{one.container_id} {one.host_id} {one.size}\n" for one in mappings)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _by_helper(program: str, pid: int, mappings: tuple[IDMapping, ...]) -> None:
    import subprocess  # rootless only: 10 ms that nobody else pays

    words = [str(n) for one in mappings for n in (one.container_id, one.host_id, one.size)]
    try:
        done = subprocess.run([program, str(pid), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HostError(f"{program} is not installed", requirement=program, hint="apt-get install uidmap") from None
    if done.returncode != 0:
        raise HostError(
            f"{program}: {done.stderr.strip() or 'refused'}",
            requirement=program,
            hint="is the range listed for this user in /etc/subuid and /etc/subgid?",
        )
