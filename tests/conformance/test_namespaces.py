"""Namespaces of every type, users, names, clocks and kernel parameters."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.oci import Oci
from harness.probe import requires

from pycontain.plan.namespaces import CLONE_FLAGS, PROC_NAMES

LINUX_MASKED = {"namespaces": [{"type": "pid"}], "maskedPaths": ["/proc/kcore"]}

pytestmark = requires("root")

MAPPING = [{"containerID": 0, "hostID": 100000, "size": 1000}]
NET = "net.ipv4.ip_default_ttl"


def namespaces(document: dict[str, Any], **paths: str | None) -> dict[str, Any]:
    """Return the document with these namespaces changed: a path, "" for a new one, None for the runtime's own."""
    entries = {entry["type"]: entry for entry in document["linux"]["namespaces"]}
    for kind, path in paths.items():
        if path is None:
            entries.pop(kind, None)
        else:
            entries[kind] = {"type": kind, "path": path} if path else {"type": kind}
    document["linux"]["namespaces"] = list(entries.values())
    return document


def with_users(document: dict[str, Any], mapping: list[dict[str, int]] = MAPPING) -> dict[str, Any]:
    document["linux"].update(uidMappings=mapping, gidMappings=mapping)
    return namespaces(document, user="")


def link(kind: str, pid: int | str = "self") -> str:
    return os.readlink(f"/proc/{pid}/ns/{PROC_NAMES.get(kind, kind)}")


def seen(oci: Oci, document: dict[str, Any], kind: str) -> str:
    document["process"]["args"] = ["readlink", f"/proc/self/ns/{PROC_NAMES.get(kind, kind)}"]
    return oci.runs(document).strip()


@pytest.fixture
def other() -> Iterator[int]:
    """Yield a process in new namespaces of every type, with a user namespace of MAPPING."""
    line = "0 100000 1000"
    words = ["unshare", "--fork", "--kill-child", "-UpmuinC", "-T", "--mount-proc", "sleep", "1000"]
    # it complains when its child is killed
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        pid = child_of(process.pid)
        try:
            Path(f"/proc/{pid}/uid_map").write_text(line)
            Path(f"/proc/{pid}/gid_map").write_text(line)
            yield pid
        finally:
            # unshare waits for it: when that has ended, nothing is left
            os.kill(pid, signal.SIGKILL)


def child_of(pid: int) -> int:
    while True:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text() == "sleep\n":
                return int(child)


# -- N1 to N6


@pytest.mark.parametrize("kind", CLONE_FLAGS)
def test_new_or_the_runtimes_own(oci: Oci, kind: str) -> None:
    """N1, N3, N4: a type without a path is new, one that is not listed is the runtime's."""
    document = oci.config()
    if kind == "user":
        with_users(document)
    found = seen(oci, namespaces(document, **{kind: ""}), kind)
    assert found.startswith(PROC_NAMES.get(kind, kind))
    assert found != link(kind)
    if kind not in ("mount", "pid"):
        document["linux"].pop("uidMappings", None)
        document["linux"].pop("gidMappings", None)
        assert seen(oci, namespaces(document, **{kind: None}), kind) == link(kind)


def test_the_runtimes_own_processes(oci: Oci) -> None:
    """N4: without a pid namespace a container has the runtime's."""
    document = namespaces(oci.config("sleep", "100"), pid=None)
    oci.ok("run", "--detach", "-b", oci.bundle(document), "c")
    assert link("pid", oci.state("c")["pid"]) == link("pid")


@pytest.mark.parametrize("kind", CLONE_FLAGS)
def test_joined(oci: Oci, other: int, kind: str) -> None:
    """N2: a container is in the namespace at the path; deleting it leaves that alone."""
    path = f"/proc/{other}/ns/{PROC_NAMES.get(kind, kind)}"
    document = namespaces(oci.config("sleep", "100"), **{kind: path})
    if kind in ("pid", "mount"):
        # what belongs to another user namespace is joined with it
        namespaces(document, user=f"/proc/{other}/ns/user")
    oci.ok("run", "--detach", "-b", oci.bundle(document), "c")
    assert link(kind, oci.state("c")["pid"]) == link(kind, other) != link(kind)
    oci.ok("delete", "--force", "c")
    assert Path(f"/proc/{other}/comm").read_text() == "sleep\n"


def test_all_joined(oci: Oci, other: int) -> None:
    """N2, N6: all of them together, the user namespace first; exec too."""
    paths = {kind: f"/proc/{other}/ns/{PROC_NAMES.get(kind, kind)}" for kind in CLONE_FLAGS if kind != "mount"}
    document = namespaces(oci.config("sleep", "100"), **paths)
    oci.ok("run", "--detach", "-b", oci.bundle(document), "c")
    for kind in paths:
        assert link(kind, oci.state("c")["pid"]) == link(kind, other)
        assert oci.ok("exec", "c", "readlink", f"/proc/self/ns/{PROC_NAMES.get(kind, kind)}").strip() == link(
            kind, other
        )


@pytest.mark.parametrize("kind", CLONE_FLAGS)
def test_another_type(oci: Oci, kind: str) -> None:
    """N2: a path to a namespace of another type, or to something else, is an error."""
    wrong = "uts" if kind != "uts" else "ipc"
    for path in (f"/proc/self/ns/{wrong}", "/etc/passwd", "/nonexistent", "relative"):
        said = oci.refuses(namespaces(oci.config("true"), **{kind: path}))
        assert kind in said or "linux.namespaces" in said


def test_twice(oci: Oci) -> None:
    """N5: a type cannot be listed twice."""
    document = oci.config("true")
    document["linux"]["namespaces"].append({"type": "ipc"})
    assert "linux.namespaces[5].type" in oci.refuses(document)


def test_without_a_mount_namespace(oci: Oci, scratch_root: Path) -> None:
    """N4: the container sees the runtime's mounts below its root, and nothing above; exec too."""
    document = namespaces(oci.config("sleep", "100"), mount=None)
    document["root"] = {"path": str(scratch_root)}
    for name, value in (("root", {"path": str(scratch_root), "readonly": True}), ("linux", LINUX_MASKED)):
        assert "needs a mount namespace" in oci.refuses({**document, "mounts": [], name: value})
    document["mounts"] = []
    mounts = Path("/proc/self/mountinfo").read_text()
    oci.ok("run", "--detach", "-b", oci.bundle(document), "c")
    pid = oci.state("c")["pid"]
    assert link("mount", pid) == link("mount")
    assert os.readlink(f"/proc/{pid}/root") == str(scratch_root)
    assert oci.ok("exec", "c", "ls", "/").split() == sorted(os.listdir(scratch_root))
    oci.ok("exec", "c", "touch", "/../../made")
    assert (scratch_root / "made").exists()
    oci.ok("delete", "--force", "c")
    assert Path("/proc/self/mountinfo").read_text() == mounts


@pytest.mark.parametrize("fails", [False, True])
def test_mounts_without_a_mount_namespace(oci: Oci, scratch_root: Path, tmp_path: Path, fails: bool) -> None:
    """N4, L7: they are the runtime's, in their order below the root, until the container is deleted; others stay."""
    document = namespaces(oci.config("sleep", "100"), mount=None)
    document["root"] = {"path": str(scratch_root)}
    (scratch_root / "others").mkdir()
    document["mounts"] = [mount for mount in document["mounts"] if mount["type"] != "devpts"]
    document["mounts"].append({"destination": "/tmp/below", "source": str(tmp_path), "options": ["bind", "ro"]})
    (tmp_path / "mark").write_text("seen")
    if fails:
        document["mounts"].append({"destination": "/x", "type": "nonesuch", "source": "none"})
    # in a mount namespace of the test's own: what goes wrong here must not reach the machine
    script = "\n".join(
        [
            f"mount -t tmpfs tmpfs {scratch_root}/others && cat /proc/self/mountinfo > before",
            f"{' '.join(map(str, oci.argv()))} run -d -b {oci.bundle(document)} c </dev/null >out 2>&1; echo $? > code",
            "cat /proc/self/mountinfo > during",
            f"cat {scratch_root}/tmp/below/mark > seen",
            f"{' '.join(map(str, oci.argv()))} delete --force c",
            "cat /proc/self/mountinfo > after",
        ]
    )
    subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=oci.place, check=True, timeout=60)
    read = {name: (oci.place / name).read_text() for name in ("before", "code", "during", "seen", "after", "out")}
    assert read["before"] == read["after"]
    assert f"{scratch_root}/others" in read["after"]
    assert read["code"] == ("1\n" if fails else "0\n"), read["out"]
    during = [line for line in read["during"].splitlines() if f" {scratch_root}/" in line]
    assert len(during) == 1 + (0 if fails else len(document["mounts"])), read["during"]
    assert fails or read["seen"] == "seen"


def test_the_hosts_mounts_are_not_joined(oci: Oci) -> None:
    """N2: a root that is made there would be seen by the whole host."""
    document = oci.config("true")
    document["linux"]["namespaces"] = [{"type": "mount", "path": f"/proc/{os.getpid()}/ns/mnt"}]
    before = Path("/proc/self/mountinfo").read_text()
    assert "is the mount namespace of the host" in oci.refuses(document)
    assert Path("/proc/self/mountinfo").read_text() == before


def test_clocks(oci: Oci) -> None:
    """N6: offsets of a new time namespace hold for the first process, for exec, and in joined namespaces."""
    document = namespaces(oci.config("cat", "/proc/self/timens_offsets"), time="")
    document["linux"]["timeOffsets"] = {"monotonic": {"secs": 86400, "nanosecs": 5}, "boottime": {"secs": -1}}
    wanted = ["monotonic", "86400", "5", "boottime", "-1", "0"]
    assert oci.runs(document).split() == wanted
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    document["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}}
    document["process"]["args"] = ["cat", "/proc/uptime"]
    assert float(oci.runs(document).split()[0]) == pytest.approx(uptime + 1_000_000, abs=60)
    assert float(oci.runs(with_users(document)).split()[0]) == pytest.approx(uptime + 1_000_000, abs=60)
    document["process"]["args"] = ["sleep", "100"]
    oci.ok("run", "--detach", "-b", oci.bundle(document), "c")
    assert float(oci.ok("exec", "c", "cat", "/proc/uptime").split()[0]) == pytest.approx(uptime + 1_000_000, abs=60)


def test_clocks_that_are_none(oci: Oci) -> None:
    """N6: offsets need a new time namespace, a clock that there is, and a value that the kernel takes."""
    offsets = {"monotonic": {"secs": 1}}
    for paths, value in (
        ({}, offsets),
        ({"time": "/proc/self/ns/time"}, offsets),
        ({"time": ""}, {"realtime": {"secs": 1}}),
        ({"time": ""}, {"boottime": {"nanosecs": 1_000_000_000}}),
    ):
        document = namespaces(oci.config("true"), **paths)
        document["linux"]["timeOffsets"] = value
        assert "linux.timeOffsets" in oci.refuses(document)
    document["linux"]["timeOffsets"] = {"boottime": {"secs": 1 << 62}}
    assert "time offsets" in oci.refuses(document)


# -- N7, N8


def test_names(oci: Oci) -> None:
    """N7: host and domain name, which need a uts namespace."""
    document = oci.config("sh", "-c", "hostname; cat /proc/sys/kernel/domainname")
    document.update(hostname="box", domainname="example")
    assert oci.runs(document).split() == ["box", "example"]
    for name in ("hostname", "domainname"):
        wrong = namespaces(oci.config("true"), uts=None)
        assert name in oci.refuses({**wrong, name: "x"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (NET, "33"),
        ("net/ipv4/ip_default_ttl", "34"),
        ("net.ipv4.conf.lo.forwarding", "1"),
        ("kernel.msgmax", "4096"),
        ("kernel.sem", "1\t2\t3\t4"),
        ("fs.mqueue.msg_max", "7"),
        ("kernel.domainname", "dom"),
    ],
)
def test_kernel_parameters(oci: Oci, key: str, value: str) -> None:
    """N8, R5: what belongs to the container's own namespaces is set."""
    path = "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))
    document = oci.config("cat", path)
    document["linux"]["sysctl"] = {key: value}
    before = Path(path).read_text() if "lo" not in path else ""
    assert oci.runs(document).split() == value.split()
    if before:
        assert Path(path).read_text() == before


def test_parameters_of_a_user_namespace(oci: Oci) -> None:
    """N8: user.* with a user namespace."""
    document = with_users(oci.config("cat", "/proc/sys/user/max_uts_namespaces"))
    document["linux"]["sysctl"] = {"user.max_uts_namespaces": "3"}
    assert oci.runs(document) == "3\n"
    del document["linux"]["uidMappings"], document["linux"]["gidMappings"]
    assert "linux.sysctl" in oci.refuses(namespaces(document, user=None))


@pytest.mark.parametrize(
    "key",
    [
        "kernel.panic",
        "vm.swappiness",
        "fs.file-max",
        "net.ipv4/../../kernel.panic",
        "net/../kernel/panic",
        "net..ipv4",
        "net",
        "",
        "net.ipv4.ip_default_ttl\n",
        "kernel.msgmaxx",
        "kernel.hostname",
        "net.nonesuch",
    ],
)
def test_parameters_that_cannot_be_set(oci: Oci, key: str) -> None:
    """N8: the host's, those that are none, and ways out."""
    document = oci.config("true")
    document["linux"]["sysctl"] = {key: "1"}
    assert "sysctl" in oci.refuses(document)


@pytest.mark.parametrize(("kind", "key"), [("network", NET), ("ipc", "kernel.msgmax"), ("uts", "kernel.domainname")])
def test_parameters_of_the_hosts_namespaces(oci: Oci, other: int, kind: str, key: str) -> None:
    """N8: neither inherited, nor by a path that leads to the runtime's own; in a joined one they are set."""
    document = oci.config("true")
    document["linux"]["sysctl"] = {key: "4096" if kind == "ipc" else "77"}
    assert "linux.sysctl" in oci.refuses(namespaces(document, **{kind: None}))
    name = PROC_NAMES.get(kind, kind)
    assert "linux.sysctl" in oci.refuses(namespaces(document, **{kind: f"/proc/self/ns/{name}"}))
    document["process"]["args"] = ["cat", "/proc/sys/" + key.replace(".", "/")]
    namespaces(document, **{kind: f"/proc/{other}/ns/{name}"})
    if kind == "network":
        assert oci.runs(document) == "77\n"


# -- U1 to U3


def test_users(oci: Oci) -> None:
    """U1, U2: maps as they are given, and the root's files keep their owners."""
    rows = [{"containerID": 0, "hostID": 200000, "size": 10}, {"containerID": 50, "hostID": 300000, "size": 5}]
    owner = oci.rootfs.stat().st_uid
    document = with_users(oci.config("cat", "/proc/self/uid_map", "/proc/self/gid_map"), rows)
    assert oci.runs(document).split() == ["0", "200000", "10", "50", "300000", "5"] * 2
    assert oci.rootfs.stat().st_uid == owner
    document["process"].update(user={"uid": 52, "gid": 3}, args=["sleep", "100"])
    oci.ok("run", "--detach", "-b", oci.bundle(document), "c")
    assert os.stat(f"/proc/{oci.state('c')['pid']}/cmdline").st_uid in (0, 300002)
    assert "Uid:\t300002" in Path(f"/proc/{oci.state('c')['pid']}/status").read_text()


def test_many_users(oci: Oci) -> None:
    """U1: as many rows as the kernel takes, in one write."""
    rows = [{"containerID": number, "hostID": 2 * number, "size": 1} for number in range(340)]
    said = oci.runs(with_users(oci.config("cat", "/proc/self/uid_map"), rows))
    assert len(said.splitlines()) == 340
    rows.append({"containerID": 340, "hostID": 400000, "size": 1})
    assert "has 341 entries" in oci.refuses(with_users(oci.config("true"), rows))
    rows = [{**row, "hostID": row["hostID"] + 1_000_000} for row in rows[1:]]
    assert "the kernel takes 4095" in oci.refuses(with_users(oci.config("true"), rows))


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [MAPPING[0], MAPPING[0]],
        [MAPPING[0], {"containerID": 2000, "hostID": 100500, "size": 1}],
        [MAPPING[0], {"containerID": 500, "hostID": 300000, "size": 1}],
        [{"containerID": 0, "hostID": 0, "size": 0}],
        [{"containerID": 4294967295, "hostID": 0, "size": 2}],
        [{"containerID": 5, "hostID": 0, "size": 2}],
    ],
)
def test_maps_that_are_none(oci: Oci, rows: list[dict[str, int]]) -> None:
    """U1: missing, doubled, overlapping, empty or too large rows, and a process whose user is not mapped."""
    said = oci.refuses(with_users(oci.config("true"), rows))
    assert "linux.uidMappings" in said


def test_maps_without_a_user_namespace(oci: Oci) -> None:
    """U1: are an error."""
    assert "linux.uidMappings" in oci.refuses(namespaces(with_users(oci.config("true")), user=None))


def test_maps_of_a_user_namespace_that_is_joined(oci: Oci, other: int) -> None:
    """U3: what is given must be what the namespace has."""
    document = with_users(oci.config("cat", "/proc/self/uid_map"))
    namespaces(document, user=f"/proc/{other}/ns/user")
    assert oci.runs(document).split() == ["0", "100000", "1000"]
    document["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 999}]
    assert "linux.uidMappings" in oci.refuses(document)
    del document["linux"]["uidMappings"], document["linux"]["gidMappings"]
    assert oci.runs(document).split() == ["0", "100000", "1000"]
