"""NOTIFY_SOCKET: what a program says to systemd."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from harness.oci import Oci
from harness.probe import requires

pytestmark = requires("root")

SEND = (
    "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
    " s.sendto(b'STATUS=x\\nREADY=1', os.environ['NOTIFY_SOCKET'])"
)


@pytest.fixture
def telling(oci: Oci, debian: Path) -> Oci:
    """Return the program with a bundle whose program says that it is ready, after a moment."""
    script = f'sleep 0.5; python3 -c "{SEND}"; sleep 1000'
    document = oci.config("sh", "-c", script)
    document["root"]["path"] = str(debian)
    document["mounts"].append({"destination": "/run", "type": "tmpfs", "source": "tmpfs"})
    oci.bundle(document)
    return oci


@pytest.mark.parametrize("how", ["start", "run", "foreground"])
def test_readiness_is_told(telling: Oci, how: str) -> None:
    """§1.12: start, or run, returns when the program is ready, and systemd knows its process."""
    path = telling.place / "host.sock"
    environment = {**os.environ, "NOTIFY_SOCKET": str(path)}
    bundle = telling.place / "bundle"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(20)
        if how == "start":
            telling.ok("create", "-b", bundle, "c", env=environment)
            telling.ok("start", "c", env=environment)
        elif how == "run":
            telling.ok("run", "--detach", "-b", bundle, "c", env=environment)
        else:
            process = subprocess.Popen(telling.argv("run", "-b", str(bundle), "c"), env=environment)
        said = listening.recv(1000).decode()
    assert said == f"MAINPID={telling.state('c')['pid']}\nREADY=1\n"
    if how == "foreground":
        telling.ok("kill", "c", "KILL")
        assert process.wait(20) == 137


def test_a_program_that_ends_is_not_waited_for(oci: Oci) -> None:
    """§1.12: start returns when the container ends before it is ready."""
    document = oci.config("true")
    document["mounts"].append({"destination": "/run", "type": "tmpfs", "source": "tmpfs"})
    environment = {**os.environ, "NOTIFY_SOCKET": str(oci.place / "nobody.sock")}
    oci.ok("run", "--detach", "-b", oci.bundle(document), "c", env=environment, timeout=20)
