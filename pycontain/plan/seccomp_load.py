"""Read a profile that a user wrote, in Docker's format or in that of the OCI specification. [lean]

Docker's format has ``archMap``, rules with ``includes`` and ``excludes``, and knows ``name`` for ``names``; Podman's
adds ``errno`` and ``defaultErrno`` by name. Unlike Docker, which skips what it does not know, every wrong or unknown
member is an error here: a misspelt ``includes`` would let a rule hold everywhere.
"""

from __future__ import annotations

import errno

from pycontain.errors import SpecError
from pycontain.lean_json import loads
from pycontain.plan.seccomp_profile import Situation
from pycontain.spec.seccomp import ACTIONS, ARCHITECTURES, FLAGS, OPERATORS, LinuxSeccomp, LinuxSeccompArg, LinuxSyscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pycontain.plan.seccomp_profile import Condition

    T = TypeVar("T")

_PROFILE = (
    *("defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags"),
    *("listenerPath", "listenerMetadata", "syscalls"),
)
_RULE = ("names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes")
_ARG = ("index", "value", "valueTwo", "op")
_CONDITION = ("caps", "arches", "minKernel")
_LARGEST = {"index": 5, "value": 0xFFFFFFFFFFFFFFFF, "valueTwo": 0xFFFFFFFFFFFFFFFF}


class _Object:
    """A JSON object and its path; each method takes one member, ``None`` (also JSON's) where it is absent."""

    def __init__(self, value: object, path: str, members: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            raise SpecError(path, f"must be an object, not {_kind(value)}")
        self.path = path
        self._members: dict[str, object] = value
        for name in value:
            if name not in members:
                raise SpecError(self.at(name), f"is not one of {', '.join(members)}")

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def raw(self, name: str) -> object:
        return self._members.get(name)

    def text(self, name: str, *, choices: tuple[str, ...] = ()) -> str | None:
        value = self.raw(name)
        return None if value is None else _text(value, self.at(name), choices)

    def number(self, name: str, largest: int) -> int | None:
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise SpecError(self.at(name), f"must be an integer, not {_kind(value)}")
        if not 0 <= value <= largest:
            raise SpecError(self.at(name), f"{value} is not in 0 to {largest}")
        return value

    def items(self, name: str, decode: Callable[[object, str], T]) -> tuple[T, ...] | None:
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise SpecError(self.at(name), f"must be an array, not {_kind(value)}")
        return tuple(decode(item, f"{self.at(name)}[{i}]") for i, item in enumerate(value))

    def required(self, name: str, value: T | None) -> T:
        if value is None:
            raise SpecError(self.at(name), "is required")
        return value

    def errno(self, number: str, name: str) -> int | None:
        """Return an error number that is given as such or by its name (Podman's files have both)."""
        value, word = self.number(number, 0xFFFF), self.text(name)
        if word is None:
            return value
        for code, known in errno.errorcode.items():
            if known == word:
                if value not in (None, code):
                    raise SpecError(self.at(name), f"{word} is {code}, but {number} is {value}")
                return code
        raise SpecError(self.at(name), f'"{word}" is not the name of an error')


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "a boolean", str: "a string", dict: "an object", list: "an array"}.get(type(value), "a number")


def _text(value: object, path: str, choices: tuple[str, ...] = ()) -> str:
    if not isinstance(value, str):
        raise SpecError(path, f"must be a string, not {_kind(value)}")
    if choices and value not in choices:
        raise SpecError(path, f'"{value}" is not one of {", ".join(choices)}')
    return value


def _architecture(value: object, path: str) -> str:
    return _text(value, path, ARCHITECTURES)


def _flag(value: object, path: str) -> str:
    return _text(value, path, FLAGS)


def _name(value: object, path: str) -> str:
    if not _text(value, path):
        raise SpecError(path, "must not be empty")
    return str(value)


def load_profile(
    text: str, *, caps: frozenset[str], arch: str, kernel: tuple[int, int], source: str = ""
) -> LinuxSeccomp:
    """Return what the profile in ``text`` says for a container with bounding set ``caps`` (CAP_* names).

    ``arch`` is the native architecture (SCMP_ARCH_*), ``kernel`` (major, minor); ``source`` names the file in errors.

    Raises:
        SpecError: the text is no such profile; the path is the JSON path of what is wrong.
    """
    document = loads(text, source=source)
    try:
        return _profile(_Object(document, "", _PROFILE), Situation(caps, arch, kernel))
    except SpecError as error:
        raise SpecError(error.path, error.rule, hint=error.hint, source=source) from None


def _profile(members: _Object, situation: Situation) -> LinuxSeccomp:
    if members.raw("defaultAction") is None and not members.raw("syscalls"):
        # Docker takes this for a profile that is off
        raise SpecError(
            "defaultAction", "is required", hint="to run without a profile: --security-opt seccomp=unconfined"
        )
    architectures = members.items("architectures", _architecture) or ()
    arch_map = members.items("archMap", _mapping) or ()
    if architectures and arch_map:
        raise SpecError("archMap", "cannot be given together with architectures")
    for native, others in arch_map:
        if native == situation.arch:
            architectures = (native, *others)
            break
    rules = members.items("syscalls", lambda value, path: _rule(_Object(value, path, _RULE), situation)) or ()
    path = members.text("listenerPath") or ""
    metadata = members.text("listenerMetadata") or ""
    if metadata and not path:
        raise SpecError("listenerMetadata", "needs listenerPath")
    return LinuxSeccomp(
        default_action=members.required("defaultAction", members.text("defaultAction", choices=ACTIONS)),
        default_errno_ret=members.errno("defaultErrnoRet", "defaultErrno"),
        architectures=architectures,
        flags=members.items("flags", _flag),
        listener_path=path,
        listener_metadata=metadata,
        syscalls=tuple(rule for rule in rules if rule is not None),
    )


def _mapping(value: object, path: str) -> tuple[str, tuple[str, ...]]:
    members = _Object(value, path, ("architecture", "subArchitectures"))
    native = members.required("architecture", members.text("architecture", choices=ARCHITECTURES))
    return native, members.items("subArchitectures", _architecture) or ()


def _rule(members: _Object, situation: Situation) -> LinuxSyscall | None:
    """Return a rule, None where its conditions leave it out; its values are checked in any case."""
    names = members.items("names", _name) or ()
    name = members.text("name")
    if name is not None:
        if names:
            raise SpecError(members.at("name"), "cannot be given together with names")
        names = (_name(name, members.at("name")),)
    if not names:
        raise SpecError(members.at("names"), "is required and must not be empty")
    members.text("comment")
    rule = LinuxSyscall(
        names=names,
        action=members.required("action", members.text("action", choices=ACTIONS)),
        errno_ret=members.errno("errnoRet", "errno"),
        args=members.items("args", _argument) or (),
    )
    includes = _condition(members.raw("includes"), members.at("includes"))
    excludes = _condition(members.raw("excludes"), members.at("excludes"))
    return rule if situation.included(includes) and not situation.excluded(excludes) else None


def _argument(value: object, path: str) -> LinuxSeccompArg:
    members = _Object(value, path, _ARG)
    index, first, second = (members.number(name, largest) for name, largest in _LARGEST.items())
    return LinuxSeccompArg(
        index=members.required("index", index),
        value=members.required("value", first),
        value_two=second or 0,
        op=members.required("op", members.text("op", choices=OPERATORS)),
    )


def _condition(value: object, path: str) -> Condition | None:
    if value is None:
        return None
    members = _Object(value, path, _CONDITION)
    caps = members.items("caps", _capability) or ()
    kernel = members.text("minKernel")
    return caps, members.items("arches", _name) or (), _version(kernel, members.at("minKernel")) if kernel else None


def _capability(value: object, path: str) -> str:
    if not _text(value, path).startswith("CAP_"):
        raise SpecError(path, f'"{value}" is not the name of a capability', hint="names begin with CAP_")
    return str(value)


def _version(text: str, path: str) -> tuple[int, int]:
    major, dot, minor = text.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal() and major.isascii() and minor.isascii()):
        raise SpecError(path, f'"{text}" is not MAJOR.MINOR')
    return int(major), int(minor)
