"""An OCI bundle with what Docker gives a container by default: for the runtimes that pycontain is measured against.

Source: oci/defaults.go and profiles/seccomp of moby; the seccomp profile is ``tests/data/docker-default-seccomp.json``.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

PROFILE = Path(__file__).parents[1] / "data" / "docker-default-seccomp.json"

CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
]

MASKED = [
    *("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi"),
    *("/sys/firmware", "/sys/devices/virtual/powercap"),
]

READ_ONLY = [f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")]

MOUNTS: tuple[tuple[str, str, list[str]], ...] = (
    ("/proc", "proc", ["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ("/dev/shm", "tmpfs", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", ["ro", "nosuid", "noexec", "nodev"]),
)

#: Machine of uname(2) -> (name in the profile's archMap, name in its conditions).
ARCHITECTURES = {"x86_64": ("SCMP_ARCH_X86_64", "amd64"), "aarch64": ("SCMP_ARCH_AARCH64", "arm64")}


def write(directory: Path, rootfs: Path, args: list[str]) -> Path:
    """Write ``config.json`` into the new directory and return it."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config(rootfs, args)))
    return directory


def config(rootfs: Path, args: list[str]) -> dict[str, Any]:
    """Return a configuration that runs ``args`` in ``rootfs`` as Docker would."""
    sets = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    namespaces = ("pid", "network", "ipc", "uts", "mount", "cgroup")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": args,
            "cwd": "/",
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=bench"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": sets,
        },
        "root": {"path": str(rootfs), "readonly": True},
        "hostname": "bench",
        "mounts": [
            {"destination": destination, "type": kind, "source": kind, "options": options}
            for destination, kind, options in MOUNTS
        ],
        "linux": {
            "namespaces": [{"type": name} for name in namespaces],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "seccomp": seccomp(json.loads(PROFILE.read_text())),
        },
    }


def seccomp(profile: dict[str, Any]) -> dict[str, Any]:
    """Return Docker's profile as the specification's ``linux.seccomp``, its conditions decided for this machine."""
    native, name = ARCHITECTURES[platform.machine()]
    architectures = [native]
    for row in profile["archMap"]:
        if row["architecture"] == native:
            architectures += row["subArchitectures"]
    keys = ("names", "action", "errnoRet", "args")
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile.get("defaultErrnoRet", 1),
        "architectures": architectures,
        "syscalls": [{key: row[key] for key in keys if key in row} for row in profile["syscalls"] if _holds(row, name)],
    }


def _holds(row: dict[str, Any], architecture: str) -> bool:
    """Return whether a rule applies here; kernels that we support are newer than any ``minKernel`` in the profile."""
    includes, excludes = row.get("includes", {}), row.get("excludes", {})
    return not (
        set(includes.get("caps", ())) - set(CAPABILITIES)
        or (includes.get("arches") and architecture not in includes["arches"])
        or set(excludes.get("caps", ())) & set(CAPABILITIES)
        or architecture in excludes.get("arches", ())
    )
