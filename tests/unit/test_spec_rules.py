"""The rules between values: every rule has a document that breaks it, and none refuses a good one."""

from __future__ import annotations

from typing import Any

import pytest
from harness import specs
from harness.specs import ABSENT, Document, changed

from pycontain.errors import SpecError
from pycontain.spec.decode import decode, decode_process, decode_resources
from pycontain.spec.number_list import LIMIT, parse_number_list
from pycontain.spec.rules.document import parse_version
from pycontain.spec.rules.validation import RULES, validate, validate_process, validate_resources
from pycontain.spec.sysctl import sysctl_namespace, sysctl_path

SECCOMP, RESOURCES = "linux.seccomp", "linux.resources"
UNSUPPORTED = "is not supported, only 1.0.0 to 1.3.0"
NO_VERSION = "is no semantic version such as 1.3.0"
NO_DEVICE_NAME = "cannot be the name of a network device"
NO_PATH = "is not an absolute path"


def spaces(*types: str) -> list[dict[str, str]]:
    return [{"type": kind} for kind in types]


def ids(*rows: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in rows]


# id of the rule, changes to the full document (way, value), path, rule
BROKEN: list[tuple[str, list[tuple[str, object]], str, str]] = [
    ("B3", [("ociVersion", "2.0.0")], "ociVersion", f'"2.0.0" {UNSUPPORTED}'),
    ("B3", [("ociVersion", "0.9.0")], "ociVersion", f'"0.9.0" {UNSUPPORTED}'),
    ("B3", [("ociVersion", "1.4.0")], "ociVersion", f'"1.4.0" {UNSUPPORTED}'),
    ("B3", [("ociVersion", "1.0.0-rc5")], "ociVersion", f'"1.0.0-rc5" {UNSUPPORTED}'),
    ("B3", [("ociVersion", "abc")], "ociVersion", f'"abc" {NO_VERSION}'),
    ("B3", [("ociVersion", "")], "ociVersion", f'"" {NO_VERSION}'),
    ("B3", [("ociVersion", "1.0")], "ociVersion", f'"1.0" {NO_VERSION}'),
    ("B3", [("ociVersion", "v1.0.0")], "ociVersion", f'"v1.0.0" {NO_VERSION}'),
    ("B3", [("ociVersion", "1.00.0")], "ociVersion", f'"1.00.0" {NO_VERSION}'),
    ("B2", [("root.path", "")], "root.path", "is empty"),
    ("B7", [("annotations", {"": "x"})], "annotations", "has an empty key"),
    ("N7", [("linux.namespaces", spaces("mount")), ("domainname", ABSENT)], "hostname", "needs a uts namespace"),
    ("N7", [("linux.namespaces", spaces("mount")), ("hostname", ABSENT)], "domainname", "needs a uts namespace"),
    ("N7", [("hostname", "é" * 33)], "hostname", "is longer than 64 bytes"),
    ("M3", [("mounts.0.destination", "")], "mounts[0].destination", "is empty"),
    ("M3", [("mounts.0.source", ABSENT)], "mounts[0].source", "is required for a bind mount"),
    ("M3", [("mounts.0.options.0", "nosuid"), ("mounts.0.type", "")], "mounts[0].type",
     "is required unless options have bind or rbind"),
    ("M3", [("mounts.0.options.3", "ridmap")], "mounts[0].options[3]", "idmap and ridmap exclude each other"),
    ("M3", [("mounts.0.options", ["rbind", "shared", "slave"])], "mounts[0].options[2]",
     "slave contradicts the propagation given before"),
    ("M3", [("mounts.0.options", ["bind", "tmpcopyup"])], "mounts[0].options[1]", "tmpcopyup is for tmpfs"),
    ("M3", [("mounts.0.options", ["tmpcopyup"]), ("mounts.0.type", "proc")], "mounts[0].options[0]",
     "tmpcopyup is for tmpfs"),
    ("M3", [("mounts.0.gidMappings", ABSENT)], "mounts[0].gidMappings", "is required where the other mapping is given"),
    ("M3", [("mounts.0.uidMappings", [])], "mounts[0].uidMappings", "is required where the other mapping is given"),
    ("M3", [("mounts.0.uidMappings.0.size", 0)], "mounts[0].uidMappings[0].size", "is 0"),
    ("M3", [("mounts.0.uidMappings", []), ("mounts.0.gidMappings", []), ("linux.namespaces", spaces("mount", "uts"))],
     "mounts[0].options[2]", "idmap needs uidMappings and gidMappings, or a user namespace"),
    ("M3", [("mounts.0.uidMappings", []), ("mounts.0.gidMappings", []), ("linux.namespaces", spaces("mount", "uts")),
            ("mounts.0.options.2", "ridmap")],
     "mounts[0].options[2]", "ridmap needs uidMappings and gidMappings, or a user namespace"),
    ("H3", [("hooks.prestart.0.path", "bin/hook")], "hooks.prestart[0].path", f'"bin/hook" {NO_PATH}'),
    ("H3", [("hooks.createRuntime.0.path", "")], "hooks.createRuntime[0].path", f'"" {NO_PATH}'),
    ("H3", [("hooks.createContainer.0.timeout", 0)], "hooks.createContainer[0].timeout", "0 is not above 0"),
    ("H3", [("hooks.startContainer.0.timeout", -5)], "hooks.startContainer[0].timeout", "-5 is not above 0"),
    ("H3", [("hooks.poststart.0.path", "./x")], "hooks.poststart[0].path", f'"./x" {NO_PATH}'),
    ("H3", [("hooks.poststop.0.path", "x")], "hooks.poststop[0].path", f'"x" {NO_PATH}'),
    ("P1", [("process.cwd", "work")], "process.cwd", f'"work" {NO_PATH}'),
    ("P1", [("process.cwd", "")], "process.cwd", f'"" {NO_PATH}'),
    ("P2", [("process.args", [])], "process.args", "needs at least one entry, the program"),
    ("P2", [("process.args", ABSENT)], "process.args", "needs at least one entry, the program"),
    ("P2", [("process.args", ["", "x"])], "process.args[0]", "is empty"),
    ("P3", [("process.env", ["A=1", "SECRET"])], "process.env[1]", "is not of the form NAME=value"),
    ("P3", [("process.env", ["=secret"])], "process.env[0]", "is not of the form NAME=value"),
    ("P4", [("process.user.uid", 0xFFFFFFFF)], "process.user.uid", "4294967295 is no user id"),
    ("P4", [("process.user.gid", 0xFFFFFFFF)], "process.user.gid", "4294967295 is no group id"),
    ("P4", [("process.user.additionalGids.1", 0xFFFFFFFF)], "process.user.additionalGids[1]",
     "4294967295 is no group id"),
    ("P4", [("process.user.umask", 0o7777)], "process.user.umask", "4095 is more than 511 (octal 777)"),
    ("P5", [("process.rlimits.1", {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1})], "process.rlimits[1].type",
     "RLIMIT_NOFILE is given twice"),
    ("P5", [("process.rlimits.0.soft", 9999)], "process.rlimits[0].soft", "9999 is above the hard limit 4096"),
    ("P8", [("process.oomScoreAdj", 1001)], "process.oomScoreAdj", "1001 is not from -1000 to 1000"),
    ("P8", [("process.oomScoreAdj", -1001)], "process.oomScoreAdj", "-1001 is not from -1000 to 1000"),
    ("P9", [("process.scheduler.policy", "SCHED_ISO")], "process.scheduler.policy",
     "SCHED_ISO is reserved, no kernel implements it"),
    ("P9", [("process.scheduler.nice", 20)], "process.scheduler.nice", "20 is not from -20 to 19"),
    ("P9", [("process.scheduler.nice", -21)], "process.scheduler.nice", "-21 is not from -20 to 19"),
    ("P9", [("process.scheduler", {"policy": "SCHED_FIFO"})], "process.scheduler.priority",
     "SCHED_FIFO needs a priority from 1 to 99"),
    ("P9", [("process.scheduler", {"policy": "SCHED_RR", "priority": 100})], "process.scheduler.priority",
     "SCHED_RR needs a priority from 1 to 99"),
    ("P9", [("process.scheduler", {"policy": "SCHED_OTHER", "priority": 1})], "process.scheduler.priority",
     "SCHED_OTHER has no priority"),
    ("P9", [("process.scheduler", {"policy": "SCHED_BATCH", "deadline": 5})], "process.scheduler.deadline",
     "SCHED_BATCH has none, only SCHED_DEADLINE"),
    ("P9", [("process.scheduler.runtime", 0)], "process.scheduler",
     "SCHED_DEADLINE needs 0 < runtime <= deadline <= period"),
    ("P9", [("process.scheduler.period", 1)], "process.scheduler",
     "SCHED_DEADLINE needs 0 < runtime <= deadline <= period"),
    ("P10", [("process.ioPriority.priority", 8)], "process.ioPriority.priority", "8 is not from 0 to 7"),
    ("P10", [("process.ioPriority.priority", -1)], "process.ioPriority.priority", "-1 is not from 0 to 7"),
    ("P11", [("process.execCPUAffinity.initial", "a")], "process.execCPUAffinity.initial",
     '"a" is no list such as 0-3,7'),
    ("P11", [("process.execCPUAffinity.final", "3-1")], "process.execCPUAffinity.final",
     f'"3-1" is no range from a lower to a higher number below {LIMIT}'),
    ("P11", [("process.execCPUAffinity.final", " ")], "process.execCPUAffinity.final", "names no CPU"),
    ("D7", [("process.consoleSize.width", 65536)], "process.consoleSize.width", "65536 is more than 65535"),
    ("N5", [("linux.namespaces.8", {"type": "pid"})], "linux.namespaces[8].type", "pid is given twice"),
    ("N5", [("linux.namespaces.0.path", "proc/1/ns/pid")], "linux.namespaces[0].path", f'"proc/1/ns/pid" {NO_PATH}'),
    ("N6", [("linux.namespaces.7.type", "pid"), ("linux.namespaces.0.type", "time"),
            ("linux.namespaces.0.path", "/x")],
     "linux.timeOffsets", "cannot change the clocks of an existing namespace"),
    ("N6", [("linux.namespaces", spaces("mount", "uts"))], "linux.timeOffsets", "needs a time namespace"),
    ("N6", [("linux.timeOffsets", {"realtime": {}})], "linux.timeOffsets.realtime",
     "is neither monotonic nor boottime"),
    ("N6", [("linux.timeOffsets.monotonic.nanosecs", 10**9)], "linux.timeOffsets.monotonic.nanosecs",
     "1000000000 is a second or more"),
    ("U1", [("linux.namespaces", spaces("mount", "uts", "time"))], "linux.uidMappings", "needs a user namespace"),
    ("U1", [("linux.uidMappings", [])], "linux.uidMappings", "is required for a new user namespace"),
    ("U1", [("linux.gidMappings", [])], "linux.gidMappings", "is required for a new user namespace"),
    ("U1", [("linux.gidMappings.0.size", 0)], "linux.gidMappings[0].size", "is 0"),
    ("U1", [("linux.uidMappings", ids((0, 1000, 10), (5, 2000, 10)))], "linux.uidMappings[1]",
     "overlaps with linux.uidMappings[0]"),
    ("U1", [("linux.uidMappings", ids((0, 1000, 10), (10, 999, 2)))], "linux.uidMappings[1]",
     "overlaps with linux.uidMappings[0]"),
    ("U1", [("linux.uidMappings", ids((0, 0, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF, 1)))],
     "linux.uidMappings[1].containerID", "4294967295 and 1 ids from there reach beyond 4294967294"),
    ("U1", [("linux.uidMappings", ids((0, 0xFFFFFFFF, 1)))], "linux.uidMappings[0].hostID",
     "4294967295 and 1 ids from there reach beyond 4294967294"),
    ("U1", [("linux.uidMappings", ids(*((n, n, 1) for n in range(341))))], "linux.uidMappings",
     "has 341 entries, the kernel takes 340"),
    ("U1", [("process.user.uid", 70000)], "process.user.uid", "70000 is not mapped by linux.uidMappings"),
    ("U1", [("process.user.gid", 65536)], "process.user.gid", "65536 is not mapped by linux.gidMappings"),
    ("U1", [("process.user.additionalGids", [0, 99999])], "process.user.additionalGids[1]",
     "99999 is not mapped by linux.gidMappings"),
    ("D3", [("linux.devices.0.path", "dev/x")], "linux.devices[0].path", f'"dev/x" {NO_PATH}'),
    ("D3", [("linux.devices.0.major", ABSENT)], "linux.devices[0].major", "is required for a device of type c"),
    ("D3", [("linux.devices.0.minor", ABSENT)], "linux.devices[0].minor", "is required for a device of type c"),
    ("D3", [("linux.devices.0.major", 4096)], "linux.devices[0].major", "4096 is not from 0 to 4095"),
    ("D3", [("linux.devices.0.minor", -1)], "linux.devices[0].minor", "-1 is not from 0 to 1048575"),
    ("D3", [("linux.devices.1", {"path": "/dev/x", "type": "p"})], "linux.devices[1].path",
     '"/dev/x" is listed before as another device'),
    ("R4", [("linux.namespaces", spaces("mount", "uts", "user", "time"))], "linux.netDevices",
     "needs a network namespace"),
    ("R4", [("linux.netDevices", {"a/b": {}})], 'linux.netDevices["a/b"]', f'"a/b" {NO_DEVICE_NAME}'),
    ("R4", [("linux.netDevices", {"": {}})], 'linux.netDevices[""]', f'"" {NO_DEVICE_NAME}'),
    ("R4", [("linux.netDevices.eth7.name", "sixteen-bytes-xx")], "linux.netDevices.eth7.name",
     f'"sixteen-bytes-xx" {NO_DEVICE_NAME}'),
    ("R4", [("linux.netDevices.eth7.name", "a:1")], "linux.netDevices.eth7.name", f'"a:1" {NO_DEVICE_NAME}'),
    ("R4", [("linux.netDevices.eth7.name", "..")], "linux.netDevices.eth7.name", f'".." {NO_DEVICE_NAME}'),
    ("R4", [("linux.netDevices.eth7.name", "e%s")], "linux.netDevices.eth7.name", f'"e%s" {NO_DEVICE_NAME}'),
    ("R4", [("linux.netDevices.eth7.name", "%d%d")], "linux.netDevices.eth7.name", f'"%d%d" {NO_DEVICE_NAME}'),
    ("R4", [("linux.netDevices.eth0", {})], "linux.netDevices.eth0.name", '"eth0" is given twice'),
    ("G1", [("linux.cgroupsPath", "/a/../../b")], "linux.cgroupsPath", '"/a/../../b" has a component ..'),
    ("G1", [("linux.cgroupsPath", "..")], "linux.cgroupsPath", '".." has a component ..'),
    ("N8", [("linux.sysctl", {"vm.swappiness": "1"})], 'linux.sysctl["vm.swappiness"]',
     "belongs to the host, not to a namespace"),
    ("N8", [("linux.sysctl", {"kernel.panic": "1"})], 'linux.sysctl["kernel.panic"]',
     "belongs to the host, not to a namespace"),
    ("N8", [("linux.sysctl", {"net.ipv4/../../kernel.panic": "1"})], 'linux.sysctl["net.ipv4/../../kernel.panic"]',
     "is no name of a kernel parameter"),
    ("N8", [("linux.sysctl", {"net/../kernel/panic": "1"})], 'linux.sysctl["net/../kernel/panic"]',
     "is no name of a kernel parameter"),
    ("N8", [("linux.sysctl", {"": "1"})], 'linux.sysctl[""]', "is no name of a kernel parameter"),
    ("N8", [("linux.sysctl", {"net": "1"})], "linux.sysctl.net", "is no name of a kernel parameter"),
    ("N8", [("linux.sysctl", {"net.a b": "1"})], 'linux.sysctl["net.a b"]', "is no name of a kernel parameter"),
    ("N8", [("linux.sysctl", {"kernel.hostname": "box"})], 'linux.sysctl["kernel.hostname"]',
     "is set by the property hostname"),
    ("N8", [("linux.sysctl", {"kernel.domainname": "x"})], 'linux.sysctl["kernel.domainname"]',
     "contradicts the property domainname"),
    ("N8", [("linux.sysctl", {"kernel.shmmax": "1"}),
            ("linux.namespaces", spaces("network", "mount", "uts", "user", "time"))],
     'linux.sysctl["kernel.shmmax"]', "needs an ipc namespace"),
    ("R1", [("linux.maskedPaths", ["proc/kcore"])], "linux.maskedPaths[0]", f'"proc/kcore" {NO_PATH}'),
    ("R1", [("linux.readonlyPaths", ["/a", ""])], "linux.readonlyPaths[1]", f'"" {NO_PATH}'),
    ("R1", [("mounts", []), ("linux.namespaces", spaces("network", "uts", "user", "time"))], "linux.maskedPaths",
     "needs a mount namespace"),
    ("R3", [("linux.intelRdt.closID", "..")], "linux.intelRdt.closID",
     '".." is neither "/" nor the name of a directory'),
    ("R3", [("linux.intelRdt.closID", "/a")], "linux.intelRdt.closID",
     '"/a" is neither "/" nor the name of a directory'),
    ("R3", [("linux.intelRdt.memBwSchema", "L3:0=f")], "linux.intelRdt.memBwSchema", "does not start with MB:"),
    ("R3", [("linux.intelRdt.memBwSchema", "MB:0=5\nL3:0=f")], "linux.intelRdt.memBwSchema", "has more than one line"),
    ("R3", [("linux.intelRdt.l3CacheSchema", "L3:0=f\n")], "linux.intelRdt.l3CacheSchema", "has more than one line"),
    ("R3", [("linux.intelRdt.schemata.1", "a\nb")], "linux.intelRdt.schemata[1]", "has more than one line"),
    ("P12", [("linux.personality.flags", ["X"])], "linux.personality.flags", "has entries, but no flags are defined"),
    ("P15", [("linux.memoryPolicy.nodes", "x")], "linux.memoryPolicy.nodes", '"x" is no list such as 0-3,7'),
    ("P15", [("linux.memoryPolicy", {"mode": "MPOL_DEFAULT", "nodes": "0"})], "linux.memoryPolicy.nodes",
     "MPOL_DEFAULT takes no nodes"),
    ("P15", [("linux.memoryPolicy", {"mode": "MPOL_BIND"})], "linux.memoryPolicy.nodes",
     "MPOL_BIND needs at least one node"),
    ("P15", [("linux.memoryPolicy.flags.1", "MPOL_F_RELATIVE_NODES")], "linux.memoryPolicy.flags",
     "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other"),
    ("P15", [("linux.memoryPolicy", {"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]})],
     "linux.memoryPolicy.flags", "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES need nodes"),
    ("P15", [("linux.memoryPolicy.flags", ["MPOL_F_NUMA_BALANCING"])], "linux.memoryPolicy.flags",
     "MPOL_INTERLEAVE cannot be used with MPOL_F_NUMA_BALANCING"),
    ("G7", [(f"{RESOURCES}.devices.0.access", "rx")], f"{RESOURCES}.devices[0].access",
     '"rx" is not made of the letters r, w and m'),
    ("G7", [(f"{RESOURCES}.devices.0.minor", -2)], f"{RESOURCES}.devices[0].minor", "-2 is no device number"),
    ("G5", [(f"{RESOURCES}.memory.limit", -2)], f"{RESOURCES}.memory.limit",
     "-2 is neither a size nor -1 for unlimited"),
    ("G5", [(f"{RESOURCES}.memory.kernelTCP", -5)], f"{RESOURCES}.memory.kernelTCP",
     "-5 is neither a size nor -1 for unlimited"),
    ("G5", [(f"{RESOURCES}.memory.swappiness", 101)], f"{RESOURCES}.memory.swappiness", "101 is not from 0 to 100"),
    ("G5", [(f"{RESOURCES}.memory.swap", 5)], f"{RESOURCES}.memory.swap", "5 is below the limit 1000000"),
    ("G5", [(f"{RESOURCES}.memory.limit", -1)], f"{RESOURCES}.memory.swap",
     "cannot be limited where memory is unlimited"),
    ("G4", [(f"{RESOURCES}.cpu.burst", 100001)], f"{RESOURCES}.cpu.burst", "100001 is above the quota 100000"),
    ("G4", [(f"{RESOURCES}.cpu.idle", 2)], f"{RESOURCES}.cpu.idle", "2 is neither 0 nor 1"),
    ("G4", [(f"{RESOURCES}.cpu.cpus", "all")], f"{RESOURCES}.cpu.cpus", '"all" is no list such as 0-3,7'),
    ("G4", [(f"{RESOURCES}.cpu.mems", "0\n1")], f"{RESOURCES}.cpu.mems", '"0\\n1" is no list such as 0-3,7'),
    ("G5", [(f"{RESOURCES}.pids.limit", -2)], f"{RESOURCES}.pids.limit",
     "-2 is neither a number of tasks nor -1 for unlimited"),
    ("G5", [(f"{RESOURCES}.blockIO.weightDevice", [{"major": 8, "minor": 0}])], f"{RESOURCES}.blockIO.weightDevice[0]",
     "has neither weight nor leafWeight"),
    *(
        ("G11", [(f"{RESOURCES}.hugepageLimits.0.pageSize", size)], f"{RESOURCES}.hugepageLimits[0].pageSize",
         f'"{size}" is no size such as 2MB')
        for size in ("2M", "MB", "02MB", "2TB", "../MB", "")
    ),
    ("G11", [(f"{RESOURCES}.hugepageLimits.1", {"pageSize": "2MB", "limit": 0})],
     f"{RESOURCES}.hugepageLimits[1].pageSize", "2MB is given twice"),
    ("G5", [(f"{RESOURCES}.rdma.mlx5_1", {})], f"{RESOURCES}.rdma.mlx5_1", "has neither hcaHandles nor hcaObjects"),
    *(
        ("G6", [(f"{RESOURCES}.unified", {name: "1"})], path, "is no file of a controller, such as memory.high")
        for name, path in (
            ("memory", f"{RESOURCES}.unified.memory"),
            ("../memory.max", f'{RESOURCES}.unified["../memory.max"]'),
            ("x/memory.max", f'{RESOURCES}.unified["x/memory.max"]'),
            (".max", f'{RESOURCES}.unified[".max"]'),
            ("memory.", f'{RESOURCES}.unified["memory."]'),
            ("", f'{RESOURCES}.unified[""]'),
        )
    ),
    ("S2", [(f"{SECCOMP}.defaultAction", "SCMP_ACT_ALLOW")], f"{SECCOMP}.defaultErrnoRet",
     "SCMP_ACT_ALLOW has no errno"),
    ("S2", [(f"{SECCOMP}.syscalls.0.action", "SCMP_ACT_KILL")], f"{SECCOMP}.syscalls[0].errnoRet",
     "SCMP_ACT_KILL has no errno"),
    ("S2", [(f"{SECCOMP}.syscalls.0.errnoRet", 4096)], f"{SECCOMP}.syscalls[0].errnoRet", "4096 is more than 4095"),
    ("S2", [(f"{SECCOMP}.defaultAction", "SCMP_ACT_TRACE"), (f"{SECCOMP}.defaultErrnoRet", 65536)],
     f"{SECCOMP}.defaultErrnoRet", "65536 is more than 65535"),
    ("S3", [(f"{SECCOMP}.syscalls.0.names", [])], f"{SECCOMP}.syscalls[0].names", "needs at least one entry"),
    ("S3", [(f"{SECCOMP}.syscalls.0.names", ["read", ""])], f"{SECCOMP}.syscalls[0].names", "has an empty entry"),
    ("S4", [(f"{SECCOMP}.syscalls.0.args.0.index", 6)], f"{SECCOMP}.syscalls[0].args[0].index", "6 is not from 0 to 5"),
    ("S5", [(f"{SECCOMP}.listenerPath", ABSENT)], f"{SECCOMP}.listenerMetadata", "needs listenerPath"),
    ("S5", [(f"{SECCOMP}.defaultAction", "SCMP_ACT_NOTIFY"), (f"{SECCOMP}.defaultErrnoRet", ABSENT)],
     f"{SECCOMP}.defaultAction", "SCMP_ACT_NOTIFY cannot be for every system call"),
    ("S5", [(f"{SECCOMP}.syscalls.1", {"names": ["write"], "action": "SCMP_ACT_NOTIFY"})],
     f"{SECCOMP}.syscalls[1].names", "SCMP_ACT_NOTIFY cannot be for write"),
    ("S5", [(f"{SECCOMP}.syscalls.1", {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}),
            (f"{SECCOMP}.listenerPath", ABSENT), (f"{SECCOMP}.listenerMetadata", ABSENT)],
     f"{SECCOMP}.syscalls[1].action", "SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath"),
]  # fmt: skip


def made(changes: list[tuple[str, object]]) -> Document:
    document = specs.full()
    for way, value in changes:
        changed(document, way, value)
    return document


@pytest.mark.parametrize(
    ("changes", "path", "rule"),
    [row[1:] for row in BROKEN],
    ids=[f"{row[0]}-{row[2]}"[:60].encode("ascii", "replace").decode() for row in BROKEN],
)
def test_a_broken_rule_is_named(changes: list[tuple[str, object]], path: str, rule: str) -> None:
    spec, _ = decode(made(changes))
    with pytest.raises(SpecError) as caught:
        validate(spec)
    assert (caught.value.path, caught.value.rule) == (path, rule)
    assert str(caught.value) == f"config.json: {path}: {rule}"


def test_every_rule_that_can_refuse_has_a_document_that_breaks_it() -> None:
    assert {row[0] for row in RULES} - {"P6"} == {row[0] for row in BROKEN}
    assert all(text for _, text, _ in RULES)


# changes to the full document that break nothing
GOOD: list[list[tuple[str, object]]] = [
    [],
    *([("ociVersion", version)] for version in ("1.0.0", "1.0.2-dev", "1.1.0+dev", "1.2.0-rc.1+a.b-c", "1.3.9")),
    [("process", ABSENT)],
    [("hostname", "a" * 64)],
    [("linux", {"namespaces": spaces("mount", "uts", "user"), "uidMappings": ids((0, 0, 10)),
                "gidMappings": ids((0, 0, 10))})],
    [("linux.namespaces.6.path", "/proc/1/ns/user"), ("linux.uidMappings", []), ("linux.gidMappings", [])],
    [("linux.uidMappings", ids((0, 1000, 1), (1, 100000, 65535)))],
    [("linux.uidMappings", ids((0, 0, 0xFFFFFFFF)))],
    [("mounts.0", {"destination": "/x", "type": "tmpfs", "options": ["tmpcopyup", "size=1k"]})],
    [("mounts.0", {"destination": "/x", "options": ["remount", "ro"]})],
    [("mounts.0.uidMappings", []), ("mounts.0.gidMappings", [])],
    [("process.terminal", False), ("process.consoleSize.width", 1 << 63)],
    [("process.scheduler", {"policy": "SCHED_RR", "priority": 99})],
    [("process.scheduler", {"policy": "SCHED_BATCH", "nice": -20})],
    [("process.scheduler.period", 0)],
    [("process.env", ["A=", "B==", "A=2"])],
    [("process.rlimits.0.hard", (1 << 64) - 1)],
    [("linux.devices.0", {"path": "/tmp/fifo", "type": "p"})],
    [("linux.devices.1", {"path": "/dev/x", "type": "c", "major": 1, "minor": 3})],
    [("linux.devices.0.fileMode", 0o20666)],
    [("linux.netDevices", {"eth0": {"name": "e%d"}, "eth1": {"name": "e%d"}, "eth2": {}})],
    [("linux.cgroupsPath", "system.slice:pycontain:1")],
    [("linux.cgroupsPath", "a..b/c")],
    *(
        [("linux.sysctl", {name: "1"})]
        for name in ("kernel.msgmax", "kernel/shmmax", "fs.mqueue.msg_max", "net.ipv4.conf.eth0/1.forwarding",
                     "net/ipv4/conf/eth0.1/forwarding", "user.max_user_namespaces")
    ),
    [("linux.sysctl", {"kernel.domainname": "example.org"})],
    [("linux.intelRdt", {"closID": "/"})],
    [("linux.memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0 - 1, 3", "flags": ["MPOL_F_NUMA_BALANCING"]})],
    [("linux.memoryPolicy", {"mode": "MPOL_PREFERRED"})],
    [(f"{RESOURCES}.devices.0", {"allow": False})],
    [(f"{RESOURCES}.memory", {"limit": -1, "swap": -1})],
    [(f"{RESOURCES}.memory", {"swap": 5})],
    [(f"{RESOURCES}.cpu", {"quota": -1, "burst": 1000, "cpus": "0-31:2/4, 40"})],
    [(f"{RESOURCES}.pids.limit", 0)],
    [(f"{RESOURCES}.unified", {"hugetlb.1GB.max": "1", "io.max": "8:0 rbps=1"})],
    [(f"{SECCOMP}.syscalls.1", {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"})],
    [(f"{SECCOMP}", {"defaultAction": "SCMP_ACT_KILL"})],
]  # fmt: skip


@pytest.mark.parametrize("changes", GOOD, ids=[f"{row[-1:]!a}"[:50] for row in GOOD])
def test_a_good_document_is_taken(changes: list[tuple[str, object]]) -> None:
    assert validate(decode(made(changes))[0]) == ()


@pytest.mark.parametrize("document", [specs.small(), specs.docker_like()])
def test_documents_of_engines_are_taken(document: Document) -> None:
    assert validate(decode(document)[0]) == ()


WARNED: list[tuple[str, object, list[str]]] = [
    ("mounts.0.destination", "data", ['mounts[0].destination: "data" is relative, which is deprecated']),
    ("mounts.0.options.3", "size=1k", ['mounts[0].options[3]: "size=1k" has no effect on a bind mount']),
    (
        "process.capabilities.bounding",
        ["CAP_KILL", "CAP_FUTURE"],
        ['process.capabilities.bounding[1]: "CAP_FUTURE" is no known capability, ignored'],
    ),
    (
        "process.capabilities.effective",
        ["CAP_KILL", "CAP_CHOWN"],
        ["process.capabilities.effective[1]: CAP_CHOWN is not in permitted, cannot be granted"],
    ),
    (
        "process.capabilities.inheritable",
        [],
        ["process.capabilities.ambient[0]: CAP_KILL is not in permitted and inheritable, cannot be granted"],
    ),
    ("linux.intelRdt.l3CacheSchema", "X:0=f", ["linux.intelRdt.l3CacheSchema: does not start with L3:"]),
]


@pytest.mark.parametrize(("way", "value", "warnings"), WARNED, ids=[row[0] for row in WARNED])
def test_warnings(way: str, value: object, warnings: list[str]) -> None:
    assert list(validate(decode(changed(specs.full(), way, value))[0])) == warnings


def test_hints_name_what_to_write() -> None:
    document = specs.small()
    document["hostname"] = "box"
    document["linux"]["namespaces"] = []
    with pytest.raises(SpecError) as caught:
        validate(decode(document)[0], source="/b/config.json")
    assert caught.value.hint == 'add {"type": "uts"} to linux.namespaces'
    assert str(caught.value) == "/b/config.json: hostname: needs a uts namespace"


def test_values_of_the_environment_are_never_shown() -> None:
    process, _ = decode_process({"cwd": "/", "args": ["sh"], "env": ["geheim"]})
    with pytest.raises(SpecError) as caught:
        validate_process(process)
    assert str(caught.value) == "process.json: env[0]: is not of the form NAME=value"


def test_resources_alone() -> None:
    resources, _ = decode_resources({"memory": {"limit": -5}})
    with pytest.raises(SpecError, match=r"^resources\.json: memory\.limit: -5 is neither"):
        validate_resources(resources)
    assert validate_resources(decode_resources({"pids": {"limit": 5}})[0]) == ()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.2.3", (1, 2, 3, "")),
        ("0.0.0-0", (0, 0, 0, "0")),
        ("1.0.0-alpha.1", (1, 0, 0, "alpha.1")),
        ("1.0.0-0a.x-y+001", (1, 0, 0, "0a.x-y")),
        ("1.0.0+a-b", (1, 0, 0, "")),
        ("1.2", None),
        ("1.2.3.4", None),
        ("01.2.3", None),
        ("1.2.3-", None),
        ("1.2.3-01", None),
        ("1.2.3-a..b", None),
        ("1.2.3+", None),
        ("1.2.3+a_b", None),
        ("-1.2.3", None),
        ("1.2.x", None),
        ("١.2.3", None),
        (f"{'9' * 5000}.0.0", None),
    ],
)
def test_semantic_versions(text: str, version: Any) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", ()),
        ("  ", ()),
        ("0", (0,)),
        ("0-3,7", (0, 1, 2, 3, 7)),
        ("7,0-3,2", (0, 1, 2, 3, 7)),
        (" 1 , 3 - 4 ", (1, 3, 4)),
        ("8191", (8191,)),
    ],
)
def test_number_lists(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_number_list(text, "x") == numbers


@pytest.mark.parametrize("text", ["a", "1,,2", "1-", "-1", "1-2-3", "2-1", "8192", "0-99999999999", "1\n", "²", "1,"])
def test_no_number_lists(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_number_list(text, "linux.x")
    assert caught.value.path == "linux.x"


@pytest.mark.parametrize(
    ("name", "path", "namespace"),
    [
        ("net.core.somaxconn", "net/core/somaxconn", "network"),
        ("net.ipv4.conf.eth0/1.x", "net/ipv4/conf/eth0.1/x", "network"),
        ("net/ipv4/conf/eth0.1/x", "net/ipv4/conf/eth0.1/x", "network"),
        ("kernel.shmmax", "kernel/shmmax", "ipc"),
        ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced", "ipc"),
        ("fs.mqueue.queues_max", "fs/mqueue/queues_max", "ipc"),
        ("kernel.domainname", "kernel/domainname", "uts"),
        ("user.max_net_namespaces", "user/max_net_namespaces", "user"),
        ("kernel.core_pattern", "kernel/core_pattern", None),
        ("fs.file-max", "fs/file-max", None),
        ("network.x", "network/x", None),
    ],
)
def test_sysctl_names(name: str, path: str, namespace: str | None) -> None:
    assert sysctl_path(name) == path
    assert sysctl_namespace(path) == namespace


@pytest.mark.parametrize("name", ["", "net", ".net.x", "net..x", "net.x.", "net/./x", "/net/x", "net.a\nb", "net.é"])
def test_no_sysctl_names(name: str) -> None:
    assert sysctl_path(name) is None
