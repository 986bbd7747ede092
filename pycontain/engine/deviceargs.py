"""``--device`` and ``--device-cgroup-rule``. [lean]"""

from __future__ import annotations

import os

from pycontain.errors import UsageError
from pycontain.record import Record

_DEVICE_HINT = "the form is HOST[:CONTAINER][:rwm], for example --device /dev/fuse or /dev/sda:/dev/xvda:r"
# what the container has of its own in /dev: config-linux.md#default-filesystems, and the links into /proc
_OWN_NAMES = frozenset(("pts", "ptmx", "shm", "mqueue", "fd", "stdin", "stdout", "stderr"))


class DeviceArg(Record):
    """A host device, or a host directory of devices, given to the container; ``access`` is of r, w and m."""

    source: str
    destination: str
    access: str = "rwm"


class DeviceRule(Record):
    """A line of the device controller: ``type`` a, b or c; None is "all numbers"."""

    type: str
    major: int | None
    minor: int | None
    access: str


def _is_access(text: str) -> bool:
    return 0 < len(text) <= 3 and not text.strip("rwm") and len(set(text)) == len(text)


def parse_device(text: str) -> DeviceArg:
    """Return one ``--device``.

    Raises:
        UsageError: the form is wrong or a path is not absolute.
    """
    parts = text.split(":")
    source, destination, access = parts[0], parts[0], "rwm"
    if len(parts) == 2:
        if _is_access(parts[1]):
            access = parts[1]
        else:
            destination = parts[1]
    elif len(parts) == 3:
        destination, access = parts[1], parts[2]
    if len(parts) > 3 or not _is_access(access):
        raise UsageError(f"--device: {text!r} is not a device", hint=_DEVICE_HINT)
    if "=" in source and not source.startswith("/"):
        raise UsageError(f"--device: {text!r}: CDI names are not supported", hint=_DEVICE_HINT)
    for path in (source, destination):
        if not path.startswith("/"):
            raise UsageError(f"--device: {text!r}: path {path!r} is not absolute", hint=_DEVICE_HINT)
    place = "/" + os.path.normpath(destination).lstrip("/")
    if os.path.normpath(source) != "/dev" or place != "/dev":
        _check_place(text, place)
    return DeviceArg(os.path.normpath(source), place, access)


def _check_place(text: str, place: str) -> None:
    """Refuse a place where no device can be made.

    Raises:
        UsageError: it is not below /dev, or the container has something of its own there.
    """
    if not place.startswith("/dev/"):
        raise UsageError(f"--device: {text!r}: {place!r} is not below /dev", hint=_DEVICE_HINT)
    if place.split("/")[2] in _OWN_NAMES:
        raise UsageError(f"--device: {text!r}: {place} is the container's own", hint="choose another name below /dev")


def parse_device_rule(text: str) -> DeviceRule:
    """Return one ``--device-cgroup-rule 'TYPE MAJOR:MINOR ACCESS'``; "*" stands for all numbers.

    Raises:
        UsageError: any other form.
    """
    words = text.split(" ")
    numbers = words[1].split(":") if len(words) == 3 else []
    good = len(numbers) == 2 and words[0] in ("a", "b", "c") and _is_access(words[2])
    if not good or not all(one == "*" or (one.isascii() and one.isdigit() and len(one) < 8) for one in numbers):
        hint = "the form is 'TYPE MAJOR:MINOR ACCESS', for example 'c 10:229 rwm' or 'b 8:* r'"
        raise UsageError(f"--device-cgroup-rule: {text!r} is not a rule", hint=hint)
    major, minor = (None if one == "*" else int(one) for one in numbers)
    return DeviceRule(words[0], major, minor, words[2])
