"""Writes what happens to containers into a log that `events` reads. [lean]

::

    <state>/events.log      one line of JSON for each event, appended by one write
    <state>/events.log.1    the lines before, of the same size at most

Whoever does something to a container writes the line itself, commands and monitors alike. Readers hold nothing that a
writer waits for. An event that cannot be written, because the file system is full, is lost; what it tells of is done.
"""

from __future__ import annotations

import fcntl
import os
import time

from pycontain import lean_json
from pycontain.errors import PycontainError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Entry, State

NAME = "events.log"
MAX_BYTES = 1 << 20
# of a line; what a container's labels make longer is left out
MAX_LINE = 1 << 14
CREATE, START, DIE, OOM, DESTROY = "create", "start", "die", "oom", "destroy"
STOP, KILL, RESTART, PAUSE, UNPAUSE, RENAME = "stop", "kill", "restart", "pause", "unpause", "rename"
EXEC_START, EXEC_DIE = "exec_start", "exec_die"


def record(settings: Settings, state: State, action: str, **attributes: str) -> None:
    """Append an event of a container; ``attributes`` come beside its name, root and labels."""
    known = {"name": state.name, "image": state.root, **attributes}
    event = {"time": time.time_ns(), "id": state.id, "action": action, "attributes": {**state.labels, **known}}
    try:
        line = _line(event)
        if len(line) > MAX_LINE:
            line = _line({**event, "attributes": {key: text[:1000] for key, text in known.items()}})
        _append(f"{settings.state}/{NAME}", line)
    except (OSError, PycontainError):
        pass


def record_of(entry: Entry, action: str, **attributes: str) -> None:
    """Append an event of a container whose state is read for it; one without a state has none."""
    try:
        state = entry.load()
    except PycontainError:
        return
    record(entry.store.settings, state, action, **attributes)


def _line(event: dict[str, object]) -> bytes:
    return (lean_json.dumps(event, surrogates=True) + "\n").encode()


def _append(path: str, line: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, line) < len(line):
            os.write(fd, b"\n")  # the next line is whole, at least
        if os.fstat(fd).st_size > MAX_BYTES:
            _rotate(fd, path)
    finally:
        os.close(fd)


def _rotate(fd: int, path: str) -> None:
    """Give a full file its other name, unless somebody is doing so or has done."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if os.stat(path).st_ino == os.fstat(fd).st_ino:
        os.rename(path, f"{path}.1")
