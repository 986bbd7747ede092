"""The runtime as an ordinary user calls it, with one id and with a range of subordinate ids."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.oci import PROGRAM, Oci
from harness.ordinary_user import FIRST_SUBID, UID, OrdinaryUser
from harness.probe import requires
from harness.terminal import receive_terminal

pytestmark = requires("user")

ONE, RANGE = "user", "user_with_subids"


class Rootless(Oci):
    """The program as a user runs it, from a directory of the user's own."""

    def __init__(self, user: OrdinaryUser, busybox: Path) -> None:
        place = user.home / "oci"
        place.mkdir(mode=0o755)
        os.chown(place, UID, UID)
        super().__init__(place / "root", place, user.rootfs(busybox), (*user.prefix(), str(PROGRAM)))
        self.user = user

    def config(self, *args: str) -> dict[str, Any]:
        """Return a configuration with a user namespace and no cgroup."""
        document = super().config(*args)
        del document["linux"]["cgroupsPath"]
        rows = [{"containerID": 0, "hostID": UID, "size": 1}]
        if self.user.subids:
            rows.append({"containerID": 1, "hostID": FIRST_SUBID, "size": 65536})
        document["linux"].update(uidMappings=rows, gidMappings=rows)
        document["linux"]["namespaces"].append({"type": "user"})
        return document


def _rootless(user: OrdinaryUser, busybox: Path) -> Iterator[Rootless]:
    runtime = Rootless(user, busybox)
    yield runtime
    runtime.remove_all()
    assert runtime.left() == []


@pytest.fixture(params=[ONE, RANGE], ids=["one id", "range"])
def rootless(request: pytest.FixtureRequest, busybox: Path) -> Iterator[Rootless]:
    """Yield the program of a user, at the end of which nothing may be left."""
    yield from _rootless(request.getfixturevalue(request.param), busybox)


@pytest.fixture
def ranged(user_with_subids: OrdinaryUser, busybox: Path) -> Iterator[Rootless]:
    """Yield the program of a user with subordinate ids."""
    yield from _rootless(user_with_subids, busybox)


@pytest.fixture
def single(user: OrdinaryUser, busybox: Path) -> Iterator[Rootless]:
    """Yield the program of a user without."""
    yield from _rootless(user, busybox)


def test_life(rootless: Rootless) -> None:
    """§1.2: all commands that need no cgroup."""
    script = "trap 'exit 5' TERM; touch /tmp/up; while :; do sleep 0.05; done"
    rootless.ok("create", "-b", rootless.bundle(rootless.config("sh", "-c", script)), "c")
    assert rootless.state("c")["status"] == "created"
    pid = rootless.state("c")["pid"]
    assert os.stat(f"/proc/{pid}").st_uid in (0, UID), "not dumpable, or the user's"
    rootless.ok("start", "c")
    assert rootless.state("c")["status"] == "running"
    until = "until test -e /tmp/up; do sleep 0.05; done; id -u; hostname"
    assert rootless.ok("exec", "c", "sh", "-c", until).split()[0] == "0"
    assert [row["id"] for row in json.loads(rootless.ok("list", "-f", "json"))] == ["c"]
    rootless.fails("delete", "c")
    rootless.ok("kill", "c", "TERM")
    rootless.wait("c", "stopped")
    rootless.ok("delete", "c")
    assert rootless.fails("state", "c").count("does not exist") == 1


def test_run_and_its_exit_code(rootless: Rootless) -> None:
    rootless.fails("run", "-b", rootless.bundle(rootless.config("sh", "-c", "exit 7")), "c", code=7)
    assert rootless.runs(rootless.config("id", "-u"), "d") == "0\n"
    (rootless.rootfs / "made").unlink(missing_ok=True)
    document = rootless.config("touch", "/made")
    document["root"]["readonly"] = False
    rootless.runs(document, "e")
    assert (rootless.rootfs / "made").stat().st_uid == UID


def test_the_word_rootless(single: Rootless) -> None:
    """§1.12: --rootless true and auto are the same for an ordinary user, false is refused."""
    bundle = single.bundle(single.config("id", "-u"))
    for word in ("true", "auto"):
        assert single.ok("--rootless", word, "run", "-b", bundle, "c") == "0\n"
    assert "not root" in single.fails("--rootless", "false", "run", "-b", bundle, "c")
    assert "none of" in single.fails("--rootless", "maybe", "run", "-b", bundle, "c")


def test_the_template(single: Rootless) -> None:
    """``spec --rootless`` runs as it is."""
    directory = single.place / "bundle"
    directory.mkdir()
    os.chown(directory, UID, UID)
    single.ok("spec", "--rootless", "-b", directory)
    document = json.loads((directory / "config.json").read_text())
    document["root"]["path"] = str(single.rootfs)
    document["process"].update(terminal=False, args=["id", "-u"])
    document["process"].pop("rlimits", None)
    assert single.runs(document) == "0\n"


def test_users_of_a_range(ranged: Rootless) -> None:
    """P4: by newuidmap, with groups; what is not mapped is refused."""
    document = ranged.config("id")
    document["process"]["user"] = {"uid": 33, "gid": 34, "additionalGids": [5]}
    assert ranged.runs(document).startswith("uid=33 gid=34 groups=")
    assert "5" in ranged.runs({**document, "process": {**document["process"], "args": ["id", "-G"]}}).split()
    document["process"]["user"] = {"uid": 70000, "gid": 0}
    assert "70000 is not mapped" in ranged.refuses(document)
    document = ranged.config("true")
    document["linux"]["uidMappings"] = [
        document["linux"]["uidMappings"][0],
        {"containerID": 1, "hostID": 500, "size": 9},
    ]
    assert "newuidmap: " in ranged.refuses(document)


def test_groups_of_one_id(single: Rootless) -> None:
    """U1: setgroups is denied where the map is written without privilege."""
    document = single.config("cat", "/proc/self/setgroups")
    document["process"]["user"] = {"uid": 0, "gid": 0, "additionalGids": []}
    assert single.runs(document) == "deny\n"
    document["process"]["user"]["additionalGids"] = [0]
    assert "process.user.additionalGids" in single.refuses(document)
    single.ok("run", "-d", "-b", single.bundle(single.config("sleep", "1000")), "c")
    assert "additionalGids" in single.fails("exec", "-g", "0", "c", "true", code=255)


def test_without_a_user_namespace(single: Rootless) -> None:
    document = single.config("true")
    document["linux"]["namespaces"].pop()
    del document["linux"]["uidMappings"], document["linux"]["gidMappings"]
    assert "needs a user namespace" in single.refuses(document)


def test_without_cgroups(rootless: Rootless) -> None:
    """G4: a path and device rules say nothing here, a limit is an error; what needs a cgroup says so."""
    document = rootless.config("true")
    document["linux"]["cgroupsPath"] = "pycontain-oci/rootless"
    document["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    rootless.runs(document)
    document["linux"]["resources"]["pids"] = {"limit": 10}
    assert "cgroup" in rootless.refuses(document)
    rootless.ok("run", "-d", "-b", rootless.bundle(rootless.config("sleep", "1000")), "c")
    assert "cgroup" in rootless.fails("pause", "c")
    assert "cgroup" in rootless.fails("update", "--pids-limit", "5", "c")
    assert rootless.state("c")["status"] == "running"


def test_console_socket(rootless: Rootless) -> None:
    """D8, D9: the terminal is the user's."""
    document = rootless.config("sh", "-c", "tty; stat -c %u $(tty)")
    document["process"]["terminal"] = True
    path = rootless.place / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        os.chown(path, UID, UID)
        listener.listen()
        rootless.ok("create", "--console-socket", path, "-b", rootless.bundle(document), "c")
        master = receive_terminal(listener)
    assert stat.S_ISCHR(os.fstat(master).st_mode)
    rootless.ok("start", "c")
    rootless.wait("c", "stopped")
    assert os.read(master, 1000).decode().split() == ["/dev/pts/0", "0"]
    os.close(master)


def test_hooks(rootless: Rootless) -> None:
    """H6: outside they are the user, in the container its root."""
    shared = rootless.place / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    document = rootless.config("true")
    document["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > /dev/null; id -u > {shared}/{kind}"]}]
        for kind in ("createRuntime", "createContainer", "poststop")
    }
    for hooks in document["hooks"].values():
        hooks[0]["env"] = ["PATH=/usr/bin:/bin"]
    rootless.runs(document)
    found = {path.name: path.read_text().strip() for path in shared.iterdir()}
    assert found == {"createRuntime": str(UID), "createContainer": "0", "poststop": str(UID)}
    document["hooks"]["createRuntime"][0]["args"][2] = "exit 3"
    assert "hooks.createRuntime[0]" in rootless.refuses(document)


MOUNTS: list[tuple[dict[str, Any], str]] = [
    ({"destination": "/mnt", "type": "ext4", "source": "/dev/null"}, "mount at /mnt: new ext4"),
    ({"destination": "/mnt", "source": "/root/nonesuch", "options": ["bind"]}, "/root/nonesuch"),
    ({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["trusted=1"]}, "trusted"),
]


@pytest.mark.parametrize(("mount", "said"), MOUNTS, ids=["ext4", "bind", "word"])
def test_mounts_that_are_not_allowed(single: Rootless, mount: dict[str, Any], said: str) -> None:
    document = single.config("true")
    document["mounts"].append(mount)
    assert said in single.refuses(document)


def test_the_host_s_sysfs(single: Rootless) -> None:
    """A sysfs shows a network namespace: that of the host cannot be mounted, the container's own can."""
    document = single.config("ls", "/sys/class/net")
    document["mounts"].append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]})
    assert single.runs(document) == "lo\n"
    document["linux"]["namespaces"] = [row for row in document["linux"]["namespaces"] if row["type"] != "network"]
    assert "mount at /sys: new sysfs" in single.refuses(document)


def test_devices_are_the_host_s(single: Rootless) -> None:
    """D4: nodes cannot be made; those that the host has are bound."""
    document = single.config("sh", "-c", "echo x > /dev/null && stat -c %t:%T /dev/zero")
    document["linux"]["devices"] = [{"path": "/dev/zero", "type": "c", "major": 1, "minor": 5}]
    assert single.runs(document) == "1:5\n"
    document["linux"]["devices"] = [{"path": "/dev/nonesuch", "type": "c", "major": 1, "minor": 5}]
    assert "/dev/nonesuch" in single.refuses(document)


def test_explain_knows_the_user(single: Rootless) -> None:
    """What needs privilege is named before it fails."""
    document = single.config("true")
    document["process"]["oomScoreAdj"] = -100
    done = single.run("explain", "-b", single.bundle(document))
    assert done.returncode == 1
    assert "not on this host: capability CAP_SYS_RESOURCE: this user does not have it" in done.stdout
    assert single.ok("explain", "-b", single.bundle(single.config("true"))).startswith("on the host:")


@requires("program:podman")
@pytest.mark.parametrize("ids", [ONE, RANGE])
def test_podman_of_an_ordinary_user(ids: str, request: pytest.FixtureRequest, busybox: Path) -> None:
    """Podman makes the user namespace itself, and calls the runtime as root in it."""
    user: OrdinaryUser = request.getfixturevalue(ids)
    root, store = user.rootfs(busybox), ("--root", str(user.home / "store"), "--runroot", str(user.runtime_directory))
    podman = ("podman", "--runtime", str(PROGRAM), "--cgroup-manager", "cgroupfs", "--events-backend", "file", *store)

    def ok(*words: str) -> str:
        done = user.run(*podman, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    offline = ("--network", "none", "--rootfs", str(root))
    try:
        assert ok("run", "--rm", *offline, "id", "-u") == "0\n"
        name = ok("run", "-d", "--hostname", "box", *offline, "sh", "-c", "trap exit TERM; while :; do sleep .1; done")
        assert ok("exec", name.strip(), "hostname") == "box\n"
        assert "Up " in ok("ps")
        ok("stop", "-t", "5", name.strip())
        assert "Exited (0)" in ok("ps", "-a")
        ok("rm", name.strip())
    finally:
        user.run(*podman, "rm", "--all", "--force", "--time", "0")
        user.run(*podman, "system", "migrate")  # ends the process that keeps the user namespace
