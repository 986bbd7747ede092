"""Documents of the runtime specification for tests: a small one, one like Docker's, one with every property."""

from __future__ import annotations

import marshal
from typing import Any

Document = dict[str, Any]

_NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "cgroup")
_DOCKER_CAPABILITIES = [
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
]  # fmt: skip


def small() -> Document:
    """Return the least configuration that can be started."""
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}]},
    }


_NOSUID = ["nosuid", "noexec", "nodev"]
_DOCKER_MOUNTS = [
    ("/proc", "proc", _NOSUID),
    ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/sys", "sysfs", [*_NOSUID, "ro"]),
    ("/sys/fs/cgroup", "cgroup", ["ro", *_NOSUID]),
    ("/dev/mqueue", "mqueue", _NOSUID),
    ("/dev/shm", "tmpfs", [*_NOSUID, "mode=1777", "size=67108864"]),
    ("/etc/resolv.conf", "bind", ["rbind", "rprivate"]),
    ("/etc/hosts", "bind", ["rbind", "rprivate"]),
]
_DOCKER_PROCESS = {
    "user": {"uid": 0, "gid": 0, "additionalGids": [0, 10]},
    "args": ["sh"],
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=0123456789ab"],
    "cwd": "/",
    "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _DOCKER_CAPABILITIES),
    "apparmorProfile": "docker-default",
    "oomScoreAdj": 0,
}
_DOCKER_LINUX = {
    "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"},
    "resources": {
        "devices": [
            {"allow": False, "access": "rwm"},
            *({"allow": True, "type": "c", "major": 1, "minor": n, "access": "rwm"} for n in (3, 5, 7, 8, 9)),
        ],
        "memory": {"limit": 536870912, "swap": 1073741824},
        "cpu": {"shares": 512},
        "pids": {"limit": 100},
        "blockIO": {"weight": 0},
    },
    "cgroupsPath": "/docker/0123456789ab",
    "namespaces": [{"type": kind} for kind in _NAMESPACES],
    "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
    "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
}


def docker_like(names: int = 350) -> Document:
    """Return a configuration of the shape that Docker writes, with a seccomp profile of so many names."""
    rules: list[Document] = [{"names": [f"syscall_{number}" for number in range(names)], "action": "SCMP_ACT_ALLOW"}]
    for value in (0, 8, 131072, 131080, 0xFFFFFFFF):
        arg = {"index": 0, "value": value, "op": "SCMP_CMP_EQ"}
        rules.append({"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [arg]})
    seccomp = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }
    return _unshared(
        {
            "ociVersion": "1.2.1",
            "process": _DOCKER_PROCESS,
            "root": {"path": "/var/lib/rootfs"},
            "hostname": "0123456789ab",
            "mounts": [
                {"destination": path, "type": kind, "source": kind, "options": options}
                for path, kind, options in _DOCKER_MOUNTS
            ],
            "hooks": {
                "prestart": [{"path": "/proc/1234/exe", "args": ["libnetwork-setkey", "-exec-root=/run/docker"]}]
            },
            "linux": {**_DOCKER_LINUX, "seccomp": seccomp},
        }
    )


_MAPPING = {"containerID": 0, "hostID": 1000, "size": 65536}
_HOOK = {"path": "/bin/hook", "args": ["hook"], "env": ["A=1"], "timeout": 5}
_THROTTLE = {"major": 8, "minor": 0, "rate": 1000}
_FULL_PROCESS = {
    "terminal": True,
    "consoleSize": {"height": 25, "width": 80},
    "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3], "username": "someone"},
    "args": ["sh"],
    "env": ["A=1"],
    "cwd": "/",
    "capabilities": {name: ["CAP_KILL"] for name in ("bounding", "effective", "inheritable", "permitted", "ambient")},
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}],
    "noNewPrivileges": True,
    "apparmorProfile": "profile",
    "selinuxLabel": "label",
    "oomScoreAdj": 100,
    "scheduler": {
        "policy": "SCHED_DEADLINE",
        "nice": 0,
        "priority": 0,
        "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        "runtime": 1000000,
        "deadline": 2000000,
        "period": 3000000,
    },
    "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    "execCPUAffinity": {"initial": "0", "final": "0-3,7"},
}
_FULL_SECCOMP = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "architectures": ["SCMP_ARCH_X86_64"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "listenerPath": "/run/agent",
    "listenerMetadata": "metadata",
    "syscalls": [
        {
            "names": ["read"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 5,
            "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}],
        }
    ],
}
_FULL_RESOURCES = {
    "devices": [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}],
    "memory": {
        "limit": 1000000,
        "reservation": 500000,
        "swap": 2000000,
        "kernel": -1,
        "kernelTCP": -1,
        "swappiness": 60,
        "disableOOMKiller": False,
        "useHierarchy": True,
        "checkBeforeUpdate": True,
    },
    "cpu": {
        "shares": 1024,
        "quota": 100000,
        "burst": 1000,
        "period": 100000,
        "realtimeRuntime": 950000,
        "realtimePeriod": 1000000,
        "cpus": "0-1",
        "mems": "0",
        "idle": 0,
    },
    "pids": {"limit": 100},
    "blockIO": {
        "weight": 10,
        "leafWeight": 10,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
        "throttleReadBpsDevice": [_THROTTLE],
        "throttleWriteBpsDevice": [_THROTTLE],
        "throttleReadIOPSDevice": [_THROTTLE],
        "throttleWriteIOPSDevice": [_THROTTLE],
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}],
    "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
    "unified": {"memory.high": "1000000"},
}
_FULL_LINUX = {
    "namespaces": [
        *({"type": kind} for kind in (*_NAMESPACES, "user")),
        {"type": "time"},
    ],
    "uidMappings": [_MAPPING],
    "gidMappings": [_MAPPING],
    "timeOffsets": {"monotonic": {"secs": -5, "nanosecs": 10}},
    "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
    "netDevices": {"eth7": {"name": "eth0"}},
    "cgroupsPath": "/a/b",
    "rootfsPropagation": "slave",
    "sysctl": {"net.core.somaxconn": "256"},
    "maskedPaths": ["/proc/kcore"],
    "readonlyPaths": ["/proc/sys"],
    "mountLabel": "label",
    "personality": {"domain": "LINUX32", "flags": []},
    "intelRdt": {
        "closID": "group",
        "l3CacheSchema": "L3:0=f",
        "memBwSchema": "MB:0=50",
        "schemata": ["L2:0=f"],
        "enableMonitoring": True,
    },
    "memoryPolicy": {"mode": "MPOL_INTERLEAVE", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]},
    "seccomp": _FULL_SECCOMP,
    "resources": _FULL_RESOURCES,
}
_FULL = {
    "ociVersion": "1.0.2",
    "hostname": "box",
    "domainname": "example.org",
    "annotations": {"org.example.key": "value"},
    "root": {"path": "rootfs", "readonly": True},
    "mounts": [
        {
            "destination": "/data",
            "type": "none",
            "source": "/srv",
            "options": ["rbind", "ro", "idmap"],
            "uidMappings": [_MAPPING],
            "gidMappings": [_MAPPING],
        }
    ],
    "hooks": {
        name: [_HOOK]
        for name in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    },
    "process": _FULL_PROCESS,
    "linux": _FULL_LINUX,
}


def full() -> Document:
    """Return a valid configuration in which every property of the specification for Linux stands once."""
    return _unshared(_FULL)


def _unshared(document: Document) -> Document:
    """Return the document as if read from a file: no list in it is another's."""
    copy: Document = marshal.loads(marshal.dumps(document, 2))  # later versions keep what is shared
    return copy


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


def changed(document: Document, way: str, value: object) -> Document:
    """Return the document with the value at ``way`` ("linux.namespaces.0.type") set, or taken out for ABSENT.

    Objects on the way that do not exist are made.
    """
    *parents, last = [int(key) if key.isdigit() else key for key in way.split(".")]
    node: Any = document
    for key in parents:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
    if value is ABSENT:
        del node[last]
    elif isinstance(node, list) and last == len(node):
        node.append(value)
    else:
        node[last] = value
    return document
