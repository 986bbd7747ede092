"""mount(2), detached mounts, fsopen(2) with its log, openat2(2): each in a private mount namespace."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontain.kernel import _sys
from pycontain.kernel import constants as c

InChild = Callable[..., object]


def test_mount_and_umount2(in_mount_namespace: InChild, tmp_path: Path) -> None:
    def mounts() -> list[bool]:
        _sys.mount("source", tmp_path, "tmpfs", c.MS_NOSUID, "size=64k,mode=0700")
        mounted = os.path.ismount(tmp_path)
        _sys.umount2(str(tmp_path), c.MNT_DETACH)
        return [mounted, os.path.ismount(tmp_path)]

    assert in_mount_namespace(mounts) == [True, False]


def test_mount_error_shows_its_operands() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        _sys.mount(None, "/nonexistent", None, c.MS_BIND, b"a=b")
    assert caught.value.filename == "mount('', '/nonexistent', '', 0x1000, 'a=b')"


def test_detached_clone_is_read_only_and_moves(in_mount_namespace: InChild, tmp_path: Path) -> None:
    def clone() -> list[object]:
        tree = _sys.open_tree(c.AT_FDCWD, tmp_path, c.OPEN_TREE_CLONE)
        _sys.mount_setattr(tree, "", c.AT_EMPTY_PATH, attr_set=c.MOUNT_ATTR_RDONLY)
        target = tmp_path / "target"
        target.mkdir()
        _sys.move_mount(tree, "", c.AT_FDCWD, target, c.MOVE_MOUNT_F_EMPTY_PATH)
        read_only = bool(os.statvfs(target).f_flag & os.ST_RDONLY)
        return [os.get_inheritable(tree), read_only, sorted(os.listdir(target))]

    assert in_mount_namespace(clone) == [False, True, ["target"]]


def test_file_system_context_makes_a_mount(in_mount_namespace: InChild) -> None:
    def context() -> list[object]:
        fd = _sys.fsopen("tmpfs")
        _sys.fsconfig_set_string(fd, "size", "64k")
        _sys.fsconfig_set_flag(fd, "ro")
        _sys.fsconfig_create(fd)
        mount = _sys.fsmount(fd, 0, c.MOUNT_ATTR_NOEXEC)
        flags = os.fstatvfs(mount).f_flag
        return [_sys.fstatfs_type(mount) == c.TMPFS_MAGIC, bool(flags & os.ST_NOEXEC), os.get_inheritable(mount)]

    assert in_mount_namespace(context) == [True, True, False]


def test_file_system_context_tells_why(in_mount_namespace: InChild) -> None:
    def context() -> None:
        _sys.fsconfig_set_string(_sys.fsopen("tmpfs"), "size", "many")

    answer = str(in_mount_namespace(context))
    assert "Invalid argument (tmpfs: Bad value for 'size')" in answer
    assert "'size', 'many'" in answer


def test_pivot_root_changes_the_root(in_mount_namespace: InChild, tmp_path: Path) -> None:
    def pivot() -> list[str]:
        _sys.mount(None, tmp_path, "tmpfs", 0, None)
        (tmp_path / "inside").mkdir()
        os.chdir(tmp_path)
        _sys.pivot_root(".", ".")
        _sys.umount2(".", c.MNT_DETACH)
        return os.listdir("/")

    assert in_mount_namespace(pivot) == ["inside"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a directory whose links point out of it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("inside")
    (tmp_path / "absolute").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../../../etc/passwd")
    return tmp_path


@pytest.mark.parametrize("name", ["absolute", "up", "../../etc/passwd"])
def test_openat2_stays_in_root(root: Path, name: str) -> None:
    directory = os.open(root, c.O_PATH)
    fd = _sys.openat2(directory, name, os.O_RDONLY, 0, c.RESOLVE_IN_ROOT)
    assert os.read(fd, 100) == b"inside"
    assert not os.get_inheritable(fd)
    os.close(fd)
    os.close(directory)


def test_openat2_refuses_links(root: Path) -> None:
    directory = os.open(root, c.O_PATH)
    with pytest.raises(OSError, match="openat2") as caught:
        _sys.openat2(directory, "up", os.O_RDONLY, 0, c.RESOLVE_NO_SYMLINKS)
    assert caught.value.errno == errno.ELOOP
    assert caught.value.filename == f"openat2({directory}, 'up', 0x0, 00, 0x4)"
    os.close(directory)


def test_paths_may_be_any_bytes_but_zero(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff"
    with pytest.raises(FileNotFoundError) as caught:
        _sys.umount2(name, 0)
    assert os.fsencode(caught.value.filename) == b"umount2('" + name + b"', 0x0)"
    with pytest.raises(ValueError, match="null"):
        _sys.umount2("a\0b", 0)


def test_fstatfs_type_is_unsigned() -> None:
    fd = os.open("/proc", os.O_RDONLY)
    assert _sys.fstatfs_type(fd) == c.PROC_SUPER_MAGIC
    os.close(fd)
