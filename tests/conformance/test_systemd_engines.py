"""Engines that let systemd make the cgroups, with our runtime, under a real systemd."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from harness import systemd
from harness.images import copy
from harness.oci import PROGRAM
from harness.probe import requires

pytestmark = [
    requires("root", "pure-cgroup2", "program:dbus-daemon", "program:systemctl"),
    pytest.mark.guest("uml"),
    # systemd takes the whole hierarchy: only where there is nothing else in it
    pytest.mark.skipif("PYCONTAIN_GUEST" not in os.environ, reason="boots a systemd: only in a guest"),
]
#: What comes of each command goes into a list, as (exit code, output); {program} and {rootfs} are filled in.
PODMAN = """
import json, subprocess, sys
said = []
store = ["--root", "/var/tmp/p", "--runroot", "/run/p", "--storage-driver", "vfs", "--events-backend", "file"]
podman = ["podman", *store, "--cgroup-manager", "systemd", "--runtime", {program!r}]
offline = ["--network", "none", "--ulimit", "nofile=100:100", "--ulimit", "nproc=100:100"]
show = "cat /proc/self/cgroup /sys/fs/cgroup/pids.max"
if sys.argv[1] == "system":
    for words in (
        ["info", "--format", "{{{{.Host.CgroupManager}}}} {{{{.Host.OCIRuntime.Path}}}}"],
        ["run", "--rm", *offline, "--cgroupns", "host", "--pids-limit", "33", "--rootfs", {rootfs!r}, "sh", "-c",
         "cat /proc/self/cgroup; cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/pids.max"],
        ["run", "-d", "--name", "x", *offline, "--pids-limit", "44", "--rootfs", {rootfs!r}, "sleep", "1000"],
        ["exec", "x", "cat", "/sys/fs/cgroup/pids.max"],
        ["update", "--memory", "64m", "x"],
        ["exec", "x", "cat", "/sys/fs/cgroup/memory.max"],
        ["kill", "x"],
        ["wait", "x"],
        ["rm", "x"],
    ):
        done = subprocess.run([*podman, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        said.append([words[0], done.returncode, done.stdout.strip(), done.stderr[-600:]])
    units = subprocess.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "libpod*", "crun*"],
                           capture_output=True, text=True)
    said.append(["units", units.returncode, units.stdout.strip(), ""])
with open(sys.argv[2], "w") as file:
    json.dump(said, file)
"""
DOCKER = """
import json, os, subprocess, sys, time
said = []
def run(*words):
    done = subprocess.run(["docker", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    said.append([words[0], done.returncode, done.stdout.strip(), done.stderr[-600:]])
    return done.returncode
if sys.argv[1] == "system":
    os.makedirs("/etc/docker", exist_ok=True)
    options = ["--exec-opt", "native.cgroupdriver=systemd", "--add-runtime", "ours=" + {program!r}, "--bridge", "none",
               "--default-runtime", "ours", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs",
               "--data-root", "/var/tmp/docker", "--exec-root", "/run/docker-exec", "--pidfile", "/run/docker.pid"]
    with open(sys.argv[2] + ".log", "w") as log:
        daemon = subprocess.Popen(["dockerd", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while run("info", "--format", "{{{{.CgroupDriver}}}} {{{{.DefaultRuntime}}}}") and time.monotonic() < deadline:
        said.clear()
        time.sleep(0.5)
    offline = ["--network", "none", "--ulimit", "nofile=100:100"]
    run("import", {image!r}, "busybox:latest")
    run("run", "--rm", *offline, "--cgroupns", "host", "--pids-limit", "33", "busybox", "sh", "-c",
        "cat /proc/self/cgroup; cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/pids.max")
    run("run", "-d", "--name", "box", *offline, "--pids-limit", "44", "busybox", "sleep", "1000")
    run("exec", "box", "cat", "/sys/fs/cgroup/pids.max")
    run("update", "--pids-limit", "55", "box")
    run("exec", "box", "cat", "/sys/fs/cgroup/pids.max")
    run("rm", "-f", "box")
    units = subprocess.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "docker-*"],
                           capture_output=True, text=True)
    said.append(["units", units.returncode, units.stdout.strip(), open(sys.argv[2] + ".log").read()[-1500:]])
    daemon.terminate()
    daemon.wait(20)
with open(sys.argv[2], "w") as file:
    json.dump(said, file)
"""


def under_systemd(script: str, place: Path) -> list[list[Any]]:
    """Return what a script said that ran as a service of systemd."""
    file = place / "script.py"
    file.write_text(script)
    done = systemd.boot(file, place)
    if not (place / "system").exists():
        pytest.fail(f"nothing said\n{done.stdout}{done.stderr}\n{(place / 'stderr').read_text()}")
    found: list[list[Any]] = json.loads((place / "system").read_text())
    return found


@requires("program:podman")
def test_podman(tmp_path: Path, busybox: Path) -> None:
    """G2: a scope for each container in machine.slice, limits, updates, and nothing left of it."""
    rootfs = tmp_path / "rootfs"
    copy(busybox, rootfs)
    said = under_systemd(PODMAN.format(program=str(PROGRAM), rootfs=str(rootfs)), tmp_path)
    assert [row[1] for row in said] == [0] * len(said), said
    words = [row[2] for row in said]
    assert words[0] == f"systemd {PROGRAM}"
    scope, limit = words[1].split()
    assert scope.startswith("0::/machine.slice/libpod-")
    assert scope.endswith(".scope/container")
    assert limit == "33"
    assert (words[3], words[5], words[7]) == ("44", str(64 << 20), "137")
    assert said[-1][2] == "", "a scope is left"


@requires("program:dockerd", "program:docker")
def test_docker(tmp_path: Path, busybox: Path) -> None:
    """G2: Docker with ``native.cgroupdriver=systemd``."""
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        tar.add(busybox, arcname=".")
    said = under_systemd(DOCKER.format(program=str(PROGRAM), image=str(tmp_path / "image.tar")), tmp_path)
    assert [row[1] for row in said] == [0] * len(said), said
    words = [row[2] for row in said]
    assert words[0] == "systemd ours"
    scope, limit = words[2].split()
    assert scope.startswith("0::/system.slice/docker-")
    assert scope.endswith(".scope/container")
    assert (limit, words[4], words[6]) == ("33", "44", "55")
    assert words[-1] == "", "a scope is left"
