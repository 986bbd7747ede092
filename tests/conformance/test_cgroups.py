"""Cgroups: where they are, what limits come to, what is refused, what a container sees of its own, and what is left."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.cli import describe
from harness.mounts import SHOW, in_userns, lines, seen
from harness.oci import Oci
from harness.probe import cgroup1_mount, cgroup2_mount, has, requires
from harness.waiting import until

from pycontain.cgroups.cgroup import CgroupPaths, locate
from pycontain.cgroups.host import probe_host, usable

#: On the host, most often hybrid, and in a guest with a pure cgroup v2.
pytestmark = [requires("root", "cgroup2"), pytest.mark.guest("uml")]
#: What only the other guest's kernel has, and what no guest has; the nearest mark counts.
IN_QEMU = pytest.mark.guest("qemu")
IN_NO_GUEST = pytest.mark.guest("none")
PARENT = f"pycontain-conformance-{os.getpid()}"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Remove what a test has made above its containers' cgroups, and see that nothing else is there."""
    yield
    for directory in paths("").directories:
        if os.path.isdir(directory):
            os.rmdir(directory)


def paths(name: str) -> CgroupPaths:
    """Return where the cgroup ``name`` of these tests is."""
    return locate(usable(probe_host()), f"/{PARENT}/{name}")


def limited(oci: Oci, resources: dict[str, Any], *args: str, name: str = "c") -> dict[str, Any]:
    document = oci.config(*(args or ("true",)))
    document["linux"] |= {"cgroupsPath": f"/{PARENT}/{name}", "resources": resources}
    return document


def with_cgroups(document: dict[str, Any], *options: str, namespace: bool = True) -> dict[str, Any]:
    """Let the container have a cgroup mount and, unless told otherwise, a cgroup namespace."""
    if namespace:
        document["linux"]["namespaces"].append({"type": "cgroup"})
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", *options]}
    sys = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}
    document["mounts"] += [sys, mount]
    return document


def created(oci: Oci, document: dict[str, Any]) -> CgroupPaths:
    oci.ok("create", "-b", oci.bundle(document), "c")
    return paths(document["linux"]["cgroupsPath"].removeprefix(f"/{PARENT}/"))


def file(where: CgroupPaths, controller: str, v1: str, v2: str) -> str:
    """Return what an interface file says, by its name in the generation that has the controller."""
    if controller in where.v1:
        return Path(where.v1[controller], v1).read_text().strip()
    return Path(where.unified, v2).read_text().strip()


def test_absolute_path(oci: Oci) -> None:
    """G1, G10: it counts from the mount point, and the first process is in it everywhere."""
    where = created(oci, limited(oci, {}))
    text = Path(f"/proc/{oci.state('c')['pid']}/cgroup").read_text()
    assert {line.rpartition(":")[2] for line in text.splitlines()} == {f"/{PARENT}/c"}
    assert all(os.path.isdir(path) for path in where.directories)


def test_relative_path(oci: Oci) -> None:
    """G1: it counts from where we may make cgroups, always the same."""
    document = limited(oci, {})
    document["linux"]["cgroupsPath"] = f"{PARENT}//./c"
    oci.ok("create", "-b", oci.bundle(document), "c")
    assert f"/{PARENT}/c\n" in Path(f"/proc/{oci.state('c')['pid']}/cgroup").read_text()


@pytest.mark.parametrize("path", ["../x", "/a/../../x", "/", ".", "a/.."])
def test_paths_that_lead_elsewhere(oci: Oci, path: str) -> None:
    """G1: .. is refused, and so is a hierarchy's root."""
    document = limited(oci, {})
    document["linux"]["cgroupsPath"] = path
    assert "cgroupsPath" in oci.refuses(document)


def test_without_a_path(oci: Oci) -> None:
    """G1: each container has one of its own, also where another root directory has a container of that id."""
    document = oci.config("true")
    document["linux"].pop("cgroupsPath", None)
    other = Oci(oci.place / "other", oci.place, oci.rootfs)
    found = set()
    for runtime in (oci, other):
        runtime.ok("create", "-b", oci.bundle(document), "c")
        line = Path(f"/proc/{runtime.state('c')['pid']}/cgroup").read_text().splitlines()[-1]
        assert ":/pycontain-oci/c." in line
        found.add(line)
    other.remove_all()
    assert len(found) == 2


def test_a_cgroup_with_processes_is_refused(oci: Oci) -> None:
    """G3: and it stays as it is."""
    where = created(oci, limited(oci, {}, "sleep", "100"))
    assert "has 1 processes already" in oci.refuses(limited(oci, {}))
    assert all(os.path.isdir(path) for path in where.directories)
    assert oci.state("c")["status"] == "created"


def test_a_frozen_cgroup_is_refused(oci: Oci) -> None:
    """G3: a process in it would never run; nor below it."""
    for name, frozen in (("c", "c"), ("c/below", "c")):
        directory = Path(paths(frozen).v1.get("freezer") or paths(frozen).unified)
        freeze, on, off = ("freezer.state", "FROZEN", "THAWED")
        if "freezer" not in paths("").v1:
            freeze, on, off = ("cgroup.freeze", "1", "0")
        directory.mkdir(parents=True)
        try:
            (directory / freeze).write_text(on)
            assert "frozen" in oci.refuses(limited(oci, {}, name=name))
        finally:
            (directory / freeze).write_text(off)
            directory.rmdir()


LIMITS = [
    ({"memory": {"limit": 64 << 20}}, "memory", "memory.limit_in_bytes", "memory.max", str(64 << 20)),
    ({"memory": {"reservation": 32 << 20}}, "memory", "memory.soft_limit_in_bytes", "memory.low", str(32 << 20)),
    ({"pids": {"limit": 7}}, "pids", "pids.max", "pids.max", "7"),
    ({"pids": {"limit": 0}}, "pids", "pids.max", "pids.max", "0"),
    ({"pids": {"limit": 1}}, "pids", "pids.max", "pids.max", "1"),
    ({"pids": {"limit": -1}}, "pids", "pids.max", "pids.max", "max"),
    ({"cpu": {"shares": 1024}}, "cpu", "cpu.shares", "cpu.weight", ("1024", "100")),
    ({"cpu": {"quota": 50000, "period": 100000}}, "cpu", "cpu.cfs_quota_us", "cpu.max", ("50000", "50000 100000")),
    ({"cpu": {"quota": 50000, "burst": 10000}}, "cpu", "cpu.cfs_burst_us", "cpu.max.burst", "10000"),
    ({"cpu": {"idle": 1}}, "cpu", "cpu.idle", "cpu.idle", "1"),
    pytest.param(
        *({"cpu": {"cpus": "0", "mems": "0"}}, "cpuset", "cpuset.cpus", "cpuset.cpus", "0"), marks=IN_QEMU, id="cpuset"
    ),
]


@pytest.mark.parametrize(("resources", "controller", "v1", "v2", "value"), LIMITS)
def test_limits(
    oci: Oci, resources: dict[str, Any], controller: str, v1: str, v2: str, value: str | tuple[str, str]
) -> None:
    """G4, G5: each limit, in the words of the generation that has the controller."""
    if not has(f"cgroup:{controller}"):
        pytest.skip(f"no cgroup controller {controller}")
    where = created(oci, limited(oci, resources))
    if isinstance(value, tuple):
        value = value[0 if controller in where.v1 else 1]
    assert file(where, controller, v1, v2) == value


@IN_QEMU
def test_huge_pages(oci: Oci) -> None:
    """G5, G11: pages in use and pages reserved; a size that there is not is refused, with those that there are."""
    if not has("cgroup:hugetlb"):
        pytest.skip("no cgroup controller hugetlb")
    where = created(oci, limited(oci, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}))
    for kind in ("", "rsvd."):
        assert file(where, "hugetlb", f"hugetlb.2MB.{kind}limit_in_bytes", f"hugetlb.2MB.{kind}max") == str(4 << 20)
    oci.ok("delete", "-f", "c")
    assert "hugetlb.3MB" in oci.refuses(limited(oci, {"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}))
    assert "pageSize" in oci.refuses(limited(oci, {"hugepageLimits": [{"pageSize": "2mb", "limit": 0}]}))


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"memory": {"kernel": 1 << 20}}, "memory.kernel"),
        ({"memory": {"kernelTCP": 1 << 20}}, "memory.kernelTCP"),
        ({"memory": {"swappiness": 50}}, "memory.swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
        ({"cpu": {"realtimeRuntime": 1000}}, "cpu.realtimeRuntime"),
        ({"network": {"classID": 1}}, "network.classID"),
        ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "network.priorities"),
        ({"blockIO": {"leafWeight": 10}}, "blockIO.leafWeight"),
        ({"rdma": {"mlx5_1": {"hcaHandles": 1}}}, "rdma"),
        ({"unified": {"nonesuch.max": "1"}}, "nonesuch"),
    ],
)
@requires("pure-cgroup2")
def test_what_cannot_be_converted(oci: Oci, resources: dict[str, Any], words: str) -> None:
    """G5: is an error, because the limit would not hold."""
    assert words in oci.refuses(limited(oci, resources))


def test_unified(oci: Oci) -> None:
    """G6: files of cgroup v2 by name; not those of a controller that is not there, nor of another cgroup."""
    found = created(oci, limited(oci, {"unified": {"cgroup.max.depth": "5"}}))
    assert Path(found.unified, "cgroup.max.depth").read_text() == "5\n"
    for key in ("../memory.max", "memory/max", "memorymax", ".max", "cgroup.procs", "misc2.max"):
        assert "unified" in oci.refuses(limited(oci, {"unified": {key: "1"}}, name="other"))


@requires("pure-cgroup2")
def test_unified_enables_its_controller(oci: Oci) -> None:
    """G6: and a later key of the same kind wins over what was converted."""
    found = created(oci, limited(oci, {"memory": {"limit": 32 << 20}, "unified": {"memory.high": str(16 << 20)}}))
    assert Path(found.unified, "memory.high").read_text() == f"{16 << 20}\n"
    assert Path(found.unified, "memory.max").read_text() == f"{32 << 20}\n"


@IN_NO_GUEST
@requires("hybrid")
def test_unified_on_version_1(oci: Oci) -> None:
    """G6: a controller that is bound to version 1 has no file there."""
    assert "unified.memory.high" in oci.refuses(limited(oci, {"unified": {"memory.high": "1"}}))


@IN_NO_GUEST
@requires("hybrid", "cgroup:memory", "kernel:5.16")
def test_a_limit_without_effect(oci: Oci) -> None:
    """G3: the kernel takes a limit of its own memory and does not enforce it, which is told."""
    bundle = oci.bundle(limited(oci, {"memory": {"kernel": 32 << 20}}, "true"))
    done = oci.run("run", "--bundle", bundle, "c")
    assert done.returncode == 0, describe(done)
    assert "linux.resources.memory.kernel: has no effect" in done.stderr
    assert oci.run("run", "--bundle", oci.bundle(limited(oci, {}, "true"), "n"), "n").stderr == ""


#: A number that no driver has: to open it is "no such device" where it is allowed.
OTHER = {"type": "c", "major": 200, "minor": 7}
NOTHING = {"allow": False, "access": "rwm"}


def test_devices(oci: Oci) -> None:
    """G7: the list in its order, and the devices that every container has."""
    script = "for d in null same other; do (: </dev/$d) 2>&1 | grep -q permitted || echo $d; done"
    document = limited(oci, {"devices": [NOTHING]}, "sh", "-c", script)
    document["linux"]["devices"] = [
        {"path": "/dev/same", "type": "c", "major": 1, "minor": 3},
        {"path": "/dev/other", **OTHER},
    ]
    assert oci.runs(document).split() == ["null", "same"]
    document["linux"]["resources"]["devices"] += [{"allow": True, "access": "r", **OTHER}]
    assert oci.runs(document).split() == ["null", "same", "other"]
    document["linux"]["resources"]["devices"] += [{"allow": False, "access": "r", **OTHER}]
    assert oci.runs(document).split() == ["null", "same"]


def test_devices_are_replaced_in_one_step(oci: Oci) -> None:
    """G7: an update never leaves a moment in which what both lists allow is forbidden."""
    script = """n=0; while :; do
        : </dev/null || echo null
        (: </dev/other) 2>&1 | grep -q permitted || : >/tmp/open
        echo $((n += 1)) >/tmp/next; mv /tmp/next /tmp/rounds
    done"""
    document = limited(oci, {"devices": [NOTHING]}, "sh", "-c", script)
    document["linux"]["devices"] = [{"path": "/dev/other", **OTHER}]
    said = oci.place / "said"
    with said.open("w") as out:
        subprocess.run(oci.argv("run", "-d", "-b", oci.bundle(document), "c"), stdout=out, stderr=out, check=True)
    resources = oci.place / "resources"
    inside = Path(f"/proc/{oci.state('c')['pid']}/root/tmp")

    def rounds() -> int:
        return int((inside / "rounds").read_text()) if (inside / "rounds").exists() else 0

    def two_rounds() -> None:
        """Wait until one that began after this call has ended."""
        seen = rounds()
        until(lambda: rounds() >= seen + 2)

    for turn in range(6):
        allowed = turn % 2 == 0
        rules = [NOTHING, *([{"allow": True, "access": "rw", **OTHER}] if allowed else [])]
        resources.write_text(json.dumps({"devices": rules}))
        oci.ok("update", "--resources", resources, "c")
        two_rounds()
        (inside / "open").unlink(missing_ok=True)
        two_rounds()
        assert (inside / "open").exists() is allowed
    oci.ok("kill", "--all", "c", "KILL")
    oci.wait("c", "stopped")
    assert said.read_text() == ""


@pytest.mark.parametrize("options", [("ro",), ()])
@pytest.mark.parametrize("namespace", [True, False])
def test_what_the_container_sees(oci: Oci, options: tuple[str, ...], namespace: bool) -> None:
    """M12: its own cgroup in each hierarchy, read-only if asked for."""
    own = "/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)"
    write = f"cd /sys/fs/cgroup/pids 2>/dev/null || cd {own}; mkdir sub 2>&1 && rmdir sub && echo made;"
    document = with_cgroups(
        limited(oci, {}, "sh", "-c", f"{write} {SHOW}; cat /proc/self/cgroup"), *options, namespace=namespace
    )
    out = oci.runs(document)
    hierarchies = [line for line in out.splitlines() if " - cgroup" in line]
    roots = {line.split()[3] for line in hierarchies}
    if namespace:
        assert roots == {"/"}
        assert f"/{PARENT}" not in out.split(SHOW[-9:])[-1].rpartition(" - ")[2]
    elif has("pure-cgroup2"):
        # the paths of /proc/self/cgroup lead somewhere
        assert roots == {"/"}
    else:
        assert roots == {f"/{PARENT}/c"}
    assert all(("ro" in line.split()[5].split(",")) is bool(options) for line in hierarchies)
    assert ("made" in out) is (not options)
    if cgroup1_mount("memory"):
        places = {line.split()[4] for line in hierarchies}
        assert {"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"} <= places
        assert not any("=" in place for place in places)
        assert ("ro" in seen(out, "/sys/fs/cgroup").flags) is bool(options)


@IN_NO_GUEST
@pytest.mark.skipif(not cgroup1_mount("freezer"), reason="no cgroups of version 1")
@pytest.mark.parametrize("kinds", [("mount",), ("mount", "pid")], ids=["the host's ids", "own ids"])
@pytest.mark.parametrize("paused", [False, True])
def test_delete_without_version_2(oci: Oci, kinds: tuple[str, ...], *, paused: bool) -> None:
    """L7: every process goes, without cgroup.kill, and also when they are frozen."""
    words = ("unshare", "-m", "sh", "-c", f'umount {cgroup2_mount()} && exec "$0" "$@"', *oci.program)
    old = Oci(oci.root, oci.place, oci.rootfs, words)
    document = limited(oci, {}, "sh", "-c", "sleep 1000 & exec sleep 1000")
    document["linux"]["namespaces"] = [{"type": kind} for kind in kinds]
    old.ok("run", "--detach", "-b", oci.bundle(document), "c")
    freezer = paths("c").v1["freezer"]
    until(lambda: len(Path(freezer, "cgroup.procs").read_text().split()) == 2)
    if paused:
        old.ok("pause", "c")
    old.ok("delete", "--force", "c", timeout=20)
    assert oci.left() == []
    assert not os.path.exists(freezer)


@pytest.mark.parametrize("options", [("ro",), ()])
def test_what_a_container_sees_in_a_namespace_that_is_joined(oci: Oci, options: tuple[str, ...]) -> None:
    """M12, N2: the hierarchies from the root of that namespace on, as /proc/self/cgroup counts them."""
    holder = with_cgroups(limited(oci, {}, "sleep", "100", name="holder"))
    oci.ok("run", "--detach", "-b", oci.bundle(holder, "holder"), "holder")
    marks = [Path(directory, "marker") for directory in paths("holder").directories]
    for mark in marks:
        mark.mkdir()
    script = f"{SHOW}; find /sys/fs/cgroup -name marker; find /sys/fs/cgroup -name marker -exec mkdir {{}}/sub \\; 2>&1"
    document = with_cgroups(limited(oci, {}, "sh", "-c", script), *options, namespace=False)
    path = f"/proc/{oci.state('holder')['pid']}/ns/cgroup"
    document["linux"]["namespaces"].append({"type": "cgroup", "path": path})
    out = oci.runs(document)
    hierarchies = [line.split() for line in out.splitlines() if " - cgroup" in line]
    assert {fields[3] for fields in hierarchies} == {"/"}
    assert all(("ro" in fields[5].split(",")) is bool(options) for fields in hierarchies)
    assert len([line for line in out.splitlines() if line.endswith("/marker")]) == len(hierarchies)
    assert [(mark / "sub").exists() for mark in marks] == [not options] * len(marks)


def test_data_of_a_cgroup_mount(oci: Oci) -> None:
    """M12: words for a file system that is not mounted are no good."""
    assert "memory" in oci.refuses(with_cgroups(limited(oci, {}), "memory"))


@pytest.mark.parametrize(
    ("options", "namespace", "owned"), [((), True, True), (("ro",), True, False), ((), False, False)]
)
@requires("pure-cgroup2")
def test_ownership(oci: Oci, options: tuple[str, ...], namespace: bool, owned: bool) -> None:
    """G8: the user of the process gets its cgroup where that is mounted writable in a namespace of its own."""
    document = in_userns(with_cgroups(limited(oci, {"pids": {"limit": 9}}), *options, namespace=namespace))
    document["process"]["user"] = {"uid": 7, "gid": 7}
    where = created(oci, document)
    owner = 100007 if owned else 0
    delegated = Path("/sys/kernel/cgroup/delegate")
    names = delegated.read_text().split() if delegated.exists() else ["cgroup.procs"]
    for name in ("", *names):
        path = Path(where.unified, name)
        assert not path.exists() or path.stat().st_uid == owner, name
    assert Path(where.unified, "pids.max").stat().st_uid == 0


@IN_NO_GUEST
@requires("hybrid")
def test_no_ownership_on_version_1(oci: Oci) -> None:
    """G8: cgroups of version 1 cannot be given away safely."""
    document = in_userns(with_cgroups(limited(oci, {})))
    where = created(oci, document)
    assert {os.stat(path).st_uid for path in where.directories} == {0}


def test_delete_removes_what_was_made(oci: Oci) -> None:
    """G13, L7: with what the container made below, and the cgroups above it that were made for it."""
    script = "for d in $(ls -d /sys/fs/cgroup/* /sys/fs/cgroup); do mkdir -p $d/a/b 2>/dev/null; done; true"
    document = with_cgroups(limited(oci, {}, "sh", "-c", script, name="up/c"))
    oci.ok("create", "-b", oci.bundle(document), "c")
    where = paths("up/c")
    oci.ok("start", "c")
    oci.wait("c", "stopped")
    main = where.v1.get("memory") or where.unified
    assert os.path.isdir(f"{main}/a/b")
    oci.ok("delete", "c")
    for directory in paths("").directories:
        assert not os.path.exists(directory)


def test_delete_leaves_what_was_there(oci: Oci) -> None:
    """G13, L7: a cgroup that was there before create, and those above it."""
    made = [Path(directory) for directory in paths("c").directories]
    for directory in made:
        directory.mkdir(parents=True, exist_ok=True)
    try:
        oci.runs(limited(oci, {}))
        assert all(directory.is_dir() for directory in made)
    finally:
        for directory in made:
            directory.rmdir()


def test_kill_all(oci: Oci) -> None:
    """G12: every process of the container, whatever session it is in."""
    document = limited(oci, {}, "sh", "-c", "setsid sleep 100 & setsid sleep 100 & sleep 100 & wait")
    # with a pid namespace all would end with its first process
    document["linux"]["namespaces"] = [{"type": "mount"}]
    oci.ok("run", "-d", "-b", oci.bundle(document), "c")
    until(lambda: len(members("c")) >= 4)
    oci.ok("kill", "--all", "c", "USR2")
    oci.wait("c", "stopped")
    until(lambda: not members("c"))


def members(name: str) -> set[str]:
    """Return the processes in a cgroup of these tests, in any hierarchy."""
    return {pid for path in paths(name).directories for pid in Path(path, "cgroup.procs").read_text().split()}


def test_systemd_is_needed_for_systemd(oci: Oci) -> None:
    """G2: --systemd-cgroup where there is none, or where it does not own cgroups of version 2."""
    assert "systemd" in oci.fails("--systemd-cgroup", "run", "-b", oci.bundle(limited(oci, {})), "c")
    assert oci.left() == []


def test_the_mounts_are_probed(oci: Oci) -> None:
    """The tests of this file look at the hierarchies that there are."""
    assert cgroup2_mount() is not None
    assert lines(oci.runs(limited(oci, {}, "sh", "-c", SHOW)))
