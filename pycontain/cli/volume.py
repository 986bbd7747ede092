"""``volume``: ls, inspect, create, rm, prune."""

from __future__ import annotations

import sys
from typing import Any

import click

from pycontain.cli.commands import COMMANDS
from pycontain.cli.completing import volumes as complete
from pycontain.cli.looking import agreed
from pycontain.cli.output import print_document
from pycontain.engine import labelfilters, volumes
from pycontain.engine.envfile import parse_labels
from pycontain.engine.inspection import iso_time
from pycontain.engine.labelfilters import has_label
from pycontain.engine.names import new_id
from pycontain.engine.rendering import Columns
from pycontain.engine.volumes import Volume
from pycontain.errors import NotFound, PycontainError, UsageError, last_of
from pycontain.runtime.settings import Settings

_COLUMNS = Columns(
    (("Driver", "DRIVER"), ("Name", "VOLUME NAME")),
    {"Mountpoint": "MOUNTPOINT", "Labels": "LABELS", "CreatedAt": "CREATED", "UsedBy": "USED BY", "Scope": "SCOPE"},
)


def _document(volume: Volume) -> dict[str, Any]:
    """Return a volume with docker's names of the fields."""
    return {
        "Name": volume.name,
        "Mountpoint": volume.path,
        "Driver": "local",
        "Scope": "local",
        "CreatedAt": iso_time(volume.created_ns),
        "Labels": volume.labels,
        "Anonymous": volume.anonymous,
        "UsedBy": list(volume.used_by),
    }


@click.group(name="volume", help=COMMANDS["volume"].help, context_settings={"help_option_names": ["--help"]})
def volume_group() -> None:
    """Hold the commands of volumes."""


@volume_group.command(name="ls", help="List volumes.")
@click.option("-q", "--quiet", is_flag=True, help="print names only")
@click.option("--format", "form", default="table", metavar="FORMAT", help="table, json, or a template: {{.Name}}")
@click.option(
    "-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="dangling=true|false, name=, label="
)
@click.pass_obj
def list_(settings: Settings, quiet: bool, form: str, filters: tuple[str, ...]) -> None:
    """List volumes."""
    for text in filters:
        _matches(Volume("", ""), text)  # a wrong one is an error, too, where there is nothing to filter
    found = [one for one in volumes.list_volumes(settings) if all(_matches(one, text) for text in filters)]
    if quiet:
        sys.stdout.writelines(f"{one.name}\n" for one in found)
    else:
        sys.stdout.write(_COLUMNS.render([_document(one) for one in found], form))


def _matches(volume: Volume, text: str) -> bool:
    """Tell whether a volume passes one filter.

    Raises:
        UsageError: the filter is unknown.
    """
    key, _, value = text.partition("=")
    if key == "dangling" and value.lower() in ("true", "false", "1", "0"):
        return (value.lower() in ("true", "1")) == (not volume.used_by)
    if key == "name":
        return value in volume.name
    if key == "label":
        return has_label(volume.labels, value)
    raise UsageError(f"--filter: {text!r} is unknown", hint="dangling=true, name=TEXT or label=KEY[=VALUE]")


@volume_group.command(name="inspect", help="Print what is known of volumes, as JSON.")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...", shell_complete=complete)
@click.pass_obj
def inspect(settings: Settings, names: tuple[str, ...]) -> None:
    """Print volumes as JSON."""
    print_document([_document(volumes.find(settings, name)) for name in names])


@volume_group.command(name="create", help="Make an empty volume and print its name.")
@click.option("--label", "labels", multiple=True, metavar="KEY[=VALUE]", help="a label")
@click.argument("name", required=False, metavar="[NAME]")
@click.pass_obj
def create(settings: Settings, labels: tuple[str, ...], name: str | None) -> None:
    """Make a volume."""
    made = volumes.create(settings, name or new_id(), parse_labels("--label", (), labels), anonymous=name is None)
    sys.stdout.write(f"{made.name}\n")


@volume_group.command(name="rm", help="Remove volumes and what is in them.")
@click.option("-f", "--force", is_flag=True, help="do not complain of volumes that do not exist")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...", shell_complete=complete)
@click.pass_obj
def remove(settings: Settings, force: bool, names: tuple[str, ...]) -> int:
    """Remove volumes; the others are removed when one cannot be."""
    failures: list[PycontainError] = []
    for name in names:
        try:
            volumes.remove(settings, name)
            sys.stdout.write(f"{name}\n")
        except NotFound as error:
            if not force:
                failures.append(error)
        except PycontainError as error:
            failures.append(error)
    if failures:
        sys.stdout.flush()
        raise last_of(failures)
    return 0


@volume_group.command(name="prune", help="Remove the anonymous volumes that no container uses.")
@click.option("-a", "--all", "everything", is_flag=True, help="the named ones, too")
@click.option("-f", "--force", is_flag=True, help="do not ask")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="only those with label=, label!=")
@click.pass_obj
def prune(settings: Settings, everything: bool, force: bool, filters: tuple[str, ...]) -> None:
    """Remove unused volumes."""
    wanted = labelfilters.parse(filters, 0, until=False)
    what = "all" if everything else "all anonymous"
    if not force and not agreed(f"This removes {what} volumes that no container uses. Go on?"):
        return
    done = volumes.prune(settings, everything=everything, want=lambda one: wanted.allows(one.labels, one.created_ns))
    sys.stdout.writelines(f"{name}\n" for name in done)


def command(_name: str) -> click.Command:
    """Return the click command."""
    return volume_group
