"""Which users a container gets: the decision between a range of its own, an identity map, and none. [lean]

``auto`` takes a free range when the root's file system can shift owners (idmapped mounts), and falls back to an
identity-mapped user namespace when it cannot; ``auto,strict`` never falls back, nor does a container whose options
would make the weaker form dangerous. An ordinary user has the ranges of /etc/subuid, or only the own id.
"""

from __future__ import annotations

import os

from pycontain.engine import namespaces
from pycontain.errors import HostError, UsageError
from pycontain.kernel import _sys
from pycontain.plan.facts import (
    USERNS_AUTO,
    USERNS_CUSTOM,
    USERNS_HOST,
    USERNS_IDENTITY,
    USERNS_JOINED,
    USERNS_SINGLE,
    UserNamespace,
)
from pycontain.runtime import idranges
from pycontain.runtime.settings import USERNS_CLAIMS
from pycontain.spec.ids import IDMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.engine.generate import Prepared
    from pycontain.runtime.state import Entry

ALL_IDS = 2**32 - 1
FALLBACK_NOTE = (
    "user namespace: {reason}; ids are mapped onto themselves, which is weaker than a range of its own"
    " (--userns auto,strict refuses this)"
)
# linux/magic.h and the kernel in which the file system learned to be mounted with shifted owners.
_SHIFTS_SINCE = {
    0xEF53: (5, 12),  # ext4
    0x58465342: (5, 12),  # xfs
    0x9123683E: (5, 15),  # btrfs
    0xF2F52010: (5, 18),  # f2fs
    0xE0F5E1E2: (5, 19),  # erofs
    0x01021994: (6, 3),  # tmpfs
    0x73717368: (6, 2),  # squashfs
}
# These never can; others are tried.
_NEVER_SHIFTS = {0x794C7630: "overlay", 0x6969: "nfs", 0x9FA0: "proc", 0x01021997: "9p", 0xFE534D42: "smb"}


def decide(entry: Entry, prepared: Prepared, *, privileged: bool, kernel: tuple[int, int]) -> tuple[UserNamespace, str]:
    """Return the user namespace of a container, and a note for the user or "".

    A range is claimed for the container and journaled.

    Raises:
        HostError: this host cannot give what was asked for.
        UsageError: it makes no sense for this user.
    """
    if not privileged or prepared.userns not in (namespaces.USERNS_AUTO, namespaces.USERNS_STRICT):
        return _without_claim(prepared, privileged=privileged)
    reason = cannot_shift(prepared.root.path, kernel)
    if reason:
        return fall_back(prepared, reason)
    base = idranges.claim(USERNS_CLAIMS, entry.directory, entry.id, entry.journal)
    ids = (IDMapping(0, base, idranges.SIZE),)
    return UserNamespace(USERNS_AUTO, ids, ids, idmap=True), ""


def _without_claim(prepared: Prepared, *, privileged: bool) -> tuple[UserNamespace, str]:
    request = prepared.userns
    if request == namespaces.HOST:
        if not privileged:
            raise HostError(
                "--userns host: an ordinary user has no rights but in a user namespace", hint="leave the option out"
            )
        return UserNamespace(USERNS_HOST), ""
    if request == "container":
        assert prepared.peer is not None
        return from_state(prepared.peer.userns).replace(kind=USERNS_JOINED), ""
    if isinstance(request, tuple):
        uid, gid, size = request
        mapped = UserNamespace(USERNS_CUSTOM, (IDMapping(0, uid, size),), (IDMapping(0, gid, size),), idmap=privileged)
        return mapped, ""
    if not privileged:
        return _of_user(keep=request == namespaces.USERNS_KEEP_ID), ""
    raise UsageError("--userns keep-id: root's own id inside is root", hint="it is for ordinary users; use auto")


def preview(prepared: Prepared, *, privileged: bool, kernel: tuple[int, int]) -> tuple[UserNamespace, str]:
    """Return what :func:`decide` would, without claiming anything: a range stands for the one that will be free."""
    if privileged and prepared.userns in (namespaces.USERNS_AUTO, namespaces.USERNS_STRICT):
        reason = cannot_shift(prepared.root.path, kernel)
        if reason:
            return fall_back(prepared, reason)
        ids = (IDMapping(0, idranges.FIRST, idranges.SIZE),)
        return UserNamespace(USERNS_AUTO, ids, ids, idmap=True), ""
    return _without_claim(prepared, privileged=privileged)


def fall_back(prepared: Prepared, reason: str) -> tuple[UserNamespace, str]:
    """Return the identity-mapped user namespace and the line that says so.

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
    return UserNamespace(USERNS_IDENTITY, ids, ids), FALLBACK_NOTE.format(reason=reason)


def cannot_shift(path: str, kernel: tuple[int, int]) -> str:
    """Return why the file system of ``path`` cannot be mounted with shifted owners on this kernel, "" if it may."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        magic = _sys.fstatfs_type(fd)
    finally:
        os.close(fd)
    if magic in _NEVER_SHIFTS:
        return f"owners cannot be shifted on {_NEVER_SHIFTS[magic]} ({path})"
    since = _SHIFTS_SINCE.get(magic, (5, 12))
    if kernel < since:
        return f"owners can be shifted on the file system of {path} only since Linux {since[0]}.{since[1]}"
    return ""


def _of_user(*, keep: bool) -> UserNamespace:
    """Return the map of an ordinary user: the subordinate ranges where newuidmap(1) can write them, else one id."""
    uid, gid = os.geteuid(), os.getegid()
    uids, gids = _subordinate("/etc/subuid", uid), _subordinate("/etc/subgid", uid)
    if not uids or not gids:
        inside = (uid, gid) if keep else (0, 0)
        return UserNamespace(USERNS_SINGLE, (IDMapping(inside[0], uid, 1),), (IDMapping(inside[1], gid, 1),))
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


def from_state(saved: dict[str, Any]) -> UserNamespace:
    """Return the user namespace that :func:`to_state` wrote."""
    return UserNamespace(
        kind=saved["kind"],
        uid_map=tuple(IDMapping(**row) for row in saved["uid_map"]),
        gid_map=tuple(IDMapping(**row) for row in saved["gid_map"]),
        idmap=saved["idmap"],
    )
