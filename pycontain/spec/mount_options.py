"""What the words in a mount's ``options`` ask of the kernel.

[lean]

Source: config.md#linux-mount-options (every MUST, SHOULD and MAY of its table), mount(8), mount(2), mount_setattr(2).
Order matters as in mount(8): a later word overrides an earlier one.
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.record import Record

# linux/mount.h
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

_MS_ATIME_VALUES = MS_NOATIME | MS_RELATIME | MS_STRICTATIME  # one of them
_MS_ATIME = _MS_ATIME_VALUES | MS_NODIRATIME

_SET = {
    "bind": MS_BIND,
    "dirsync": MS_DIRSYNC,
    "iversion": MS_I_VERSION,
    "lazytime": MS_LAZYTIME,
    "mand": MS_MANDLOCK,
    "noatime": MS_NOATIME,
    "nodev": MS_NODEV,
    "nodiratime": MS_NODIRATIME,
    "noexec": MS_NOEXEC,
    "nosuid": MS_NOSUID,
    "nosymfollow": MS_NOSYMFOLLOW,
    "rbind": MS_BIND | MS_REC,
    "relatime": MS_RELATIME,
    "remount": MS_REMOUNT,
    "ro": MS_RDONLY,
    "silent": MS_SILENT,
    "strictatime": MS_STRICTATIME,
    "sync": MS_SYNCHRONOUS,
}
_CLEAR = {
    "async": MS_SYNCHRONOUS,
    "atime": MS_NOATIME,
    "dev": MS_NODEV,
    "diratime": MS_NODIRATIME,
    "exec": MS_NOEXEC,
    "loud": MS_SILENT,
    "noiversion": MS_I_VERSION,
    "nolazytime": MS_LAZYTIME,
    "nomand": MS_MANDLOCK,
    "norelatime": MS_RELATIME,
    "nostrictatime": MS_STRICTATIME,
    "rw": MS_RDONLY,
    "suid": MS_NOSUID,
    "symfollow": MS_NOSYMFOLLOW,
}
# also the words of linux.rootfsPropagation
PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "rshared": MS_SHARED | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
}
# (set, clear) for the whole tree. mount_setattr(2): the access time is one value under a mask, and whoever changes it
# must clear the mask; taking back any of its words gives the kernel's default, relatime.
_RECURSIVE = {
    "ratime": (0, MOUNT_ATTR__ATIME),
    "rdev": (0, MOUNT_ATTR_NODEV),
    "rdiratime": (0, MOUNT_ATTR_NODIRATIME),
    "rexec": (0, MOUNT_ATTR_NOEXEC),
    "rnoatime": (MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    "rnodev": (MOUNT_ATTR_NODEV, 0),
    "rnodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "rnoexec": (MOUNT_ATTR_NOEXEC, 0),
    "rnorelatime": (0, MOUNT_ATTR__ATIME),
    "rnostrictatime": (0, MOUNT_ATTR__ATIME),
    "rnosuid": (MOUNT_ATTR_NOSUID, 0),
    "rnosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rrelatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "rro": (MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, MOUNT_ATTR_RDONLY),
    "rstrictatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    "rsuid": (0, MOUNT_ATTR_NOSUID),
    "rsymfollow": (0, MOUNT_ATTR_NOSYMFOLLOW),
}
_IDMAP = ("idmap", "ridmap")
_COPY_UP = "tmpcopyup"
# words for mount(8) itself, which it never hands to the kernel
_FOR_MOUNT_8 = ("auto", "defaults", "noauto", "nofail", "nouser", "_netdev")

KNOWN_OPTIONS = tuple(sorted({*_SET, *_CLEAR, *PROPAGATION, *_RECURSIVE, *_IDMAP, _COPY_UP, "defaults"}))

_MOUNT_ATTRIBUTES = (
    (MS_RDONLY, MOUNT_ATTR_RDONLY),
    (MS_NOSUID, MOUNT_ATTR_NOSUID),
    (MS_NODEV, MOUNT_ATTR_NODEV),
    (MS_NOEXEC, MOUNT_ATTR_NOEXEC),
    (MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW),
)
_ALL_ATTRIBUTES = sum(attribute for _, attribute in _MOUNT_ATTRIBUTES)
# flags that fsconfig(2) takes by name (fs/fs_context.c); "silent" and "iversion" have no name there
_SUPERBLOCK = (
    (MS_RDONLY, "ro", "rw"),
    (MS_SYNCHRONOUS, "sync", "async"),
    (MS_MANDLOCK, "mand", "nomand"),
    (MS_DIRSYNC, "dirsync", ""),
    (MS_LAZYTIME, "lazytime", "nolazytime"),
)


class MountFlags(Record):
    """What a list of options comes to.

    ``set`` and ``clear`` are MS_* flags asked for and taken back in words, without MS_BIND and MS_REC, which are
    ``bind`` and ``recursive``. ``attr_set`` and ``attr_clr`` are their per-mount part as MOUNT_ATTR_*;
    ``rec_attr_set`` and ``rec_attr_clr`` are those of the words with r, for the whole tree (AT_RECURSIVE).
    ``propagation`` is one MS_* value with MS_REC where recursive, or 0. ``data`` are the words for the filesystem.

    ``implied_clr`` is what a bind mount loses because the options name other flags: without any flag it keeps those of
    its source, with one whatever is not named is off. In a user namespace the source's flags may be locked: there, what
    is only implied must be left as it is. Source: runc tests/integration/mounts_sshfs.bats.
    """

    set: int = 0
    clear: int = 0
    attr_set: int = 0
    attr_clr: int = 0
    implied_clr: int = 0
    rec_attr_set: int = 0
    rec_attr_clr: int = 0
    bind: bool = False
    recursive: bool = False
    propagation: int = 0
    tmpcopyup: bool = False
    idmap: bool = False
    idmap_recursive: bool = False
    data: tuple[str, ...] = ()

    def filesystem_options(self) -> tuple[tuple[str, str], ...]:
        """Return (key, value) pairs for fsconfig(2), value "" for a flag: those of the superblock, then ``data``."""
        pairs = []
        for flag, on, off in _SUPERBLOCK:
            if self.set & flag:
                pairs.append((on, ""))
            elif self.clear & flag and off:
                pairs.append((off, ""))
        for option in self.data:
            for word in _split(option):
                key, _, value = word.partition("=")
                pairs.append((key, value))
        return tuple(pairs)

    def data_text(self) -> str:
        """Return the words for the filesystem as mount(2) takes them."""
        return ",".join(self.data)


def parse_options(options: tuple[str, ...], path: str) -> MountFlags:
    """Return what the options ask for; ``path`` is the JSON path of the list. Unknown words are the filesystem's.

    Raises:
        SpecError: two words that exclude each other: idmap and ridmap, two kinds of propagation.
    """
    flags = clear = rec_set = rec_clr = propagation = 0
    data: list[str] = []
    copy_up, idmap = False, ""
    for index, word in enumerate(options):
        if word in _SET:
            if _SET[word] & _MS_ATIME_VALUES:
                flags &= ~_MS_ATIME_VALUES
            flags |= _SET[word]
            clear &= ~_SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
            clear |= _CLEAR[word]
        elif word in PROPAGATION:
            if propagation not in (0, PROPAGATION[word]):
                raise SpecError(f"{path}[{index}]", f"{word} contradicts the propagation given before")
            propagation = PROPAGATION[word]
        elif word in _RECURSIVE:
            on, off = _RECURSIVE[word]
            rec_set = (rec_set & ~off) | on
            rec_clr = (rec_clr & ~on) | off
        elif word in _IDMAP:
            if idmap not in ("", word):
                raise SpecError(f"{path}[{index}]", "idmap and ridmap exclude each other")
            idmap = word
        elif word == _COPY_UP:
            copy_up = True
        elif word and word not in _FOR_MOUNT_8 and not word.startswith("x-"):
            data.append(word)
    bind, recursive = bool(flags & MS_BIND), bool(flags & MS_REC)
    flags &= ~(MS_BIND | MS_REC)
    attr_set, attr_clr = _attributes(flags, clear)
    named = bind and (flags & ~MS_REMOUNT or clear)
    return MountFlags(
        set=flags,
        clear=clear,
        attr_set=attr_set,
        attr_clr=attr_clr,
        implied_clr=_ALL_ATTRIBUTES & ~(attr_set | attr_clr) if named else 0,
        rec_attr_set=rec_set,
        rec_attr_clr=rec_clr,
        bind=bind,
        recursive=recursive,
        propagation=propagation,
        tmpcopyup=copy_up,
        idmap=bool(idmap),
        idmap_recursive=idmap == "ridmap",
        data=tuple(data),
    )


def _attributes(flags: int, clear: int) -> tuple[int, int]:
    """Return (attr_set, attr_clr) of mount_setattr(2) for MS_* flags.

    Access time is kept unless a word sets it, and then it is set whole: nodiratime alone means relatime, and atime,
    diratime, norelatime and nostrictatime change nothing, all as mount(8) does it.
    """
    attr_set = attr_clr = 0
    for flag, attribute in _MOUNT_ATTRIBUTES:
        if flags & flag:
            attr_set |= attribute
        elif clear & flag:
            attr_clr |= attribute
    if flags & _MS_ATIME:
        attr_clr |= MOUNT_ATTR__ATIME
        if flags & MS_NODIRATIME:
            attr_set |= MOUNT_ATTR_NODIRATIME
        else:
            attr_clr |= MOUNT_ATTR_NODIRATIME
        if flags & MS_STRICTATIME:
            attr_set |= MOUNT_ATTR_STRICTATIME
        elif flags & MS_NOATIME:
            attr_set |= MOUNT_ATTR_NOATIME
    return attr_set, attr_clr


def _split(option: str) -> list[str]:
    """Return the parts between commas; a comma in double quotes (an SELinux context) or behind a backslash is text."""
    words, start, in_quotes, escaped = [], 0, False, False
    for index, char in enumerate(option):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            in_quotes = not in_quotes
        elif char == "," and not in_quotes:
            words.append(option[start:index])
            start = index + 1
    words.append(option[start:])
    return [word for word in words if word]
