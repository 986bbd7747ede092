"""The commands: one line of help each, and where click finds them; nothing is imported to list them. [lean]"""

from __future__ import annotations

# name: (module of this package, help); the order is that of the help page
COMMANDS = {
    "run": ("clickside", "make a container and run a command in it"),
    "create": ("clickside", "make a container without starting it"),
    "exec": ("clickside", "run a further command in a running container"),
    "explain": ("clickside", "print what run would do, and do nothing"),
    "volume": ("volume", "named volumes: ls, inspect, create, rm, prune"),
    "doctor": ("host", "what this host can and cannot do, and what would mend it"),
    "info": ("host", "this installation and its containers in numbers"),
    "version": ("host", "versions of the program, Python and the kernel"),
    "completion": ("completion", "print a completion script for bash, zsh or fish"),
}
