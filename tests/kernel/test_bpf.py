"""Device programs on a cgroup: load, attach, query, replace, detach."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontain.kernel import _sys
from pycontain.kernel import constants as c

# linux/bpf.h: r0 = 1; exit
ALLOW_ALL = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)
# exit without a value in r0
NO_VALUE = struct.pack("=BBhi", 0x95, 0, 0, 0)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading a device program needs root")


def cgroup2() -> Path | None:
    """Return where cgroup v2 is mounted, if it is."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        if tail.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


@pytest.fixture
def cgroup() -> Iterator[int]:
    root = cgroup2()
    if root is None:
        pytest.skip("cgroup v2 is not mounted")
    path = root / f"pycontain-test-{os.getpid()}"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    path.rmdir()


def load() -> int:
    return _sys.bpf_prog_load(c.BPF_PROG_TYPE_CGROUP_DEVICE, c.BPF_CGROUP_DEVICE, ALLOW_ALL, "GPL")


def test_attach_query_replace_detach(cgroup: int) -> None:
    first, second = load(), load()
    assert not os.get_inheritable(first)
    _sys.bpf_prog_attach(cgroup, first, c.BPF_CGROUP_DEVICE, c.BPF_F_ALLOW_MULTI)
    ids = _sys.bpf_prog_query(cgroup, c.BPF_CGROUP_DEVICE)
    assert len(ids) == 1
    flags = c.BPF_F_ALLOW_MULTI | c.BPF_F_REPLACE
    _sys.bpf_prog_attach(cgroup, second, c.BPF_CGROUP_DEVICE, flags, replace_fd=first)
    replaced = _sys.bpf_prog_query(cgroup, c.BPF_CGROUP_DEVICE)
    assert len(replaced) == 1
    assert replaced != ids
    found = _sys.bpf_prog_get_fd_by_id(replaced[0])
    _sys.bpf_prog_detach(cgroup, found, c.BPF_CGROUP_DEVICE)
    assert _sys.bpf_prog_query(cgroup, c.BPF_CGROUP_DEVICE) == []
    for fd in (first, second, found):
        os.close(fd)


def test_a_refused_program_comes_with_the_log_of_the_verifier() -> None:
    with pytest.raises(PermissionError, match="R0 !read_ok") as caught:
        _sys.bpf_prog_load(c.BPF_PROG_TYPE_CGROUP_DEVICE, c.BPF_CGROUP_DEVICE, NO_VALUE, "GPL")
    assert caught.value.filename == "bpf(BPF_PROG_LOAD, type 15, 1 instructions)"
