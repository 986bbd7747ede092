"""Attacks by the program inside on who makes, enters and attends its container: each gets nowhere.

The numbers are those of pycontain-security(7).
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from harness import programs
from harness.attacks import HOSTILE, NEVER, ON_CGROUPS, Old, attempt, bind, hostile, leave_open, own_root
from harness.cli import describe
from harness.oci import Oci
from harness.probe import requires
from harness.terminal import Terminal
from harness.waiting import until

pytestmark = [requires("root"), pytest.mark.guest("uml")]

# 4: CVE-2022-24769, CVE-2022-29162, CVE-2022-27650


def test_no_capability_is_inherited(oci: Oci) -> None:
    """4: not by run, not by exec, not by a capability that exec adds; what the configuration says is."""
    document = hostile(oci, oci.rootfs, "sleep", "1000")
    oci.ok("run", "-d", "-b", oci.bundle(document), "c")
    pid = oci.state("c")["pid"]
    added = oci.ok("exec", "--cap", "CAP_SYS_TIME", "c", "grep", "Cap", "/proc/self/status")
    assert f"CapEff:\t{sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 25, 27, 29, 31)):016x}" in added
    for status in (Path(f"/proc/{pid}/status").read_text(), oci.ok("exec", "c", "cat", "/proc/self/status"), added):
        assert f"CapInh:\t{0:016x}\n" in status
        assert f"CapAmb:\t{0:016x}\n" in status
    # control
    document["process"]["capabilities"]["inheritable"] = ["CAP_KILL"]
    document["process"]["args"] = ["grep", "CapInh", "/proc/self/status"]
    document["linux"]["cgroupsPath"] += "-control"
    assert oci.ok("run", "-b", oci.bundle(document), "control") == f"CapInh:\t{1 << 5:016x}\n"


# 5: CVE-2024-21626


@pytest.mark.parametrize("how", ["run", "exec"])
def test_directories_outside(oci: Oci, how: str) -> None:
    """5: a working directory that is a descriptor of the host's is refused, whoever has left it open.

    What such a directory gives is shown by tests/hostile/test_controls.py.
    """
    leave_open("/")
    canary = oci.place / "canary"
    canary.write_text("of the host")
    reached = 0
    try:
        document = hostile(oci, oci.rootfs, "sleep", "1000")
        oci.ok("run", "-d", "-b", oci.bundle(document), "c")
        for number in (*range(3, 24), 50):
            cwd, words = f"/proc/self/fd/{number}", ["cat", f"./{canary}"]
            if how == "exec":
                done = oci.run("exec", "--cwd", cwd, "c", *words, pass_fds=(50,))
            else:
                document = hostile(oci, oci.rootfs, *words)
                document["process"]["cwd"] = cwd
                done = attempt(oci, document, pass_fds=(50,))
            assert done.returncode != 0, describe(done)
            assert "of the host" not in done.stdout, describe(done)
            reached += "lies outside" in done.stderr
    finally:
        os.close(50)
    # control: some of these were directories; exec is not among the container's processes yet when it looks for one
    assert reached or how == "exec"


def test_descriptors_of_the_caller(oci: Oci) -> None:
    """5: what a caller has left open comes neither into the program nor into hooks."""
    leave_open("/etc")
    listing = "ls /proc/self/fd >> "
    shared = oci.place / "shared"
    shared.mkdir()
    hooks = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"{listing}{shared}/{kind}"]}]
        for kind in ("createRuntime", "createContainer", "poststart", "poststop")
    }
    hooks["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", f"{listing}/tmp/shared/startContainer"]}]
    document = hostile(oci, oci.rootfs, "ls", "/proc/self/fd")
    document["mounts"].append(bind(shared, "/tmp/shared", "rw"))
    try:
        document["hooks"] = hooks
        said = attempt(oci, document, pass_fds=(50,)).stdout
    finally:
        os.close(50)
    # 3 is that of ls, on the directory itself
    assert said.split() == ["0", "1", "2", "3"]
    assert {path.name: path.read_text().split() for path in shared.iterdir()} == {
        kind: ["0", "1", "2", "3"] for kind in hooks
    }


@pytest.mark.parametrize("joins", [False, True], ids=["new ids", "the host's ids"])
def test_who_waits_holds_nothing_of_the_host(oci: Oci, joins: bool) -> None:
    """5, 10: a container that was created may wait for long, and others may share its process ids."""
    leaked = leave_open("/etc")
    document = hostile(oci, oci.rootfs, "true")
    if joins:
        document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] != "pid"]
    try:
        oci.ok("create", "-b", oci.bundle(document), "c", pass_fds=(leaked,))
    finally:
        os.close(leaked)
    held = Path(f"/proc/{oci.state('c')['pid']}/fd")
    # the standard streams are the caller's; what is left is the socket at which it is started
    assert [os.readlink(path).partition(":")[0] for path in held.iterdir() if int(path.name) > 2] == ["socket"]
    oci.ok("start", "c")


# 10: CVE-2016-9962


def who_enters_is_grasped(oci: Oci, *mode: str) -> str:
    """Return what a process with CAP_SYS_PTRACE and the host's users has got of those that come in by exec."""
    root, shared = own_root(oci), oci.place / "shared"
    shared.mkdir()
    (root / "shared").mkdir(exist_ok=True)
    programs.build(HOSTILE / "grasp.c", root / "grasp")
    document = hostile(oci, root, "sh", "-c", 'exec /grasp "$@" > /shared/said', "sh", *mode)
    for names in document["process"]["capabilities"].values():
        names += ["CAP_SYS_PTRACE"] * ("CAP_SYS_PTRACE" not in names)
    document["mounts"].append(bind(shared, "/shared", "rw"))
    oci.ok("run", "-d", "-b", oci.bundle(document), "grasping", timeout=20)
    said = shared / "said"
    until(lambda: said.exists() and "watching" in said.read_text())
    with (shared / "host").open("w+") as file:
        for _ in range(20):
            argv = oci.argv("exec", "grasping", "true")
            # the standard streams are what the caller gives; what else it has open is not
            streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            subprocess.run(argv, **streams, pass_fds=(file.fileno(),), check=True, timeout=30)
    return said.read_text()


# docker's fourteen and CAP_SYS_PTRACE
RIGHTS = ("rights", "a80c25fb")
FILES = ("descriptors", "/shared/host")


@pytest.mark.host
@requires("program:gcc")
@pytest.mark.parametrize("mode", [RIGHTS, FILES], ids=["rights", "descriptors"])
def test_who_enters_is_not_grasped(oci: Oci, mode: tuple[str, str]) -> None:
    """10: it has no more rights than the container by the time that it can be seen there, and nothing of the host's."""
    assert who_enters_is_grasped(oci, *mode) == "watching\n"


@pytest.mark.host
@requires("program:gcc")
def test_control_who_enters_is_grasped(reference: Old) -> None:
    assert "seized" in who_enters_is_grasped(reference("runc", NEVER), *RIGHTS)


# 11: CVE-2026-30892, CVE-2024-40635


@pytest.mark.parametrize(
    "user",
    [":", "1:", ":1", "0x0", " 1", "1 ", "4294967296", "4294967295", "-1", "+1", "1:-1", "root", "1:2:3", "\u0661"],
)
def test_users_that_are_none(oci: Oci, user: str) -> None:
    """11: nothing but a number that is an id is taken for one."""
    oci.ok("run", "-d", "-b", oci.bundle(hostile(oci, oci.rootfs, "sleep", "1000")), "c")
    assert "is not an id" in oci.fails("exec", "--user", user, "c", "id", code=255)
    # control
    assert oci.ok("exec", "--user", "1:2", "c", "sh", "-c", "id -u; id -g").split() == ["1", "2"]


@pytest.mark.parametrize("uid", ["0", -1, 2**32 - 1, 2**32, 1.0, True, None])
def test_users_of_a_configuration_that_are_none(oci: Oci, uid: object) -> None:
    """11: in the configuration too."""
    document = hostile(oci, oci.rootfs, "id")
    document["process"]["user"] = {"uid": uid, "gid": 0}
    assert "process.user.uid" in oci.refuses(document)


# 12, 13: CVE-2022-0492, CVE-2023-25809


def cgroups_are_written(oci: Oci, *options: str, capability: str = "CAP_KILL") -> set[str]:
    """Return what a container's root could do to cgroups."""
    document = hostile(oci, oci.rootfs, "sh", "-c", ON_CGROUPS)
    for names in document["process"]["capabilities"].values():
        names += [capability] * (capability not in names)
    document["linux"]["namespaces"].append({"type": "cgroup"})
    document["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*options, "nosuid"]}
    )
    found = set(attempt(oci, document).stdout.split())
    assert "done" in found
    return found - {"done"}


def test_cgroups(oci: Oci) -> None:
    """12, 13: read-only is read-only, and only CAP_SYS_ADMIN could mount them anew."""
    assert cgroups_are_written(oci, "ro") == set()
    # controls
    assert cgroups_are_written(oci, "rw") == {"wrote", "made"}
    assert "mounted" in cgroups_are_written(oci, "ro", capability="CAP_SYS_ADMIN")


# 14: CVE-2020-15257


def test_abstract_sockets(oci: Oci) -> None:
    """14: all of the runtime's sockets have a place in a directory, where the host's network does not lead."""
    oci.ok("create", "-b", oci.bundle(oci.config("true"), "waiting"), "waiting")
    document = hostile(oci, oci.rootfs, "cat", "/proc/net/unix")
    document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] != "network"]
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(f"\0pycontain-oci-control-{os.getpid()}")
        places = [line.split()[7] for line in attempt(oci, document).stdout.splitlines()[1:] if len(line.split()) > 7]
    assert f"{oci.root}/waiting/start.sock" in places
    abstract = {place for place in places if place.startswith("@") and "pycontain-oci" in place}
    assert abstract == {f"@pycontain-oci-control-{os.getpid()}"}
    assert stat.S_IMODE((oci.root / "waiting").stat().st_mode) == 0o700


# 19: TIOCSTI


@requires("program:gcc")
@pytest.mark.parametrize("inside", [True, False], ids=["container", "control"])
def test_keys_are_not_typed_for_the_caller(oci: Oci, inside: bool) -> None:
    """19: a program whose standard input is the caller's terminal cannot write into its input."""
    switch = Path("/proc/sys/dev/tty/legacy_tiocsti")  # before 6.2 it is always there
    if switch.exists() and switch.read_text().strip() != "1":
        pytest.skip("this kernel has no TIOCSTI")
    root = own_root(oci)
    programs.build(HOSTILE / "push.c", root / "push")
    argv = oci.argv("run", "-b", oci.bundle(hostile(oci, root, "/push")), "c") if inside else [str(root / "push")]
    with Terminal(argv) as terminal:
        said = terminal.until("end")
        assert terminal.exit_code() == 0
    assert said.count("refused") == (3 if inside else 0), said
