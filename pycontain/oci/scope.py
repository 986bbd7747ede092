"""``--systemd-cgroup``: the container's cgroup lies in a scope that systemd makes and delegates."""

from __future__ import annotations

import os

from pycontain.cgroups import host
from pycontain.cgroups.cgroup import CgroupPaths
from pycontain.cgroups.systemd import Manager, below, parse_cgroups_path
from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import WEXITED
from pycontain.runtime import journal, probe
from pycontain.runtime.journal import Journal


def expected(cgroups_path: str, container_id: str) -> CgroupPaths:
    """Return where the container's cgroup would be; nothing is started.

    Raises:
        SpecError: the path is not slice:prefix:name.
    """
    unit = parse_cgroups_path(cgroups_path, container_id, user=not probe.is_privileged())
    # systemd.slice(5): a-b.slice lies in a.slice
    words = unit.slice.removesuffix(".slice").split("-")
    slices = "/".join(f"{'-'.join(words[:end])}.slice" for end in range(1, len(words) + 1))
    return below(host.usable(host.probe_host()), f"/{slices}/{unit.name}")


def start(intents: Journal, cgroups_path: str, container_id: str) -> tuple[CgroupPaths, int]:
    """Start the scope that ``slice:prefix:name`` names; return the place of the container in it, and a descriptor.

    An empty scope would end at once: a process of ours is in it until the descriptor is closed.

    Raises:
        SpecError: the path is not of that form.
        HostError: systemd refuses, or does not run here, or cgroups are not those of version 2.
    """
    user = not probe.is_privileged()
    unit = parse_cgroups_path(cgroups_path, container_id, user=user)
    layout = host.usable(host.probe_host())
    if layout.mode != "v2":
        raise HostError(
            f"--systemd-cgroup: this host's cgroups are {layout.mode}, a delegated scope needs v2",
            requirement="cgroup v2",
            hint="boot with systemd.unified_cgroup_hierarchy=1",
        )
    with Manager.connect(user=user) as manager:
        listening, held = os.pipe()
        pid, pidfd = _sys.clone3(0)
        if pid == 0:
            try:
                os.close(held)
                _sys.set_name("pycontain:scope")
                os.read(listening, 1)
            finally:
                os._exit(0)
        os.close(listening)
        intents.intend(journal.SCOPE, unit.name)
        try:
            group = manager.start_scope(unit, pids=(pid,), description=f"container {container_id}")
        except BaseException:
            os.close(held)
            _sys.waitid_pidfd(pidfd, WEXITED)
            raise
        finally:
            os.close(pidfd)
    return below(layout, group), held


def stop(name: str) -> None:
    """Stop a scope; one that is gone is no error.

    Raises:
        HostError: systemd refuses.
    """
    with Manager.connect(user=not probe.is_privileged()) as manager:
        manager.stop(name)
