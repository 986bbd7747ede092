"""``-v``, ``--mount`` and ``--tmpfs``: docker's forms, and what is refused."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.engine.mountargs import (
    BIND,
    TMPFS,
    VOLUME,
    VolumeMount,
    check_destinations,
    parse_mount,
    parse_tmpfs,
    parse_volume,
    split_csv,
)
from pycontain.engine.optionwords import reworded
from pycontain.errors import StageError, UsageError


def test_volumes() -> None:
    assert parse_volume("/data") == VolumeMount(VOLUME, "/data")
    assert parse_volume("/srv:/data") == VolumeMount(BIND, "/data", "/srv")
    assert parse_volume("db:/var/lib/db//x/../") == VolumeMount(VOLUME, "/var/lib/db", "db")
    assert parse_volume("./a:/data:ro").source == os.path.abspath("a")
    both = parse_volume("/srv:/data:ro,rslave,noidmap,noexec")
    assert both == VolumeMount(
        BIND, "/data", "/srv", readonly=True, propagation="rslave", idmap=False, flags=("noexec",)
    )
    assert not parse_volume("db:/data:nocopy").copy_up


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "wrong number"),
        ("a:b:c:d", "wrong number"),
        ("/a::ro", "wrong number"),
        ("data", "'data' is not absolute"),
        ("/srv:data", "'data' is not absolute"),
        ("/srv:/", "root"),
        ("/srv:/..", "root"),
        ("a/b:/data", "'a/b'"),
        ("x:/data", "'x'"),
        ("/srv:/data:rw,foo", "'foo'"),
        ("/srv:/data:Z", "'Z'"),
        ("/srv:/data:shared,slave", "'slave'"),
        ("db:/data:shared", "'shared'"),
        ("/srv:/data:exec,noexec", "'noexec'"),
        ("/srv:/data:nocopy", "'nocopy'"),
        ("/srv:/data\0x", "NUL"),
    ],
)
def test_wrong_volumes(text: str, names: str) -> None:
    with pytest.raises(UsageError, match="--volume") as caught:
        parse_volume(text)
    assert names in str(caught.value)


def test_tmpfs() -> None:
    assert parse_tmpfs("/t") == VolumeMount(TMPFS, "/t", flags=("noexec", "nosuid", "nodev"))
    given_ = parse_tmpfs("/t:size=64m,mode=1777,exec,ro,uid=5")
    assert given_.flags == ("exec", "nosuid", "nodev")
    assert given_.tmpfs_data == ("size=67108864", "mode=1777", "uid=5")
    assert given_.readonly
    for text in ("", "t", "/", "/t:foo", "/t:size=x", "/t:mode=9", "/t:mode=17777", "/t:uid=-1", "/t:size"):
        with pytest.raises(UsageError, match="--tmpfs"):
            parse_tmpfs(text)


def test_mounts() -> None:
    assert parse_mount("type=bind,src=/srv,dst=/data,ro") == VolumeMount(BIND, "/data", "/srv", readonly=True)
    assert parse_mount("source=db,target=/data") == VolumeMount(VOLUME, "/data", "db")
    assert parse_mount("target=/data,volume-label=a=b").labels == (("a", "b"),)
    assert parse_mount("type=bind,source=/srv,target=/d,readonly=false,bind-nonrecursive") == VolumeMount(
        BIND, "/d", "/srv", recursive=False
    )
    writable = parse_mount("type=bind,source=/srv,target=/d,readonly,bind-recursive=writable,bind-propagation=rslave")
    assert (writable.readonly_recursive, writable.propagation) == (False, "rslave")
    assert parse_mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700").tmpfs_data == ("size=1048576", "mode=700")
    assert parse_mount('type=bind,"source=/with,comma",target=/d').source == "/with,comma"
    assert parse_mount("source=db,target=/d,volume-subpath=a/b,idmap=false").subpath == "a/b"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "''"),
        ("type=bind", "target"),
        ("type=bind,target=/d", "source"),
        ("type=bind,source=srv,target=/d", "'srv'"),
        ("type=npipe,target=/d", "'npipe'"),
        ("type=tmpfs,target=/d,source=/x", "'source'"),
        ("type=bind,source=/a,target=/d,tmpfs-size=1m", "'tmpfs-size'"),
        ("type=bind,soruce=/a,target=/d", "'soruce'"),
        ("type=bind,source=/a,target=/d,target=/e", "'target'"),
        ("type=bind,source=/a,target=/d,ro=maybe", "'maybe'"),
        ("type=bind,source=/a,target=/d,bind-propagation=x", "'x'"),
        ("type=bind,source=/a,target=/d,bind-recursive=writable", "bind-recursive"),
        ("source=/a,target=/d", "'/a'"),
        ("source=db,target=/d,volume-subpath=../x", "'../x'"),
        ("target=/d,idmap,noidmap", "idmap"),
        ('target="/d', "quote"),
        ('"target=/d"x', "quote"),
    ],
)
def test_wrong_mounts(text: str, names: str) -> None:
    with pytest.raises(UsageError, match="--mount") as caught:
        parse_mount(text)
    assert names in str(caught.value)


def test_two_mounts_at_one_place() -> None:
    with pytest.raises(UsageError, match="/data"):
        check_destinations((parse_volume("/a:/data"), parse_tmpfs("/data/")))


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_quoted_csv_comes_back(fields: list[str]) -> None:
    text = ",".join('"' + field.replace('"', '""') + '"' for field in fields)
    assert split_csv("--mount", text) == fields


@given(st.text(max_size=30))
def test_any_text_is_a_mount_or_an_error(text: str) -> None:
    for parse in (parse_volume, parse_tmpfs, parse_mount):
        try:
            assert parse(text).destination.startswith("/")
        except UsageError:
            pass


def test_an_error_names_the_option_of_the_inner_of_two_places() -> None:
    values = {"volume": ("/srv:/data",), "tmpfs": ("/data/fast",)}
    for place, option in (("/data/fast", "--tmpfs"), ("/data", "--volume")):
        error = reworded(StageError(f"{place}: no such device", spec_path="mounts[7]"), values)
        assert str(error) == f"{option}: {place}: no such device"
