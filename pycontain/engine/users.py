"""Who a container's program runs as: ``-u`` and ``--group-add`` against the container's own passwd and group. [lean]

Never NSS, never the host's files. A word of digits is a number and is never looked up as a name: engines that did so
ran "4294967296" as root. Source: passwd(5), group(5)
"""

from __future__ import annotations

import os

from pycontain.errors import UsageError
from pycontain.record import Record
from pycontain.sizes import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# (uid_t)-1 means "do not change" to setresuid(2)
ID_LIMIT = 2**32 - 1
_FORM = "the form is USER[:GROUP], each a name or a number, for example 1000:1000 or www-data"


class Identity(Record):
    """Ids as seen inside; ``additional_gids`` begins with the group itself, as docker's does; ``home`` is absolute."""

    uid: int
    gid: int
    additional_gids: tuple[int, ...]
    home: str = "/"
    name: str = ""


class _User(Record):
    name: bytes
    uid: int
    gid: int
    home: bytes


class _Group(Record):
    name: bytes
    gid: int
    members: tuple[bytes, ...]


def parse_id(text: str) -> int | None:
    """Return the number that ``text`` is, None where it is a name (which holds something that is no digit).

    Raises:
        ValueError: all digits, but no id.
    """
    if not is_number(text):
        return None
    if len(text) > 10 or int(text) >= ID_LIMIT:
        raise ValueError(text)
    return int(text)


def _file_id(field: bytes) -> int:
    """Return an id of a line, -1 where it is none: such a line is no entry."""
    if not field.isdigit() or len(field) > 10:
        return -1
    number = int(field)
    return number if number < ID_LIMIT else -1


def _users(passwd: bytes) -> Iterator[_User]:
    for line in passwd.split(b"\n"):
        fields = line.strip().split(b":")
        if len(fields) < 4 or not fields[0] or fields[0].startswith(b"#"):
            continue
        uid, gid = _file_id(fields[2]), _file_id(fields[3])
        if uid >= 0 and gid >= 0:
            yield _User(fields[0], uid, gid, fields[5] if len(fields) > 5 else b"")


def _groups(group: bytes) -> Iterator[_Group]:
    for line in group.split(b"\n"):
        fields = line.strip().split(b":")
        if len(fields) < 3 or not fields[0] or fields[0].startswith(b"#"):
            continue
        gid = _file_id(fields[2])
        if gid >= 0:
            members = fields[3].split(b",") if len(fields) > 3 else []
            yield _Group(fields[0], gid, tuple(member.strip() for member in members if member.strip()))


def _number(option: str, text: str) -> int | None:
    try:
        return parse_id(text)
    except ValueError:
        hint = f"ids are 0 to {ID_LIMIT - 1}; a name of digits only is never looked up"
        raise UsageError(f"{option}: {text} is not an id", hint=hint) from None


def _find_gid(option: str, text: str, groups: Iterable[_Group]) -> int:
    """Return the id of a group by number or name.

    Raises:
        UsageError: no such name.
    """
    number = _number(option, text)
    if number is not None:
        return number
    wanted = os.fsencode(text)
    for one in groups:
        if one.name == wanted:
            return one.gid
    raise UsageError(
        f"{option}: no group {text!r} in the container's /etc/group", hint="a number needs no entry, for example 1000"
    )


def resolve(spec: str, group_add: Iterable[str], passwd: bytes, group: bytes) -> Identity:
    """Return who ``-u spec`` is; "" is root. ``passwd`` and ``group`` are the files' bytes, empty when missing.

    A named or listed user gets the groups that list it, unless a group was given; a number without an entry gets
    group 0 and home "/".

    Raises:
        UsageError: an empty part, a name without entry, or a number that is no id.
    """
    user_text, colon, group_text = spec.partition(":")
    if (spec and not user_text and not group_text) or (colon and not group_text) or ":" in group_text:
        raise UsageError(f"--user: {spec!r} is not a user", hint=_FORM)
    groups = tuple(_groups(group))
    found = _find_user(user_text, passwd)
    if group_text:
        found = found.replace(gid=_find_gid("--user", group_text, groups))
    gids = [found.gid]
    if not group_text and found.name:
        gids += [one.gid for one in groups if found.name in one.members]
    gids += [_find_gid("--group-add", text, groups) for text in group_add]
    home = os.fsdecode(found.home)
    return Identity(
        uid=found.uid,
        gid=found.gid,
        additional_gids=tuple(dict.fromkeys(gids)),
        home=home if home.startswith("/") else "/",
        name=os.fsdecode(found.name),
    )


def _find_user(text: str, passwd: bytes) -> _User:
    """Return the entry of a user by number or name, an empty one with the number where it has none.

    Raises:
        UsageError: a name without entry.
    """
    number = _number("--user", text) if text else 0
    wanted = os.fsencode(text)
    for user in _users(passwd):
        if user.uid == number if number is not None else user.name == wanted:
            return user
    if number is None:
        hint = "a number needs no entry, for example --user 1000"
        raise UsageError(f"--user: no user {text!r} in the container's /etc/passwd", hint=hint)
    return _User(b"", number, 0, b"")
