"""``--security-opt``: what confines a container beside its capabilities. [lean]"""

from __future__ import annotations

import os

from pycontain.engine.suggest import closest
from pycontain.errors import UsageError
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

UNCONFINED = "unconfined"
ALL = "ALL"
_LABEL_KEYS = ("user", "role", "type", "level", "filetype")
_KEYS = ("no-new-privileges", "seccomp", "apparmor", "label", "mask", "unmask", "systempaths")


class SecurityOptions(Record):
    """What was asked for; None or "" is the default.

    ``seccomp`` is "", "unconfined" or the absolute path of a profile; ``apparmor`` "", "unconfined" or a profile's
    name. ``labels`` are (key, value) pairs of an SELinux context, ``label_disable`` turns it off. ``unmask`` holds
    paths, or :data:`ALL`.
    """

    no_new_privileges: bool | None = None
    seccomp: str = ""
    apparmor: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    label_disable: bool = False
    mask: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()


def parse_security(texts: Iterable[str]) -> SecurityOptions:
    """Return the options together; a later one of the same key replaces the earlier, labels and paths add up.

    Raises:
        UsageError: an unknown key or a value that its key does not take.
    """
    result = SecurityOptions()
    for text in texts:
        # docker still takes the colon of its first versions
        cut = min((text.find(mark) for mark in "=:" if mark in text), default=len(text))
        key, value = text[:cut], text[cut + 1 :]
        if key == "no-new-privileges":
            result = result.replace(no_new_privileges=_boolean(text, value, alone=cut == len(text)))
        elif key not in _KEYS:
            guess = closest(key, _KEYS)
            hint = f"did you mean {guess!r}?" if guess else "keys are " + ", ".join(_KEYS)
            raise UsageError(f"--security-opt: {key!r} is unknown", hint=hint)
        elif not value:
            raise UsageError(f"--security-opt: {key!r} has no value", hint=_EXAMPLES[key])
        elif key == "seccomp":
            result = result.replace(seccomp=_seccomp(value))
        elif key == "apparmor":
            result = result.replace(apparmor=value)
        elif key == "label":
            result = _with_label(result, text, value)
        elif key == "systempaths":
            if value != UNCONFINED:
                raise UsageError(f"--security-opt: systempaths={value!r}", hint="the only value is unconfined")
            result = result.replace(unmask=(ALL,))
        elif key == "mask":
            result = result.replace(mask=(*result.mask, *_paths(text, value)))
        elif value.upper() == ALL:
            result = result.replace(unmask=(ALL,))
        else:
            result = result.replace(unmask=(*result.unmask, *_paths(text, value)))
    return result


_EXAMPLES = {
    "seccomp": "seccomp=FILE or seccomp=unconfined",
    "apparmor": "apparmor=PROFILE or apparmor=unconfined",
    "label": "label=disable or label=type:container_t",
    "mask": "mask=/proc/foo:/sys/bar",
    "unmask": "unmask=ALL or unmask=/proc/acpi",
    "systempaths": "systempaths=unconfined",
}


def _boolean(text: str, value: str, *, alone: bool) -> bool:
    if alone or value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise UsageError(f"--security-opt: {text!r}: {value!r} is neither true nor false")


def _seccomp(value: str) -> str:
    if value in (UNCONFINED, ""):
        return value
    if value in ("default", "builtin"):
        return ""
    path = os.path.abspath(value)
    if not os.path.isfile(path):
        hint = "a profile in docker's JSON form, or seccomp=unconfined"
        raise UsageError(f"--security-opt: seccomp={value}: no such file", hint=hint)
    return path


def _with_label(result: SecurityOptions, text: str, value: str) -> SecurityOptions:
    if value == "disable":
        return result.replace(label_disable=True)
    key, _, content = value.partition(":")
    if key not in _LABEL_KEYS or not content:
        hint = "label=disable, or label=KEY:VALUE with a key of " + ", ".join(_LABEL_KEYS)
        raise UsageError(f"--security-opt: {text!r} is not a label", hint=hint)
    return result.replace(labels=(*result.labels, (key, content)))


def _paths(text: str, value: str) -> tuple[str, ...]:
    paths = tuple(value.split(":"))
    for path in paths:
        if not path.startswith(("/proc/", "/sys/")) or ".." in path.split("/"):
            raise UsageError(f"--security-opt: {text!r}: {path!r} is not a path below /proc or /sys")
    return paths
