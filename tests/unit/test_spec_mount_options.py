"""The whole table of mount options against the kernel's numbers."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.errors import SpecError
from pycontain.spec import mount_options as mo
from pycontain.spec.mount_options import KNOWN_OPTIONS, MountFlags, parse_options

# config.md#linux-mount-options
MUST = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "private",
    "rbind",
    "relatime",
    "remount",
    "ro",
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "sync",
    "unbindable",
]
SHOULD = [
    "nosymfollow",
    "ratime",
    "rdev",
    "rdiratime",
    "rexec",
    "rnoatime",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "rrelatime",
    "rro",
    "rrw",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "symfollow",
    "idmap",
    "ridmap",
]
MAY = ["mand", "nomand", "tmpcopyup"]


def parse(*words: str) -> MountFlags:
    return parse_options(words, "mounts[0].options")


def test_every_option_of_the_specification_is_known() -> None:
    assert {*MUST, *SHOULD, *MAY, "rnodev"} == set(KNOWN_OPTIONS)


@pytest.mark.parametrize("word", KNOWN_OPTIONS)
def test_known_options_are_no_data(word: str) -> None:
    assert parse(word).data == ()
    assert word == "defaults" or parse(word) != MountFlags()


SET = {
    "ro": (mo.MS_RDONLY, mo.MOUNT_ATTR_RDONLY),
    "nosuid": (mo.MS_NOSUID, mo.MOUNT_ATTR_NOSUID),
    "nodev": (mo.MS_NODEV, mo.MOUNT_ATTR_NODEV),
    "noexec": (mo.MS_NOEXEC, mo.MOUNT_ATTR_NOEXEC),
    "nosymfollow": (mo.MS_NOSYMFOLLOW, mo.MOUNT_ATTR_NOSYMFOLLOW),
    "sync": (mo.MS_SYNCHRONOUS, 0),
    "mand": (mo.MS_MANDLOCK, 0),
    "dirsync": (mo.MS_DIRSYNC, 0),
    "silent": (mo.MS_SILENT, 0),
    "iversion": (mo.MS_I_VERSION, 0),
    "lazytime": (mo.MS_LAZYTIME, 0),
    "remount": (mo.MS_REMOUNT, 0),
}
CLEAR = {
    "rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "symfollow": "nosymfollow", "async": "sync",
    "nomand": "mand", "loud": "silent", "noiversion": "iversion", "nolazytime": "lazytime",
}  # fmt: skip


@pytest.mark.parametrize(("word", "flag", "attribute"), [(word, *value) for word, value in SET.items()])
def test_words_that_set(word: str, flag: int, attribute: int) -> None:
    assert parse(word) == MountFlags(set=flag, attr_set=attribute)


@pytest.mark.parametrize(("word", "opposite"), CLEAR.items())
def test_words_that_clear(word: str, opposite: str) -> None:
    flag, attribute = SET[opposite]
    assert parse(word) == MountFlags(clear=flag, attr_clr=attribute)
    assert parse(opposite, word) == parse(word)
    assert parse(word, opposite) == parse(opposite)


ATIME, NODIR = mo.MOUNT_ATTR__ATIME, mo.MOUNT_ATTR_NODIRATIME


@pytest.mark.parametrize(
    ("words", "attr_set", "attr_clr"),
    [
        ("noatime", mo.MOUNT_ATTR_NOATIME, ATIME | NODIR),
        ("strictatime", mo.MOUNT_ATTR_STRICTATIME, ATIME | NODIR),
        ("relatime", 0, ATIME | NODIR),
        ("nodiratime", NODIR, ATIME),
        ("nodiratime strictatime", NODIR | mo.MOUNT_ATTR_STRICTATIME, ATIME),
        ("nodiratime noatime", NODIR | mo.MOUNT_ATTR_NOATIME, ATIME),
        ("noatime relatime", 0, ATIME | NODIR),
        ("relatime noatime", mo.MOUNT_ATTR_NOATIME, ATIME | NODIR),
        ("strictatime noatime", mo.MOUNT_ATTR_NOATIME, ATIME | NODIR),
        ("noatime atime", 0, 0),
        ("atime", 0, 0),
        ("diratime", 0, 0),
        ("norelatime", 0, 0),
        ("nostrictatime", 0, 0),
        ("nodiratime norelatime", NODIR, ATIME),
    ],
)
def test_access_time_is_one_value(words: str, attr_set: int, attr_clr: int) -> None:
    flags = parse(*words.split())
    assert (flags.attr_set, flags.attr_clr) == (attr_set, attr_clr)


@pytest.mark.parametrize(
    ("words", "rec_set", "rec_clr"),
    [
        ("rro", mo.MOUNT_ATTR_RDONLY, 0),
        ("rrw", 0, mo.MOUNT_ATTR_RDONLY),
        ("rro rrw", 0, mo.MOUNT_ATTR_RDONLY),
        ("rrw rro", mo.MOUNT_ATTR_RDONLY, 0),
        ("rnosuid", mo.MOUNT_ATTR_NOSUID, 0),
        ("rsuid", 0, mo.MOUNT_ATTR_NOSUID),
        ("rnodev", mo.MOUNT_ATTR_NODEV, 0),
        ("rdev", 0, mo.MOUNT_ATTR_NODEV),
        ("rnoexec", mo.MOUNT_ATTR_NOEXEC, 0),
        ("rexec", 0, mo.MOUNT_ATTR_NOEXEC),
        ("rnosymfollow", mo.MOUNT_ATTR_NOSYMFOLLOW, 0),
        ("rsymfollow", 0, mo.MOUNT_ATTR_NOSYMFOLLOW),
        ("rnodiratime", NODIR, 0),
        ("rdiratime", 0, NODIR),
        ("rnoatime", mo.MOUNT_ATTR_NOATIME, ATIME),
        ("rstrictatime", mo.MOUNT_ATTR_STRICTATIME, ATIME),
        ("rrelatime", 0, ATIME),
        ("ratime", 0, ATIME),
        ("rnorelatime", 0, ATIME),
        ("rnostrictatime", 0, ATIME),
        ("rnoatime rstrictatime", mo.MOUNT_ATTR_STRICTATIME, ATIME),
        ("rnoatime rrelatime", 0, ATIME),
        ("rro rnoatime rnodev", mo.MOUNT_ATTR_RDONLY | mo.MOUNT_ATTR_NOATIME | mo.MOUNT_ATTR_NODEV, ATIME),
    ],
)
def test_recursive_words(words: str, rec_set: int, rec_clr: int) -> None:
    assert parse(*words.split()) == MountFlags(rec_attr_set=rec_set, rec_attr_clr=rec_clr)


@given(st.lists(st.sampled_from(KNOWN_OPTIONS), max_size=12))
def test_attributes_are_what_mount_setattr_takes(words: list[str]) -> None:
    try:
        flags = parse(*words)
    except SpecError:
        return
    for attr_set, attr_clr in ((flags.attr_set, flags.attr_clr), (flags.rec_attr_set, flags.rec_attr_clr)):
        # mount_setattr(2) ERRORS, EINVAL: part of the access-time mask cleared; access time set without clearing it
        assert attr_clr & ATIME in (0, ATIME)
        assert not attr_set & ATIME or attr_clr & ATIME == ATIME
        assert attr_set & ATIME in (0, mo.MOUNT_ATTR_NOATIME, mo.MOUNT_ATTR_STRICTATIME)
        assert not attr_set & attr_clr & ~ATIME
    assert not flags.set & flags.clear


@pytest.mark.parametrize(("word", "flag"), mo.PROPAGATION.items())
def test_propagation(word: str, flag: int) -> None:
    name = word if word in ("private", "shared", "slave", "unbindable") else word[1:]
    numbers = {"unbindable": 1 << 17, "private": 1 << 18, "slave": 1 << 19, "shared": 1 << 20}
    assert flag == numbers[name] | (0 if name == word else mo.MS_REC)
    assert parse(word, word) == MountFlags(propagation=flag)


def test_binds() -> None:
    assert parse("bind") == MountFlags(bind=True)
    assert parse("rbind") == MountFlags(bind=True, recursive=True)
    assert parse("bind", "rprivate") == MountFlags(bind=True, propagation=mo.MS_PRIVATE | mo.MS_REC)


ALL = (
    mo.MOUNT_ATTR_RDONLY | mo.MOUNT_ATTR_NOSUID | mo.MOUNT_ATTR_NODEV | mo.MOUNT_ATTR_NOEXEC | mo.MOUNT_ATTR_NOSYMFOLLOW
)


@pytest.mark.parametrize(
    ("words", "implied"),
    [
        ("bind", 0),
        ("rbind rprivate", 0),
        ("bind remount", 0),
        ("bind dev", ALL & ~mo.MOUNT_ATTR_NODEV),
        ("bind nosuid nodev", ALL & ~(mo.MOUNT_ATTR_NOSUID | mo.MOUNT_ATTR_NODEV)),
        ("bind ro", ALL & ~mo.MOUNT_ATTR_RDONLY),
        ("bind noatime", ALL),
        ("ro", 0),
    ],
)
def test_a_bind_mount_with_flags_loses_the_others(words: str, implied: int) -> None:
    assert parse(*words.split()).implied_clr == implied


def test_extensions() -> None:
    assert parse("tmpcopyup") == MountFlags(tmpcopyup=True)
    assert parse("idmap") == MountFlags(idmap=True)
    assert parse("ridmap", "ridmap") == MountFlags(idmap=True, idmap_recursive=True)


@pytest.mark.parametrize(
    ("words", "index", "rule"),
    [
        ("idmap ridmap", 1, "idmap and ridmap exclude each other"),
        ("bind rslave rshared", 2, "rshared contradicts the propagation given before"),
        ("private rprivate", 1, "rprivate contradicts the propagation given before"),
    ],
)
def test_contradictions(words: str, index: int, rule: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(*words.split())
    assert (caught.value.path, caught.value.rule) == (f"mounts[0].options[{index}]", rule)


def test_unknown_words_are_the_filesystems() -> None:
    flags = parse("nosuid", "mode=755", "size=64k,nr_inodes=1k", "acl", "", "noauto", "x-systemd.automount")
    assert flags.data == ("mode=755", "size=64k,nr_inodes=1k", "acl")
    assert flags.data_text() == "mode=755,size=64k,nr_inodes=1k,acl"
    assert flags.filesystem_options() == (("mode", "755"), ("size", "64k"), ("nr_inodes", "1k"), ("acl", ""))


def test_superblock_flags_go_by_name() -> None:
    words = parse("ro", "sync", "dirsync", "lazytime", "mand", "a=b=c").filesystem_options()
    assert words == (("ro", ""), ("sync", ""), ("mand", ""), ("dirsync", ""), ("lazytime", ""), ("a", "b=c"))
    assert parse("rw", "async", "nolazytime", "nomand").filesystem_options() == (
        ("rw", ""),
        ("async", ""),
        ("nomand", ""),
        ("nolazytime", ""),
    )


def test_commas_in_quotes_and_behind_backslashes_do_not_separate() -> None:
    flags = parse('context="a:b:s0:c1,c2",mode=1', "lowerdir=/a\\,b,upperdir=/u")
    assert flags.filesystem_options() == (
        ("context", '"a:b:s0:c1,c2"'),
        ("mode", "1"),
        ("lowerdir", "/a\\,b"),
        ("upperdir", "/u"),
    )


@pytest.mark.skipif(not hasattr(os, "ST_NODEV"), reason="no numbers of the C library to compare with")
def test_numbers_are_those_of_the_c_library() -> None:
    # statvfs(3) shares these with mount(2)
    for name in ("RDONLY", "NOSUID", "NODEV", "NOEXEC", "SYNCHRONOUS", "MANDLOCK", "NOATIME", "NODIRATIME"):
        assert getattr(mo, f"MS_{name}") == getattr(os, f"ST_{name}"), name
