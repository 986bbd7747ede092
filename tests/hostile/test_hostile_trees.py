"""Trees that containers leave behind are removed, however they are made, and nothing else is."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import hostile_roots
from harness.cli import Cli
from harness.probe import requires

from pycontain.runtime import walk
from pycontain.runtime.remove import remove_tree

#: More than Python nests calls, more than a process has descriptors, and longer than a path may be.
DEPTH = 5000


def nest(directory: Path, depth: int = DEPTH) -> None:
    """Make directories in each other, with a file at the bottom."""
    fd = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_descriptors")
def test_depth_costs_no_descriptors_and_no_recursion(tmp_path: Path) -> None:
    assert sys.getrecursionlimit() < DEPTH
    tree = tmp_path / "tree"
    tree.mkdir()
    nest(tree)
    remove_tree(str(tree))
    assert not tree.exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    canary = hostile_roots.canary_directory(tmp_path / "canary")
    before = hostile_roots.tree_state(canary)
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed" / "link").symlink_to(canary)
    (tree / "up").symlink_to("..")
    os.mkfifo(tree / "fifo")
    (tree / "closed").chmod(0)
    remove_tree(str(tree))
    assert not tree.exists()
    assert hostile_roots.tree_state(canary) == before


def test_a_directory_that_is_moved_away_ends_the_walk(tmp_path: Path) -> None:
    """Otherwise ".." would lead to where it was moved, and names of the one would be removed in the other."""
    tree, elsewhere = tmp_path / "tree", tmp_path / "elsewhere"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").touch()
    (elsewhere / "b").mkdir(parents=True)

    def move(_directory: int, _name: str, _status: os.stat_result) -> None:
        (tree / "a" / "b").rename(elsewhere / "moved")

    parent = os.open(tmp_path, os.O_RDONLY)
    removed = []
    with pytest.raises(OSError, match="moved"):
        walk.walk(parent, "tree", file=move, leave=lambda _d, name: removed.append(name), open_all=True)
    os.close(parent)
    assert removed == []


@requires("root")
def test_what_is_mounted_in_a_tree_is_left_alone(tmp_path: Path) -> None:
    canary = hostile_roots.canary_directory(tmp_path / "canary")
    before = hostile_roots.tree_state(canary)
    tree = tmp_path / "tree"
    (tree / "mounted").mkdir(parents=True)
    call = "import sys; from pycontain.runtime.remove import remove_tree; remove_tree(sys.argv[1])"
    script = f'mount --bind "{canary}" "{tree}/mounted" && exec "$@"'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, "-c", call]
    done = subprocess.run([*argv, str(tree)], capture_output=True, text=True)
    assert "StoreError" in done.stderr, done.stderr
    assert hostile_roots.tree_state(canary) == before


@pytest.mark.runtime
@requires("root")
def test_a_deep_tree_stops_neither_rm_nor_prune_nor_volume_rm(pycontain: Cli, busybox: Path) -> None:
    for name in ("one", "two"):
        pycontain.ok("run", "--name", name, "-v", "deep:/v", busybox, "--", "/bin/true")
    for upper in (pycontain.root / "data" / "overlay").glob("*/root/upper"):
        nest(upper)
    nest(pycontain.root / "data" / "volumes" / "deep" / "_data")
    pycontain.ok("rm", "one")
    assert "reclaimed" in pycontain.ok("prune", "-f")
    pycontain.ok("volume", "rm", "deep")
    assert pycontain.leftovers() == []
