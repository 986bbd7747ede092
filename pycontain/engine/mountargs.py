"""``-v``, ``--mount`` and ``--tmpfs``: docker's three ways to say what is mounted where. [lean]"""

from __future__ import annotations

import os

from pycontain.engine.names import is_volume_name
from pycontain.engine.suggest import closest
from pycontain.errors import UsageError
from pycontain.record import Record
from pycontain.sizes import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

BIND = "bind"
TMPFS = "tmpfs"
VOLUME = "volume"

PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
# Pairs that exclude each other; the first is the default where there is one.
_SWITCHES = {
    "exec": "noexec",
    "noexec": "exec",
    "dev": "nodev",
    "nodev": "dev",
    "suid": "nosuid",
    "nosuid": "suid",
}
_TMPFS_WORDS = (
    "ro rw exec noexec dev nodev suid nosuid sync async dirsync atime noatime diratime nodiratime relatime norelatime"
    " strictatime nostrictatime"
)
_TMPFS_FLAGS = frozenset(_TMPFS_WORDS.split())
_TMPFS_VALUES = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"))
_VOLUME_HINT = "the form is [HOST-DIR|VOLUME:]CONTAINER-DIR[:OPTIONS], for example -v ./data:/data:ro"
_MOUNT_HINT = "for example --mount type=bind,source=/srv/data,target=/data,readonly"


class VolumeMount(Record):
    """Something mounted into the container because the user said so.

    ``kind`` is BIND, TMPFS or VOLUME. ``source`` is an absolute host path, a volume's name, or "" for an anonymous
    volume and a tmpfs. ``destination`` is absolute and normal. ``idmap`` is None where nothing was said. ``flags``
    are further options of mount(8). ``recursive`` is false for a bind mount without the mounts below; ``readonly``
    holds for those below too unless ``readonly_recursive`` is false. ``tmpfs_data`` is data of a tmpfs.
    """

    kind: str
    destination: str
    source: str = ""
    readonly: bool = False
    recursive: bool = True
    readonly_recursive: bool = True
    propagation: str = ""
    idmap: bool | None = None
    copy_up: bool = True
    subpath: str = ""
    flags: tuple[str, ...] = ()
    tmpfs_data: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def _destination(option: str, text: str, hint: str) -> str:
    """Return a container path made normal.

    Raises:
        UsageError: relative, the root itself, or with a NUL.
    """
    if not text.startswith("/"):
        raise UsageError(f"{option}: container path {text!r} is not absolute", hint=hint)
    if "\0" in text:
        raise UsageError(f"{option}: container path {text!r} holds a NUL byte")
    # POSIX keeps two leading slashes apart; Linux does not
    path = "/" + os.path.normpath(text).lstrip("/")
    if path == "/":
        raise UsageError(f"{option}: the container's root cannot be a mount's place", hint=hint)
    return path


def _source(option: str, text: str) -> tuple[str, str]:
    """Return (kind, source) of what stands before the colon: a path begins with "/", "." or "~", else it is a name.

    Raises:
        UsageError: neither.
    """
    if text.startswith(("/", "./", "../")) or text in (".", ".."):
        return BIND, os.path.abspath(text)
    if not is_volume_name(text):
        hint = "a host directory begins with / or ./ ; a volume's name has letters, digits, '_', '.', '-'"
        raise UsageError(f"{option}: {text!r} is neither a path nor a volume name", hint=hint)
    return VOLUME, text


def parse_volume(text: str) -> VolumeMount:
    """Return what one ``-v`` says.

    Raises:
        UsageError: the form, the source, the destination or an option is wrong.
    """
    option = "--volume"
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise UsageError(f"{option}: {text!r} has the wrong number of parts", hint=_VOLUME_HINT)
    if len(parts) == 1:
        return VolumeMount(VOLUME, _destination(option, parts[0], _VOLUME_HINT))
    kind, source = _source(option, parts[0])
    mount = VolumeMount(kind, _destination(option, parts[1], _VOLUME_HINT), source)
    for word in parts[2].split(",") if len(parts) == 3 else ():
        mount = _with_volume_option(mount, word, text)
    return mount


def _with_volume_option(mount: VolumeMount, word: str, text: str) -> VolumeMount:
    """Return the mount with one word of ``-v``'s third part applied.

    Raises:
        UsageError: the word is unknown, cannot be had, or contradicts an earlier one.
    """
    if word in ("ro", "readonly", "rw"):
        return mount.replace(readonly=word != "rw")
    if word in ("rbind", "bind"):
        return mount.replace(recursive=word == "rbind")
    if word in PROPAGATION:
        if mount.kind == VOLUME:
            raise UsageError(f"--volume: {text!r}: propagation {word!r} needs a host directory, not a volume")
        if mount.propagation:
            raise UsageError(f"--volume: {text!r}: two propagations, {mount.propagation!r} and {word!r}")
        return mount.replace(propagation=word)
    if word in ("idmap", "noidmap"):
        return mount.replace(idmap=word == "idmap")
    if word in _SWITCHES:
        if _SWITCHES[word] in mount.flags:
            raise UsageError(f"--volume: {text!r}: {word!r} contradicts {_SWITCHES[word]!r}")
        return mount.replace(flags=(*mount.flags, word))
    if word == "nocopy" and mount.kind == VOLUME:
        return mount.replace(copy_up=False)
    known = ("ro", "rw", *PROPAGATION, "idmap", "noidmap", "rbind", "bind", "nocopy", *_SWITCHES)
    if word in ("z", "Z"):
        hint = "leave it out where SELinux is not active; elsewhere: chcon -Rt container_file_t DIR"
        raise UsageError(f"--volume: {text!r}: option {word!r} (SELinux relabelling) is not supported", hint=hint)
    guess = closest(word, known)
    raise UsageError(
        f"--volume: {text!r}: unknown option {word!r}",
        hint=f"did you mean {guess!r}?" if guess else "options are " + ", ".join(known),
    )


def parse_tmpfs(text: str) -> VolumeMount:
    """Return what one ``--tmpfs DIR[:OPTIONS]`` says: noexec, nosuid and nodev unless their opposites are given.

    Raises:
        UsageError: the directory or an option is wrong.
    """
    option = "--tmpfs"
    place, _, words = text.partition(":")
    destination = _destination(option, place, "the form is DIR[:OPTIONS], for example --tmpfs /tmp:size=64m,mode=1777")
    readonly = False
    flags: list[str] = []
    data: list[str] = []
    for word in words.split(",") if words else ():
        key, equals, value = word.partition("=")
        if not equals and word in _TMPFS_FLAGS:
            if word in ("ro", "rw"):
                readonly = word == "ro"
            else:
                flags.append(word)
        elif equals and key in _TMPFS_VALUES:
            data.append(f"{key}={_tmpfs_value(f'{option}: {text!r}: {key}', key, value)}")
        else:
            known = sorted(_TMPFS_FLAGS | _TMPFS_VALUES)
            guess = closest(key, known)
            raise UsageError(
                f"{option}: {text!r}: unknown option {word!r}",
                hint=f"did you mean {guess!r}?" if guess else "options are " + ", ".join(known),
            )
    for flag in ("noexec", "nosuid", "nodev"):
        if flag.removeprefix("no") not in flags and flag not in flags:
            flags.append(flag)
    return VolumeMount(TMPFS, destination, readonly=readonly, flags=tuple(flags), tmpfs_data=tuple(data))


def _tmpfs_value(what: str, key: str, value: str) -> str:
    """Return a value of tmpfs(5) in the form that the kernel takes.

    Raises:
        UsageError: it is not of the kind that the key wants.
    """
    if key == "size" and value.endswith("%") and value[:-1].isdigit():
        return value
    if key in ("size", "nr_blocks", "nr_inodes"):
        return str(parse_size(what, value))
    base = 8 if key == "mode" else 10
    if not value or value.strip("01234567" if base == 8 else "0123456789") or int(value, base) > 0xFFFFFFFF:
        raise UsageError(f"{what}: {value!r} is not {'an octal mode' if base == 8 else 'an id'}")
    if base == 8 and int(value, 8) > 0o7777:
        raise UsageError(f"{what}: {value!r} is not an octal mode", hint="for example mode=1777")
    return value


def split_csv(option: str, text: str) -> list[str]:
    """Return the fields of one CSV record (RFC 4180: a quoted field may hold commas, ``""`` is a quote).

    Raises:
        UsageError: a quote stands where none may stand.
    """
    fields: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            field, rest = "", rest[1:]
            while True:
                part, quote, rest = rest.partition('"')
                field += part
                if not quote:
                    raise UsageError(f"{option}: {text!r}: a quote is not closed")
                if not rest.startswith('"'):
                    break
                field, rest = field + '"', rest[1:]
            if rest and not rest.startswith(","):
                raise UsageError(f"{option}: {text!r}: text follows a closing quote")
            more, rest = bool(rest), rest[1:]
        else:
            field, comma, rest = rest.partition(",")
            more = bool(comma)
            if '"' in field:
                raise UsageError(f"{option}: {text!r}: a quote inside an unquoted field", hint="quote the whole field")
        fields.append(field)
        if not more:
            return fields


_MOUNT_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
    "bind-nonrecursive": "bind-nonrecursive",
}
_COMMON_KEYS = ("type", "target", "readonly")
_MOUNT_KEYS = {
    BIND: (*_COMMON_KEYS, "source", "bind-propagation", "bind-recursive", "bind-nonrecursive", "idmap", "noidmap"),
    TMPFS: (*_COMMON_KEYS, "tmpfs-size", "tmpfs-mode"),
    VOLUME: (*_COMMON_KEYS, "source", "volume-nocopy", "volume-label", "volume-subpath", "idmap", "noidmap"),
}
_MOUNT_FLAGS = ("readonly", "bind-nonrecursive", "volume-nocopy", "idmap", "noidmap")


def parse_mount(text: str) -> VolumeMount:
    """Return what one ``--mount KEY=VALUE,…`` says; the kind is ``volume`` where none is given, as in docker.

    Raises:
        UsageError: a key is unknown or not for this kind, a value is wrong, or something is missing.
    """
    option = f"--mount: {text!r}"
    values: dict[str, str] = {}
    labels: list[tuple[str, str]] = []
    for field in split_csv("--mount", text):
        key, equals, value = field.partition("=")
        key = _MOUNT_ALIASES.get(key.strip().lower(), key.strip().lower())
        if key == "readwrite":
            key, value = "readonly", str(not _boolean(option, "rw", value, equals)).lower()
        elif key in _MOUNT_FLAGS:
            value = str(_boolean(option, key, value, equals)).lower()
        elif not equals:
            raise UsageError(f"{option}: {field!r} is not KEY=VALUE", hint=_MOUNT_HINT)
        if key == "volume-label":
            name, _, content = value.partition("=")
            labels.append((name, content))
        elif key in values:
            raise UsageError(f"{option}: {key!r} is given twice")
        values[key] = value
    kind = values.get("type", VOLUME)
    if kind not in _MOUNT_KEYS:
        raise UsageError(f"{option}: type {kind!r} is not supported", hint="types are bind, volume and tmpfs")
    _check_keys(option, kind, values)
    if "target" not in values:
        raise UsageError(f"{option}: has no target", hint=_MOUNT_HINT)
    mount = VolumeMount(
        kind,
        _destination("--mount", values["target"], _MOUNT_HINT),
        readonly=values.get("readonly") == "true",
        labels=tuple(labels),
    )
    return _KINDS[kind](option, mount, values)


def _check_keys(option: str, kind: str, values: Iterable[str]) -> None:
    """Refuse keys that nobody knows or that belong to another kind.

    Raises:
        UsageError: there is one.
    """
    every = [key for keys in _MOUNT_KEYS.values() for key in keys]
    for key in values:
        if key in _MOUNT_KEYS[kind]:
            continue
        if key in every:
            raise UsageError(
                f"{option}: {key!r} is not for type={kind}", hint="keys are " + ", ".join(_MOUNT_KEYS[kind])
            )
        guess = closest(key, (*every, *_MOUNT_ALIASES))
        hint = f"did you mean {guess!r}?" if guess else "keys are " + ", ".join(_MOUNT_KEYS[kind])
        raise UsageError(f"{option}: unknown key {key!r}", hint=hint)


def _boolean(option: str, key: str, value: str, equals: str) -> bool:
    """Return the value of a key that may stand alone.

    Raises:
        UsageError: neither true nor false.
    """
    if not equals or value.lower() in ("1", "true", "t"):
        return True
    if value.lower() in ("0", "false", "f"):
        return False
    raise UsageError(f"{option}: {key}={value!r} is neither true nor false")


def _finish_bind(option: str, mount: VolumeMount, values: dict[str, str]) -> VolumeMount:
    source = values.get("source", "")
    if not source:
        raise UsageError(f"{option}: has no source", hint=_MOUNT_HINT)
    if not source.startswith(("/", "./", "../")) and source not in (".", ".."):
        raise UsageError(f"{option}: source {source!r} is not a path", hint="a path begins with / or ./")
    propagation = values.get("bind-propagation", "")
    if propagation and propagation not in PROPAGATION:
        raise UsageError(f"{option}: propagation {propagation!r} is unknown", hint="one of " + ", ".join(PROPAGATION))
    how = values.get("bind-recursive", "disabled" if values.get("bind-nonrecursive") == "true" else "enabled")
    if how not in ("enabled", "disabled", "writable", "readonly"):
        raise UsageError(f"{option}: bind-recursive={how!r}", hint="one of enabled, disabled, writable, readonly")
    if how in ("writable", "readonly") and not mount.readonly:
        raise UsageError(f"{option}: bind-recursive={how} needs readonly")
    return mount.replace(
        source=os.path.abspath(source),
        propagation=propagation,
        recursive=how != "disabled",
        readonly_recursive=how != "writable",
        idmap=_idmap(option, values),
    )


def _finish_tmpfs(option: str, mount: VolumeMount, values: dict[str, str]) -> VolumeMount:
    data = []
    if "tmpfs-size" in values:
        data.append(f"size={_tmpfs_value(f'{option}: tmpfs-size', 'size', values['tmpfs-size'])}")
    if "tmpfs-mode" in values:
        data.append(f"mode={_tmpfs_value(f'{option}: tmpfs-mode', 'mode', values['tmpfs-mode'])}")
    return mount.replace(flags=("noexec", "nosuid", "nodev"), tmpfs_data=tuple(data))


def _finish_volume(option: str, mount: VolumeMount, values: dict[str, str]) -> VolumeMount:
    source = values.get("source", "")
    if source and not is_volume_name(source):
        hint = "a host directory needs type=bind"
        raise UsageError(f"{option}: source {source!r} is not a volume name", hint=hint)
    subpath = values.get("volume-subpath", "")
    if subpath.startswith("/") or ".." in subpath.split("/"):
        raise UsageError(f"{option}: volume-subpath {subpath!r} leaves the volume")
    return mount.replace(
        source=source,
        copy_up=values.get("volume-nocopy") != "true" and not subpath,
        subpath=subpath,
        idmap=_idmap(option, values),
    )


def _idmap(option: str, values: dict[str, str]) -> bool | None:
    if "idmap" in values and "noidmap" in values:
        raise UsageError(f"{option}: both idmap and noidmap")
    if "noidmap" in values:
        return values["noidmap"] != "true"
    return values["idmap"] == "true" if "idmap" in values else None


_KINDS = {BIND: _finish_bind, TMPFS: _finish_tmpfs, VOLUME: _finish_volume}


def check_destinations(mounts: Iterable[VolumeMount]) -> None:
    """Refuse two mounts at one place.

    Raises:
        UsageError: names the place.
    """
    seen: set[str] = set()
    for mount in mounts:
        if mount.destination in seen:
            raise UsageError(f"two mounts at {mount.destination}", hint="look at -v, --mount and --tmpfs")
        seen.add(mount.destination)
