"""``version``, ``info`` and ``doctor``: this program and this host."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from typing import Any

import click

import pycontain
from pycontain.cli.commands import COMMANDS
from pycontain.cli.output import check_format, print_document
from pycontain.engine import doctor as examination
from pycontain.runtime import state
from pycontain.runtime.settings import Settings

_FORMAT = click.Option(["--format", "form"], default="table", metavar="table|json", help="as text or as JSON")
_LABELS = {
    examination.OK: ("ok", "green"),
    examination.NOTE: ("note", "blue"),
    examination.GAP: ("gap", "yellow"),
    examination.FAIL: ("FAIL", "red"),
}


def version(form: str) -> None:
    """Print versions."""
    check_format(form)
    found = {
        "Version": pycontain.__version__,
        "Python": platform.python_version(),
        "Kernel": os.uname().release,
        "Arch": os.uname().machine,
    }
    if form == "json":
        print_document(found)
    else:
        sys.stdout.write(f"pycontain {found['Version']}\n")
        sys.stdout.writelines(f"{key.lower() + ':':<8}{value}\n" for key, value in found.items() if key != "Version")


@click.pass_obj
def info(settings: Settings, form: str) -> None:
    """Print where things are and how many containers there are."""
    check_format(form)
    found = _info(settings)
    if form == "json":
        print_document(found)
        return
    for key, value in found.items():
        if isinstance(value, dict):
            sys.stdout.write(f"{key}:\n")
            sys.stdout.writelines(f"  {name}: {one}\n" for name, one in value.items())
        else:
            sys.stdout.write(f"{key}: {value}\n")


def _info(settings: Settings) -> dict[str, Any]:
    from pycontain.cgroups.host import probe_host
    from pycontain.engine.volumes import list_volumes
    from pycontain.errors import PycontainError

    store = state.Store(settings)
    counts = {"total": 0, state.RUNNING: 0, state.PAUSED: 0, state.STOPPED: 0, state.CREATED: 0}
    for container_id in store.ids():
        counts["total"] += 1
        entry = state.Entry(store, container_id)
        try:
            status = entry.status(entry.load())
        except PycontainError:
            continue
        counts[status] = counts.get(status, 0) + 1
    name = os.uname()
    return {
        "version": pycontain.__version__,
        "containers": counts,
        "volumes": len(list_volumes(settings)),
        "state": settings.state,
        "data": settings.data,
        "rootless": settings.rootless,
        "cgroup": {"mode": probe_host().mode, "manager": settings.cgroup_manager},
        "kernel": name.release,
        "architecture": name.machine,
        "system": _system_name(),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


@click.pass_obj
def doctor(settings: Settings, form: str, rootfs: str | None) -> int:
    """Print what was found; 1 when something is missing that every container needs."""
    check_format(form)
    findings = list(examination.Examination(settings, rootfs or "").findings())
    if form == "json":
        print_document([one.asdict() for one in findings])
    else:
        for one in findings:
            label, color = _LABELS[one.status]
            click.echo(f"{click.style(f'{label:<5}', fg=color)} {one.name}: {one.text}")
            if one.fix:
                click.echo(f"      mend: {one.fix}")
    return int(any(one.status == examination.FAIL for one in findings))


def command(name: str) -> click.Command:
    """Return the click command of that name."""
    callbacks: dict[str, Callable[..., Any]] = {"version": version, "info": info, "doctor": doctor}
    params: list[click.Parameter] = [_FORMAT]
    if name == "doctor":
        params.append(click.Argument(["rootfs"], required=False, metavar="[ROOTFS]"))
    settings = {"help_option_names": ["--help"]}
    return click.Command(
        name, callback=callbacks[name], params=params, help=COMMANDS[name][1], context_settings=settings
    )
