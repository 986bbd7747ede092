"""Errors of the library: the one tree, in the words of its keywords, with a hint, and without what happened inside."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.probe import requires

import pycontain as library
from pycontain import errors

pytestmark = [pytest.mark.runtime, pytest.mark.background("launcher"), requires("root")]

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"memory": "abc"}, "memory: 'abc' is not a size", "64m"),
        ({"memory": 1.5}, "memory: 1.5 is not a whole number", ""),
        ({"memroy": "64m"}, "memroy: no such option", "did you mean memory?"),
        ({"timeout": 3}, "timeout: no such option", "did you mean timeout_s?"),
        ({"pids_limit": True}, "pids_limit: True is not a whole number", ""),
        ({"cpus": 10_000}, "cpus: this machine has", "a number"),
        ({"network": "bridge"}, "network: ", "none"),
        ({"env": ["A=1"]}, "env: ['A=1'] is not a mapping of texts", ""),
        ({"env": {"A": 1}}, "env['A']: 1 is not a text", ""),
        ({"env": {"A=B": "1"}}, "env: 'A=B' is not a name", ""),
        ({"volumes": "/a:/b"}, "volumes: '/a:/b' is not a list of texts", ""),
        ({"volumes": ["/no/such:/b"]}, "volume from /no/such: no such file", "mkdir"),
        ({"ulimits": ["nofiles=3"]}, "ulimits: ", ""),
        ({"workdir": "tmp"}, "workdir: 'tmp' is not an absolute path", ""),
        ({"user": "nobody-there"}, "user: ", ""),
        ({"sysctls": {"vm.swappiness": "1"}}, "sysctls: ", ""),
        ({"read_only": 1}, "read_only: 1 is not True or False", ""),
        ({"stdin": "text"}, "stdin: a str is not bytes", "encode"),
        ({"timeout_s": 0}, "timeout_s: 0 is not a number of seconds", "more than 0"),
        ({"timeout_s": float("nan")}, "timeout_s: nan is not", "more than 0"),
        ({"output_limit": -1}, "output_limit: -1 is not", "0 or more"),
        ({"hostname": "a\0b"}, "hostname: holds a NUL byte", ""),
    ],
)
def test_a_wrong_option(run: Run, options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(library.UsageError) as caught:
        run("true", **options)
    assert str(caught.value).startswith(message)
    assert hint in caught.value.hint


@pytest.mark.parametrize("options", [{"memory": "32m", "memory_swap": "16m"}, {"cpus": 0.5, "cpu_shares": 1}])
def test_options_that_go_wrong_together_are_named(run: Run, options: dict[str, Any]) -> None:
    with pytest.raises(library.PycontainError, match=r"^(memory_swap|cpu_shares): "):
        run("true", **options)


@pytest.mark.parametrize("root", ["/no/such", "", "@nowhere", "/etc/passwd", "/"])
def test_a_wrong_root(run: Run, root: str) -> None:
    with pytest.raises(library.UsageError, match=r"^root") as caught:
        library.run(root, ["true"])
    assert caught.value.hint


@pytest.mark.parametrize(("command", "message"), [("ls -l", "command: 'ls -l' is not a list"), ([3], "command: 3 is")])
def test_a_wrong_command(busybox: Path, command: Any, message: str) -> None:
    with pytest.raises(library.UsageError) as caught:
        library.run(busybox, command)
    assert str(caught.value).startswith(message)


def test_no_command(busybox: Path) -> None:
    with pytest.raises(library.UsageError, match=r"^no command"):
        library.run(busybox, [])


@pytest.mark.parametrize(("program", "code"), [("/no/such", 127), ("/etc/passwd", 126)])
def test_a_program_that_cannot_be_executed(run: Run, program: str, code: int) -> None:
    with pytest.raises(library.ExecError) as caught:
        run(program)
    assert caught.value.exit_code == code


def test_nothing_from_inside_is_shown(run: Run) -> None:
    with pytest.raises(library.UsageError) as caught:
        run("true", memory="abc")
    text = "".join(traceback.format_exception(caught.value))
    assert (text.count("Traceback"), "launched.py" in text, "options.py" in text) == (1, False, False)


def test_every_error_is_the_one_of_the_tree() -> None:
    tree = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert {name for name in library.__all__ if name[0].isupper()} - {"Result", "Usage"} == tree
    assert all(getattr(library, name) is getattr(errors, name) for name in tree)
