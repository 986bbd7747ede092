"""Cgroups where we are not the host's root: in a delegated one, in a cgroup namespace, with nothing delegated."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cgroup_box import PARENT, SLEEP, Box
from harness.images import REPOSITORY
from harness.probe import requires

from pycontain.cgroups.cgroup import USUAL_CONTROLLERS, Cgroup
from pycontain.errors import HostError
from pycontain.spec.resources import LinuxResources, Memory

pytestmark = requires("root", "cgroup2")
UML = pytest.mark.guest("uml")
NOBODY = 65534

#: Enters the cgroup of its first argument, does what the test adds, then makes a cgroup as a start would.
PROGRAM = """
import ctypes, os, sys
sys.path.insert(0, {repository!r})
from pycontain.cgroups.cgroup import Cgroup, locate
from pycontain.cgroups.host import probe_host, usable
from pycontain.errors import HostError
from pycontain.spec.resources import LinuxResources, Memory, Pids
with open(sys.argv[1] + "/cgroup.procs", "w") as file:
    file.write("0")
{before}
layout = usable(probe_host())
cgroup = Cgroup(locate(layout, "{parent}/one"))
print(layout.mode, cgroup.paths.unified)
resources = LinuxResources({resources})
try:
    settings = cgroup.check(resources)
    made = []
    cgroup.create(made.append, settings)
    cgroup.apply(settings)
    print("made", *made)
    print("controllers", *cgroup.placement().unified or ())
    if cgroup.paths.unified:
        print("has", *cgroup.directory("unified").read("cgroup.controllers").split())
        print("self", probe_host().unified.own)
        pid = os.fork()
        if pid == 0:
            os.read(os.pipe()[0], 1)
        Cgroup(cgroup.paths).add(pid)
        print("procs", cgroup.procs() == (pid,))
        cgroup.freeze()
        cgroup.thaw()
        cgroup.kill()
        print("killed", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    cgroup.remove()
except HostError as error:
    print("error", error)
    print("hint", error.hint)
"""


@pytest.fixture
def box() -> Iterator[Box]:
    with Box() as made:
        yield made


def run(cgroup: Cgroup, before: str = "", resources: str = "") -> dict[str, str]:
    """Run the program in ``cgroup`` and return its lines by their first word."""
    text = PROGRAM.format(repository=str(REPOSITORY), parent=PARENT, before=before, resources=resources)
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", text, cgroup.paths.unified],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in done.stdout.splitlines()}


def delegated(box: Box, name: str) -> Cgroup:
    """Return a cgroup that belongs to uid NOBODY, with whatever controllers there are."""
    cgroup = box.make(name)
    path = Path(cgroup.paths.unified)
    for file in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        os.chown(path / file, NOBODY, NOBODY)
    return cgroup


def offered(cgroup: Cgroup) -> list[str]:
    return Path(cgroup.paths.unified, "cgroup.controllers").read_text().split()


BECOME_NOBODY = f"os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})"


@UML
def test_a_delegated_cgroup_is_used(box: Box) -> None:
    """Our own process has to leave it first: a cgroup that passes controllers on has no processes of its own."""
    cgroup = delegated(box, "scope")
    said = run(cgroup, BECOME_NOBODY)
    inner = f"{cgroup.paths.unified}/{PARENT}/one"
    assert said["v2"] == inner
    assert said["made"] == inner
    assert said["controllers"].split() == offered(cgroup)
    assert said["has"].split() == [name for name in offered(cgroup) if name in USUAL_CONTROLLERS]
    assert said["self"].endswith(f"/{PARENT}/scope/pycontain-init") or not said["has"]
    assert (said["procs"], said["killed"]) == ("True", "-9")
    assert not os.path.exists(inner)


@UML
@requires("cgroup2:memory", "cgroup2:pids")
def test_limits_in_a_delegated_cgroup(box: Box) -> None:
    cgroup = delegated(box, "scope")
    said = run(cgroup, BECOME_NOBODY, "memory=Memory(limit=64 << 20), pids=Pids(5)")
    assert said["made"]
    assert "error" not in said


@UML
def test_what_is_not_delegated_is_not_used(box: Box) -> None:
    cgroup = box.make("session")
    assert run(cgroup, BECOME_NOBODY)["none"] == ""
    said = run(cgroup, BECOME_NOBODY, "memory=Memory(limit=64 << 20)")
    assert f"not delegated to uid {NOBODY}" in said["error"]
    assert "systemd-run --user --scope -p Delegate=yes" in said["hint"]


MOUNT_CGROUP2 = """
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x02000000) == 0  # CLONE_NEWCGROUP
libc.umount2(b"/sys/fs/cgroup", 2)
assert libc.mount(b"cgroup2", b"/sys/fs/cgroup", b"cgroup2", {flags}, None) == 0, os.strerror(ctypes.get_errno())
"""


@UML
def test_inside_a_cgroup_namespace(box: Box) -> None:
    """As in a privileged container: we are in what looks like the root, which is none."""
    cgroup = box.make("namespace")
    said = run(cgroup, MOUNT_CGROUP2.format(flags=0))
    assert said["v2"] == f"/sys/fs/cgroup/{PARENT}/one"
    assert said["has"].split() == [name for name in offered(cgroup) if name in USUAL_CONTROLLERS]
    assert said["self"] == "/pycontain-init" or not said["has"]
    assert (said["procs"], said["killed"]) == ("True", "-9")


@UML
def test_inside_a_container_with_read_only_cgroups(box: Box) -> None:
    cgroup = box.make("readonly")
    assert run(cgroup, MOUNT_CGROUP2.format(flags=1))["none"] == ""
    said = run(cgroup, MOUNT_CGROUP2.format(flags=1), "memory=Memory(limit=64 << 20)")
    assert "/sys/fs/cgroup is mounted read-only" in said["error"]
    assert "privileged" in said["hint"]


@UML
@requires("pure-cgroup2", "cgroup2:memory")
def test_a_cgroup_with_strangers_passes_nothing_on(box: Box) -> None:
    """Processes that are not in our own cgroup are not ours to move."""
    outer = box.make("strangers")
    box.python(outer, SLEEP)
    inner = box.at("strangers/inner")
    resources = LinuxResources(memory=Memory(limit=1 << 20))
    with pytest.raises(
        HostError, match="memory cannot be enabled for its children: it has processes of its own"
    ) as caught:
        inner.create(box.journal.append, inner.check(resources))
    assert "--cgroup-parent" in caught.value.hint
    assert not os.path.exists(inner.paths.unified)
    inner.create(box.journal.append)
    assert inner.directory("unified").read("cgroup.type") == "domain"
    assert inner.directory("unified").read("cgroup.controllers") == ""
    assert outer.directory("unified").read("cgroup.type") == "domain"
