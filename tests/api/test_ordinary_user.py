"""The library for an ordinary user, whose containers need a user namespace first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from harness.ordinary_user import OrdinaryUser
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root", "user")]

TEXT = """
import sys, pycontain
result = pycontain.run(sys.argv[1], ["sh", "-c", "id -u; cat; exit 3"], stdin=b"text", timeout_s=60)
print(result.exit_code, result.stdout, result.timed_out)
try:
    pycontain.run(sys.argv[1], ["true"], sysctls={"kernel.shm_rmid_forced": "1"})
except pycontain.HostError as error:
    print(error, "|", error.hint)
"""


def test_a_run(user: OrdinaryUser, busybox: Path) -> None:
    root = user.rootfs(busybox)
    cli = user.cli()
    done = subprocess.run(
        [*cli.prefix, sys.executable, "-I", "-c", TEXT, str(root)],
        env=cli.environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=100,
    )
    first = "3 b'0\\ntext' False\n"
    assert (done.stdout, done.stderr) == (
        first + "sysctls: kernel.shm_rmid_forced: needs root on this host | run with sudo\n",
        "",
    )
