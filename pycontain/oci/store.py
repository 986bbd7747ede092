"""What is known of each container: one directory per container below the root directory. [lean]

::

    <root>/<id>/lock          held (flock) by whoever makes, starts or deletes the container
    <root>/<id>/journal       what has been made, before it is made: runtime.journal
    <root>/<id>/state.json    replaced by rename
    <root>/<id>/config.json   the bundle's configuration as it was
    <root>/<id>/start.sock    at which init waits: runtime.held
    <root>/.cache/seccomp     compiled filters
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from _imp import source_hash

from pycontain import lean_json
from pycontain.cgroups.frozen import is_frozen
from pycontain.errors import Exists, NotFound, StoreError, UsageError, WrongState
from pycontain.kernel.reading import read_file
from pycontain.record import Record
from pycontain.runtime import processes
from pycontain.runtime.journal import Journal
from pycontain.runtime.locking import take_lock
from pycontain.runtime.replacing import replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"
CACHE = ".cache"
POSTSTART, POSTSTOP = "poststart", "poststop"
LOCK_WITHIN_S = 10.0
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_MAX_ID = 1024
# what a state file begins with: 8 bytes in hex by which damage to the rest is noticed
_CHECK = b'{"check":"'
_CHECKED = len(_CHECK) + 2 * 8 + len(b'",')


class State(Record):
    """The state file of one container. ``status`` is what was last written; :meth:`Container.status` is what is true.

    ``cgroup`` is cgroups.cgroup.CgroupPaths as a dict, ``userns`` plan.facts.UserNamespace; ``program`` and ``paths``
    are what init executes; ``scheduling`` holds what every process of the container shares; ``hooks`` names the kinds
    of hooks that are still to run; ``rdt`` are directories of resctrl that the processes are in. For a checkpoint:
    ``descriptors`` are what the first ones were when they were given, ``mounts`` the targets of what is mounted from
    outside.
    """

    id: str
    bundle: str
    rootfs: str
    oci_version: str
    created_ns: int
    boot_id: str
    version: int = VERSION
    status: str = CREATING
    pid: int = 0
    pid_start: int = 0
    owner: int = 0
    cgroup: dict[str, Any] = {}  # noqa: RUF012
    userns: dict[str, Any] = {}  # noqa: RUF012
    annotations: dict[str, str] = {}  # noqa: RUF012
    program: str = ""
    paths: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    keyring: str = ""
    seccomp_flags: int = 0
    scheduling: dict[str, Any] = {}  # noqa: RUF012
    rdt: tuple[str, ...] = ()
    descriptors: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()


def check_id(text: str) -> str:
    """Return an id that can be the name of a directory.

    Raises:
        UsageError: it cannot.
    """
    if not text or len(text) > _MAX_ID or not _CHARACTERS.issuperset(text) or text.startswith("."):
        raise UsageError(f"invalid container id format: {text!r}")
    return text


class Container:
    """One container's directory; what changes it is called with its lock held."""

    def __init__(self, root: str, container_id: str) -> None:
        self.id = container_id
        self.directory = f"{root}/{container_id}"
        self.journal = Journal(self.directory)
        self._lock = -1

    def lock(self, *, wait_s: float = LOCK_WITHIN_S) -> None:
        """Take the lock; it is dropped with the process, or by :meth:`unlock`.

        Raises:
            NotFound: the container is no more.
            WrongState: another command holds it for longer than ``wait_s``.
        """
        try:
            self._lock = take_lock(self.directory, wait_s)
        except FileNotFoundError:
            raise _missing() from None
        except BlockingIOError:
            raise WrongState(f"container {self.id} is being changed by another command") from None

    def unlock(self) -> None:
        """Close this process's descriptor of the lock: a fork closes its copy, the holder drops the lock."""
        if self._lock >= 0:
            fd, self._lock = self._lock, -1
            try:
                os.close(fd)
            except OSError:
                pass  # it is closed, and what it was held for is done

    def forget(self) -> None:
        """In a fork: close what belongs to the process that makes the container."""
        self.unlock()

    @property
    def is_locked(self) -> bool:
        """Whether a command is making, starting or deleting it at this moment."""
        try:
            fd = os.open(f"{self.directory}/lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def load(self) -> State:
        """Return the state as last saved.

        Raises:
            NotFound: there is no such container.
            StoreError: there is no usable state; ``delete --force`` removes what was made.
        """
        path = f"{self.directory}/state.json"
        try:
            data = read_file(path)
        except (FileNotFoundError, NotADirectoryError):
            if not _is_directory(self.directory):
                raise _missing() from None
            raise StoreError(f"container {self.id} was never completed", hint="delete --force removes it") from None
        if data[:_CHECKED] != _check(data[_CHECKED:]):
            raise StoreError(f"damaged state: {path}: it is not what was written", hint="delete --force removes it")
        document = lean_json.loads(b"{" + data[_CHECKED:], source=path, surrogates=True)
        assert isinstance(document, dict), "it is what was written"
        if document["version"] != VERSION:
            raise StoreError(f"{path}: state of another version", hint="delete --force removes it")
        fields: dict[str, Any] = {name: tuple(one) if type(one) is list else one for name, one in document.items()}
        return State(**fields)

    def save(self, state: State) -> None:
        """Replace the state file as a whole."""
        rest = lean_json.dumps(state.asdict(), surrogates=True).encode()[1:]
        self.write("state.json", _check(rest) + rest)

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the container's directory by rename.

        Raises:
            StoreError: it cannot be written.
        """
        _write(f"{self.directory}/{name}", data, 0o600)

    def status(self, state: State, boot_id: str = "") -> str:
        """Return the status that is true now; ``boot_id`` is that of this boot where the caller has read it."""
        if state.status == STOPPED or not state.pid:
            return state.status if state.status == STOPPED or self.is_locked else STOPPED
        if state.boot_id != (boot_id or processes.boot_id()) or not processes.is_alive(state.pid, state.pid_start):
            return STOPPED
        if state.status == CREATING:
            return CREATING if self.is_locked else STOPPED
        paths = state.cgroup if state.status in (CREATED, RUNNING) else {}
        if paths and is_frozen(paths["unified"], paths["v1"].get("freezer", "")):
            return PAUSED
        return state.status


def _check(rest: bytes) -> bytes:
    return _CHECK + source_hash(1, rest).hex().encode() + b'",'


def _write(path: str, data: bytes, mode: int) -> None:
    try:
        replace_file(path, data, mode)
    except OSError as error:
        raise StoreError(f"write {path}: {(error.strerror or '').lower()}") from error


def write_pid_file(path: str, pid: int) -> None:
    """Write a process id to a file of the caller's.

    Raises:
        UsageError: there is something that a rename would replace: /dev/null, a link such as /dev/stdout.
        StoreError: it cannot be written.
    """
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise UsageError(f"--pid-file: {path}: is not a regular file")
    _write(path, str(pid).encode(), 0o644)


def remove_pid_file(path: str, pid: int) -> None:
    """Remove the file of a process id, unless somebody else's id is in it by now."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            ours = os.read(fd, 32) == str(pid).encode()
        finally:
            os.close(fd)
        if ours:
            os.unlink(path)
    except OSError:
        pass  # gone already, or no file any more


class Store:
    """The containers below one root directory."""

    def __init__(self, root: str) -> None:
        self.root = root

    def add(self, container_id: str) -> Container:
        """Make a container's directory and return it with its lock held.

        Raises:
            Exists: there is a container of that id.
            StoreError: the directory cannot be made.
        """
        container = Container(self.root, check_id(container_id))
        try:
            os.makedirs(self.root, 0o711, exist_ok=True)
            os.mkdir(container.directory, 0o700)
        except FileExistsError:
            raise Exists("container with given ID already exists") from None
        except OSError as error:
            raise StoreError(f"mkdir {error.filename}: {(error.strerror or '').lower()}") from error
        try:
            container.lock()
        except OSError:
            from pycontain.runtime.remove import remove_tree

            remove_tree(container.directory)  # there is nothing in it yet
            raise
        return container

    def find(self, container_id: str) -> Container:
        """Return a container.

        Raises:
            NotFound: there is none of that id.
        """
        container = Container(self.root, check_id(container_id))
        if not _is_directory(container.directory):
            raise _missing()
        return container

    def ids(self) -> list[str]:
        """Return the ids of all containers, sorted."""
        try:
            return sorted(name for name in os.listdir(self.root) if not name.startswith("."))
        except FileNotFoundError:
            return []


def _is_directory(path: str) -> bool:
    """Return whether there is one; that a file system fails does not mean that there is none."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return False
        raise


def _missing() -> NotFound:
    # engines look for these words
    return NotFound("container does not exist")
