"""Which users a container gets: the decision between a range of its own, an identity map, and none. [lean]

``auto`` takes a free range when the root's file system can shift owners (idmapped mounts), and falls back to an
identity-mapped user namespace when it cannot; ``auto,strict`` never falls back, nor does a container whose options
would make the weaker form dangerous. An ordinary user has the ranges of /etc/subuid, or only the own id.
"""

from __future__ import annotations

import os

from pycontain.engine import namespaces
from pycontain.engine.filesystems import cannot_shift
from pycontain.errors import HostError, UsageError
from pycontain.plan.facts import (
    USERNS_AUTO,
    USERNS_CUSTOM,
    USERNS_HOST,
    USERNS_IDENTITY,
    USERNS_JOINED,
    USERNS_SINGLE,
    UserNamespace,
    saved_users,
)
from pycontain.plan.rootfs import DIRECTORY, HOST, HOST_PUBLIC
from pycontain.record import Record
from pycontain.runtime import idranges
from pycontain.runtime.settings import USERNS_CLAIMS
from pycontain.spec.ids import IDMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.engine.generate import Prepared
    from pycontain.plan.rootfs import RootSource
    from pycontain.runtime.state import Entry

ALL_IDS = 2**32 - 1
PUBLIC_NOTE = "@host: {reason}; the container sees what every user of the host may read, as with @host:public"
FALLBACK_NOTE = (
    "user namespace: {reason}; ids are mapped onto themselves, which is weaker than a range of its own"
    " (--userns auto,strict refuses this)"
)


class Users(Record):
    """The decision: the namespace, the root as it will be seen, and a line for the user or ""."""

    namespace: UserNamespace
    root: RootSource
    note: str = ""


def decide(
    entry: Entry | None, prepared: Prepared, *, privileged: bool, kernel: tuple[int, int], shift: bool = True
) -> Users:
    """Return the users of a container.

    A range is claimed for the container and journaled; without ``entry`` nothing is claimed, and the first range of
    all stands for the one that would be. ``shift`` false: owners cannot be shifted, as mounting has shown.

    Raises:
        HostError: this host cannot give what was asked for.
        UsageError: it makes no sense for this user.
    """
    root, note = prepared.root, ""
    if not privileged or prepared.userns not in (namespaces.USERNS_AUTO, namespaces.USERNS_STRICT):
        users = Users(_as_asked(prepared, privileged=privileged), root)
        if entry is not None and privileged and users.namespace.kind == USERNS_JOINED:
            base = users.namespace.uid_map[0].host_id
            idranges.share(USERNS_CLAIMS, base, entry.directory, entry.journal)
        return users
    reason = cannot_shift(root.path, kernel)
    if not shift:
        reason = f"owners cannot be shifted on the file system of {root.path}"
    if reason and root.kind == DIRECTORY:
        return Users(*_fall_back(prepared, reason))
    if reason and root.kind == HOST:
        root, note = root.replace(kind=HOST_PUBLIC), PUBLIC_NOTE.format(reason=reason)
    base = idranges.FIRST
    if entry is not None:
        base = idranges.claim(USERNS_CLAIMS, entry.directory, entry.id, entry.journal)
    ids = (IDMapping(0, base, idranges.SIZE),)
    return Users(UserNamespace(USERNS_AUTO, ids, ids, idmap=True), root, note)


def _as_asked(prepared: Prepared, *, privileged: bool) -> UserNamespace:
    request = prepared.userns
    if request == namespaces.HOST:
        if not privileged:
            raise HostError(
                "--userns host: an ordinary user has no rights but in a user namespace", hint="leave the option out"
            )
        return UserNamespace(USERNS_HOST)
    if request == "container":
        assert prepared.peer is not None
        return saved_users(prepared.peer.userns).replace(kind=USERNS_JOINED)
    if isinstance(request, tuple):
        uid, gid, size = request
        return UserNamespace(USERNS_CUSTOM, (IDMapping(0, uid, size),), (IDMapping(0, gid, size),), idmap=privileged)
    if not privileged:
        return of_user(keep=request == namespaces.USERNS_KEEP_ID)
    raise UsageError("--userns keep-id: root's own id inside is root", hint="it is for ordinary users; use auto")


def _fall_back(prepared: Prepared, reason: str) -> tuple[UserNamespace, RootSource, str]:
    """Return the identity-mapped user namespace, the root, and the line that says so.

    Raises:
        HostError: the fallback is refused by the user, or by an option that would make it dangerous.
    """
    hint = "put the root on ext4, xfs or btrfs, or choose --userns host"
    if prepared.userns == namespaces.USERNS_STRICT:
        raise HostError(f"--userns auto,strict: {reason}", requirement="idmapped mounts", hint=hint)
    if prepared.fallback_refused:
        raise HostError(
            f"{prepared.fallback_refused}: {reason}, and with ids mapped onto themselves this would open the host",
            requirement="idmapped mounts",
            hint=hint,
        )
    ids = (IDMapping(0, 0, ALL_IDS),)
    return UserNamespace(USERNS_IDENTITY, ids, ids), prepared.root, FALLBACK_NOTE.format(reason=reason)


def of_user(*, keep: bool) -> UserNamespace:
    """Return the map of an ordinary user: the subordinate ranges where newuidmap(1) can write them, else one id.

    Raises:
        HostError: the own id is to be kept, and there is no other one to be root.
    """
    uid, gid = os.geteuid(), os.getegid()
    uids, gids = _subordinate("/etc/subuid", uid), _subordinate("/etc/subgid", uid)
    if not uids or not gids:
        if keep:
            raise HostError(
                "--userns keep-id: this user has no ranges in /etc/subuid and /etc/subgid, so nobody could be root",
                requirement="subordinate ids",
                hint="pycontain doctor says how to get them",
            )
        return UserNamespace(USERNS_SINGLE, (IDMapping(0, uid, 1),), (IDMapping(0, gid, 1),))
    if not keep:
        return UserNamespace(USERNS_CUSTOM, _with_own(uid, 0, uids), _with_own(gid, 0, gids))
    return UserNamespace(USERNS_CUSTOM, _with_own(uid, uid, uids), _with_own(gid, gid, gids))


def _with_own(own: int, inside: int, given: tuple[int, int]) -> tuple[IDMapping, ...]:
    """Return a map with ``own`` at ``inside`` and the given (first, size) range around it."""
    first, size = given
    before = min(inside, size)
    rows = (
        IDMapping(0, first, before),
        IDMapping(inside, own, 1),
        IDMapping(inside + 1, first + before, size - before),
    )
    return tuple(row for row in rows if row.size > 0)


def _subordinate(path: str, uid: int) -> tuple[int, int] | None:
    """Return (first, size) of the user's first range. Source: subuid(5): by login name or numeric id."""
    names = {str(uid), _login_name(uid)}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.strip().split(":")
                if len(fields) == 3 and fields[0] in names and fields[1].isdigit() and fields[2].isdigit():
                    return int(fields[1]), int(fields[2])
    except FileNotFoundError:
        pass
    return None


def _login_name(uid: int) -> str:
    with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.split(":")
            if len(fields) > 2 and fields[2] == str(uid):
                return fields[0]
    return ""


def to_state(userns: UserNamespace, note: str) -> dict[str, Any]:
    """Return the user namespace as the state file keeps it."""
    return {**userns.asdict(), "note": note}
