"""What is known of each container, on tmpfs: one directory, one lock, one JSON file per container.

::

    <state>/containers/<id>/lock         held (flock) by whoever changes the container
    <state>/containers/<id>/journal      see runtime.journal
    <state>/containers/<id>/state.json   replaced by rename, never half written
    <state>/containers/<id>/config.json  the OCI spec that the container was made from
    <state>/names/<name>                 symbolic link to the id: made by one call, so a name has one owner
"""

from __future__ import annotations

import errno
import fcntl
import os

from pycontain import lean_json
from pycontain.errors import Exists, NotFound, PycontainError, StoreError
from pycontain.record import Record
from pycontain.runtime import processes
from pycontain.runtime.journal import Journal
from pycontain.runtime.locking import take_lock
from pycontain.runtime.replacing import replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.runtime.settings import Settings

VERSION = 1
CREATING = "creating"
CREATED = "created"
RUNNING = "running"
PAUSED = "paused"
STOPPED = "stopped"
STATUSES = (CREATING, CREATED, RUNNING, PAUSED, STOPPED)

DIRECT = "direct"
MONITORED = "monitored"


# What a declared type of State is in a file that was read: JSON has no tuples.
_STORED_AS: dict[str, type] = {"str": str, "int": int, "bool": bool, "dict": dict, "tuple": list}


class State(Record):
    """The state file of one container. Times are nanoseconds since the epoch, 0 when not yet.

    ``status`` is what was last written: :meth:`Entry.status` says what is true now. ``cgroup`` is
    cgroups.cgroup.CgroupPaths as a dict. ``monitor_pid`` is the process that attends to the container: its monitor, or
    the command that runs it directly.
    """

    id: str
    name: str
    created_ns: int
    boot_id: str
    version: int = VERSION
    status: str = CREATING
    shape: str = MONITORED
    pid: int = 0
    pid_start: int = 0
    monitor_pid: int = 0
    monitor_start: int = 0
    cgroup: dict[str, Any] = {}  # noqa: RUF012
    root: str = ""
    root_source: dict[str, Any] = {}  # noqa: RUF012
    command: tuple[str, ...] = ()
    userns: dict[str, Any] = {}  # noqa: RUF012  (records are never mutated)
    options: dict[str, Any] = {}  # noqa: RUF012
    labels: dict[str, str] = {}  # noqa: RUF012
    annotations: dict[str, str] = {}  # noqa: RUF012
    notes: tuple[str, ...] = ()
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = -1
    signal: int = 0
    oom_killed: bool = False
    error: str = ""
    restarts: int = 0
    log: dict[str, Any] = {}  # noqa: RUF012


class Entry:
    """One container's directory; methods that change it are called with :meth:`lock` held."""

    def __init__(self, store: Store, container_id: str) -> None:
        self.store = store
        self.id = container_id
        self.directory = f"{store.containers}/{container_id}"
        self.journal = Journal(self.directory)

    def lock(self, *, wait: bool = True) -> Lock:
        """Take the container's lock; use as a context manager.

        Raises:
            BlockingIOError: ``wait`` is false and another process holds it.
            NotFound: the container has been removed.
        """
        return Lock(self, wait=wait)

    def load(self) -> State:
        """Return the state as last saved.

        Raises:
            NotFound: there is none (never finished, or removed).
            StoreError: the file is damaged or of a version that this program does not know.
        """
        path = f"{self.directory}/state.json"
        try:
            with open(path, encoding="utf-8", errors="backslashreplace") as file:
                text = file.read()
        except FileNotFoundError:
            raise NotFound(f"container {self.id[:12]} does not exist") from None
        hint = "remove it: pycontain rm -f " + self.id[:12]
        try:
            document = lean_json.loads(text, source=path, surrogates=True)
        except PycontainError as error:
            raise StoreError(f"damaged state: {error}", hint=hint) from error
        if not isinstance(document, dict) or document.get("version") != VERSION:
            raise StoreError(f"{path}: state of another version of pycontain", hint=hint)
        for name, value in document.items():
            declared = State._fields.get(name, "").partition("[")[0]
            if declared and type(value) is not _STORED_AS[declared]:
                raise StoreError(f"damaged state: {path}: {name}: not {declared}", hint=hint)
        for field in ("command", "notes"):
            document[field] = tuple(document.get(field, ()))
        if document.get("status", CREATING) not in STATUSES:
            raise StoreError(f"damaged state: {path}: status {document['status']!r}", hint=hint)
        try:
            return State(**document)
        except TypeError as error:
            raise StoreError(f"{path}: {error}", hint=hint) from error

    def save(self, state: State) -> None:
        """Replace the state file as a whole.

        Raises:
            StoreError: it cannot be written; the former file is untouched.
        """
        self.write_file("state.json", lean_json.dumps(state.asdict(), surrogates=True))

    def write_file(self, name: str, text: str, mode: int = 0o600) -> str:
        """Write a file of the container's directory by rename and return its path."""
        return self.write_bytes(name, text.encode("utf-8", "surrogateescape"), mode)

    def write_bytes(self, name: str, data: bytes, mode: int = 0o600) -> str:
        """Write a file of the container's directory by rename and return its path."""
        path = f"{self.directory}/{name}"
        try:
            replace_file(path, data, mode)
        except OSError as error:
            raise StoreError(
                f"write {path}: {(error.strerror or '').lower()}", hint=f"look at: df {self.directory}"
            ) from error
        return path

    def status(self, state: State) -> str:
        """Return the status that is true now: a process that has gone is stopped, whatever the file says."""
        if state.status in (STOPPED, CREATING):
            return state.status
        if state.boot_id != processes.boot_id() or not processes.is_alive(state.pid, state.pid_start):
            return STOPPED
        return state.status


class Lock:
    """Exclusive lock of one container, by flock on its lock file; the kernel drops it when the holder dies.

    A forked child shares the lock: :meth:`forget` closes the child's copy without unlocking.
    """

    def __init__(self, entry: Entry, *, wait: bool) -> None:
        try:
            self._fd = take_lock(entry.directory, None if wait else 0)
        except FileNotFoundError:
            raise NotFound(f"container {entry.id[:12]} does not exist") from None

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def release(self) -> None:
        """Unlock; a second call does nothing."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.forget()

    def unlock(self) -> None:
        """Let others have the lock until :meth:`relock`."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def relock(self) -> None:
        """Take the lock again; the container may have been removed meanwhile."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def forget(self) -> None:
        """Close this process's copy of the descriptor and leave the lock to the process that forked us."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Store:
    """All containers below one state directory."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.containers = f"{settings.state}/containers"
        self.names = f"{settings.state}/names"

    def prepare(self) -> None:
        """Make the directories, private to this user.

        Raises:
            StoreError: they cannot be made, or belong to somebody else.
        """
        for path in (self.settings.state, self.settings.data, self.containers, self.names):
            try:
                if not os.path.isdir(path):
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    os.mkdir(path, 0o700)
                status = os.stat(path)
                owner = status.st_uid
                # what containers own lies below: their setuid programs are for nobody on the host
                if owner == os.geteuid() and status.st_mode & 0o077:
                    os.chmod(path, 0o700)
            except FileExistsError:
                continue  # made by another command at the same moment
            except OSError as error:
                raise StoreError(
                    f"create {path}: {(error.strerror or '').lower()}", hint="choose another place: --root DIR"
                ) from error
            if owner != os.geteuid():
                raise StoreError(
                    f"{path}: belongs to user {owner}, not to this one ({os.geteuid()})", hint="set XDG_RUNTIME_DIR"
                )

    def add(self, container_id: str, name: str) -> tuple[Entry, Lock]:
        """Make a container's directory, claim its name, and return the entry with its lock held.

        Raises:
            Exists: the name belongs to a container that still exists.
        """
        entry = Entry(self, container_id)
        lock = self._make(entry)
        try:
            entry.journal.intend("name", name)
            self.claim_name(name, container_id)
        except BaseException:
            for file in ("journal", "lock"):
                os.unlink(f"{entry.directory}/{file}")
            os.rmdir(entry.directory)
            lock.release()
            raise
        return entry, lock

    def _make(self, entry: Entry) -> Lock:
        """Make a container's directory and return its lock; ``prune`` takes one without a lock for a leftover."""
        while True:
            os.mkdir(entry.directory, 0o700)
            try:
                return entry.lock()
            except NotFound:
                continue

    def claim_name(self, name: str, container_id: str) -> None:
        """Make ``name`` point to the container; a link whose container has gone is replaced.

        A name that it has already, from a rename that was killed half-way, is as good as new.

        Raises:
            Exists: another container has the name.
        """
        path = f"{self.names}/{name}"
        for _attempt in range(100):
            try:
                os.symlink(container_id, path)
                return
            except FileExistsError:
                owner = self.owner_of(name)
                if owner == container_id:
                    return
                if owner is not None and os.path.isdir(f"{self.containers}/{owner}"):
                    raise Exists(
                        f"name {name!r} is in use by container {owner[:12]}",
                        hint=f"remove it (pycontain rm {name}) or choose another --name",
                    ) from None
                self.release_name(name, owner or "")
        raise StoreError(f"claim {path}: it keeps changing hands")

    def owner_of(self, name: str) -> str | None:
        """Return the id that a name points to, or None."""
        try:
            return os.readlink(f"{self.names}/{name}")
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG):
                return None
            raise

    def release_name(self, name: str, container_id: str) -> None:
        """Remove the name if it still points to this container."""
        if self.owner_of(name) == container_id:
            try:
                os.unlink(f"{self.names}/{name}")
            except FileNotFoundError:
                pass

    def ids(self) -> list[str]:
        """Return the ids of all containers, unsorted, including ones that are just being made."""
        try:
            return os.listdir(self.containers)
        except FileNotFoundError:
            return []

    def find(self, reference: str) -> Entry:
        """Return the container that a name, an id, or a unique beginning of an id stands for.

        Raises:
            NotFound: none, or more than one.
        """
        if reference and "/" not in reference and reference not in (".", ".."):
            owner = self.owner_of(reference)
            if owner is not None and os.path.isdir(f"{self.containers}/{owner}"):
                return Entry(self, owner)
            matches = [one for one in self.ids() if one.startswith(reference)]
            if len(matches) == 1:
                return Entry(self, matches[0])
            if len(matches) > 1:
                raise NotFound(f"id {reference!r} is the beginning of {len(matches)} ids", hint="give more of it")
        raise NotFound(f"no such container: {reference!r}", hint="list them: pycontain ps -a")
