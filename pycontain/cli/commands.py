"""The commands: one line of help each, and where they are; nothing is imported to list them. [lean]"""

from __future__ import annotations

from pycontain.record import Record


class Command(Record):
    """``module`` holds the command: with ``table`` in its ``VERBS``, for our own parser, else as ``command(name)``.

    ``members`` are the commands below it.
    """

    module: str
    help: str
    table: bool = True
    members: tuple[str, ...] = ()


_VOLUME = ("ls", "inspect", "create", "rm", "prune")
# In the order of the help page
COMMANDS = {
    "run": Command("running", "make a container and run a command in it"),
    "create": Command("running", "make a container without starting it"),
    "start": Command("life", "start containers that were created or have ended"),
    "exec": Command("running", "run a further command in a running container"),
    "attach": Command("life", "connect this terminal to a running container"),
    "stop": Command("life", "end containers: by their stop signal, then by force"),
    "restart": Command("life", "stop containers and start them again"),
    "kill": Command("life", "send a signal to containers [KILL]"),
    "pause": Command("life", "freeze all processes of containers"),
    "unpause": Command("life", "let paused containers run again"),
    "wait": Command("life", "wait until containers have ended and print their exit codes"),
    "rm": Command("life", "remove containers"),
    "ps": Command("looking", "list containers"),
    "logs": Command("looking", "print what a container has written"),
    "inspect": Command("looking", "print what is known of containers, as JSON"),
    "top": Command("looking", "list the processes of a container"),
    "stats": Command("looking", "show what containers use"),
    "events": Command("looking", "print what happens to containers, as it happens or did"),
    "cp": Command("files", "copy files between a container and the host"),
    "diff": Command("files", "list what a container has changed in its root file system"),
    "export": Command("files", "write the root file system of a container as a tar archive"),
    "rename": Command("life", "give a container another name"),
    "update": Command("life", "change the limits of running containers"),
    "prune": Command("looking", "remove containers that have ended, and what was left behind"),
    "explain": Command("running", "print what run would do, and do nothing"),
    "volume": Command("volume", "named volumes: ls, inspect, create, rm, prune", False, _VOLUME),
    "doctor": Command("host", "what this host can and cannot do, and what would mend it", table=False),
    "info": Command("host", "this installation and its containers in numbers", table=False),
    "version": Command("host", "versions of the program, Python and the kernel", table=False),
    "completion": Command("completion", "print a completion script for bash, zsh or fish", table=False),
}
