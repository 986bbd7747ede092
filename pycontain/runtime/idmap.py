"""Write the id maps of a new user namespace, from outside it."""

from __future__ import annotations

import os

from pycontain.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.facts import UserNamespace
    from pycontain.spec.ids import IDMapping


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
            hint="pycontain doctor tells what this host allows; --userns host does without",
        ) from error


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
        raise HostError(
            f"{program} is not installed", requirement=program, hint="apt-get install uidmap, or --userns host"
        ) from None
    if done.returncode != 0:
        raise HostError(
            f"{program}: {done.stderr.strip() or 'refused'}",
            requirement=program,
            hint="is the range listed for this user in /etc/subuid and /etc/subgid?",
        )
