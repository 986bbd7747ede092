"""What containers leave in a volume leads the next start nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.cli import Cli
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root")]


@pytest.mark.parametrize("target", ["{canary}", "../../../../../../../../../..{canary}"], ids=["absolute", "relative"])
def test_a_link_does_not_lead_a_subpath_out_of_its_volume(
    pycontain: Cli, busybox: Path, tmp_path: Path, target: str
) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("of the host\n")
    link = target.format(canary=canary)
    pycontain.ok("run", "--rm", "-v", "shared:/v", busybox, "--", "/bin/ln", "-s", link, "/v/sub")
    mount = "type=volume,source=shared,target=/m,volume-subpath=sub"
    try:
        done = pycontain.run("run", "--rm", "--mount", mount, busybox, "--", "/bin/sh", "-c", "ls /m; touch /m/planted")
        assert (done.returncode, done.stdout) == (125, "")
        assert sorted(path.name for path in canary.iterdir()) == ["secret"]
    finally:
        pycontain.ok("volume", "rm", "shared")


def test_a_subpath_shows_its_directory(pycontain: Cli, busybox: Path) -> None:
    script = "mkdir -p /v/a/b; echo inside >/v/a/b/file; ln -s a/b /v/short"
    pycontain.ok("run", "--rm", "-v", "shared:/v", busybox, "--", "/bin/sh", "-c", script)
    try:
        for path in ("a/b", "short"):
            mount = f"type=volume,source=shared,target=/m,volume-subpath={path}"
            assert pycontain.ok("run", "--rm", "--mount", mount, busybox, "--", "/bin/cat", "/m/file") == "inside\n"
    finally:
        pycontain.ok("volume", "rm", "shared")


def test_files_that_root_inside_may_fill_are_not_on_the_state_s_tmpfs(pycontain: Cli, busybox: Path) -> None:
    """The host lives on that tmpfs too: whoever fills it stops services that have nothing to do with us."""
    container = pycontain.ok("run", "-d", busybox, "--", "/bin/sleep", "60").strip()
    script = "for f in /etc/hosts /etc/hostname /etc/resolv.conf; do head -c 100000 /dev/zero >$f; done"
    pycontain.ok("exec", container, "/bin/sh", "-c", script)
    assert [path for path in (pycontain.root / "state").rglob("*") if path.lstat().st_size == 100_000] == []
    assert len(list((pycontain.root / "data" / "files" / container).iterdir())) == 3
    pycontain.ok("rm", "-f", container)
    assert list((pycontain.root / "data" / "files").iterdir()) == []
