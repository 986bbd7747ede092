"""Errors that name a line of the configuration, in the words of the option that wrote that line.

::

    linux.resources.memory.swap: 1 is below the limit 2  ──►  --memory-swap: 1 is below the limit 2

The configuration is made from options here, so nobody has seen its paths. Only imported where something has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontain.engine import mountargs
from pycontain.errors import HostError, PycontainError, SpecError, StageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# The beginning of a path below the document or below linux.resources, and the option; the longer one first.
_PATHS = (
    ("process.cwd", "--workdir"),
    ("process.user.additionalGids", "--group-add"),
    ("process.user.umask", "--umask"),
    ("process.user", "--user"),
    ("process.args", "COMMAND"),
    ("process.env", "--env"),
    ("process.rlimits", "--ulimit"),
    ("process.oomScoreAdj", "--oom-score-adj"),
    ("process.capabilities", "--cap-add"),
    ("process.apparmorProfile", "--security-opt apparmor"),
    ("process.selinuxLabel", "--security-opt label"),
    ("process.noNewPrivileges", "--security-opt no-new-privileges"),
    ("process.terminal", "--tty"),
    ("hostname", "--hostname"),
    ("domainname", "--domainname"),
    ("linux.sysctl", "--sysctl"),
    ("linux.devices", "--device"),
    ("linux.timeOffsets", "--time-offset"),
    ("linux.maskedPaths", "--security-opt mask"),
    ("linux.readonlyPaths", "--security-opt mask"),
    ("linux.seccomp", "--security-opt seccomp"),
    ("linux.mountLabel", "--security-opt label"),
    ("linux.uidMappings", "--userns"),
    ("linux.gidMappings", "--userns"),
    ("memory.limit", "--memory"),
    ("memory.swap", "--memory-swap"),
    ("memory.reservation", "--memory-reservation"),
    ("cpu.quota", "--cpu-quota"),
    ("cpu.period", "--cpu-period"),
    ("cpu.shares", "--cpu-shares"),
    ("cpu.cpus", "--cpuset-cpus"),
    ("cpu.mems", "--cpuset-mems"),
    ("pids", "--pids-limit"),
    ("blockIO.weight", "--blkio-weight"),
    ("blockIO.throttleReadBpsDevice", "--device-read-bps"),
    ("blockIO.throttleWriteBpsDevice", "--device-write-bps"),
    ("blockIO.throttleReadIOPSDevice", "--device-read-iops"),
    ("blockIO.throttleWriteIOPSDevice", "--device-write-iops"),
    ("devices", "--device-cgroup-rule"),
)
# How messages begin that have no path
_BEGINNINGS = (
    ("RLIMIT_", "--ulimit"),
    ("oom score ", "--oom-score-adj"),
    ("time offsets ", "--time-offset"),
    ("the memory limit ", "--memory"),
)
# The option that was meant where two write the same line
_OTHERS = {"--cpu-shares": "cpu_weight", "--cpu-quota": "cpus", "--memory-swap": "memory"}
_RESOURCES = "linux.resources."


def reworded(error: PycontainError, values: Mapping[str, Any]) -> PycontainError:
    """Return the error in the words of the options; ``values`` are their texts by key. Others come back as they are."""
    message = str(error)
    path, _, rest = message.partition(": ")
    if isinstance(error, SpecError):
        path, rest = error.path, error.rule
        if error.source and f"seccomp={error.source}" in values.get("security_opt", ()):
            return UsageError(f"--security-opt seccomp={message}", hint=error.hint or _PROFILE_HINT)
    elif isinstance(error, StageError):
        path, rest = error.spec_path, message
    for beginning, option in _BEGINNINGS:
        if message.startswith(beginning):
            return _renamed(error, f"{option}: {message}")
    option = _option_of(path, rest, values)
    if not option:
        return error
    if path.startswith("linux.sysctl.") and not isinstance(error, StageError):
        rest = f"{path.removeprefix('linux.sysctl.')}: {rest}"
    return _renamed(error, f"{option}: {rest}")


_PROFILE_HINT = "a profile in docker's form: https://docs.docker.com/engine/security/seccomp/"


def _renamed(error: PycontainError, message: str) -> PycontainError:
    if isinstance(error, HostError):
        return HostError(message, requirement=error.requirement, hint=error.hint)
    if isinstance(error, StageError):
        return StageError(
            message,
            hint=error.hint,
            stage=error.stage,
            op=error.op,
            spec_path=error.spec_path,
            errno=error.errno,
        )
    return UsageError(message, hint=error.hint)


def _option_of(path: str, text: str, values: Mapping[str, Any]) -> str:
    """Return the option that wrote a path, "" where none did."""
    if path.startswith("mounts["):
        return _mount_option(text, values)
    path = path.removeprefix(_RESOURCES)
    for beginning, option in _PATHS:
        tail = path[len(beginning) : len(beginning) + 1]
        if path.startswith(beginning) and tail in ("", ".", "["):
            other = _OTHERS.get(option)
            own = option[2:].replace("-", "_")
            return f"--{other.replace('_', '-')}" if other and own not in values and other in values else option
    return ""


def _mount_option(text: str, values: Mapping[str, Any]) -> str:
    """Return the option that mounts at a place which a message names; of places in each other, the inner one."""
    found = [("", "--shm-size")] if "/dev/shm" in text and "shm_size" in values else []
    for key, parse in (
        ("volume", mountargs.parse_volume),
        ("mount", mountargs.parse_mount),
        ("tmpfs", mountargs.parse_tmpfs),
    ):
        places = (parse(value).destination for value in values.get(key, ()))
        found += [(place, f"--{key}") for place in places if place in text]
    return max(found, key=lambda one: len(one[0]), default=("", ""))[1]
