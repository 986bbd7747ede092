"""``pause``, ``resume`` and ``ps``: a container's processes as a whole."""

from __future__ import annotations

from pycontain import lean_json
from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.errors import HostError, UsageError, WrongState
from pycontain.oci.invocation import Invocation
from pycontain.oci.listing import FORMS, write
from pycontain.oci.store import CREATED, PAUSED, RUNNING, STOPPED, Container, State
from pycontain.oci.words import Told
from pycontain.runtime.psargs import run_ps


def pause(invocation: Invocation, told: Told) -> int:
    """Stop every process of a container.

    Raises:
        WrongState: it does not run.
        HostError: this host cannot, or some process does not stop.
    """
    container, state, status = _look(invocation, told)
    if status not in (RUNNING, CREATED):
        raise WrongState(f"container not running or created: {status}")
    with Cgroup(CgroupPaths(**state.cgroup)) as cgroup:
        cgroup.freeze()
    container.unlock()
    return 0


def resume(invocation: Invocation, told: Told) -> int:
    """Let the processes of a paused container run again.

    Raises:
        WrongState: it is not paused.
    """
    container, state, status = _look(invocation, told)
    if status != PAUSED:
        raise WrongState("container not paused")
    with Cgroup(CgroupPaths(**state.cgroup)) as cgroup:
        cgroup.thaw()
    container.unlock()
    return 0


def _look(invocation: Invocation, told: Told) -> tuple[Container, State, str]:
    container = invocation.store.find(told.arguments[0])
    container.lock()
    state = container.load()
    return container, state, container.status(state)


def ps(invocation: Invocation, told: Told) -> int:
    """Print a container's processes: their ids as JSON, or the lines of ps(1) about them.

    Raises:
        UsageError: the options make ps leave out its PID column.
        HostError: without cgroups nobody knows them.
    """
    form = told.text("format", "table")
    if form not in FORMS:
        raise UsageError(f"invalid format option: {form}")
    container = invocation.store.find(told.arguments[0])
    state = container.load()
    members: tuple[int, ...] = ()
    if container.status(state) != STOPPED:
        with Cgroup(CgroupPaths(**state.cgroup)) as cgroup:
            if not cgroup.paths.exists:
                raise HostError("ps: the container has no cgroup that knows its processes", requirement="cgroup")
            members = tuple(sorted(cgroup.procs()))
    if form == "json":
        write(lean_json.dumps(list(members) or None) + "\n")
        return 0
    # engines give all options of ps as one argument
    words = " ".join(told.arguments[1:]).split() or ["-ef"]
    title, lines = run_ps(words, members)
    write("".join(f"{line}\n" for line in (title, *lines)))
    return 0
