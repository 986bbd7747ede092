"""An engine's checkpoints through our runtime, beside runc's, in guest qemu where this kernel is none for CRIU."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.oci import PROGRAM
from harness.probe import requires
from harness.waiting import until

pytestmark = [requires("root", "criu", "program:podman"), pytest.mark.timeout(600)]
if shutil.which("criu") and shutil.which("podman"):
    pytestmark.append(pytest.mark.guest("qemu"))

COUNTER = "i=0; while :; do i=$((i+1)); echo $i > /count; usleep 100000; done"


class Podman:
    """Podman with its store in one directory and one runtime."""

    def __init__(self, place: Path, run: str, runtime: str) -> None:
        store = ["--root", f"{place}/store", "--runroot", run, "--storage-driver", "vfs"]
        manager = ["--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        self.argv = ["podman", *store, *manager, "--runtime", runtime]

    def ok(self, *words: str) -> str:
        """Run a command that has to succeed, and return what it says."""
        done = subprocess.run(
            [*self.argv, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def count(self, name: str) -> int:
        """Return how far a container has counted."""
        return int(until(lambda: self.ok("exec", name, "cat", "/count"), 60))


@pytest.fixture(params=["runc", str(PROGRAM)], ids=["runc", "pycontain-oci"])
def podman(request: pytest.FixtureRequest, tmp_path: Path, busybox: Path) -> Iterator[Podman]:
    """Yield an engine with an image of busybox."""
    run = tempfile.mkdtemp(prefix="pycontain-test-", dir="/run")  # its path may have 50 characters
    made = Podman(tmp_path, run, request.param)
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        tar.add(busybox, arcname=".")
    made.ok("import", str(tmp_path / "image.tar"), "localhost/busybox")
    yield made
    made.ok("rm", "--all", "--force", "--time", "0")
    made.ok("rmi", "--all", "--force")
    shutil.rmtree(run)


def test_podman(podman: Podman, tmp_path: Path) -> None:
    """§1.12: a container goes on counting where it was, in its own place and, from an archive, under another name."""
    limits = ["--ulimit", "nofile=100:100", "--ulimit", "nproc=100:100"]
    podman.ok("run", "-d", "--name", "one", "--network", "none", *limits, "localhost/busybox", "sh", "-c", COUNTER)
    assert podman.count("one") >= 1
    podman.ok("container", "checkpoint", "one")
    assert podman.ok("inspect", "--format", "{{.State.Status}}", "one") == "exited"
    podman.ok("container", "restore", "one")
    before = podman.count("one")
    until(lambda: podman.count("one") > before, 60)
    archive = str(tmp_path / "one.tar")
    podman.ok("container", "checkpoint", "--export", archive, "one")
    podman.ok("rm", "one")
    podman.ok("container", "restore", "--import", archive, "--name", "other")
    assert podman.count("other") >= before
    assert podman.ok("inspect", "--format", "{{.State.Status}}", "other") == "running"
