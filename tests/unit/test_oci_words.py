"""The command line of pycontain-oci: the lean reader against click, which reads the same table."""

from __future__ import annotations

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontain.errors import UsageError
from pycontain.oci import manual
from pycontain.oci.store import check_id
from pycontain.oci.updating import _number
from pycontain.oci.words import COMMANDS, FLAG, GLOBAL, LIST, Command, Option, read
from pycontain.runtime.signals import signal_number

NAMES = sorted(COMMANDS)
VALUES = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=8)


@st.composite
def lines(draw: st.DrawFn, name: str) -> list[str]:
    """Draw words in the forms that both readers take: options before arguments, with two dashes or one letter."""
    command = COMMANDS[name]
    words: list[str] = []
    for option in draw(st.lists(st.sampled_from(command.options), max_size=6)) if command.options else []:
        key = f"-{option.short}" if option.short and draw(st.booleans()) else f"--{option.name}"
        if option.kind == FLAG:
            words.append(key)
        elif key.startswith("--") and draw(st.booleans()):
            words.append(f"{key}={draw(VALUES)}")
        else:
            words += [key, draw(VALUES.filter(lambda text: not text.startswith("-")))]
    most = command.least + 2 if command.most < 0 else command.most
    count = draw(st.integers(command.least, most))
    return words + draw(st.lists(VALUES.filter(lambda text: text[0] not in "-"), min_size=count, max_size=count))


def click_reads(name: str, words: list[str]) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return what click makes of the words, in the reader's form."""
    command = manual.group().commands[name]
    command.params = [*command.params, click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)]
    command.callback = lambda **given: given
    given = command.make_context(name, list(words)).params
    arguments = given.pop("words")
    kinds = {option.name.replace("-", "_"): option for option in COMMANDS[name].options}
    values = {kinds[key].name: value for key, value in given.items() if value not in (None, False, ())}
    return values, tuple(arguments)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(data=st.data())
def test_both_readers_say_the_same(name: str, data: st.DataObject) -> None:
    words = data.draw(lines(name))
    told = read(COMMANDS[name], words, name)
    assert (told.values, told.arguments) == click_reads(name, words)


ENGINES = {
    "containerd create": (
        "create",
        "--bundle /b --pid-file /p --console-socket /c --no-pivot --no-new-keyring --preserve-fds 2 box",
        {
            "bundle": "/b",
            "pid-file": "/p",
            "console-socket": "/c",
            "no-pivot": True,
            "no-new-keyring": True,
            "preserve-fds": "2",
        },
        ("box",),
    ),
    "containerd exec": (
        "exec",
        "--process /f --detach --pid-file /p box",
        {"process": "/f", "detach": True, "pid-file": "/p"},
        ("box",),
    ),
    "containerd kill": ("kill", "--all box 9", {"all": True}, ("box", "9")),
    "kill, option last": ("kill", "box 9 --all", {"all": True}, ("box", "9")),
    "containerd ps": ("ps", "--format table box -ef", {"format": "table"}, ("box", "-ef")),
    "containerd events": ("events", "--interval=5s box", {"interval": "5s"}, ("box",)),
    "containerd update": ("update", "--resources=- box", {"resources": "-"}, ("box",)),
    "one dash": ("delete", "-force box", {"force": True}, ("box",)),
    "false flag": ("delete", "--force=false box", {"force": False}, ("box",)),
    "exec of options": ("exec", "-e A=1 -e B=2 box ls --all -l", {"env": ("A=1", "B=2")}, ("box", "ls", "--all", "-l")),
    "end of options": ("exec", "-t -- box ls", {"tty": True}, ("box", "ls")),
}


@pytest.mark.parametrize("case", ENGINES)
def test_what_engines_write(case: str) -> None:
    name, line, values, arguments = ENGINES[case]
    told = read(COMMANDS[name], line.split(), name)
    assert (told.values, told.arguments, told.help) == (values, arguments, False)


def test_global_options() -> None:
    told = read(
        GLOBAL,
        [
            "--root",
            "/r",
            "--log",
            "/l",
            "--log-format",
            "json",
            "--systemd-cgroup",
            "--rootless=true",
            "kill",
            "--all",
            "box",
            "9",
        ],
    )
    assert told.arguments == ("kill", "--all", "box", "9")
    assert told.flag("systemd-cgroup")
    assert (told.text("root"), told.text("log-format"), told.text("rootless")) == ("/r", "json", "true")


@pytest.mark.parametrize(
    ("name", "line", "text"),
    [
        ("state", "", "minimum of 1"),
        ("state", "a b", "maximum of 1"),
        ("state", "--nonsense a", "not defined: -nonsense"),
        ("create", "--bundle", "needs an argument"),
        ("delete", "--force=maybe a", "invalid boolean"),
        ("kill", "---all a", "not defined"),
    ],
)
def test_what_is_wrong(name: str, line: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        read(COMMANDS[name], line.split(), name)


@pytest.mark.parametrize("name", NAMES)
def test_help_is_asked_for_anywhere(name: str) -> None:
    assert read(COMMANDS[name], ["--help"], name).help
    assert read(COMMANDS[name], ["-h"], name).help


def test_every_command_names_its_options_once() -> None:
    for command in (GLOBAL, *COMMANDS.values()):
        keys = [key for option in command.options for key in (option.name, option.short) if key]
        assert len(keys) == len(set(keys))
        assert all(option.kind in (FLAG, "value", LIST) for option in command.options)


def test_a_list_is_gathered() -> None:
    command = Command("", "", (Option("env", "", LIST, "e"),), least=0, most=0)
    assert read(command, ["-e", "a", "--env=b"]).all("env") == ("a", "b")
    assert read(command, []).all("env") == ()


@pytest.mark.parametrize("text", ["a", "0", "A_b+c-d.e", "x" * 1024])
def test_ids(text: str) -> None:
    assert check_id(text) == text


@pytest.mark.parametrize("text", ["", ".", "..", ".x", "a/b", "a b", "ä", "a\n", "x" * 1025])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(UsageError, match="invalid container id"):
        check_id(text)


def test_signals() -> None:
    for text, number in (("TERM", 15), ("SIGKILL", 9), ("9", 9), ("0", 0), ("sigusr1", 10), ("RTMIN+1", 35)):
        assert signal_number(text) == number
    for text in ("", "65", "-1", "NONSENSE", "9 ", "٩"):
        assert signal_number(text) == -1


def test_sizes() -> None:
    for text, size in (("64", 64), ("-1", -1), ("64M", 64 << 20), ("1.5g", 3 << 29), ("2KiB", 2048), ("5kb", 5120)):
        assert _number("memory", text, sized=True) == size
    for text in ("", "M", "1X", "-2", "--1", "1MM"):
        with pytest.raises(UsageError, match=r"--memory: .*is not a size"):
            _number("memory", text, sized=True)
    assert _number("cpu-quota", "-1", sized=False) == -1
    with pytest.raises(UsageError):
        _number("pids-limit", "1K", sized=False)
