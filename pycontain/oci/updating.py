"""``update``: change the limits of a container."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pycontain import lean_json, sizes
from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.cgroups.devices import DeviceFilter
from pycontain.cgroups.update import update as update_cgroup
from pycontain.errors import HostError, UsageError, WrongState
from pycontain.oci.invocation import Invocation
from pycontain.oci.store import CREATED, PAUSED, RUNNING, State
from pycontain.oci.words import LIMITS, Told
from pycontain.plan.device_filter import build, container_rules
from pycontain.spec.decode import decode_resources
from pycontain.spec.rules.validation import validate_resources

#: option -> where its value stands in linux.resources
_PLACES = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "pids-limit": ("pids", "limit"),
}
_LISTS = ("cpuset-cpus", "cpuset-mems")


def update(invocation: Invocation, told: Told) -> int:
    """Change the limits of a container; those that are not given stay.

    Raises:
        WrongState: it does not run.
        HostError: a limit cannot be enforced; nothing has changed then.
        SpecError: the document is wrong.
    """
    container = invocation.store.find(told.arguments[0])
    container.lock()
    state = container.load()
    if container.status(state) not in (CREATED, RUNNING, PAUSED):
        raise WrongState("container not running")
    document, source = _document(invocation, told)
    resources, ignored = decode_resources(document, source=source)
    for line in (*ignored, *validate_resources(resources, source=source)):
        invocation.log.warning(line)
    devices = None
    if resources.devices:
        rules = container_rules(resources.devices)
        devices = DeviceFilter(rules, build(rules))
    restore = _change_class(told, state)
    with Cgroup(CgroupPaths(**state.cgroup)) as cgroup:
        try:
            if document or restore is None:
                if not cgroup.paths.exists:
                    raise HostError("the container has no cgroup: it has no limits", requirement="cgroup")
                update_cgroup(cgroup, resources, devices)
        except BaseException:
            if restore is not None:
                restore()
            raise
    container.unlock()
    return 0


def _change_class(told: Told, state: State) -> Callable[[], None] | None:
    """Change the schema of the container's class of resctrl; return what undoes it, None where nothing is asked for."""
    lines = tuple(line for line in (told.text("l3-cache-schema"), told.text("mem-bw-schema")) if line)
    if not lines:
        return None
    from pycontain.oci import rdt

    return rdt.change(state.rdt, lines, rdt.mounted())


def _document(invocation: Invocation, told: Told) -> tuple[object, str]:
    """Return linux.resources as JSON, from a file or from options, and a name for it."""
    file = told.text("resources")
    if not file:
        return _from_options(told), "options"
    for name, _, _ in LIMITS:
        if told.text(name):
            invocation.log.warning(f"--{name}: has no effect, --resources says everything")
    try:
        fd = 0 if file == "-" else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        with open(fd, "rb", closefd=file != "-") as stream:
            return lean_json.loads(stream.read(lean_json.MAX_BYTES + 1), source=file), file
    except OSError as error:
        raise UsageError(f"--resources: {file}: {(error.strerror or '').lower()}") from error


def _from_options(told: Told) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, _, unit in LIMITS:
        text = told.text(name)
        if text:
            part, key = _PLACES[name]
            value = text if name in _LISTS else _number(name, text, sized=unit == "BYTES")
            document.setdefault(part, {})[key] = value
    return document


def _number(name: str, text: str, *, sized: bool) -> int:
    """Return a number, of bytes also with a unit such as ``64M``; -1 is no limit."""
    if sized and text != "-1":
        return sizes.parse_size(f"--{name}", text)
    return sizes.parse_integer(f"--{name}", text, -1, sizes.MAX_INT64)
