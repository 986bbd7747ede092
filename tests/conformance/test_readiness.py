"""NOTIFY_SOCKET: what a program says to systemd."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from harness.oci import Oci
from harness.probe import requires
from harness.waiting import until

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


@pytest.mark.parametrize("how", ["run", "foreground"])
def test_other_commands_need_not_wait(oci: Oci, how: str) -> None:
    """§1.12: as long as the program is not ready, others can work on the container."""
    document = oci.config("sleep", "1000")
    document["mounts"].append({"destination": "/run", "type": "tmpfs", "source": "tmpfs"})
    environment = {**os.environ, "NOTIFY_SOCKET": str(oci.place / "nobody.sock")}
    options = ["--detach"] if how == "run" else []
    process = subprocess.Popen(oci.argv("run", *options, "-b", oci.bundle(document), "c"), env=environment)
    until(lambda: (oci.root / "c" / "state.json").exists() and oci.state("c")["status"] == "running", 20)
    # commands that take the lock, longer than it can be held for the start itself
    oci.ok("pause", "c")
    oci.ok("resume", "c")
    oci.ok("kill", "c", "KILL")
    assert process.wait(20) == (0 if how == "run" else 137)


def test_a_socket_at_which_nobody_listens(telling: Oci) -> None:
    """§1.12: what cannot be told is an error, and the container goes; in the foreground it is a warning."""
    environment = {**os.environ, "NOTIFY_SOCKET": str(telling.place / "nobody.sock")}
    bundle = telling.place / "bundle"
    assert "NOTIFY_SOCKET" in telling.fails("run", "--detach", "-b", bundle, "c", env=environment)
    assert telling.left() == []
    with (telling.place / "err").open("w+") as err:
        process = subprocess.Popen(telling.argv("run", "-b", str(bundle), "c"), env=environment, stderr=err)
        until(lambda: "NOTIFY_SOCKET" in (telling.place / "err").read_text(), 20)
    assert telling.state("c")["status"] == "running"
    telling.ok("kill", "c", "KILL")
    assert process.wait(20) == 137


def test_without_mounts_of_its_own_there_is_no_socket(oci: Oci) -> None:
    """§1.12: a container that cannot be given one would never be ready."""
    document = oci.config("true")
    document["linux"]["namespaces"] = [{"type": "pid"}]
    document["mounts"] = []
    environment = {**os.environ, "NOTIFY_SOCKET": str(oci.place / "nobody.sock")}
    assert "mount namespace" in oci.fails("run", "-b", oci.bundle(document), "c", env=environment)
    assert oci.left() == []
