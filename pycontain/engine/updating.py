"""``update``: change the limits of a container, in its cgroup and in the configuration that a restart reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pycontain.cgroups.update import update as update_cgroup
from pycontain.engine import config, swaplimit, waiting
from pycontain.engine.lifecycle import look
from pycontain.engine.messages import of
from pycontain.engine.resources import linux_resources
from pycontain.engine.surroundings import device_numbers
from pycontain.errors import HostError, WrongState
from pycontain.record import Record
from pycontain.runtime.state import CREATING, STOPPED
from pycontain.spec.resources import LinuxResources

if TYPE_CHECKING:
    from pycontain.engine.limits import Limits
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import State

_R = TypeVar("_R", bound=Record)


def update(settings: Settings, reference: str, limits: Limits) -> None:
    """Change the limits of a container; those that are not given stay.

    Raises:
        WrongState: it has ended: its limits have gone with its cgroup.
        HostError: a limit cannot be enforced; nothing has changed then.
    """
    entry, _state, status = look(settings, reference)
    if status in (STOPPED, CREATING):
        raise WrongState(f"container {reference} is not running")
    cgroup = waiting.cgroup_of(entry)
    if cgroup is None:
        raise HostError(f"container {reference} has no cgroup: it has no limits", hint="pycontain doctor")
    with cgroup, entry.lock():
        state = entry.load()
        given = _given(limits, state)
        told = {key: value for key, value in limits.asdict().items() if value not in (None, "", [])}
        merged = {**state.options.get("limits", {}), **told}
        if swaplimit.is_implied(merged) and swaplimit.uncounted(cgroup, cgroup.check(given)):
            given = swaplimit.without_swap(given)
            of(settings).warning(swaplimit.NOTE)
        update_cgroup(cgroup, given)
        spec = config.load(entry)
        resources = _merged(spec.linux.resources or LinuxResources(), given)
        config.save(entry, spec.replace(linux=spec.linux.replace(resources=resources)))
        entry.save(state.replace(options={**state.options, "limits": merged}))


def _given(limits: Limits, state: State) -> LinuxResources:
    """Return the new limits; memory and swap that was asked for by name before stays when only memory changes."""
    swap = state.options.get("limits", {}).get("memory_swap")
    if limits.memory is not None and limits.memory_swap is None and swap is not None:
        limits = limits.replace(memory_swap=swap)
    return linux_resources(limits, device_numbers(limits))


def _merged(old: _R, new: _R) -> _R:
    """Return ``old`` with everything that ``new`` says, part by part."""
    changes = {}
    for name, value in new._items():
        before = getattr(old, name)
        if isinstance(value, Record) and isinstance(before, Record):
            changes[name] = _merged(before, value)
        elif value not in (None, "", (), {}):
            changes[name] = value
    return old.replace(**changes)
