"""The click side: help pages, completion, and every command that starts no container.

Only the module of the chosen command is imported; the list of commands comes from a table.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import click
from click.shell_completion import CompletionItem

from pycontain.cli.clickside import TableCommand, click_options
from pycontain.cli.commands import COMMANDS
from pycontain.cli.globals import GLOBAL_OPTIONS, load_settings
from pycontain.engine.suggest import closest
from pycontain.errors import PycontainError, UsageError

PROGRAM = "pycontain"
_EPILOG = "pycontain COMMAND --help says more. Exit codes: the program's own, 128 + signal, 125 ours, 126, 127."


class LazyGroup(click.Group):
    """A group whose members are imported when they are run or asked for help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if COMMANDS[cmd_name].table:
            return TableCommand(cmd_name)
        module = importlib.import_module(f"pycontain.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = module.command(cmd_name)
        return command

    def commands_of(self) -> dict[str, click.Command]:
        """Return every command, all of them imported: for the manual and for tests."""
        context = click.Context(self, info_name=PROGRAM)
        found = {name: self.get_command(context, name) for name in COMMANDS}
        return {name: command for name, command in found.items() if command is not None}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.help) for name, one in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name, help=one.help) for name, one in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def group() -> LazyGroup:
    """Return the whole command line as a click group; also what the manual is made from."""

    def settings_of(**values: Any) -> None:
        context = click.get_current_context()
        given = {key: value for key, value in values.items() if value is not None}
        if not context.resilient_parsing:
            context.obj = load_settings(given, dict(os.environ))

    return LazyGroup(
        PROGRAM,
        params=[*click_options(GLOBAL_OPTIONS)],
        callback=settings_of,
        help="Containers on Linux, with docker's words.",
        epilog=_EPILOG,
        context_settings={"help_option_names": ["--help"], "max_content_width": 100},
        subcommand_metavar="COMMAND [ARGUMENT]...",
    )


def invoke(words: list[str]) -> int:
    """Run a command through click and return its exit code.

    Raises:
        UsageError: what click says of the words, as one of our errors.
    """
    try:
        result = group().main(args=words, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.Abort:
        return 130
    except SystemExit as leaving:
        # Outside standalone mode click leaves like this only after completing, or when nobody reads its output.
        if leaving.code:
            raise BrokenPipeError from leaving
        return 0
    except click.ClickException as error:
        raise _translate(error) from error
    return result if isinstance(result, int) else 0


def _translate(error: click.ClickException) -> PycontainError:
    """Return click's error in our words: the thing, the cause, a hint."""
    hint = "see --help"
    if isinstance(error, click.NoSuchOption):
        known = [name for param in error.ctx.command.params for name in param.opts] if error.ctx else []
        guess = closest(error.option_name, known)
        return UsageError(f"{error.option_name}: no such option", hint=f"did you mean {guess}?" if guess else hint)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return UsageError(f"{error.param.human_readable_name} is missing", hint=_usage(error))
    if isinstance(error, click.BadParameter) and error.param is not None:
        name = error.param.opts[0] if isinstance(error.param, click.Option) else error.param.human_readable_name
        return UsageError(f"{name}: {_plain(error.message)}", hint=hint)
    return UsageError(_plain(error.format_message()), hint=_usage(error))


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return context.get_usage().removeprefix("Usage: ") if context is not None else "see --help"


def _plain(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:]
