"""Mounts of a process, as the kernel lists them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycontain.oci.mountinfo import mount_id, mount_id_below, mount_table, unescape


@pytest.mark.parametrize(("text", "path"), [("/a", "/a"), ("/a\\040b\\134", "/a b\\"), ("\\011\\0121", "\t\n1")])
def test_paths_as_the_kernel_writes_them(text: str, path: str) -> None:
    assert unescape(text) == path


def test_a_file_is_on_the_mount_that_it_is_on(tmp_path: Path) -> None:
    table = {mount.id: mount for mount in mount_table(os.getpid())}
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        found = table[mount_id_below(root, "/proc")]
        assert (found.path, found.root) == ("/proc", "/")
        status = os.stat("/proc")
        assert found.device == f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        with pytest.raises(FileNotFoundError):
            mount_id_below(root, str(tmp_path / "nothing"))
    finally:
        os.close(root)
    fd = os.open("/proc/version", os.O_RDONLY)
    try:
        assert mount_id(os.getpid(), fd) == found.id
    finally:
        os.close(fd)
