"""Tables of options as click's options, and the commands of :mod:`pycontain.cli.running` as click's commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from pycontain.cli.commands import COMMANDS
from pycontain.cli.completing import containers
from pycontain.cli.table import FLAG, MANY, Option
from pycontain.cli.verbs import CONTAINER, ROOT, find, read

_PATHS = ("FILE", "DIR", "PATH", "ROOTFS", "[SOURCE:]DIR[:OPTIONS]", "HOST[:CONTAINER][:rwm]")
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class GroupedOption(click.Option):
    """An option that knows under which heading the help page shows it."""

    group = "Options"


def click_options(options: Iterable[Option]) -> list[click.Option]:
    """Return click's options of a table, in its order."""
    found: list[click.Option] = []
    for option in options:
        settings: dict[str, Any] = {"is_flag": True, "default": None} if option.kind == FLAG else {}
        if option.kind != FLAG:
            settings = {"metavar": option.metavar, "multiple": option.kind == MANY, "default": None}
            settings["shell_complete"] = _complete_value(option)
        # docker's order: the short name first on a help line
        names = sorted(option.names, key=len)
        made = GroupedOption([*names, option.key], help=option.help, **settings)
        made.group = option.group
        found.append(made)
    return found


def _complete_value(option: Option) -> Complete:
    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if option.choices:
            return [CompletionItem(text) for text in option.choices if text.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file")] if option.metavar in _PATHS else []

    return complete


class TableCommand(click.Command):
    """A command whose words our own parser reads, also when click has been loaded: there is one grammar."""

    def __init__(self, name: str) -> None:
        self.verb = find(name)
        first, *more = self.verb.words.split(" ")
        complete = {ROOT: _complete_root, CONTAINER: containers}.get(self.verb.offer)
        many = first.endswith("...")
        key = first.strip("[].").lower() or "nothing"
        words = [click.Argument([key], nargs=-1 if many else 1, required=False, metavar=first, shell_complete=complete)]
        if more:
            words.append(click.Argument(["more"], nargs=-1, metavar=" ".join(more)))
        super().__init__(
            name,
            params=[*click_options(self.verb.options), *(words if first else ())],
            help=COMMANDS[name].help,
            context_settings={"allow_interspersed_args": not self.verb.command, "help_option_names": ["--help"]},
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        assert self.name is not None
        parsed = read(self.name, self.verb, args)
        if parsed.help:
            click.echo(ctx.get_help())
            ctx.exit()
        ctx.meta["pycontain.parsed"] = parsed
        return []

    def invoke(self, ctx: click.Context) -> int:
        return self.verb.run(ctx.obj, ctx.meta["pycontain.parsed"])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if not isinstance(parameter, click.Option):
                continue  # the usage line says it all
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", "Options"), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _complete_root(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    found = [CompletionItem(text) for text in ("@host", "@host:public") if incomplete and text.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="dir")]
