"""``--systemd-cgroup``: the container's cgroup below a transient scope that systemd makes and delegates. [lean]

systemd wants a process to make a scope with. The container's own comes too late: it is cloned into its cgroup, which
has its limits by then. So a holder stands in for it, which ends with this process, or when the container's first
process is there. The scope ends by itself with the last process in it.

The container is in the cgroup ``container`` of the scope: what is in the scope itself is systemd's, and written anew by
it (``systemctl daemon-reload``).
"""

from __future__ import annotations

import _signal
import os

from pycontain.cgroups import host
from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import PR_SET_PDEATHSIG, SIGKILL, WEXITED
from pycontain.runtime import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pycontain.cgroups.cgroup import CgroupPaths
    from pycontain.oci.store import Container

SYSTEM, USER = "system", "user"


class Scope:
    """A scope that has been started; :meth:`leave` takes its holder away, once the container is in it."""

    def __init__(self, paths: CgroupPaths, pidfd: int) -> None:
        self.paths = paths
        self._pidfd = pidfd

    def leave(self) -> None:
        """End the holder; a second call does nothing."""
        if self._pidfd < 0:
            return
        from pycontain.cgroups.tree import LEAF

        _end(self._pidfd)
        self._pidfd = -1
        try:
            os.rmdir(f"{self.paths.anchor}/{LEAF}")
        except OSError:
            pass  # systemd removes it with the scope


def start(container: Container, cgroups_path: str, annotations: Mapping[str, str]) -> Scope:
    """Start the scope that ``slice:prefix:name`` asks for, and note it in the container's journal.

    Raises:
        SpecError: the path is not of that form, or an annotation asks for a property that is none.
        HostError: there is no systemd, or it refuses.
    """
    from pycontain.cgroups.systemd import Manager, below, parse_cgroups_path
    from pycontain.oci.unitproperties import properties

    asked = properties(annotations)
    layout = host.usable(host.probe_host())
    if layout.mode != "v2":
        raise HostError(
            f"--systemd-cgroup: this host's cgroups are {layout.mode}, a delegated scope needs v2",
            requirement="cgroup v2",
            hint="boot with systemd.unified_cgroup_hierarchy=1, or leave --systemd-cgroup out",
        )
    user = os.geteuid() != 0
    unit = parse_cgroups_path(cgroups_path, container.id, user=user)
    pid, pidfd = _hold(container)
    try:
        with Manager.connect(user=user) as manager:
            text = f"pycontain-oci container {container.id}"
            group = manager.start_scope(unit, pids=(pid,), description=text, properties=asked)
        # Not before: the unit could be somebody else's. Should this process die now, the holder does, and the scope.
        container.journal.intend(journal.SCOPE, unit.name, USER if user else SYSTEM)
    except BaseException:
        _end(pidfd)
        raise
    return Scope(below(layout, group), pidfd)


def expected(cgroups_path: str, container_id: str) -> CgroupPaths:
    """Return where the container's cgroup would be; nothing is started.

    Raises:
        SpecError: the path is not slice:prefix:name.
    """
    from pycontain.cgroups.systemd import below, parse_cgroups_path

    unit = parse_cgroups_path(cgroups_path, container_id, user=os.geteuid() != 0)
    # systemd.slice(5): a-b.slice lies in a.slice
    words = unit.slice.removesuffix(".slice").split("-")
    slices = "/".join(f"{'-'.join(words[:end])}.slice" for end in range(1, len(words) + 1))
    return below(host.usable(host.probe_host()), f"/{slices}/{unit.name}")


def stop(name: str, manager: str) -> None:
    """Stop a scope whose processes have ended, and return when systemd has forgotten it.

    Raises:
        HostError: systemd is silent or refuses.
    """
    from pycontain.cgroups.systemd import Manager

    with Manager.connect(user=manager == USER) as connection:
        connection.stop(name)


def _hold(container: Container) -> tuple[int, int]:
    """Return pid and pidfd of a process that does nothing and ends with this one."""
    parent = os.getpid()
    pid, pidfd = _sys.clone3(0)
    if pid == 0:
        try:
            _sys.prctl(PR_SET_PDEATHSIG, SIGKILL)
            container.unlock()
            _sys.set_name("pycontain:scope")
            while os.getppid() == parent:
                _signal.pause()
        finally:
            os._exit(0)
    return pid, pidfd


def _end(pidfd: int) -> None:
    try:
        _sys.pidfd_send_signal(pidfd, SIGKILL, 0)
    except ProcessLookupError:
        pass
    try:
        _sys.waitid_pidfd(pidfd, WEXITED)
    except ChildProcessError:
        pass
    os.close(pidfd)
