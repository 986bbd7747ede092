"""The options of a container as keywords of Python functions, which mean what the command line's mean.

::

    memory=64 << 20, env={"A": "1"}  ──►  {"memory": "67108864", "env": ("A=1",)}  ──►  engine.options.run_options

Only types are judged here; what a text may say is judged where the command line's texts are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from pycontain.engine.suggest import closest
from pycontain.errors import PycontainError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

Path = str | os.PathLike[str]


class ContainerOptions(TypedDict, total=False):
    """What can be said of a container; each one is the option of pycontain-run(1) of that name, in the singular there.

    Sizes are bytes or texts such as ``"64m"``.
    """

    memory: int | str
    memory_swap: int | str
    memory_reservation: int | str
    cpus: float
    cpu_shares: int
    cpuset_cpus: str
    pids_limit: int
    network: str
    hostname: str
    userns: str
    pid: str
    ipc: str
    env: Mapping[str, str]
    workdir: str
    user: str | int
    group_add: Sequence[str | int]
    umask: str
    ulimits: Sequence[str]
    init: bool
    oom_score_adj: int
    volumes: Sequence[str]
    mounts: Sequence[str]
    tmpfs: Sequence[str]
    read_only: bool
    writable: bool
    host_include: Sequence[str]
    shm_size: int | str
    devices: Sequence[str]
    privileged: bool
    cap_add: Sequence[str]
    cap_drop: Sequence[str]
    security_opt: Sequence[str]
    sysctls: Mapping[str, str]
    labels: Mapping[str, str]


def _wrong(keyword: str, value: object, right: str) -> UsageError:
    return UsageError(f"{keyword}: {value!r} is not {right}")


def _text(keyword: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(keyword, value, "a text")
    return value


def _number(keyword: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(keyword, value, "a number")
    return repr(value)


def _integer(keyword: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(keyword, value, "a whole number")
    return str(value)


def _text_or_integer(keyword: str, value: object) -> str:
    return value if isinstance(value, str) else _integer(keyword, value)


def _flag(keyword: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(keyword, value, "True or False")
    return value


def _texts(keyword: str, value: object) -> tuple[str, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise _wrong(keyword, value, "a list of texts")
    return tuple(_text_or_integer(keyword, one) for one in value)


def _pairs(keyword: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, Mapping):
        raise _wrong(keyword, value, "a mapping of texts")
    for name in value:
        if "=" in _text(keyword, name) or not name:
            raise _wrong(keyword, name, "a name")
    return tuple(f"{name}={_text(f'{keyword}[{name!r}]', text)}" for name, text in value.items())


#: How a declared type becomes the texts that an option has on the command line.
_CONVERSIONS: dict[str, Callable[[str, object], Any]] = {
    "str": _text,
    "int": _integer,
    "float": _number,
    "int | str": _text_or_integer,
    "str | int": _text_or_integer,
    "bool": _flag,
    "Sequence[str]": _texts,
    "Sequence[str | int]": _texts,
    "Mapping[str, str]": _pairs,
}
#: Keywords of the plural, and their options.
_OPTIONS = {
    "ulimits": "ulimit",
    "volumes": "volume",
    "mounts": "mount",
    "devices": "device",
    "sysctls": "sysctl",
    "labels": "label",
}
_KEYWORDS = {option: keyword for keyword, option in _OPTIONS.items()} | {"rootfs": "root"}
_DECLARED = {name: getattr(kind, "__forward_arg__", "") for name, kind in ContainerOptions.__annotations__.items()}


def texts(root: Path, command: Sequence[str], options: Mapping[str, object], others: Sequence[str]) -> dict[str, Any]:
    """Return the texts for :func:`pycontain.engine.options.run_options`; None is "not given".

    ``others`` are further keywords of the function that was called, for suggestions.

    Raises:
        UsageError: an unknown keyword, or a value of the wrong type.
    """
    if isinstance(command, (str, bytes)) or not isinstance(command, Sequence):
        raise UsageError(f"command: {command!r} is not a list of words", hint='for example ["/bin/sh", "-c", "ls -l"]')
    if not isinstance(root, (str, os.PathLike)) or not isinstance(os.fspath(root), str):
        raise UsageError(f"root: {root!r} is not a path", hint="a directory, or @host for this machine's own root")
    raw: dict[str, Any] = {"rootfs": os.fspath(root), "command": [_word(word) for word in command]}
    for keyword, value in options.items():
        if keyword not in _DECLARED:
            guess = closest(keyword, (*_DECLARED, *others))
            raise UsageError(f"{keyword}: no such option", hint=f"did you mean {guess}?" if guess else "")
        if value is not None:
            raw[_OPTIONS.get(keyword, keyword)] = _CONVERSIONS[_DECLARED[keyword]](keyword, value)
    return raw


def _word(word: object) -> str:
    if not isinstance(word, (str, os.PathLike)) or not isinstance(os.fspath(word), str):
        raise _wrong("command", word, "a text")
    return os.fspath(word)


def in_keywords(error: PycontainError) -> PycontainError:
    """Return the error, which begins with an option's name, with the keyword in its place."""
    message = str(error)
    head, colon, rest = message.partition(":")
    name, space, value = head.partition(" ")
    if name in ("ROOTFS", "COMMAND"):
        error.args = (name.replace("ROOTFS", "root").lower() + message[len(name) :],)
    elif colon and name.startswith("--"):
        option = name[2:].replace("-", "_")
        error.args = (f"{_KEYWORDS.get(option, option)}{space}{value}:{rest}",)
    return error
