"""Reads the command line as engines write it, from one table of commands. [lean]

The forms are those of Go's flag package, which runc's users rely on: ``--name value``, ``--name=value``, with one dash
as well; a flag takes no value but ``--name=true``. Options may stand behind arguments, but for commands that run other
programs: there the first argument ends them.
"""

from __future__ import annotations

from pycontain.errors import UsageError
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FLAG, VALUE, LIST = "flag", "value", "list"
TRUE, FALSE = ("true", "1", "t", "T", "TRUE", "True"), ("false", "0", "f", "F", "FALSE", "False")


class Option(Record):
    """One option; ``short`` is one letter or "". ``kind`` is FLAG, VALUE or LIST; LIST may be given again."""

    name: str
    help: str
    kind: str = VALUE
    short: str = ""
    metavar: str = "VALUE"


class Command(Record):
    """One command. It takes ``least`` to ``most`` arguments; ``mixed``: options may stand behind them."""

    help: str
    arguments: str
    options: tuple[Option, ...] = ()
    least: int = 1
    most: int = 1
    mixed: bool = True


class Told(Record):
    """What a command line says: options that were given, by name, and arguments. ``help`` asks for help."""

    values: dict[str, object]
    arguments: tuple[str, ...]
    help: bool = False

    def text(self, name: str, default: str = "") -> str:
        """Return the value of an option."""
        value = self.values.get(name, default)
        return value if isinstance(value, str) else default

    def flag(self, name: str) -> bool:
        """Return whether a flag is set."""
        return self.values.get(name) is True

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of an option that may be given again."""
        value = self.values.get(name, ())
        return value if isinstance(value, tuple) else ()

    def number(self, name: str, default: int = 0) -> int:
        """Return a whole number that is not negative.

        Raises:
            UsageError: the value is none.
        """
        text = self.text(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise UsageError(f"--{name}: {text!r} is not a number")
        return int(text)


GLOBAL = Command(
    "An OCI runtime",
    "COMMAND [ARGUMENT…]",
    (
        Option("root", "directory of the containers' state", metavar="DIR"),
        Option("log", "file that messages are appended to; standard error without it", metavar="FILE"),
        Option("log-format", "form of messages: text or json", metavar="FORM"),
        Option("debug", "write more messages, and where an error comes from", FLAG),
        Option("systemd-cgroup", "cgroups come from systemd: cgroupsPath is SLICE:PREFIX:NAME", FLAG),
        Option("rootless", "false: only as root of the host; auto and true: what this user may", metavar="WHEN"),
        Option("criu", "program that checkpoint and restore use; the criu of PATH without it", metavar="FILE"),
        Option("version", "print versions", FLAG, "v"),
    ),
    least=0,
    most=-1,
    mixed=False,
)

_BUNDLE = Option("bundle", "directory of config.json", short="b", metavar="DIR")
_CONSOLE = Option("console-socket", "socket that gets the terminal", metavar="SOCKET")
_PIDFD = Option("pidfd-socket", "socket that gets a descriptor of the process", metavar="SOCKET")
_PID_FILE = Option("pid-file", "file to write the process id to", metavar="FILE")
_PRESERVE = Option("preserve-fds", "number of descriptors from 3 on to hand on", metavar="N")
_DETACH = Option("detach", "return as soon as the process runs", FLAG, "d")
_CREATE = (
    _BUNDLE,
    _CONSOLE,
    _PIDFD,
    _PID_FILE,
    Option("no-pivot", "enter the root with chroot where pivot_root cannot be used", FLAG),
    Option("no-new-keyring", "stay in the caller's session keyring", FLAG),
    _PRESERVE,
)

_IMAGES = (
    Option("image-path", "directory of the checkpoint; ./checkpoint without it", metavar="DIR"),
    Option("work-path", "directory of CRIU's log; that of the checkpoint without it", metavar="DIR"),
    Option("tcp-established", "also connections of TCP", FLAG),
    Option("ext-unix-sk", "also unix sockets whose other end is outside", FLAG),
    Option("shell-job", "also processes that use a terminal of the caller", FLAG),
    Option("file-locks", "also locks on files", FLAG),
    Option("manage-cgroups-mode", "cgroups: soft (default), full, strict, props, none, ignore", metavar="MODE"),
    Option("network-lock", "how connections are held: iptables (default), nftables or skip", metavar="METHOD"),
    Option("empty-ns", "namespace whose devices are not restored; network always is one", LIST, metavar="NAME"),
    Option("auto-dedup", "give memory back from the images once it is read or a parent has it", FLAG),
    Option("lazy-pages", "fetch memory when it is first used", FLAG),
)

LIMITS = (
    ("blkio-weight", "weight of block devices, 10 to 1000", "N"),
    ("cpu-period", "period of the processor quota", "MICROSECONDS"),
    ("cpu-quota", "processor time per period", "MICROSECONDS"),
    ("cpu-burst", "processor time that may be saved up", "MICROSECONDS"),
    ("cpu-share", "weight of processor time", "N"),
    ("cpu-rt-period", "period of the real-time quota", "MICROSECONDS"),
    ("cpu-rt-runtime", "real-time processor time per period", "MICROSECONDS"),
    ("cpu-idle", "1: only time that nobody else wants", "0|1"),
    ("cpuset-cpus", "processors", "LIST"),
    ("cpuset-mems", "memory nodes", "LIST"),
    ("memory", "memory; -1 for no limit", "BYTES"),
    ("memory-reservation", "memory that is protected", "BYTES"),
    ("memory-swap", "memory and swap together; -1 for no limit", "BYTES"),
    ("pids-limit", "processes; -1 for no limit", "N"),
)

COMMANDS: dict[str, Command] = {
    "create": Command("Make a container that waits to be started.", "ID", _CREATE),
    "run": Command(
        "Make a container and start it.",
        "ID",
        (
            *_CREATE,
            _DETACH,
            Option("no-subreaper", "do not adopt the container's orphans", FLAG),
            Option("keep", "do not delete the container when it ends", FLAG),
        ),
    ),
    "start": Command("Start the program of a container that was created.", "ID"),
    "state": Command("Print the state of a container as JSON.", "ID"),
    "kill": Command(
        "Send a signal to a container.",
        "ID [SIGNAL]",
        (Option("all", "send it to every process", FLAG, "a"),),
        most=2,
    ),
    "delete": Command(
        "Remove what was made for a container that has stopped.",
        "ID",
        (Option("force", "kill it first", FLAG, "f"),),
    ),
    "exec": Command(
        "Run one more process in a container.",
        "ID [COMMAND [ARGUMENT…]]",
        (
            _CONSOLE,
            _PIDFD,
            Option("cwd", "working directory", metavar="DIR"),
            Option("env", "variable of the environment", LIST, "e", "NAME=value"),
            Option("tty", "give it a terminal", FLAG, "t"),
            Option("user", "user and group by number", short="u", metavar="UID[:GID]"),
            Option("additional-gids", "one more group", LIST, "g", "GID"),
            Option("process", "file with the process as JSON, instead of options", short="p", metavar="FILE"),
            _DETACH,
            _PID_FILE,
            Option("process-label", "SELinux label", metavar="LABEL"),
            Option("apparmor", "AppArmor profile", metavar="PROFILE"),
            Option("no-new-privs", "no new privileges by executing a program", FLAG),
            Option("cap", "one more capability", LIST, "c", "CAPABILITY"),
            _PRESERVE,
            Option("cgroup", "cgroup below the container's", LIST, metavar="[CONTROLLER:]PATH"),
            Option("ignore-paused", "also in a container that is paused, where it waits", FLAG),
        ),
        most=-1,
        mixed=False,
    ),
    "ps": Command(
        "Print the processes of a container.",
        "ID [OPTIONS OF PS…]",
        (Option("format", "table or json", short="f", metavar="FORM"),),
        most=-1,
        mixed=False,
    ),
    "pause": Command("Stop every process of a container.", "ID"),
    "resume": Command("Let the processes of a paused container run again.", "ID"),
    "update": Command(
        "Change the limits of a container.",
        "ID",
        (
            Option(
                "resources",
                "file with linux.resources as JSON, instead of options; - is standard input",
                short="r",
                metavar="FILE",
            ),
            *(Option(name, help, metavar=metavar) for name, help, metavar in LIMITS),
            Option("l3-cache-schema", "resctrl: part of the cache of level 3, such as L3:0=ff", metavar="SCHEMA"),
            Option("mem-bw-schema", "resctrl: memory bandwidth, such as MB:0=50", metavar="SCHEMA"),
        ),
    ),
    "events": Command(
        "Print what a container uses, again and again, and that it ran out of memory.",
        "ID",
        (
            Option("interval", "time between two lines, such as 5s", metavar="TIME"),
            Option("stats", "print one line and end", FLAG),
        ),
    ),
    "checkpoint": Command(
        "Write the processes of a container into files, and end them.",
        "ID",
        (
            *_IMAGES,
            Option("parent-path", "checkpoint before this one, relative to --image-path", metavar="DIR"),
            Option("leave-running", "let the container run on", FLAG),
            Option("pre-dump", "write memory only, to make the checkpoint itself short, and let it run on", FLAG),
            Option("tcp-skip-in-flight", "not the connections that are not accepted yet", FLAG),
            Option("link-remap", "also files that are open and have been removed, by links to them", FLAG),
            Option("page-server", "server that the memory is sent to, or with --lazy-pages is", metavar="ADDRESS:PORT"),
            Option("status-fd", "descriptor that a zero byte is written to when lazy pages can be had", metavar="FD"),
        ),
    ),
    "restore": Command(
        "Make a container from a checkpoint; it runs on where it was.",
        "ID",
        (
            _BUNDLE,
            _CONSOLE,
            _PIDFD,
            _PID_FILE,
            _DETACH,
            *_IMAGES,
            _PRESERVE,
            Option("tcp-close", "restore connections of TCP as closed", FLAG),
            Option("no-subreaper", "do not adopt the container's orphans", FLAG),
            Option("no-pivot", "for engines that say it to every runtime: CRIU enters the root in its own way", FLAG),
            Option("lsm-profile", "another profile of AppArmor or SELinux: TYPE:NAME", metavar="PROFILE"),
            Option("lsm-mount-context", "another SELinux context of mounts", metavar="CONTEXT"),
        ),
    ),
    "spec": Command(
        "Write a config.json to begin with.",
        "",
        (_BUNDLE, Option("rootless", "for an ordinary user", FLAG)),
        least=0,
        most=0,
    ),
    "features": Command("Print what this runtime supports, as JSON.", "", least=0, most=0),
    "explain": Command(
        "Print what would be done for a bundle, what that needs, and what this host lacks of it; nothing is done.",
        "[ID]",
        (_BUNDLE, Option("format", "text or json", short="f", metavar="FORM")),
        least=0,
    ),
    "list": Command(
        "List the containers of this root directory.",
        "",
        (
            Option("format", "table or json", short="f", metavar="FORM"),
            Option("quiet", "print ids only", FLAG, "q"),
        ),
        least=0,
        most=0,
    ),
}


def read(command: Command, words: Sequence[str], name: str = "") -> Told:
    """Return what the words say.

    Raises:
        UsageError: an unknown option, a missing value, too few or too many arguments.
    """
    options = {key: option for option in command.options for key in (option.name, option.short) if key}
    values: dict[str, object] = {}
    arguments: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            arguments += left
            break
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            if not command.mixed:
                arguments += left
                break
            continue
        key, equals, value = word.lstrip("-").partition("=")
        if key in ("help", "h"):
            return Told(values, tuple(arguments), help=True)
        if key not in options or word.startswith("---"):
            raise UsageError(f"flag provided but not defined: -{key}")
        option = options[key]
        if option.kind == FLAG:
            values[option.name] = _boolean(key, value) if equals else True
            continue
        if not equals:
            if not left:
                raise UsageError(f"flag needs an argument: -{key}")
            value = left.pop(0)
        before = values.get(option.name, ())
        values[option.name] = (*before, value) if option.kind == LIST and isinstance(before, tuple) else value
    _check_count(command, arguments, name)
    return Told(values, tuple(arguments))


def _boolean(key: str, value: str) -> bool:
    if value in TRUE or value in FALSE:
        return value in TRUE
    raise UsageError(f"invalid boolean value {value!r} for -{key}")


def _check_count(command: Command, arguments: list[str], name: str) -> None:
    if len(arguments) < command.least:
        raise UsageError(f'"{name}" requires a minimum of {command.least} argument(s): {command.arguments}')
    if 0 <= command.most < len(arguments):
        raise UsageError(f'"{name}" requires a maximum of {command.most} argument(s): {command.arguments}')
