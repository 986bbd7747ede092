"""A container swaps directories for links in a shared volume while others start with mount points inside of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import hostile_roots, programs
from harness.cli import Cli, describe
from harness.probe import requires
from harness.waiting import until

from pycontain.runtime import rootpath

pytestmark = [pytest.mark.runtime, requires("root", "program:gcc")]

STARTS = 200
SECONDS = 20


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return hostile_roots.canary_directory(tmp_path / "canary")


@pytest.fixture
def shared(pycontain: Cli, root: Path, canary: Path) -> Iterator[Path]:
    """Yield the directory of a volume in which a container swaps ``swap`` for a link to the host's canary."""
    programs.build(Path(__file__).with_name("swapper.c"), root / "swapper")
    words = ["-v", "shared:/v", "-w", "/v", root, "--", "/swapper", "swap", canary]
    pycontain.ok("run", "-d", "--name", "swapper", *words)
    until(lambda: "swapping" in pycontain.ok("logs", "swapper"))
    yield pycontain.root / "data" / "volumes" / "shared" / "_data"
    pycontain.ok("rm", "-f", "swapper")
    pycontain.ok("volume", "rm", "shared")


# name -> options of those that start meanwhile, and what the program sees at /seen
MOUNTS: dict[str, list[str]] = {
    "subpath": ["--mount", "type=volume,source=shared,target=/seen,volume-subpath=swap"],
    "mount point in the volume": ["-v", "shared:/x", "-v", "VOLUME:/x/swap/new"],
    "mount point at the link": ["-v", "shared:/x", "-v", "VOLUME:/x/swap"],
    "tmpfs in the volume": ["-v", "shared:/x", "--tmpfs", "/x/swap/sys"],
    "working directory": ["-v", "shared:/x", "-w", "/x/swap/made/here"],
    "host's users": ["--userns", "host", "-v", "shared:/x", "-v", "VOLUME:/x/swap/new", "-w", "/x/swap/made"],
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", MOUNTS)
def test_swapped_paths_lead_nowhere(
    pycontain: Cli, busybox: Path, shared: Path, canary: Path, tmp_path: Path, name: str
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    options = [word.replace("VOLUME", str(volume)) for word in MOUNTS[name]]
    # what comes from the host's canary is never seen, and in it nothing is made or mounted over
    script = "[ ! -e /seen/core_pattern ] && [ ! -e core_pattern ] && echo fine"
    before = hostile_roots.tree_state(canary)
    mounts = mounts_at(canary)
    end = time.monotonic() + SECONDS / len(MOUNTS)

    def start(number: int) -> str:
        if time.monotonic() > end and number >= STARTS / len(MOUNTS):
            return ""
        done = pycontain.run("run", "--rm", *options, busybox, "--", "/bin/sh", "-c", script, timeout=30)
        assert done.returncode in (0, 125), describe(done)
        assert done.stdout == ("" if done.returncode else "fine\n"), describe(done)
        assert "Traceback" not in done.stderr, describe(done)
        assert "internal error" not in done.stderr, describe(done)
        return "started" if done.returncode == 0 else "refused"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(start, range(STARTS)))
    assert hostile_roots.tree_state(canary) == before
    assert mounts_at(canary) == mounts
    assert len([outcome for outcome in outcomes if outcome]) >= STARTS // len(MOUNTS)
    assert "started" in outcomes


def mounts_at(directory: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]


def test_the_race_can_be_lost(shared: Path, canary: Path) -> None:
    """Control: whoever goes by path is led out now and then, and our own way of looking never is."""
    outside, ours = canary.stat().st_ino, 0
    root = os.open(shared, os.O_PATH | os.O_DIRECTORY)
    lost = 0
    deadline = time.monotonic() + 10
    try:
        while lost < 20 and time.monotonic() < deadline:
            lost += os.stat(shared / "swap").st_ino == outside
            try:
                found = rootpath.open_path(root, "/swap")
            except OSError:
                continue
            ours += os.fstat(found).st_ino == outside
            os.close(found)
    finally:
        os.close(root)
    assert lost >= 20
    assert ours == 0
