"""Changing the limits of a running container: all of them, or none. Not for the start path.

Values go through the schema, which knows each file's syntax; what was there before is kept and written back when the
kernel refuses a later one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pycontain.cgroups import schema, tree
from pycontain.cgroups.refusal import explain
from pycontain.cgroups.setting import Refused, write_all
from pycontain.errors import HostError

if TYPE_CHECKING:
    from pycontain.cgroups.cgroup import Cgroup
    from pycontain.cgroups.devices import DeviceFilter
    from pycontain.cgroups.setting import Setting
    from pycontain.spec.resources import LinuxResources, Memory


def update(cgroup: Cgroup, resources: LinuxResources, devices: DeviceFilter | None = None) -> None:
    """Make ``resources`` hold for the processes in ``cgroup``; what they do not name stays as it is.

    With ``memory.check_before_update`` a limit below what is used now is refused on both generations; otherwise cgroup
    v1 refuses it if the kernel cannot reclaim enough, and v2 kills.

    Raises:
        HostError: a limit cannot be enforced; nothing has changed.
        SpecError: a value that no kernel takes.
    """
    resources = _complete(cgroup, resources)
    wanted = cgroup.check(resources, devices)
    if resources.memory is not None and resources.memory.check_before_update:
        _check_usage(cgroup, resources.memory)
    _enable(cgroup, wanted)
    before: list[tuple[Setting, str]] = []

    def write(setting: Setting) -> None:
        old = _present(cgroup, setting)
        _assign(cgroup, setting)
        before.append((setting, old))

    try:
        write_all(wanted, write)
        if devices is not None:
            cgroup.apply_devices(devices)
    except Refused as refused:
        error = explain(refused, cgroup.directory(refused.setting.controller))
        _restore(cgroup, before)
        raise error from refused.cause
    except BaseException:
        _restore(cgroup, before)
        raise


def _complete(cgroup: Cgroup, resources: LinuxResources) -> LinuxResources:
    """Return ``resources`` with what cgroup v2 needs beside a value that was given alone."""
    cpu, memory = resources.cpu, resources.memory
    if cpu is not None and cpu.period and not cpu.quota and "cpu" not in cgroup.paths.v1:
        quota, _ = schema.CpuV2(cgroup.directory("cpu")).max if _has(cgroup, "cpu.max") else (None, None)
        resources = resources.replace(cpu=cpu.replace(quota=-1 if quota is None else quota))
    if memory is not None and memory.swap and memory.swap > 0 and not memory.limit and "memory" not in cgroup.paths.v1:
        limit = schema.MemoryV2(cgroup.directory("memory")).max if _has(cgroup, "memory.max") else None
        # without a limit the difference would be all of swap: let the check say that it needs one
        if limit is not None:
            resources = resources.replace(memory=memory.replace(limit=limit))
    return resources


def _has(cgroup: Cgroup, file: str) -> bool:
    return bool(cgroup.directory(file.partition(".")[0]).read_or(file, ""))


def _check_usage(cgroup: Cgroup, memory: Memory) -> None:
    """Raise HostError if a limit is below what is used now. Source: config-linux.md checkBeforeUpdate"""
    from pycontain.cgroups.stats import stats

    used = stats(cgroup).memory
    if used is None:
        return
    swap = used.swap_usage or 0
    for name, limit, usage in (("limit", memory.limit, used.usage), ("swap", memory.swap, used.usage + swap)):
        if limit and 0 < limit < usage:
            raise HostError(
                f"memory.{name}: {limit} is below the present use of {usage} bytes (peak {used.peak or usage})",
                requirement="cgroup:memory",
                hint="choose a higher limit, end processes first, or leave out checkBeforeUpdate",
            )


def _enable(cgroup: Cgroup, wanted: tuple[Setting, ...]) -> None:
    """Let the cgroup have controllers of v2 that it did not need until now."""
    path = cgroup.paths.unified
    required = {setting.controller for setting in wanted} - {"cgroup", *cgroup.paths.v1}
    if path and required:
        tree.enable(os.path.dirname(path), required, required, anchor=cgroup.paths.anchor, own=cgroup.paths.own)


def _assign(cgroup: Cgroup, setting: Setting) -> None:
    generation = 1 if setting.controller in cgroup.paths.v1 else 2
    directory = cgroup.directory(setting.controller)
    controller = schema.controller(setting.controller, generation, directory, setting.file)
    if controller is None or setting.path.startswith("linux.resources.unified."):
        # a controller that is newer than we are, or a value whose form is the user's own affair
        directory.write(setting.file, setting.value)
    else:
        schema.assign(controller, setting.file, setting.value)


def _present(cgroup: Cgroup, setting: Setting) -> str:
    """Return what would undo the setting: the file's text, or of a table the lines of the devices that are set."""
    text = cgroup.directory(setting.controller).read(setting.file)
    if setting.file == "memory.oom_control":
        return text.split()[1]  # "oom_kill_disable 0" and two lines that cannot be written
    if " " not in setting.value or setting.file == "cpu.max":
        return text
    present = {line.split(" ", 1)[0]: line for line in text.splitlines()}
    keys = dict.fromkeys(line.split(" ", 1)[0] for line in setting.value.splitlines())
    return "\n".join(present.get(key, f"{key} {_unset(setting.file)}") for key in keys)


def _unset(file: str) -> str:
    """Return the word that takes a device out of a table."""
    if file == "io.max":
        return "rbps=max wbps=max riops=max wiops=max"
    return "0" if "throttle" in file else "default"


def _restore(cgroup: Cgroup, before: list[tuple[Setting, str]]) -> None:
    """Write back what was there, last first; what the kernel will not take back stays."""
    pending = [setting.replace(value=old, instead=None) for setting, old in reversed(before)]
    while pending:
        try:
            write_all(pending, cgroup.write)
        except Refused as refused:
            pending.remove(refused.setting)
        else:
            return
