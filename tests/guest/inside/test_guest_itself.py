"""What the other tests in a guest rely on: if the guest were the host after all, these would fail."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.guest


@pytest.fixture
def disk() -> Path:
    """Return the mount point of the guest's ext4 disk."""
    return Path(os.environ["PYCONTAIN_TEST_DISK"])


def test_kernel_is_the_least_one_supported() -> None:
    assert platform.release().startswith("6.1.")


def test_cgroups_are_pure_version_2_with_controllers() -> None:
    mounts = [line.split(" - ")[1].split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert "cgroup" not in mounts
    offered = Path("/sys/fs/cgroup/cgroup.subtree_control").read_text().split()
    assert {"cpu", "io", "memory", "pids"} <= set(offered)


def test_disk_is_ext4_and_can_be_idmapped(disk: Path) -> None:
    fstype = subprocess.run(["stat", "-f", "-c", "%T", str(disk)], capture_output=True, text=True).stdout.strip()
    assert fstype == "ext2/ext3"  # coreutils' name for the family's one magic number
    assert _idmapped_owner(disk) == 300_000


@pytest.mark.guest("qemu")
def test_qemu_has_what_user_mode_linux_lacks() -> None:
    offered = Path("/sys/fs/cgroup/cgroup.subtree_control").read_text().split()
    assert {"cpuset", "hugetlb"} <= set(offered)
    assert Path("/proc/pressure/cpu").exists()
    assert Path("/proc/self/ns/time").exists()


def _idmapped_owner(source: Path) -> int:
    """Return who owns a file of uid 0 below ``source`` when it is mounted with 0 mapped to 300000."""
    program = f"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    libc.unshare(0x10000000)  # CLONE_NEWUSER
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    os._exit(0)
os.read(ready[0], 1)
for name in ("uid_map", "gid_map"):
    open(f"/proc/{{child}}/{{name}}", "w").write("0 300000 65536")
mapping = os.open(f"/proc/{{child}}/ns/user", os.O_RDONLY)
tree = libc.syscall(428, -100, {str(source)!r}.encode(), 1 | 0o2000000)  # open_tree: CLONE, CLOEXEC
attr = struct.pack("QQQQ", 0x100000, 0, 0, mapping)  # MOUNT_ATTR_IDMAP
if libc.syscall(442, tree, b"", 0x1000, attr, len(attr)):  # mount_setattr, AT_EMPTY_PATH
    sys.exit(f"mount_setattr: {{os.strerror(ctypes.get_errno())}}")
os.write(go[1], b"x")
print(os.stat(f"/proc/self/fd/{{tree}}/owned").st_uid)
"""
    (source / "owned").touch()
    done = subprocess.run(["python3", "-I", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
