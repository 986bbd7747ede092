"""Start a container again that shares namespaces of others: its configuration names processes that have gone. [lean]

The state knows whose namespaces they were, by id, so that neither a new name nor a restart of the other side matters.
"""

from __future__ import annotations

from pycontain.engine import tracers
from pycontain.errors import NotFound, WrongState
from pycontain.plan.facts import saved_users
from pycontain.plan.namespaces import PROC_NAMES
from pycontain.runtime.state import PAUSED, RUNNING, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import State
    from pycontain.spec.mounts import Mount
    from pycontain.spec.runtime import Spec

_SHM = "/root/dev/shm"


def rejoin(settings: Settings, saved: State, spec: Spec) -> tuple[Spec, tuple[tuple[int, int], ...]]:
    """Return the configuration with the namespaces that the other containers have now, and these first processes.

    A process is (pid, start time).

    Raises:
        WrongState: one of them does not run, has gone, or has other users than before.
        HostError: somebody in there could seize this container.
    """
    owners = saved.options.get("joined", {})
    peers: dict[str, State] = {}
    entries = []
    for namespace in spec.linux.namespaces:
        if namespace.path is None:
            entries.append(namespace)
            continue
        owner = owners.get(namespace.type)
        if owner is None:
            raise WrongState(
                f"container {saved.name} was made in namespaces that nobody knows any more", hint="run it anew"
            )
        if owner not in peers:
            peers[owner] = _owner(settings, saved, namespace.type, owner)
        file = PROC_NAMES.get(namespace.type, namespace.type)
        entries.append(namespace.replace(path=f"/proc/{peers[owner].pid}/ns/{file}"))
    if "pid" in owners:
        tracer = tracers.find(Store(settings).find(owners["pid"]), peers[owners["pid"]])
        if tracer:
            raise tracers.refusal(f"container {saved.name} shares a pid namespace", tracer)
    mounts = spec.mounts
    if "ipc" in owners:
        mounts = tuple(_moved(mount, peers[owners["ipc"]].pid) for mount in mounts)
    spec = spec.replace(mounts=mounts, linux=spec.linux.replace(namespaces=tuple(entries)))
    return spec, tuple((peer.pid, peer.pid_start) for peer in peers.values())


def _owner(settings: Settings, saved: State, kind: str, owner: str) -> State:
    """Return the state of the container whose namespaces are shared."""
    what = f"container {saved.name} shares the {kind} namespace of container"
    try:
        entry = Store(settings).find(owner)
        peer = entry.load()
    except NotFound as error:
        raise WrongState(f"{what} {owner[:12]}, which has been removed", hint="run it anew") from error
    if entry.status(peer) not in (RUNNING, PAUSED):
        raise WrongState(f"{what} {peer.name}, which is not running", hint=f"start that: pycontain start {peer.name}")
    theirs, ours = saved_users(peer.userns), saved_users(saved.userns)
    if (theirs.uid_map, theirs.gid_map) != (ours.uid_map, ours.gid_map):
        raise WrongState(f"{what} {peer.name}, which has other users now", hint="run it anew")
    return peer


def _moved(mount: Mount, pid: int) -> Mount:
    """Return the mount of the other side's /dev/shm, as its present process sees it."""
    source = mount.source or ""
    if mount.destination == "/dev/shm" and source.startswith("/proc/") and source.endswith(_SHM):
        return mount.replace(source=f"/proc/{pid}{_SHM}")
    return mount
