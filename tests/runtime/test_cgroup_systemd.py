"""Scopes of a real systemd: booted in the guest, in namespaces of its own, with a user manager beside it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import oci, systemd
from harness.images import REPOSITORY
from harness.probe import requires

pytestmark = [
    requires("root", "pure-cgroup2", "program:dbus-daemon", "program:systemctl"),
    pytest.mark.guest("uml"),
    # systemd takes the whole hierarchy: only where there is nothing else in it
    pytest.mark.skipif("PYCONTAIN_GUEST" not in os.environ, reason="boots a systemd: only in a guest"),
]
#: What a start does, under the manager of the first argument; what came of it goes into the file of the second.
SCRIPT = """
import json, os, subprocess, sys
sys.path[:0] = [{repository!r}, *{path!r}]
from pycontain.cgroups.cgroup import Cgroup
from pycontain.cgroups.host import probe_host
from pycontain.cgroups.stats import stats
from pycontain.cgroups.systemd import Manager, below, parse_cgroups_path
from pycontain.errors import PycontainError
from pycontain.spec.resources import LinuxResources, Memory, Pids
user = sys.argv[1] == "user"
said = {{"before": probe_host().unified.own}}
try:
    unit = parse_cgroups_path(":pycontain:abc", "abc", user=user)
    with Manager.connect(user=user) as manager:
        said["group"] = manager.start_scope(unit, pids=(os.getpid(),), description="a container")
    said["moved"] = probe_host().unified.own
    cgroup = Cgroup(below(probe_host(), said["group"]))
    settings = cgroup.check(LinuxResources(memory=Memory(limit=64 << 20), pids=Pids(7)))
    cgroup.create(lambda path: None, settings)
    cgroup.apply(settings)
    from pycontain.kernel import _sys
    pid, pidfd = _sys.clone3(0, cgroup.unified_fd())
    if pid == 0:
        os.execv("/bin/sleep", ["sleep", "60"])
    found = stats(cgroup)
    said["limits"] = [found.memory.limit, found.pids.limit, found.pids.current]
    said["leaf"] = probe_host().unified.own
    said["scope"] = open(os.path.dirname(cgroup.paths.unified) + "/pids.max").read().strip()
    with Manager.connect(user=user) as manager:
        try:
            manager.start_scope(unit, pids=(os.getpid(),), description="again")
        except PycontainError as error:
            said["again"] = str(error)
    cgroup.kill()
    said["killed"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    cgroup.remove()
    # we are in the scope: another process has to stop it
    if os.fork() == 0:
        with Manager.connect(user=user) as manager:
            other = parse_cgroups_path(":pycontain:def", "def", user=user)
            group = manager.start_scope(other, pids=(os.getpid(),), description="another")
        os._exit(0)
    os.wait()
    with Manager.connect(user=user) as manager:
        manager.stop("pycontain-def.scope")
        manager.stop("pycontain-never.scope")
    said["stopped"] = True
    said["runs"] = []
    for manager in ("systemd", "auto"):
        words = [{program!r}, "--root", sys.argv[2] + ".root", "--cgroup-manager", manager, "run", "--rm"]
        words += ["--cgroupns", "host", "-m", "32m", {busybox!r}, "/bin/cat", "/proc/self/cgroup"]
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        said["runs"].append([done.returncode, done.stdout, done.stderr])
    if not user:
        words = [{program!r} + "-oci", "--root", sys.argv[2] + ".oci", "--systemd-cgroup"]
        words += ["run", "-b", {bundle!r}, "box"]
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        left = os.path.exists("/sys/fs/cgroup/system.slice/oci-box.scope")
        said["oci"] = [done.returncode, done.stdout, done.stderr, left]
except PycontainError as error:
    said["error"] = [str(error), error.hint]
finally:
    with open(sys.argv[2], "w") as file:
        json.dump(said, file)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> dict[str, Any]:
    """Return what the two runs of the script said."""
    output = tmp_path_factory.mktemp("systemd", numbered=True)
    script = output / "script.py"
    paths = [entry for entry in sys.path if entry]
    program = str(Path(sys.executable).parent / "pycontain")
    bundle = output / "bundle"
    bundle.mkdir()
    document = oci.config(busybox, "cat", "/proc/self/cgroup")
    document["linux"]["cgroupsPath"] = "system.slice:oci:box"
    document["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
    (bundle / "config.json").write_text(json.dumps(document))
    values = {"program": program, "busybox": str(busybox), "bundle": str(bundle)}
    script.write_text(SCRIPT.format(repository=str(REPOSITORY), path=paths, **values))
    done = systemd.boot(script, output)
    found = {}
    for name in ("system", "user"):
        file = output / name
        if not file.exists():
            pytest.fail(f"{name}: nothing said\n{done.stdout}{done.stderr}\n{(output / 'stderr').read_text()}")
        found[name] = json.loads(file.read_text())
    return found


def test_a_scope_of_the_system_manager(said: dict[str, Any]) -> None:
    _check(said["system"], "/system.slice/pycontain-abc.scope")


def test_a_scope_of_a_users_manager(said: dict[str, Any]) -> None:
    _check(said["user"], "/system.slice/user-manager.service/user.slice/pycontain-abc.scope")


def test_containers_live_in_one_scope(said: dict[str, Any]) -> None:
    for name, scope in (
        ("system", "/system.slice/pycontain.scope"),
        ("user", "/system.slice/user-manager.service/user.slice/pycontain.scope"),
    ):
        for code, out, err in said[name]["runs"]:
            assert code == 0, (name, out, err)
            path = out.strip().removeprefix("0::")
            assert path.startswith(f"{scope}/"), (name, out, err)
            assert len(path.rpartition("/")[2]) == 64


def test_a_bundle_in_a_scope_of_its_own(said: dict[str, Any]) -> None:
    """G2: slice:prefix:name; the scope ends with the container."""
    assert said["system"]["oci"] == [0, "0::/system.slice/oci-box.scope/container\n", "", False]


def _check(said: dict[str, Any], group: str) -> None:
    assert "error" not in said, said
    assert said["before"] == "/system.slice/test.service"
    assert said["group"] == said["moved"] == group
    assert said["leaf"] == f"{group}/pycontain-init"
    assert said["limits"] == [64 << 20, 7, 1]
    assert said["scope"] == "max"
    assert "already" in said["again"]
    assert said["killed"] == -9
    assert said["stopped"]
