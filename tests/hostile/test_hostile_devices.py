"""The host's device nodes stay as they are, whoever is root inside."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root"), requires("cap:MKNOD")]

#: Give the call a /dev/null of its own, run it with that as standard streams, and tell its mode afterwards.
SHIELD = """
set -e
mount -t tmpfs -o mode=755 none /mnt
mknod -m 666 /mnt/null c 1 3
mount --bind /mnt/null /dev/null
"$@" </dev/null >/dev/null 2>/dev/null || true
echo "after $(stat -c '%a %u' /dev/null)"
"""
STREAMS = "/proc/self/fd/0 /proc/self/fd/1"
SPOIL = f"for f in {STREAMS} /proc/keys; do chmod 611 $f; chown 5 $f; done"


def after(command: list[str]) -> str:
    """Return mode and owner of the null device after a command to which it was the host's."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SHIELD, "sh", *command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout.strip()


def test_a_descriptor_is_enough_to_change_it() -> None:
    """Control; it leaves the host's own /proc/keys alone."""
    assert after(["sh", "-c", f"for f in {STREAMS}; do chmod 611 $f; chown 5 $f; done"]) == "after 611 5"


@pytest.mark.parametrize("userns", ["host", "auto"])
@pytest.mark.parametrize("options", [[], ["-i"], ["-d"]], ids=["plain", "interactive", "detached"])
def test_null_device_keeps_mode_and_owner(pycontain: Cli, busybox: Path, userns: str, options: list[str]) -> None:
    command = ["run", *options, "--userns", userns, busybox, "--", "/bin/sh", "-c", f"{SPOIL}; touch /done"]
    assert after(pycontain.argv(*command)) == "after 666 0"


@pytest.mark.parametrize("options", [[], ["-i"], ["-d"]], ids=["plain", "interactive", "detached"])
def test_null_device_keeps_mode_and_owner_in_exec(pycontain: Cli, busybox: Path, options: list[str]) -> None:
    container = pycontain.ok("run", "-d", "--userns", "host", busybox, "--", "/bin/sleep", "60").strip()
    assert after(pycontain.argv("exec", *options, container, "/bin/sh", "-c", SPOIL)) == "after 666 0"


def test_masks_and_standard_streams_still_swallow(pycontain: Cli, busybox: Path) -> None:
    script = "cat; echo x >/proc/self/fd/0; cat /proc/keys; echo x >/proc/keys && echo $?"
    for userns in ("host", "auto"):
        assert pycontain.ok("run", "--rm", "--userns", userns, busybox, "--", "/bin/sh", "-c", script) == "0\n"


def test_a_file_in_the_place_of_the_null_device_is_noticed(pycontain: Cli, busybox: Path) -> None:
    shield = 'mount -t tmpfs none /mnt; echo secret > /mnt/null; mount --bind /mnt/null /dev/null; exec "$@"'
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", shield, "sh")
    done = Cli(pycontain.root, prefix=prefix).run("run", "--rm", busybox, "cat", "/proc/keys")
    assert (done.returncode, done.stdout) == (125, "")
    assert "not the null device" in done.stderr
    assert "mknod -m 666 /dev/null c 1 3" in done.stderr
