"""Options together: contradictions, defaults, and the table that the command line reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.cli.runoptions import CREATE_OPTIONS, EXEC_OPTIONS, RUN_OPTIONS
from pycontain.cli.table import FLAG, MANY, Option, parse
from pycontain.engine.options import LogOptions, RunOptions, exec_options, option_name, run_options
from pycontain.engine.suggest import closest, distance
from pycontain.errors import UsageError


def options_of(**raw: Any) -> RunOptions:
    return run_options({"rootfs": "/r", "command": ("true",), **raw}, {"LANG": "C"})


def test_defaults() -> None:
    assert options_of() == RunOptions("/r", ("true",))


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ({"rootfs": ""}, ["ROOTFS"]),
        ({"command": ()}, ["no command"]),
        ({"entrypoint": "", "command": ()}, ["--entrypoint"]),
        ({"detach": True, "attach": ("stdout",)}, ["--attach", "--detach"]),
        ({"attach": ("stdlog",)}, ["--attach", "'stdlog'"]),
        ({"rootfs": "@host", "writable": True}, ["--writable", "@host"]),
        ({"writable": True, "read_only": True}, ["--writable", "--read-only"]),
        ({"host_include": ("/home",)}, ["--host-include", "@host"]),
        ({"rootfs": "@host", "host_include": ("home",)}, ["--host-include", "'home'"]),
        ({"ipc": "host", "shm_size": "1m"}, ["--shm-size", "--ipc host"]),
        ({"shm_size": "0"}, ["--shm-size"]),
        ({"privileged": True, "userns": "auto"}, ["--userns", "--privileged"]),
        ({"pid": "container:a", "userns": "host"}, ["--userns", "container:a"]),
        ({"uts": "host", "hostname": "a"}, ["--hostname", "--uts host"]),
        ({"network": "container:a", "dns": ("1.1.1.1",)}, ["--dns", "--network container:a"]),
        ({"network": "container:a", "add_host": ("a:1.1.1.1",)}, ["--add-host", "--network container:a"]),
        ({"network": "host", "sysctl": ("net.a=1",)}, ["--sysctl", "net.a", "--network host"]),
        ({"ipc": "host", "sysctl": ("kernel.sem=1",)}, ["--sysctl", "kernel.sem", "--ipc host"]),
        ({"log_driver": "syslog"}, ["--log-driver", "'syslog'"]),
        ({"log_driver": "none", "log_opt": ("max-size=1m",)}, ["--log-opt", "max-size=1m"]),
        ({"log_opt": ("max-files=2",)}, ["--log-opt", "max-files=2"]),
        ({"log_opt": ("max-file=2",)}, ["--log-opt", "max-file"]),
        ({"log_opt": ("max-size=1k",)}, ["--log-opt", "max-size"]),
        ({"workdir": "srv"}, ["--workdir", "'srv'"]),
        ({"workdir": ""}, ["--workdir", "''"]),
        ({"umask": "0888"}, ["--umask", "'0888'"]),
        ({"umask": "1777"}, ["--umask", "'1777'"]),
        ({"oom_score_adj": "-1001"}, ["--oom-score-adj", "-1001"]),
        ({"preserve_fds": "-1"}, ["--preserve-fds", "-1"]),
        ({"preserve_fds": "999999"}, ["--preserve-fds", "999999"]),
        ({"stop_timeout": "soon"}, ["--stop-timeout", "'soon'"]),
        ({"name": ""}, ["--name", "''"]),
        ({"name": "a/b"}, ["--name", "'a/b'"]),
        ({"name": "-x"}, ["--name", "'-x'"]),
        ({"name": ".."}, ["--name", "'..'"]),
        ({"name": "n" * 1025}, ["--name", "nnn"]),
        ({"name": "🐳🐳"}, ["--name", "🐳"]),
        ({"hostname": "a b"}, ["--hostname", "'a b'"]),
        ({"volume": ("/a:/x", "/b:/x")}, ["/x"]),
    ],
)
def test_contradictions_name_what_contradicts(raw: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        options_of(**raw)
    assert all(name in str(caught.value) for name in names)
    assert "\n" not in str(caught.value)


def test_log_options() -> None:
    assert options_of(log_opt=("max-size=10m", "max-file=3")).log == LogOptions("json-file", 10 << 20, 3)


def test_later_ulimits_replace_earlier() -> None:
    assert [one.soft for one in options_of(ulimit=("nofile=1", "core=2", "nofile=3")).ulimits] == [3, 2]


def test_exec() -> None:
    found = exec_options({"container": "web", "command": ("sh",), "env": ("LANG",), "tty": True}, {"LANG": "C"})
    assert (found.container, found.env, found.tty) == ("web", ("LANG=C",), True)
    with pytest.raises(UsageError, match="no command"):
        exec_options({"container": "web"}, {})


@pytest.mark.parametrize(
    ("argv", "values", "rest"),
    [
        (["-it", "r", "sh", "-c", "x"], {"interactive": True, "tty": True}, ("r", "sh", "-c", "x")),
        (["-dit", "r"], {"detach": True, "interactive": True, "tty": True}, ("r",)),
        (["-itm64m", "r"], {"interactive": True, "tty": True, "memory": "64m"}, ("r",)),
        (["-itm", "64m", "r"], {"interactive": True, "tty": True, "memory": "64m"}, ("r",)),
        (["-m=64m", "r"], {"memory": "64m"}, ("r",)),
        (["-e", "A=1", "-eB=2", "--env=C", "r"], {"env": ("A=1", "B=2", "C")}, ("r",)),
        (["--memory", "1g", "--memory=2g", "r"], {"memory": "2g"}, ("r",)),
        (["--sig-proxy=false", "--rm=true", "r"], {"sig_proxy": False, "rm": True}, ("r",)),
        (["--rm", "--", "r", "--", "x"], {"rm": True}, ("r", "--", "x")),
        (["--name=", "r"], {"name": ""}, ("r",)),
        (["-h", "box", "r"], {"hostname": "box"}, ("r",)),
        (["--net", "host", "r"], {"network": "host"}, ("r",)),
        (["-v", "-x", "r"], {"volume": ("-x",)}, ("r",)),
        (["-", "x"], {}, ("-", "x")),
        ([], {}, ()),
    ],
)
def test_words(argv: list[str], values: dict[str, Any], rest: tuple[str, ...]) -> None:
    found = parse(RUN_OPTIONS, argv)
    assert (found.values, found.rest, found.help) == (values, rest, False)


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["--memroy", "1g", "r"], "--memroy: no such option", "--memory"),
        (["-itz", "r"], "-z in -itz: no such option", ""),
        (["-rm", "r"], "-r in -rm: no such option", "--rm"),
        (["--name"], "--name: needs a value", ""),
        (["-it", "-m"], "-m: needs a value", ""),
        (["--rm=perhaps", "r"], "--rm: 'perhaps' is neither", ""),
        (["-t=perhaps", "r"], "-t: 'perhaps' is neither", ""),
    ],
)
def test_wrong_words(argv: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(RUN_OPTIONS, argv)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_help_wins_only_before_the_command() -> None:
    assert parse(RUN_OPTIONS, ["-m", "x", "--help"]).help
    assert not parse(RUN_OPTIONS, ["r", "--help"]).help
    assert parse(EXEC_OPTIONS, ["c", "--help"], interspersed=True).help


@pytest.mark.parametrize("table", [RUN_OPTIONS, CREATE_OPTIONS, EXEC_OPTIONS])
def test_tables_hold_each_name_once_and_only_what_is_read(table: tuple[Any, ...]) -> None:
    names = [name for option in table for name in option.names]
    assert len(names) == len(set(names))
    asked: set[str] = set()

    class Asking(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.add(key)
            return super().get(key, default)

    raw = Asking(rootfs="/r", command=("true",), container="c")
    (exec_options if table is EXEC_OPTIONS else run_options)(raw, {})
    assert {option.key for option in table} <= asked
    for option in table:
        assert option_name(option.key) == option.names[0]
        assert option.help[0].islower() or option.help[0].isupper()
        assert not option.help.endswith(".")
        assert (option.kind == FLAG) == (not option.metavar)
        assert option.kind in (FLAG, "value", MANY)


def test_suggestions() -> None:
    assert closest("memroy", ["memory", "memory-swap", "name"]) == "memory"
    assert closest("rnu", ["run", "rm"]) == "run"
    assert closest("xyzzy", ["run", "rm"]) == ""
    assert (distance("ab", "ba"), distance("", "abc"), distance("same", "same")) == (1, 3, 0)


WORDS = st.one_of(
    st.sampled_from([name for option in RUN_OPTIONS for name in option.names]),
    st.sampled_from(
        ["--", "-", "-it", "--rm=false", "--help", "=", "--=", "-=", "--memory=", "/r", "container:x", "host"]
    ),
    st.text(max_size=10),
)


@given(st.lists(WORDS, max_size=6))
def test_any_words_are_options_or_an_error(argv: list[str]) -> None:
    try:
        found = parse(RUN_OPTIONS, argv)
        rootfs, *command = found.rest or ("",)
        run_options({**found.values, "rootfs": rootfs, "command": tuple(command)}, {})
    except UsageError:
        pass


@given(st.sampled_from([option for option in RUN_OPTIONS if option.kind != FLAG]), st.text(max_size=20))
def test_any_value_is_taken_or_an_error(option: Option, text: str) -> None:
    try:
        options_of(**{option.key: (text,) if option.kind == MANY else text})
    except UsageError:
        pass
