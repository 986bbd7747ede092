"""Named and anonymous volumes: directories below the data directory that outlive containers. [lean]

::

    <data>/volumes/<name>/volume.json    name, labels, time; written first
    <data>/volumes/<name>/_data          what containers see; a volume exists when this exists, filled: it is renamed
    <data>/volumes/<name>/_new           the same while it is filled, or left by a killed command
    <data>/volumes/.lock                 held while a volume is made or removed
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from pycontain import lean_json
from pycontain.engine.names import NAME_MAX, is_volume_name
from pycontain.errors import Exists, NotFound, PycontainError, StoreError, UsageError, WrongState
from pycontain.plan.rootfs import DIRECTORY
from pycontain.record import Record
from pycontain.runtime import journal
from pycontain.runtime.state import Entry, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pycontain.engine.mounts import VolumeUse
    from pycontain.plan.rootfs import RootSource
    from pycontain.runtime.settings import Settings


class Volume(Record):
    """``path`` is the directory that containers see; ``used_by`` are ids of containers, running or not."""

    name: str
    path: str
    created_ns: int = 0
    labels: dict[str, str] = {}  # noqa: RUF012  (records are never mutated)
    anonymous: bool = False
    used_by: tuple[str, ...] = ()


class _Lock:
    """Exclusive lock of the directory of volumes, which it makes where it is missing."""

    def __init__(self, settings: Settings) -> None:
        self._directory = directory_of(settings)

    def __enter__(self) -> None:
        try:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            self._fd = os.open(f"{self._directory}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            cause = (error.strerror or "").lower()
            raise StoreError(f"{self._directory}: {cause}", hint="choose another place: --root DIR") from error
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)


def directory_of(settings: Settings) -> str:
    """Return the directory of all volumes."""
    return f"{settings.data}/volumes"


def create(settings: Settings, name: str, labels: Mapping[str, str], *, anonymous: bool = False) -> Volume:
    """Make an empty volume and return it.

    Raises:
        UsageError: the name is none.
        Exists: there is one of that name.
        StoreError: it cannot be made.
    """
    check_name(name)
    with _Lock(settings):
        if _exists(settings, name):
            raise Exists(f"volume {name!r} exists", hint=f"look at it: pycontain volume inspect {name}")
        return _make(settings, name, labels, anonymous=anonymous)


def check_name(name: str) -> str:
    """Return ``name`` as the name of a volume.

    Raises:
        UsageError: it is none.
    """
    if not is_volume_name(name):
        hint = f"letters, digits, '_', '.' and '-', a letter or digit first, 2 to {NAME_MAX} characters"
        raise UsageError(f"{name!r} is not a volume name", hint=hint)
    return name


def _make(
    settings: Settings,
    name: str,
    labels: Mapping[str, str],
    *,
    anonymous: bool,
    fill: Callable[[str], None] = lambda _path: None,
) -> Volume:
    """Make a volume, which does not exist before ``fill`` has put into its directory what it has to."""
    from pycontain.runtime.remove import remove_tree

    directory = f"{directory_of(settings)}/{name}"
    new = f"{directory}/_new"
    created = time.time_ns()
    document = {"name": name, "created_ns": created, "labels": dict(labels), "anonymous": anonymous}
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        try:
            with open(f"{directory}/volume.json", "w", encoding="utf-8") as file:
                file.write(lean_json.dumps(document))
            remove_tree(new)
            os.mkdir(new, 0o755)
            os.chmod(new, 0o755)
            fill(new)
            os.rename(new, f"{directory}/_data")
        except BaseException:
            remove_tree(directory)
            raise
    except OSError as error:
        raise StoreError(f"make volume {name!r}: {(error.strerror or '').lower()}", hint="look at df") from error
    return Volume(name, f"{directory}/_data", created, dict(labels), anonymous)


def provide(entry: Entry, uses: Iterable[VolumeUse], root: RootSource) -> None:
    """Make the volumes of a container that do not exist yet, and fill new ones from the root where asked.

    From then on nobody removes them, although the container has no state yet: its journal names them.
    ``@host`` roots fill nothing: they leave things out that a copy would bring back.

    Raises:
        StoreError: one cannot be made or filled.
    """
    settings = entry.store.settings
    for use in uses:
        entry.journal.intend(journal.VOLUME, use.name)
        # also for one that exists: who removes it has looked for users already, or will find us
        with _Lock(settings):
            if not _exists(settings, use.name):
                _make(settings, use.name, dict(use.labels), anonymous=use.anonymous, fill=_filler(use, root))


def _filler(use: VolumeUse, root: RootSource) -> Callable[[str], None]:
    def fill(path: str) -> None:
        if use.copy_up and root.kind == DIRECTORY:
            from pycontain.engine.volumecopy import copy_up

            copy_up(root.path, use.destination, path)

    return fill


def list_volumes(settings: Settings) -> tuple[Volume, ...]:
    """Return all volumes by name; one whose description is damaged is listed with its name alone."""
    try:
        names = sorted(os.listdir(directory_of(settings)))
    except (FileNotFoundError, PermissionError):
        return ()
    users = _users(settings)
    return tuple(_load(settings, name, users.get(name, ())) for name in names if _exists(settings, name))


def _exists(settings: Settings, name: str) -> bool:
    return is_volume_name(name) and os.path.isdir(f"{directory_of(settings)}/{name}/_data")


def find(settings: Settings, name: str) -> Volume:
    """Return the volume of that name.

    Raises:
        NotFound: there is none.
    """
    if not _exists(settings, name):
        raise NotFound(f"no such volume: {name!r}", hint="list them: pycontain volume ls")
    return _load(settings, name, _users(settings).get(name, ()))


def _load(settings: Settings, name: str, used_by: tuple[str, ...]) -> Volume:
    directory = f"{directory_of(settings)}/{name}"
    plain = Volume(name, f"{directory}/_data", used_by=used_by)
    try:
        with open(f"{directory}/volume.json", encoding="utf-8") as file:
            document = lean_json.loads(file.read(), source=f"{directory}/volume.json")
    except (OSError, UnicodeDecodeError, PycontainError):
        return plain
    if not isinstance(document, dict):
        return plain
    created, labels = document.get("created_ns"), document.get("labels")
    return plain.replace(
        created_ns=created if isinstance(created, int) else 0,
        labels={str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {},
        anonymous=document.get("anonymous") is True,
    )


def _users(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the ids of the containers that use each volume, by its name."""
    store = Store(settings)
    found: dict[str, tuple[str, ...]] = {}
    for container_id in store.ids():
        for name in _names_used(Entry(store, container_id)):
            found[name] = (*found.get(name, ()), container_id)
    return found


def _names_used(entry: Entry) -> set[str]:
    """Return the volumes of a container; of one that has no state yet, or a damaged one, those in its journal."""
    try:
        return set(entry.load().options.get("volumes", ()))
    except PycontainError:
        return {words[0] for kind, *words in entry.journal.load() if kind == journal.VOLUME}


def remove(settings: Settings, name: str) -> None:
    """Remove a volume and what is in it.

    Raises:
        NotFound: there is none.
        WrongState: a container uses it.
        StoreError: it cannot be removed.
    """
    with _Lock(settings):
        volume = find(settings, name)
        if volume.used_by:
            users = ", ".join(one[:12] for one in volume.used_by)
            raise WrongState(
                f"volume {name!r} is used by {users}", hint=f"remove the container first: pycontain rm {users}"
            )
        _delete(settings, name)


def _delete(settings: Settings, name: str) -> None:
    """Take the volume away under another name first, so that a killed removal leaves no half volume behind."""
    from pycontain.runtime.remove import remove_tree

    directory = directory_of(settings)
    gone = f"{directory}/.removed-{name}"
    try:
        remove_tree(gone)
        os.rename(f"{directory}/{name}", gone)
        remove_tree(gone)
    except (OSError, StoreError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        denied = isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM)
        hint = "its files belong to ids of a container: run as root" if denied else ""
        text = (cause.strerror or "").lower() if isinstance(cause, OSError) else str(error)
        raise StoreError(f"remove volume {name!r}: {text}", hint=hint) from error


def forget(settings: Settings, names: Iterable[str]) -> None:
    """Remove the anonymous volumes of a container that has gone; one that is missing or used is left.

    Raises:
        StoreError: one cannot be removed.
    """
    for name in names:
        try:
            remove(settings, name)
        except (NotFound, WrongState):
            continue


def prune(
    settings: Settings, *, everything: bool = False, want: Callable[[Volume], bool] = lambda _volume: True
) -> tuple[str, ...]:
    """Remove the anonymous volumes that nobody uses, with ``everything`` the named ones too; return their names.

    Raises:
        StoreError: one cannot be removed.
    """
    removed = []
    for volume in list_volumes(settings):
        if not volume.used_by and (volume.anonymous or everything) and want(volume):
            try:
                remove(settings, volume.name)
            except (NotFound, WrongState):
                continue
            removed.append(volume.name)
    return tuple(removed)
