"""``completion``: the script that a shell loads; the shell then asks this program for every word."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pycontain.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
_HELP = """Print a completion script.

bash: source <(pycontain completion bash), or write it to /etc/bash_completion.d/pycontain.
zsh: pycontain completion zsh > "${fpath[1]}/_pycontain".
fish: pycontain completion fish > ~/.config/fish/completions/pycontain.fish.
"""


def command(_name: str) -> click.Command:
    """Return the click command."""

    def completion(shell: str) -> int:
        # pycontain.cli.group imports this module by name only
        from pycontain.cli.group import PROGRAM, group
        from pycontain.cli.main import COMPLETE

        if shell not in SHELLS:
            raise UsageError(f"{shell!r} is not a shell that can be completed", hint="one of " + ", ".join(SHELLS))
        kind = get_completion_class(shell)
        assert kind is not None, "click knows these three"
        click.echo(kind(group(), {}, PROGRAM, COMPLETE).source())
        return 0

    shell = click.Argument(["shell"], metavar="|".join(SHELLS))
    return click.Command("completion", callback=completion, params=[shell], help=_HELP, short_help="completion script")
