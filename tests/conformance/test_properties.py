"""The process: directory, environment, ids, limits, capabilities, scheduling, labels, keyring."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness.mounts import in_userns
from harness.oci import Oci
from harness.probe import has, requires

from pycontain.plan.process import RLIMITS

pytestmark = requires("root")

STATUS = ("cat", "/proc/self/status")
SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE = 0, 3, 5, 6


def with_process(oci: Oci, *args: str, **changes: Any) -> dict[str, Any]:
    document = oci.config(*args)
    document["process"].update(changes)
    return document


def field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\t(.*)$", status, re.MULTILINE)
    assert found is not None, status
    return found[1]


def told(oci: Oci, document: dict[str, Any]) -> tuple[str, list[str]]:
    """Run a container; return its output and the warnings in the log."""
    log = oci.place / "log"
    log.unlink(missing_ok=True)
    out = oci.ok("--log", log, "--log-format", "json", "run", "-b", oci.bundle(document), "c")
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return out, [line["msg"] for line in lines if line["level"] == "warning"]


# -- P1 to P4


@pytest.mark.parametrize("readonly", [True, False])
def test_a_missing_directory_is_made(oci: Oci, readonly: bool, scratch_root: Path) -> None:
    """P1: cwd is made where it is missing, in a read-only root too."""
    document = with_process(oci, "pwd", cwd="/made/by/us")
    document["root"] = {"path": str(scratch_root), "readonly": readonly}
    assert oci.runs(document) == "/made/by/us\n"
    assert (scratch_root / "made/by/us").is_dir()
    document["process"]["cwd"] = "/tmp/x/../y"
    assert oci.runs(document) == "/tmp/y\n"


def test_a_directory_that_is_none(oci: Oci) -> None:
    """P1: cwd has to be absolute and a directory."""
    assert "process.cwd" in oci.refuses(with_process(oci, "true", cwd="tmp"))
    assert "process.cwd" in oci.refuses(with_process(oci, "true", cwd="/etc/passwd"))


def test_a_directory_outside_the_root(oci: Oci) -> None:
    """P1: the directory is verified to lie inside (CVE-2024-21626)."""
    for fd in range(3, 16):
        assert f"/proc/self/fd/{fd}" in oci.refuses(with_process(oci, "true", cwd=f"/proc/self/fd/{fd}"))


def test_a_directory_that_only_the_user_may_enter(oci: Oci, scratch_root: Path) -> None:
    """P1: root of a user namespace may not enter what is not mapped there, the user may."""
    private = scratch_root / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 100005, 100005)
    os.chmod(scratch_root, 0o755)
    document = in_userns(with_process(oci, "pwd", cwd="/private", user={"uid": 5, "gid": 5}))
    document["root"]["path"] = str(scratch_root)
    # what root's override is worth ends where the owner is not mapped
    mapping = [{"containerID": 0, "hostID": 200000, "size": 5}, {"containerID": 5, "hostID": 100005, "size": 1}]
    document["linux"].update(uidMappings=mapping, gidMappings=mapping)
    assert oci.runs(document) == "/private\n"
    os.chown(private, 300000, 300000)
    assert "permission denied" in oci.refuses(document)


def test_environment(oci: Oci) -> None:
    """P3: exactly what is given; the last of several of one name; HOME from passwd."""
    env = ["PATH=/bin", "A=1", "B=", "A=2", "PATH=/usr/bin:/bin"]
    assert oci.runs(with_process(oci, "env", env=env)).split() == ["PATH=/usr/bin:/bin", "A=2", "B=", "HOME=/root"]
    path = "PATH=/usr/bin:/bin"
    env = [path, "HOME="]
    assert oci.runs(with_process(oci, "env", env=env)).split() == [path, "HOME=/root"]
    assert oci.runs(with_process(oci, "env", env=env, user={"uid": 4242, "gid": 0})).split()[1] == "HOME=/"
    assert oci.runs(with_process(oci, "env", env=[path, "HOME=/x"])).split() == [path, "HOME=/x"]


def test_the_program_is_looked_for_in_the_path_that_counts(oci: Oci) -> None:
    """P2, P3: the search uses the last PATH."""
    assert oci.runs(with_process(oci, "cat", "/dev/null", env=["PATH=/nonesuch", "PATH=/bin"])) == ""
    oci.refuses(with_process(oci, "true", env=["PATH=/bin", "PATH=/nonesuch"]))


def test_users(oci: Oci) -> None:
    """P4: user, group, additional groups (none is none), umask."""
    user = {"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o27}
    said = oci.runs(with_process(oci, "sh", "-c", "umask; cat /proc/self/status", user=user))
    assert said.startswith("0027\n")
    assert field(said, "Uid").split() == ["5"] * 4
    assert field(said, "Gid").split() == ["6"] * 4
    assert field(said, "Groups").split() == ["7", "8"]
    said = oci.runs(with_process(oci, "sh", "-c", "umask; cat /proc/self/status", user={"uid": 0, "gid": 0}))
    assert said.startswith("0022\n")
    assert field(said, "Groups").split() == []
    assert oci.runs(with_process(oci, "sh", "-c", "umask", user={"uid": 0, "gid": 0, "umask": 0})) == "0000\n"
    assert "process.user.umask" in oci.refuses(with_process(oci, "true", user={"uid": 0, "gid": 0, "umask": 0o7777}))


# -- P5 to P8


def test_limits(oci: Oci) -> None:
    """P5: every type is set, as far as the host lets it."""
    import resource

    rows = []
    for name in RLIMITS:
        hard = resource.getrlimit(getattr(resource, name, RLIMITS[name]))[1]
        hard = 1 << 40 if hard == resource.RLIM_INFINITY else hard
        rows.append({"type": name, "soft": hard // 2, "hard": hard})
    rows[0]["soft"] = rows[0]["hard"] = 2**64 - 1
    said = oci.runs(with_process(oci, "cat", "/proc/self/limits", rlimits=rows))
    words = [line[26:].split()[:2] for line in said.splitlines()[1:]]
    # the order of the file is that of the numbers
    assert words == [
        ["unlimited" if row[side] == 2**64 - 1 else str(row[side]) for side in ("soft", "hard")] for row in rows
    ]


def test_limits_that_are_none(oci: Oci) -> None:
    """P5: no type twice, no unknown type."""
    row = {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    assert "process.rlimits[1].type" in oci.refuses(with_process(oci, "true", rlimits=[row, row]))
    assert "process.rlimits[0].type" in oci.refuses(with_process(oci, "true", rlimits=[{**row, "type": "RLIMIT_X"}]))


def test_capabilities(oci: Oci) -> None:
    """P6: the five sets, and nothing is inheritable unless it is said."""
    names = ["CAP_KILL", "CAP_CHOWN"]
    sets: dict[str, Any] = {"bounding": names, "permitted": names, "effective": ["CAP_KILL"]}
    said = oci.runs(with_process(oci, *STATUS, capabilities=sets, user={"uid": 0, "gid": 0}))
    assert field(said, "CapBnd") == f"{0x21:016x}"
    assert field(said, "CapInh") == field(said, "CapAmb") == f"{0:016x}"
    ambient = {**sets, "inheritable": names, "ambient": ["CAP_KILL"]}
    said = oci.runs(with_process(oci, *STATUS, capabilities=ambient, user={"uid": 7, "gid": 7}))
    assert [field(said, f"Cap{kind}") for kind in ("Inh", "Prm", "Eff", "Amb")] == [
        f"{bits:016x}" for bits in (0x21, 0x20, 0x20, 0x20)
    ]


def test_capabilities_that_cannot_be_had(oci: Oci) -> None:
    """P6: what is unknown, or contradicts itself, is a warning."""
    sets = {"bounding": ["CAP_KILL", "CAP_NONESUCH"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    said, warnings = told(oci, with_process(oci, *STATUS, capabilities=sets))
    assert field(said, "CapBnd") == f"{0x20:016x}"
    assert field(said, "CapAmb") == f"{0:016x}"
    assert any("CAP_NONESUCH" in line for line in warnings)
    assert any("CAP_KILL" in line and "inheritable" in line for line in warnings)


def test_a_capability_that_the_runtime_does_not_have(oci: Oci) -> None:
    """P6: is a warning, for exec too; a user namespace has it."""
    lacking = Oci(oci.root, oci.place, oci.rootfs, ("setpriv", "--bounding-set=-sys_resource", "--", *oci.program))
    names = ["CAP_KILL", "CAP_SYS_RESOURCE"]
    sets = {"bounding": names, "permitted": names, "effective": names}
    document = with_process(oci, *STATUS, capabilities=sets)
    said, warnings = told(lacking, document)
    assert field(said, "CapEff") == f"{0x20:016x}"
    assert any("CAP_SYS_RESOURCE cannot be granted" in line for line in warnings)
    said, warnings = told(lacking, in_userns(document))
    assert field(said, "CapEff") == f"{1 << 24 | 0x20:016x}"
    assert warnings == []
    document = with_process(oci, "sleep", "100", capabilities=sets)
    lacking.ok("run", "--detach", "-b", oci.bundle(document), "c")
    assert field(lacking.ok("exec", "c", *STATUS), "CapEff") == f"{0x20:016x}"


def test_no_new_privileges(oci: Oci) -> None:
    """P7: set when asked for."""
    assert field(oci.runs(with_process(oci, *STATUS, noNewPrivileges=True)), "NoNewPrivs") == "1"
    assert field(oci.runs(with_process(oci, *STATUS)), "NoNewPrivs") == "0"


def test_score_for_the_oom_killer(oci: Oci) -> None:
    """P8: set where it is given, else as inherited; in a user namespace too."""
    show = ("cat", "/proc/self/oom_score_adj")
    assert oci.runs(with_process(oci, *show)).strip() == Path("/proc/self/oom_score_adj").read_text().strip()
    assert oci.runs(with_process(oci, *show, oomScoreAdj=321)) == "321\n"
    assert oci.runs(in_userns(with_process(oci, *show, oomScoreAdj=322))) == "322\n"
    assert "process.oomScoreAdj" in oci.refuses(with_process(oci, "true", oomScoreAdj=1001))


# -- P9 to P11


def scheduling_of(pid: int) -> tuple[int, int, bool]:
    """Return policy, nice value, and whether children fall back to the normal policy."""
    policy = os.sched_getscheduler(pid)
    reset = getattr(os, "SCHED_RESET_ON_FORK", 0x40000000)
    return policy & ~reset, os.getpriority(os.PRIO_PROCESS, pid), bool(policy & reset)


def started(oci: Oci, document: dict[str, Any], name: str = "c") -> int:
    oci.ok("run", "--detach", "-b", oci.bundle(document, name), name)
    pid = oci.state(name)["pid"]
    assert isinstance(pid, int)
    return pid


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"policy": "SCHED_OTHER", "nice": 5}, (SCHED_OTHER, 5, False)),
        ({"policy": "SCHED_BATCH", "nice": -3}, (SCHED_BATCH, -3, False)),
        ({"policy": "SCHED_IDLE"}, (SCHED_IDLE, 0, False)),
        ({"policy": "SCHED_OTHER", "nice": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, (SCHED_OTHER, 1, True)),
        (
            {"policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 30_000_000, "period": 100_000_000},
            (SCHED_DEADLINE, 0, False),
        ),
    ],
)
def test_scheduler(oci: Oci, scheduler: dict[str, Any], expected: tuple[int, int, bool]) -> None:
    """P9: policy, nice value, flags and times."""
    assert scheduling_of(started(oci, with_process(oci, "sleep", "100", scheduler=scheduler))) == expected


def test_scheduler_in_a_user_namespace(oci: Oci) -> None:
    """P9, P10: what its root may not do is done from outside, for whatever user; in joined namespaces too."""
    changes: dict[str, Any] = {
        "scheduler": {"policy": "SCHED_OTHER", "nice": -7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 1},
        "user": {"uid": 5, "gid": 5},
    }
    first = started(oci, in_userns(with_process(oci, "sleep", "100", **changes)))
    assert scheduling_of(first) == (SCHED_OTHER, -7, True)
    assert io_priority(first) == "realtime: prio 1"
    document = with_process(oci, "sleep", "100", **changes)
    document["linux"]["namespaces"] = [
        {"type": kind, "path": f"/proc/{first}/ns/{name}"}
        for kind, name in (("pid", "pid"), ("user", "user"), ("network", "net"))
    ] + [{"type": "mount"}]
    assert scheduling_of(started(oci, document, "d")) == (SCHED_OTHER, -7, True)


def test_scheduler_that_is_none(oci: Oci) -> None:
    """P9: values that do not fit the policy, and what the kernel refuses, are errors."""
    for scheduler in (
        {"policy": "SCHED_NONE"},
        {"policy": "SCHED_ISO"},
        {"policy": "SCHED_FIFO"},
        {"policy": "SCHED_OTHER", "nice": 20},
        {"policy": "SCHED_OTHER", "runtime": 1},
        {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONE"]},
        {"policy": "SCHED_DEADLINE"},
        # shorter than a microsecond: sched(7)
        {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3},
    ):
        assert "process.scheduler" in oci.refuses(with_process(oci, "true", scheduler=scheduler))


def io_priority(pid: int) -> str:
    return subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("priority", "expected"),
    [
        ({"class": "IOPRIO_CLASS_BE", "priority": 7}, "best-effort: prio 7"),
        ({"class": "IOPRIO_CLASS_RT", "priority": 0}, "realtime: prio 0"),
        ({"class": "IOPRIO_CLASS_IDLE", "priority": 0}, "idle"),
    ],
)
def test_io_priority(oci: Oci, priority: dict[str, Any], expected: str) -> None:
    """P10: class and priority."""
    assert io_priority(started(oci, with_process(oci, "sleep", "100", ioPriority=priority))) == expected


def test_io_priority_that_is_none(oci: Oci) -> None:
    """P10: classes and numbers that there are not."""
    for priority in ({"class": "IOPRIO_CLASS_X", "priority": 0}, {"class": "IOPRIO_CLASS_BE", "priority": 8}):
        assert "process.ioPriority" in oci.refuses(with_process(oci, "true", ioPriority=priority))


requires_two_cpus = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
ALLOWED = ("sh", "-c", "grep Cpus_allowed_list /proc/self/status")


@requires_two_cpus
def test_the_first_process_is_bound_to_no_cpu(oci: Oci) -> None:
    """P11: execCPUAffinity is for exec, and the caller's own affinity is not passed on."""
    document = with_process(oci, *ALLOWED, execCPUAffinity={"initial": "0", "final": "0"})
    everywhere = oci.runs(document)
    bound = Oci(oci.root, oci.place, oci.rootfs, ("taskset", "1", *oci.program))
    assert bound.runs(document) == everywhere != "Cpus_allowed_list:\t0\n"


@requires_two_cpus
def test_affinity_of_exec(oci: Oci) -> None:
    """P11: the final list holds for the program; one that names no CPU of this host is an error."""
    started(oci, with_process(oci, "sleep", "100", execCPUAffinity={"initial": "0", "final": "1"}))
    assert oci.ok("exec", "c", *ALLOWED) == "Cpus_allowed_list:\t1\n"
    path = oci.place / "process.json"
    process = with_process(oci, *ALLOWED, execCPUAffinity={"initial": "0"})["process"]
    path.write_text(json.dumps(process))
    assert oci.ok("exec", "--process", path, "c") == "Cpus_allowed_list:\t0\n"
    path.write_text(json.dumps({**process, "execCPUAffinity": {"final": "8000"}}))
    assert "execCPUAffinity.final" in oci.fails("exec", "--process", path, "c", code=255)
    assert "execCPUAffinity" in oci.refuses(with_process(oci, "true", execCPUAffinity={"initial": "x"}))


def test_scheduling_of_exec(oci: Oci) -> None:
    """P9, P10, P12, P15: exec has its own scheduler, and the container's personality and memory policy."""
    document = with_process(oci, "sleep", "100")
    document["linux"]["personality"] = {"domain": "LINUX32"}
    started(oci, document)
    path = oci.place / "process.json"
    scheduler = {"policy": "SCHED_OTHER", "nice": -4}
    script = "uname -m; cut -d ' ' -f 19 /proc/self/stat"
    path.write_text(json.dumps(with_process(oci, "sh", "-c", script, scheduler=scheduler)["process"]))
    assert oci.ok("exec", "--process", path, "c").split() == [MACHINE_32, "-4"]
    priority = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    path.write_text(json.dumps(with_process(oci, "sleep", "100", ioPriority=priority)["process"]))
    oci.ok("exec", "--detach", "--pid-file", oci.place / "pid", "--process", path, "c")
    assert io_priority(int((oci.place / "pid").read_text())) == "idle"


# -- P12 to P16

MACHINE_32 = {"x86_64": "i686", "aarch64": "armv8l"}.get(os.uname().machine, os.uname().machine)


@pytest.mark.parametrize(("domain", "machine"), [("LINUX", os.uname().machine), ("LINUX32", MACHINE_32)])
def test_personality(oci: Oci, domain: str, machine: str) -> None:
    """P12: the execution domain, under a filter that does not allow to change it."""
    document = oci.config("uname", "-m")
    document["linux"]["personality"] = {"domain": domain}
    document["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_KILL"}],
    }
    assert oci.runs(document).strip() == machine
    document["linux"]["personality"] = {"domain": domain, "flags": ["X"]}
    assert "linux.personality.flags" in oci.refuses(document)


@pytest.mark.skipif(has("apparmor"), reason="AppArmor is active here")
def test_apparmor_where_there_is_none(oci: Oci) -> None:
    """P13: a profile that cannot be had is an error."""
    assert "process.apparmorProfile" in oci.refuses(with_process(oci, "true", apparmorProfile="nonesuch"))


@requires("apparmor")
def test_apparmor(oci: Oci) -> None:
    """P13: a profile is taken on, and one that is not loaded is an error."""
    document = with_process(oci, "cat", "/proc/self/attr/current", apparmorProfile="unconfined")
    assert oci.runs(document).startswith("unconfined")
    assert "process.apparmorProfile" in oci.refuses(with_process(oci, "true", apparmorProfile="nonesuch"))


@pytest.mark.skipif(Path("/sys/fs/selinux/enforce").exists(), reason="SELinux is active here")
def test_selinux_where_there_is_none(oci: Oci) -> None:
    """P13: a label that cannot be had is an error."""
    said = oci.refuses(with_process(oci, "true", selinuxLabel="system_u:system_r:container_t:s0:c1,c2"))
    assert "process.selinuxLabel" in said
    document = oci.config("true")
    document["linux"]["mountLabel"] = "system_u:object_r:container_file_t:s0:c1,c2"
    assert "linux.mountLabel: SELinux is not active" in oci.refuses(document)


@pytest.mark.parametrize("label", ["apparmorProfile", "selinuxLabel"])
def test_labels_are_written_to_a_procfs_of_our_own(oci: Oci, scratch_root: Path, label: str) -> None:
    """P13: files that lie where procfs would have them are not taken for it (CVE-2019-16884)."""
    planted = [
        scratch_root / "proc" / process / "attr" / file
        for process in ("self", "thread-self", "1", "2")
        for file in ("apparmor/exec", "exec", "current")
    ]
    for path in planted:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    document = with_process(oci, "true", **{label: "nonesuch"})
    document["root"] = {"path": str(scratch_root)}
    del document["mounts"][0]
    assert f"process.{label}" in oci.refuses(document)
    assert [path for path in planted if path.read_text()] == []


def test_session_keyring(oci: Oci) -> None:
    """P14: one of its own, unless --no-new-keyring."""
    names = ["CAP_DAC_OVERRIDE"]
    sets = {"bounding": names, "permitted": names, "effective": names}
    bundle = oci.bundle(with_process(oci, "cat", "/proc/keys", capabilities=sets))
    assert f"_ses.with{os.getpid()}:" in oci.ok("run", "-b", bundle, f"with{os.getpid()}")
    assert f"_ses.without{os.getpid()}:" not in oci.ok("run", "--no-new-keyring", "-b", bundle, f"without{os.getpid()}")


requires_numa = pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="this kernel has no NUMA")


@requires_numa
@pytest.mark.parametrize(
    ("policy", "word"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "interleave=static:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
    ],
)
def test_memory_policy(oci: Oci, policy: dict[str, Any], word: str) -> None:
    """P15: modes, nodes and flags, for the first process and for exec."""
    document = oci.config("sleep", "100")
    document["linux"]["memoryPolicy"] = policy
    pid = started(oci, document)
    assert Path(f"/proc/{pid}/numa_maps").read_text().splitlines()[-1].partition(" ")[2].startswith(word)
    assert f" {word} " in oci.ok("exec", "c", "cat", "/proc/self/numa_maps")


def test_memory_policy_that_is_none(oci: Oci) -> None:
    """P15: nodes and flags that do not fit, and nodes that there are not."""
    document = oci.config("true")
    for policy in (
        {"mode": "MPOL_NONE"},
        {"mode": "MPOL_BIND"},
        {"mode": "MPOL_LOCAL", "nodes": "0"},
        {"mode": "MPOL_BIND", "nodes": "x"},
        {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},
        {"mode": "MPOL_BIND", "nodes": "1000"},
        {"mode": "MPOL_BIND", "nodes": "5000"},
    ):
        document["linux"]["memoryPolicy"] = policy
        assert "linux.memoryPolicy" in oci.refuses(document)


def test_other_platforms(oci: Oci) -> None:
    """P16, B4: what is for another platform, or unknown, is ignored with a line in the log."""
    document = with_process(oci, "true", commandLine="x", unknown=1)
    document.update(windows={}, zos={}, vm={})
    _, warnings = told(oci, document)
    for word in ("process.commandLine", "process.unknown", "windows", "zos", "vm"):
        assert any(line.startswith(word) for line in warnings)


@pytest.mark.skipif("resctrl " in Path("/proc/mounts").read_text(), reason="resctrl is mounted here")
def test_update_of_resctrl_where_there_is_none(oci: Oci) -> None:
    """R3: a schema that cannot be had is an error, and no limit has changed."""
    document = oci.config("sleep", "1000")
    document["linux"]["resources"] = {"pids": {"limit": 20}}
    oci.ok("run", "-d", "-b", oci.bundle(document), "c")
    before = json.loads(oci.ok("events", "--stats", "c"))["data"]["pids"]["limit"]
    for option in ("--l3-cache-schema", "--mem-bw-schema"):
        assert "no resctrl" in oci.fails("update", option, "L3:0=1", "--pids-limit", "10", "c")
    assert json.loads(oci.ok("events", "--stats", "c"))["data"]["pids"]["limit"] == before == 20
