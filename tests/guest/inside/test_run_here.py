"""What only a guest can show: a machine whose own root is an overlay, whose files cannot be shifted."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.cli import Cli, describe

pytestmark = [pytest.mark.guest, pytest.mark.runtime]


def test_root_that_cannot_be_shifted_is_seen_as_everybody_may(pycontain: Cli) -> None:
    script = "cat /proc/self/uid_map; stat -c %u /etc/passwd; cat /etc/shadow /etc/gshadow"
    done = pycontain.run("run", "--rm", "@host", "--", "/bin/sh", "-c", script)
    assert done.returncode == 1, describe(done)
    inner, outer, size, owner = done.stdout.split()
    assert (inner, size, owner) == ("0", "65536", "65534")  # a range all the same, and nobody's files
    assert int(outer) >= 0x80000
    assert "owners cannot be shifted on overlay" in done.stderr


def test_host_s_root_is_not_changed(pycontain: Cli) -> None:
    before = Path("/etc/passwd").read_bytes()
    pycontain.run("run", "--rm", "@host", "--", "/bin/sh", "-c", "echo x >>/etc/passwd; rm -f /usr/bin/env")
    assert Path("/etc/passwd").read_bytes() == before
    assert Path("/usr/bin/env").exists()
