"""``events``: reads what engine.events has written, and what is being written.

A reader has files open and nothing else: however slow it is, nobody waits for it. It reads a file to its end before the
next one, whatever its name is by then; damaged lines are passed over.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from pycontain.engine.events import EXEC_DIE, EXEC_START, NAME
from pycontain.engine.labelfilters import has_label
from pycontain.engine.messages import printable
from pycontain.engine.templates import Template
from pycontain.engine.templatewords import to_json
from pycontain.errors import UsageError
from pycontain.record import Record
from pycontain.runtime.settings import Settings

_POLL_S = 0.05
_BLOCK = 1 << 16
_KEYS = ("container", "event", "image", "label", "type")
_HINT = "container=NAME, event=start, image=ROOT, label=KEY[=VALUE], type=container"


class _Attributes(dict[str, str]):
    """Attributes for a template: one that this action does not have is ``<no value>``, as Go's maps have it."""

    def __contains__(self, _key: object) -> bool:
        return True

    def __missing__(self, _key: str) -> str:
        return "<no value>"


class Event(Record):
    """One event. ``attributes`` are the container's labels, its name and root (image), and what the action adds."""

    time_ns: int
    id: str
    action: str
    attributes: dict[str, str]

    def document(self) -> dict[str, Any]:
        """Return the event with the names of docker's API."""
        return {
            "status": self.action,
            "id": self.id,
            "from": self.attributes.get("image", ""),
            "Type": "container",
            "Action": self.action,
            "Actor": {"ID": self.id, "Attributes": _Attributes(self.attributes)},
            "scope": "local",
            "time": self.time_ns // 10**9,
            "timeNano": self.time_ns,
        }

    def line(self) -> str:
        """Return the event as docker prints it, in local time."""
        moment = time.localtime(self.time_ns // 10**9)
        zone = time.strftime("%z", moment)
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{self.time_ns % 10**9:09}{zone[:3]}:{zone[3:]}"
        told = ", ".join(f"{key}={text}" for key, text in sorted(self.attributes.items()))
        return printable(f"{stamp} container {self.action} {self.id} ({told})")


class Filters(Record):
    """What to show: of each key one of its values, of labels all of them."""

    wanted: dict[str, tuple[str, ...]]

    def allow(self, event: Event) -> bool:
        """Tell whether an event is to be shown."""
        return all(getattr(self, f"_{key}")(event, values) for key, values in self.wanted.items())

    def _container(self, event: Event, values: tuple[str, ...]) -> bool:
        return any(event.attributes.get("name") == one or event.id.startswith(one) for one in values)

    def _event(self, event: Event, values: tuple[str, ...]) -> bool:
        return event.action in values or ("exec" in values and event.action in (EXEC_START, EXEC_DIE))

    def _image(self, event: Event, values: tuple[str, ...]) -> bool:
        return event.attributes.get("image") in values

    def _label(self, event: Event, values: tuple[str, ...]) -> bool:
        return all(has_label(event.attributes, one) for one in values)

    def _type(self, _event: Event, values: tuple[str, ...]) -> bool:
        return "container" in values


def parse_filters(texts: Iterable[str]) -> Filters:
    """Return what the filters ask for.

    Raises:
        UsageError: an unknown key, or no value.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in _KEYS or not value:
            raise UsageError(f"--filter: {text!r} is not a filter", hint=_HINT)
        wanted[key] = (*wanted.get(key, ()), value)
    return Filters(wanted)


class Writer:
    """Returns an event as a line: ``form`` is "", ``json`` or a template.

    Raises:
        UsageError: the template is wrong, or the form is none of these.
    """

    def __init__(self, form: str) -> None:
        self._json = form == "json"
        self._template = Template(form) if form and not self._json else None
        if self._template is not None and "{{" not in form:
            raise UsageError(f"--format: {form!r} is unknown", hint="json, or a template: {{.Action}} {{.Actor.ID}}")

    def line(self, event: Event) -> str:
        """Return the line without its end."""
        if self._json:
            return to_json(event.document())
        if self._template is not None:
            return self._template.render(event.document())
        return event.line()


def read(settings: Settings, filters: Filters, *, since_ns: int, until_ns: int) -> Iterator[Event]:
    """Yield events from a moment on, as they come; with ``until_ns`` (0: for ever) those up to then, and end.

    An event that was written a little later than one that happened after it may come behind that.
    """
    for line in _lines(f"{settings.state}/{NAME}", until_ns):
        event = _parse(line)
        if event is None or event.time_ns < since_ns or not filters.allow(event):
            continue
        if not until_ns or event.time_ns <= until_ns:
            yield event


def _parse(line: bytes) -> Event | None:
    try:
        found = json.loads(line)
        return Event(int(found["time"]), str(found["id"]), str(found["action"]), dict(found["attributes"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _lines(path: str, until_ns: int) -> Iterator[bytes]:
    """Yield the lines of both files, then new ones until a moment has passed."""
    current = -1
    try:
        while True:
            # before reading: what was written up to that moment is read, then
            late = bool(until_ns) and time.time_ns() > until_ns
            for fd in _successors(path, current):
                if current >= 0:
                    yield from _rest(current)
                    os.close(current)
                current = fd
            if current >= 0:
                yield from _rest(current)
            if late:
                return
            time.sleep(_POLL_S)
    finally:
        if current >= 0:
            os.close(current)


def _successors(path: str, current: int) -> list[int]:
    """Return descriptors of the files that come after the open one, oldest first; of both files where it is -1."""
    opened = [fd for fd in (_open(f"{path}.1"), _open(path)) if fd >= 0]
    numbers = [os.fstat(fd).st_ino for fd in opened]
    own = os.fstat(current).st_ino if current >= 0 else -1
    first = numbers.index(own) + 1 if own in numbers else 0
    # renamed between the two
    last = 1 if len(set(numbers)) < len(numbers) else len(opened)
    for fd in (*opened[:first], *opened[max(first, last) :]):
        os.close(fd)
    return opened[first : max(first, last)]


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _rest(fd: int) -> Iterator[bytes]:
    """Yield the whole lines from where the descriptor stands; a line that is being written is left for later."""
    while True:
        data = os.read(fd, _BLOCK)
        whole = data.rfind(b"\n") + 1
        if not whole:
            if len(data) == _BLOCK:
                continue  # longer than any line of ours
            os.lseek(fd, -len(data), os.SEEK_CUR)
            return
        os.lseek(fd, whole - len(data), os.SEEK_CUR)
        yield from data[:whole].splitlines()
