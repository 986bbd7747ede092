"""Help of the command line, from the table that reads it, printed through click."""

from __future__ import annotations

import sys

import click

from pycontain.errors import UsageError
from pycontain.oci.invocation import PROGRAM
from pycontain.oci.words import COMMANDS, FLAG, GLOBAL, LIST, Command, Option


def show(name: str) -> int:
    """Print the help of a command, "" for the whole program.

    Raises:
        UsageError: there is no such command.
    """
    if name and name not in COMMANDS:
        raise UsageError(f"No help topic for '{name}'")
    whole = group()
    context = click.Context(whole, info_name=PROGRAM)
    if name:
        context = click.Context(whole.commands[name], info_name=name, parent=context)
    sys.stdout.write(context.get_help() + "\n")
    sys.stdout.flush()
    return 0


def group() -> click.Group:
    """Return the command line as click's objects: for help and manual pages, nothing of it is called."""
    whole = click.Group(PROGRAM, help=GLOBAL.help, params=[*map(_option, GLOBAL.options)])
    for name, command in COMMANDS.items():
        whole.add_command(_command(name, command))
    return whole


def _command(name: str, command: Command) -> click.Command:
    made = click.Command(name, help=command.help, params=[*map(_option, command.options)])
    made.options_metavar = f"[OPTION…] {command.arguments}".rstrip()
    return made


def _option(option: Option) -> click.Option:
    words = [f"--{option.name}", *([f"-{option.short}"] if option.short else [])]
    if option.kind == FLAG:
        return click.Option(words, is_flag=True, help=option.help)
    return click.Option(words, help=option.help, metavar=option.metavar, multiple=option.kind == LIST)
