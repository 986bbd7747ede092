"""Volumes: made, listed, filled, removed; on a directory of the test's own."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pycontain.engine import volumes
from pycontain.engine.mounts import VolumeUse
from pycontain.engine.names import new_id
from pycontain.errors import Exists, NotFound, StoreError, UsageError, WrongState
from pycontain.plan.rootfs import DIRECTORY, HOST, RootSource
from pycontain.runtime import copying, remove
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import Entry, State, Store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=str(tmp_path / "state"), data=str(tmp_path / "data"))


def use(settings: Settings, name: str) -> None:
    store = Store(settings)
    store.prepare()
    entry, lock = store.add("a" * 64, "user")
    entry.save(State(id="a" * 64, name="user", created_ns=1, boot_id="", options={"volumes": [name]}))
    lock.release()


def being_made(settings: Settings) -> Entry:
    store = Store(settings)
    store.prepare()
    entry, lock = store.add(new_id(), f"user{len(store.ids())}")
    lock.release()
    return entry


def test_life(settings: Settings) -> None:
    made = volumes.create(settings, "db", {"a": "b"})
    assert os.path.isdir(made.path)
    assert volumes.find(settings, "db").labels == {"a": "b"}
    with pytest.raises(Exists, match="'db'"):
        volumes.create(settings, "db", {})
    Path(made.path, "file").write_text("x")
    volumes.remove(settings, "db")
    assert volumes.list_volumes(settings) == ()
    with pytest.raises(NotFound, match="'db'"):
        volumes.remove(settings, "db")


@pytest.mark.parametrize("name", ["", "a", "..", "../x", "a/b", "-a", ".a", "a b", "ä" * 3, "n" * 201, "a\0b"])
def test_wrong_names(settings: Settings, name: str) -> None:
    with pytest.raises(UsageError):
        volumes.create(settings, name, {})
    with pytest.raises(NotFound):
        volumes.find(settings, name)


def test_a_used_volume_stays(settings: Settings) -> None:
    volumes.create(settings, "db", {})
    use(settings, "db")
    assert volumes.find(settings, "db").used_by == ("a" * 64,)
    with pytest.raises(WrongState, match="aaaaaaaaaaaa"):
        volumes.remove(settings, "db")
    volumes.forget(settings, ("db", "gone"))
    assert volumes.prune(settings, everything=True) == ()


@pytest.mark.parametrize("exists", [True, False])
def test_volumes_of_a_container_that_is_being_made_stay(settings: Settings, exists: bool) -> None:
    """Between the volume and the state of its container lies the making of its processes."""
    if exists:
        volumes.create(settings, "db", {})
    entry = being_made(settings)
    volumes.provide(entry, (VolumeUse("db", "/data", anonymous=True),), RootSource(HOST, "/"))
    assert volumes.prune(settings, everything=True) == ()
    with pytest.raises(WrongState, match=entry.id[:12]):
        volumes.remove(settings, "db")
    remove.undo(entry)
    assert volumes.prune(settings, everything=True) == ("db",)


def test_a_removal_that_has_begun_is_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who removes has seen no user; a container that comes then gets a new volume, not one that goes."""
    volumes.create(settings, "db", {})
    entry, made = being_made(settings), threading.Event()
    delete = remove.remove_tree

    def provide() -> None:
        volumes.provide(entry, (VolumeUse("db", "/data"),), RootSource(HOST, "/"))
        made.set()

    def slow(*arguments: Any) -> None:
        if not thread.ident:
            thread.start()
            made.wait(0.3)
        delete(*arguments)

    thread = threading.Thread(target=provide)
    monkeypatch.setattr(remove, "remove_tree", slow)
    volumes.remove(settings, "db")
    thread.join()
    assert os.path.isdir(volumes.find(settings, "db").path)


def test_a_volume_that_cannot_be_filled_is_none(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next container would find half of it and take it for the whole."""
    (tmp_path / "root/data").mkdir(parents=True)
    (tmp_path / "root/data/file").write_text("content")
    source = RootSource(DIRECTORY, str(tmp_path / "root"))
    monkeypatch.setattr(copying, "_copy_data", failing)
    with pytest.raises(StoreError, match="no space left"):
        volumes.provide(being_made(settings), (VolumeUse("db", "/data"),), source)
    monkeypatch.undo()
    assert os.listdir(tmp_path / "data/volumes") == [".lock"]
    (tmp_path / "data/volumes/db/_new/half").mkdir(parents=True)  # of one who was killed
    volumes.provide(being_made(settings), (VolumeUse("db", "/data"),), source)
    assert os.listdir(volumes.find(settings, "db").path) == ["file"]


def failing(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_prune_takes_anonymous_ones(settings: Settings) -> None:
    volumes.create(settings, "db", {})
    volumes.create(settings, "e" * 64, {}, anonymous=True)
    assert volumes.prune(settings) == ("e" * 64,)
    assert volumes.prune(settings, everything=True) == ("db",)


def test_a_damaged_description_hides_no_volume(settings: Settings) -> None:
    made = volumes.create(settings, "db", {})
    Path(made.path, "../volume.json").write_text("{")
    assert [one.name for one in volumes.list_volumes(settings)] == ["db"]


def test_new_volumes_are_filled_from_a_hostile_root(settings: Settings, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "real/below").mkdir(parents=True)
    (root / "real/file").write_text("seed")
    (root / "real/file").chmod(0o640)
    (root / "real/below/deep").write_text("deep")
    (root / "real/link").symlink_to("/etc/shadow")
    os.mkfifo(root / "real/fifo")
    (root / "data").symlink_to("/real")
    source = RootSource(DIRECTORY, str(root))
    volumes.provide(being_made(settings), (VolumeUse("db", "/data"),), source)
    data = Path(volumes.find(settings, "db").path)
    assert (data / "file").read_text() == "seed"
    assert (data / "file").stat().st_mode & 0o777 == 0o640
    assert (data / "below/deep").read_text() == "deep"
    assert os.readlink(data / "link") == "/etc/shadow"
    assert (data / "fifo").is_fifo()
    (root / "real/file").write_text("changed")
    volumes.provide(being_made(settings), (VolumeUse("db", "/data"),), source)
    assert (data / "file").read_text() == "seed"


@pytest.mark.parametrize("place", ["/missing", "/file", "/loop", "/out/etc"])
def test_nothing_is_copied_from_where_no_directory_is(settings: Settings, tmp_path: Path, place: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_text("x")
    (root / "loop").symlink_to("loop")
    (root / "out").symlink_to("/")
    volumes.provide(being_made(settings), (VolumeUse("db", place),), RootSource(DIRECTORY, str(root)))
    assert os.listdir(volumes.find(settings, "db").path) == []


def test_the_host_fills_nothing(settings: Settings) -> None:
    volumes.provide(being_made(settings), (VolumeUse("db", "/etc"),), RootSource(HOST, "/"))
    assert os.listdir(volumes.find(settings, "db").path) == []
