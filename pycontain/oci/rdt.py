"""Classes of cache and memory bandwidth, and monitoring groups, of resctrl. Source: config-linux.md#intelrdt

::

    <resctrl>/<closID or the container's id>/{schemata,tasks}
    <resctrl>/<…>/mon_groups/<the container's id>/tasks          with enableMonitoring

A directory is journaled before it is made. What is removed with a container is what was made for it; a class with a
name of its own stays as long as other processes are in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pycontain.cgroups.layout import unescape
from pycontain.errors import HostError, SpecError
from pycontain.runtime import journal
from pycontain.runtime.journal import Journal
from pycontain.spec.linux import IntelRdt

PATH = "linux.intelRdt"
ROOT = "/"


def mounted(table: str = "/proc/self/mountinfo") -> str:
    """Return where a resctrl file system is mounted.

    Raises:
        HostError: nowhere.
    """
    with open(table, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            if right.startswith("resctrl "):
                return unescape(left.split()[4])
    raise HostError(
        f"{PATH}: no resctrl file system is mounted",
        requirement="resctrl",
        hint="mount -t resctrl resctrl /sys/fs/resctrl, where the processor has it",
    )


def prepare(
    wanted: IntelRdt, container_id: str, resctrl: str, intents: Journal, mkdir: Callable[[str], None] = os.mkdir
) -> tuple[str, ...]:
    """Make or check the container's class and return the directories whose ``tasks`` its processes are to enter.

    ``mkdir`` makes a directory in which the files of resctrl are at once, as the kernel does.

    Raises:
        SpecError: the class is not there, or differs from what is asked for, or the kernel refuses.
    """
    lines = tuple(line for line in (wanted.l3_cache_schema, wanted.mem_bw_schema, *wanted.schemata) if line)
    name = wanted.clos_id or container_id
    directory = resctrl if name == ROOT else f"{resctrl}/{name}"
    if os.path.isdir(directory):
        _compare(directory, lines)
    elif wanted.clos_id is not None and not lines:
        raise SpecError(f"{PATH}.closID", f"there is no class {name}, and no schema to make it from")
    else:
        _make(directory, intents, mkdir)
        _write_schemata(directory, lines, resctrl)
    if not wanted.enable_monitoring:
        return (directory,)
    group = f"{directory}/mon_groups/{container_id}"
    _make(group, intents, mkdir)
    return directory, group


def enter(directories: tuple[str, ...], pid: int) -> None:
    """Put a process into its class and monitoring group.

    Raises:
        HostError: the kernel refuses.
    """
    for directory in directories:
        try:
            _write(f"{directory}/tasks", str(pid))
        except OSError as error:
            raise HostError(f"{PATH}: {directory}/tasks: {(error.strerror or '').lower()}") from error


def change(directories: tuple[str, ...], lines: tuple[str, ...], resctrl: str) -> Callable[[], None]:
    """Change the schema of a container's class, and return what puts the former one back.

    Raises:
        HostError: it has no class of its own.
        SpecError: the kernel refuses the schema.
    """
    if not directories:
        raise HostError(f"{PATH}: the container was made without it: it has no class whose schema could be changed")
    directory = directories[0]
    if directory == resctrl:
        raise HostError(f"{PATH}: the container is in the root class, which is that of everything on this host")
    try:
        with open(f"{directory}/schemata", encoding="utf-8") as file:
            former = tuple(line.strip() for line in file if line.strip())
    except OSError as error:
        raise HostError(f"{PATH}: {directory}/schemata: {(error.strerror or '').lower()}") from error
    _write_schemata(directory, lines, resctrl)
    return lambda: _write_schemata(directory, former, resctrl)


def remove(directories: list[str], rmdir: Callable[[str], None] = os.rmdir) -> None:
    """Remove directories that were made, the last one first; classes that others have joined stay.

    ``rmdir`` removes a directory with the files of resctrl in it, as the kernel does.

    Raises:
        HostError: the kernel refuses.
    """
    for directory in reversed(directories):
        try:
            with open(f"{directory}/tasks", encoding="utf-8") as file:
                if file.read().strip():
                    continue
            rmdir(directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise HostError(f"{PATH}: rmdir {directory}: {(error.strerror or '').lower()}") from error


def _make(directory: str, intents: Journal, mkdir: Callable[[str], None]) -> None:
    intents.intend(journal.RDT, directory)
    try:
        mkdir(directory)
    except OSError as error:
        intents.withdraw(journal.RDT, directory)
        raise HostError(
            f"{PATH}: mkdir {directory}: {(error.strerror or '').lower()}",
            hint="the processor has a limited number of classes and monitoring groups",
        ) from error


def _write_schemata(directory: str, lines: tuple[str, ...], resctrl: str) -> None:
    if not lines:
        return
    try:
        _write(f"{directory}/schemata", "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise SpecError(PATH, f"schemata: {(error.strerror or '').lower()}{_last_status(resctrl)}") from error


def _last_status(resctrl: str) -> str:
    try:
        with open(f"{resctrl}/info/last_cmd_status", encoding="utf-8", errors="replace") as file:
            return f": {file.read().strip()}"
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _compare(directory: str, lines: tuple[str, ...]) -> None:
    """Refuse a class that exists and has another schema."""
    if not lines:
        return
    try:
        with open(f"{directory}/schemata", encoding="utf-8") as file:
            found = dict(_domains(file.read().splitlines()))
    except OSError as error:
        raise HostError(f"{PATH}: {directory}/schemata: {(error.strerror or '').lower()}") from error
    for key, value in _domains(lines):
        if found.get(key) != value:
            resource, domain = key
            raise SpecError(PATH, f"{directory} has {resource}:{domain}={found.get(key, 'nothing')}, not {value}")


def _domains(lines: tuple[str, ...] | list[str]) -> list[tuple[tuple[str, str], str]]:
    """Return ((resource, domain), value) of lines such as ``L3:0=ff;1=f``; cache masks without leading zeros."""
    rows = []
    for line in lines:
        resource, _, rest = line.partition(":")
        for item in rest.split(";"):
            domain, _, value = item.partition("=")
            value = value.strip()
            if resource.strip().startswith("L"):
                value = value.lower().lstrip("0") or "0"
            rows.append(((resource.strip(), domain.strip()), value))
    return rows
