"""``ps``: which containers there are, what they run, and how they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from pycontain.engine import lifecycle, quantities
from pycontain.engine.labelfilters import has_label
from pycontain.engine.messages import printable
from pycontain.engine.rendering import Columns
from pycontain.engine.suggest import closest
from pycontain.errors import NotFound, PycontainError, UsageError
from pycontain.record import Record
from pycontain.runtime import processes
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import CREATED, PAUSED, RUNNING, STOPPED, Entry, State, Store

# docker's words for a container's state, by ours
STATES = {CREATED: "created", RUNNING: "running", PAUSED: "paused", STOPPED: "exited"}
_DAMAGED = "damaged"
_COMMAND_WIDTH = 20
_NS = 10**9

COLUMNS = Columns(
    (
        ("ID", "CONTAINER ID"),
        ("Rootfs", "ROOTFS"),
        ("Command", "COMMAND"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ),
    {
        "CreatedAt": "CREATED AT",
        "Image": "IMAGE",
        "State": "STATE",
        "Labels": "LABELS",
        "LocalVolumes": "LOCAL VOLUMES",
        "Mounts": "MOUNTS",
        "Networks": "NETWORKS",
        "Pid": "PID",
    },
)


class Found(Record):
    """One container as it is now; ``state`` is None when its state file is damaged or was never written."""

    id: str
    status: str
    state: State | None


def containers(settings: Settings) -> list[Found]:
    """Return all containers, newest first; those that are being made at this moment are left out."""
    store = Store(settings)
    found = [one for one in (_look(Entry(store, container_id)) for container_id in store.ids()) if one is not None]
    return sorted(found, key=lambda one: one.state.created_ns if one.state else 0, reverse=True)


def _look(entry: Entry) -> Found | None:
    try:
        state = entry.load()
        status = entry.status(state)
        ended = status == STOPPED and (state.status != STOPPED or state.options.get("remove"))
        if ended and not processes.is_alive(state.monitor_pid, state.monitor_start):
            state = _settled(entry, state)
        return Found(entry.id, status, state)
    except NotFound:
        if not os.path.isdir(entry.directory):
            return None  # it has just been removed, by us where nobody else would
        return Found(entry.id, _DAMAGED, None) if lifecycle.is_abandoned(entry) else None
    except PycontainError:
        return Found(entry.id, _DAMAGED, None)


def _settled(entry: Entry, state: State) -> State:
    """Return the state with the end written down where that can be done.

    Raises:
        NotFound: it was to be removed, and is.
    """
    try:
        return lifecycle.settle(entry, state)
    except NotFound:
        raise
    except PycontainError:
        return state  # no room for it, or something of it does not go: it has ended all the same


def describe(found: Found, now_ns: int, *, whole: bool = False) -> dict[str, Any]:
    """Return one container in docker's keys; ``whole`` cuts neither id nor command."""
    state = found.state
    if state is None:
        texts = dict.fromkeys((*COLUMNS.titles, "Pid"), "")
        gone = {"Status": "Damaged, or left by a killed command: pycontain rm -f", "State": _DAMAGED}
        return {**texts, **gone, "ID": found.id if whole else found.id[:12]}
    # with a line end in it the listing would have one container on two lines
    command = printable(" ".join(state.command))
    if not whole and len(command) > _COMMAND_WIDTH:
        command = command[: _COMMAND_WIDTH - 1] + "…"
    rootfs = printable(state.options.get("rootfs", state.root))
    return {
        "ID": state.id if whole else state.id[:12],
        "Names": state.name,
        "Image": rootfs,
        "Rootfs": rootfs,
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(state.created_ns / _NS)),
        "RunningFor": quantities.duration((now_ns - state.created_ns) / _NS) + " ago",
        "State": STATES.get(found.status, found.status),
        "Status": status_text(state, found.status, now_ns),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(state.labels.items())),
        "LocalVolumes": str(len(state.options.get("volumes", ()))),
        "Mounts": ",".join(state.options.get("volumes", ())),
        "Networks": state.options.get("network", ""),
        "Pid": state.pid if found.status in (RUNNING, PAUSED) else 0,
    }


def status_text(state: State, status: str, now_ns: int) -> str:
    """Return ``Up 3 minutes (Paused)`` or ``Exited (137) 2 hours ago, out of memory``."""
    if status == CREATED:
        return "Created"
    if status in (RUNNING, PAUSED):
        up = "Up " + quantities.duration((now_ns - state.started_ns) / _NS)
        return up + " (Paused)" if status == PAUSED else up
    if state.status != STOPPED:
        return "Ending"  # the process has gone, its monitor is about to write how
    ago = quantities.duration((now_ns - state.finished_ns) / _NS)
    memory = ", out of memory" if state.oom_killed and state.exit_code == 137 else ""
    return f"Exited ({state.exit_code}) {ago} ago{memory}"


def ps(
    settings: Settings,
    *,
    everything: bool = False,
    filters: Iterable[str] = (),
    last: int = 0,
    quiet: bool = False,
    whole: bool = False,
    form: str = "table",
) -> str:
    """Return the listing as text.

    Without ``everything``, a filter on the status, or ``last`` (so many of the newest), only running ones are shown.

    Raises:
        UsageError: a filter or the format is wrong.
    """
    wanted = parse_filters(filters)
    found = containers(settings)
    if last > 0:
        found = found[:last]
    elif not everything and not wanted.keys() & {"status", "exited"}:
        found = [one for one in found if one.status in (RUNNING, PAUSED)]
    found = [one for one in found if all(_TESTS[key](one, values, found) for key, values in wanted.items())]
    if quiet:
        return "".join(f"{one.id if whole else one.id[:12]}\n" for one in found)
    now_ns = time.time_ns()
    return COLUMNS.render([describe(one, now_ns, whole=whole) for one in found], form)


def parse_filters(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the values of ``KEY=VALUE`` filters by key.

    Raises:
        UsageError: an unknown key, or a value that the key cannot have.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in _TESTS or not equals:
            guess = closest(key, _TESTS)
            hint = f"did you mean {guess}=…?" if guess and equals else "KEY=VALUE; keys are " + ", ".join(_TESTS)
            raise UsageError(f"--filter: {text!r} is not a filter", hint=hint)
        if key == "status" and value not in (*STATES.values(), STOPPED, _DAMAGED):
            raise UsageError(f"--filter: status {value!r} is unknown", hint="one of " + ", ".join(STATES.values()))
        if key == "exited" and not value.isdigit():
            raise UsageError(f"--filter: {value!r} is not an exit code", hint="a number from 0 to 255")
        found[key] = (*found.get(key, ()), value)
    return found


def _created_of(reference: str, found: list[Found]) -> int:
    for one in found:
        if one.state is not None and (one.state.name == reference or one.id.startswith(reference)):
            return one.state.created_ns
    raise UsageError(f"--filter: no such container: {reference!r}", hint="list them: pycontain ps -a")


def _with_state(
    test: Callable[[State, tuple[str, ...]], bool],
) -> Callable[[Found, tuple[str, ...], list[Found]], bool]:
    return lambda one, values, _found: one.state is not None and test(one.state, values)


# several values of one key: any of them will do; labels must all be there
_TESTS: dict[str, Callable[[Found, tuple[str, ...], list[Found]], bool]] = {
    "id": lambda one, values, _found: any(one.id.startswith(value) for value in values),
    "name": _with_state(lambda state, values: any(value in state.name for value in values)),
    "status": lambda one, values, _found: STATES.get(one.status, one.status) in values or one.status in values,
    "label": _with_state(lambda state, values: all(has_label(state.labels, value) for value in values)),
    "exited": _with_state(lambda state, values: state.status == STOPPED and str(state.exit_code) in values),
    "ancestor": _with_state(lambda state, values: state.options.get("rootfs") in values or state.root in values),
    "volume": _with_state(lambda state, values: any(value in state.options.get("volumes", ()) for value in values)),
    "network": _with_state(lambda state, values: state.options.get("network") in values),
    "before": lambda one, values, found: (
        one.state is not None and any(one.state.created_ns < _created_of(value, found) for value in values)
    ),
    "since": lambda one, values, found: (
        one.state is not None and any(one.state.created_ns > _created_of(value, found) for value in values)
    ),
}
