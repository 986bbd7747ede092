"""``version``, ``info`` and ``doctor``: this program and this host."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from pycontain.cli.commands import COMMANDS
from pycontain.cli.output import check_format, print_document
from pycontain.engine import doctor as examination
from pycontain.engine import summary
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
    found = summary.versions()
    if form == "json":
        print_document(found)
        return
    sys.stdout.write(f"pycontain {found.pop('version')}\n")
    sys.stdout.writelines(f"{key}: {value}\n" for key, value in found.items())


@click.pass_obj
def info(settings: Settings, form: str) -> None:
    """Print where things are and how many containers there are."""
    check_format(form)
    found = summary.installation(settings)
    if form == "json":
        print_document(found)
        return
    for key, value in found.items():
        text = ", ".join(f"{count} {name}" for name, count in value.items()) if isinstance(value, dict) else str(value)
        sys.stdout.write(f"{key.replace('_', ' ')}: {text}\n")


@click.pass_obj
def doctor(settings: Settings, form: str, rootfs: str | None) -> int:
    """Print what was found; 1 when something is missing that every container needs."""
    check_format(form)
    findings = list(examination.Examination(settings, rootfs or "").findings())
    if form == "json":
        print_document([one.asdict() for one in findings])
    else:
        told: dict[str, str] = {}
        for one in findings:
            label, color = _LABELS[one.status]
            click.echo(f"{click.style(f'{label:<5}', fg=color)} {one.name}: {one.text}")
            if one.fix:
                first = told.setdefault(one.fix, one.name)
                click.echo(f"      mend: {one.fix if first == one.name else f'as for {first}'}")
    return int(any(one.status == examination.FAIL for one in findings))


def command(name: str) -> click.Command:
    """Return the click command of that name."""
    callbacks: dict[str, Callable[..., Any]] = {"version": version, "info": info, "doctor": doctor}
    params: list[click.Parameter] = [_FORMAT]
    if name == "doctor":
        params.append(click.Argument(["rootfs"], required=False, metavar="[ROOTFS]"))
    settings = {"help_option_names": ["--help"]}
    return click.Command(
        name, callback=callbacks[name], params=params, help=COMMANDS[name].help, context_settings=settings
    )
