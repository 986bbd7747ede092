"""The default isolation, shifted owners and not the fallback, on each file system that is to work on Linux 6.1.

User-Mode Linux has xfs and btrfs built in, Debian's cloud kernel (QEMU) as modules.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import hostile_roots, images
from harness.cli import Cli, describe
from harness.probe import requires

pytestmark = [pytest.mark.guest, pytest.mark.runtime]

MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}


@pytest.fixture(params=[pytest.param(name, marks=requires(f"program:{words[0]}")) for name, words in MAKE.items()])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Yield the mount point of a new file system of each kind, on an image in memory."""
    image, target = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(320 << 20)  # the least size of an xfs is 300 MiB
    target.mkdir()
    subprocess.run([*MAKE[request.param], str(image)], check=True, capture_output=True)
    subprocess.run(["mount", "-t", request.param, "-o", "loop", str(image), str(target)], check=True)
    found = subprocess.run(["findmnt", "-no", "FSTYPE", str(target)], capture_output=True, text=True).stdout.strip()
    assert found == request.param
    yield target
    subprocess.run(["umount", str(target)], check=True)
    image.unlink()


def test_default_isolation(disk: Path, busybox: Path) -> None:
    """Root, upper layer, volume and bind all lie there."""
    root = images.copy(busybox, disk / "rootfs")
    bound = disk / "bound"
    bound.mkdir()
    cli = Cli(disk / "pycontain")
    script = """
        cut -c1-22 /proc/self/uid_map
        stat -c %u:%g / /bin/busybox /home/app
        touch /new /v/new /b/new && stat -c %u /new /v/new /b/new
        rm -r /etc && mkdir /etc && ls -A /etc && echo emptied
    """
    before = hostile_roots.tree_state(root)
    options = ["--userns", "auto,strict", "-v", "vol:/v", "-v", f"{bound}:/b"]
    done = cli.run("run", "--name", "it", *options, root, "--", "/bin/sh", "-c", script)
    assert "owners" not in done.stderr, describe(done)
    inner, outer, *rest = done.stdout.split()
    assert (inner, int(outer) >= 65536) == ("0", True)
    assert rest[:6] == ["0:0", "0:0", "1000:1000", "0", "0", "0"], describe(done)
    assert hostile_roots.tree_state(root) == before
    # shifted both ways: what root inside made is root's in what the host shares, and the range's in the layer
    assert (bound / "new").stat().st_uid == os.geteuid()
    (layer,) = (disk / "pycontain" / "data" / "overlay").glob("*/root/upper/new")
    assert layer.stat().st_uid == int(outer)
    cli.ok("rm", "it")
    cli.ok("volume", "rm", "vol")
    assert cli.leftovers() == []
