"""``spec``: a configuration to begin with."""

from __future__ import annotations

import os
from typing import Any

from pycontain import lean_json
from pycontain.errors import UsageError
from pycontain.oci.bundle import NAME
from pycontain.oci.invocation import Invocation
from pycontain.oci.words import Told
from pycontain.spec.state import OCI_VERSION_MAX

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_NOSUID = ["nosuid", "noexec", "nodev"]
_MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"),
    *("/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def spec(_invocation: Invocation, told: Told) -> int:
    """Write config.json into the bundle; one that is there stays.

    Raises:
        UsageError: it is there, or cannot be written.
    """
    path = os.path.join(told.text("bundle", "."), NAME)
    document = template(rootless=told.flag("rootless"))
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(lean_json.dumps(document, indent=8) + "\n")
    except FileExistsError:
        raise UsageError(f"File {path} exists. Remove it first") from None
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or '').lower()}") from error
    return 0


def template(*, rootless: bool) -> dict[str, Any]:
    """Return a configuration that runs a shell in ``rootfs`` on a terminal."""
    kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
    linux: dict[str, Any] = {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": kind} for kind in kinds],
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READ_ONLY),
    }
    if rootless:
        del linux["resources"]
        # the network stays the host's: only its owner may mount sysfs, so that is bound
        linux["namespaces"] = [{"type": kind} for kind in (*kinds, "user") if kind != "network"]
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    return {
        "ociVersion": OCI_VERSION_MAX,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pycontain",
        "mounts": _mounts(rootless=rootless),
        "linux": linux,
    }


def _mounts(*, rootless: bool) -> list[dict[str, Any]]:
    group = [] if rootless else ["gid=5"]
    rows: list[tuple[str, str, str, list[str]]] = [
        ("/proc", "proc", "proc", []),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *group],
        ),
        ("/dev/shm", "tmpfs", "shm", [*_NOSUID, "mode=1777", "size=65536k"]),
        ("/dev/mqueue", "mqueue", "mqueue", _NOSUID),
        ("/sys", "none", "/sys", ["rbind", *_NOSUID, "ro"])
        if rootless
        else ("/sys", "sysfs", "sysfs", [*_NOSUID, "ro"]),
    ]
    if not rootless:
        rows.append(("/sys/fs/cgroup", "cgroup", "cgroup", [*_NOSUID, "relatime", "ro"]))
    return [
        {"destination": path, "type": kind, "source": source, **({"options": options} if options else {})}
        for path, kind, source, options in rows
    ]
