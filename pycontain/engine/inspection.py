"""``inspect``: everything that is known of a container, in docker's keys, and ours below ``Pycontain``."""

from __future__ import annotations

import os
import time
from typing import Any

from pycontain import lean_json
from pycontain.engine import attach, protocol
from pycontain.engine.listing import STATES
from pycontain.engine.logs import log_path
from pycontain.errors import PycontainError, StoreError, WrongState
from pycontain.runtime import processes
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import MONITORED, PAUSED, RUNNING, STOPPED, Entry, State, Store

_NS = 10**9
_PATIENCE_S = 2.0
_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which docker's readers know


def inspect(settings: Settings, reference: str) -> dict[str, Any]:
    """Return the document of one container.

    Raises:
        NotFound: no such container.
        StoreError: its state or configuration is damaged.
    """
    entry = Store(settings).find(reference)
    state = entry.load()
    status = entry.status(state)
    spec = _spec(entry)
    process = spec.get("process", {})
    files = f"{entry.directory}/files"
    program, *arguments = state.command or ("",)
    options = state.options
    return {
        "Id": state.id,
        "Created": iso_time(state.created_ns),
        "Path": program,
        "Args": arguments,
        "State": _state(state, status),
        "Image": options.get("rootfs", state.root),
        "ResolvConfPath": f"{files}/resolv.conf",
        "HostnamePath": f"{files}/hostname",
        "HostsPath": f"{files}/hosts",
        "LogPath": log_path(settings, state.id) if _has_log(state) else "",
        "Name": state.name,
        "RestartCount": state.restarts,
        "Platform": "linux",
        "AppArmorProfile": process.get("apparmorProfile", ""),
        "ProcessLabel": process.get("selinuxLabel", ""),
        "HostConfig": _host_config(state, spec),
        "Mounts": _mounts(settings, entry, spec),
        "Config": _config(state, process),
        "Pycontain": _ours(entry, state, spec),
    }


def iso_time(time_ns: int) -> str:
    """Return a moment as RFC 3339 in UTC; Go's zero time for 0."""
    if not time_ns:
        return _NEVER
    seconds, fraction = divmod(time_ns, _NS)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"


def _spec(entry: Entry) -> dict[str, Any]:
    path = f"{entry.directory}/config.json"
    try:
        with open(path, encoding="utf-8") as file:
            document = lean_json.loads(file.read(), source=path)
    except (OSError, UnicodeDecodeError, PycontainError) as error:
        raise StoreError(f"damaged configuration: {error}", hint=f"pycontain rm -f {entry.id[:12]}") from error
    if not isinstance(document, dict):
        raise StoreError(f"{path}: not a configuration", hint=f"pycontain rm -f {entry.id[:12]}")
    return document


def _state(state: State, status: str) -> dict[str, Any]:
    alive = status in (RUNNING, PAUSED)
    return {
        "Status": STATES.get(status, status),
        "Running": alive,
        "Paused": status == PAUSED,
        "Restarting": False,
        "OOMKilled": state.oom_killed,
        "Dead": False,
        "Pid": state.pid if alive else 0,
        "ExitCode": state.exit_code if state.status == STOPPED else 0,
        "Error": state.error,
        "StartedAt": iso_time(state.started_ns),
        "FinishedAt": iso_time(state.finished_ns),
    }


def _has_log(state: State) -> bool:
    return state.shape == MONITORED and state.options.get("log", {}).get("driver") == "json-file"


def _host_config(state: State, spec: dict[str, Any]) -> dict[str, Any]:
    options, linux = state.options, spec.get("linux", {})
    limits = options.get("limits", {})
    log = options.get("log", {})
    kinds = {one["type"]: one.get("path", "") for one in linux.get("namespaces", ())}
    log_options = {
        "max-size": str(log["max_size"]) if log.get("max_size", -1) > 0 else "",
        "max-file": str(log["max_file"]) if log.get("max_file", 1) > 1 else "",
    }
    return {
        "Binds": [
            f"{mount['source']}:{mount['destination']}"
            for mount in spec.get("mounts", ())
            if _is_users(mount, state.id)
        ],
        "LogConfig": {
            "Type": log.get("driver", "none"),
            "Config": {key: value for key, value in log_options.items() if value},
        },
        "NetworkMode": options.get("network", ""),
        "AutoRemove": options.get("remove", False),
        "Privileged": options.get("privileged", False),
        "ReadonlyRootfs": spec.get("root", {}).get("readonly", False),
        "PidMode": _mode(kinds, "pid"),
        "IpcMode": _mode(kinds, "ipc"),
        "UTSMode": _mode(kinds, "uts"),
        "CgroupnsMode": _mode(kinds, "cgroup"),
        "UsernsMode": options.get("userns") or state.userns.get("kind", ""),
        "Memory": limits.get("memory") or 0,
        "MemorySwap": limits.get("memory_swap") or 0,
        "MemoryReservation": limits.get("memory_reservation") or 0,
        "CpuQuota": limits.get("cpu_quota_us") or 0,
        "CpuPeriod": limits.get("cpu_period_us") or 0,
        "CpuShares": limits.get("cpu_shares") or 0,
        "CpusetCpus": limits.get("cpuset_cpus") or "",
        "CpusetMems": limits.get("cpuset_mems") or "",
        "PidsLimit": limits.get("pids") or 0,
        "BlkioWeight": limits.get("blkio_weight") or 0,
        "OomScoreAdj": spec.get("process", {}).get("oomScoreAdj", 0),
        "MaskedPaths": linux.get("maskedPaths", []),
        "ReadonlyPaths": linux.get("readonlyPaths", []),
        "Sysctls": linux.get("sysctl", {}),
    }


def _mode(kinds: dict[str, str], kind: str) -> str:
    if kind not in kinds:
        return "host"
    return kinds[kind] or "private"


def _is_users(mount: dict[str, Any], container_id: str) -> bool:
    """Return whether a mount came from the user: a bind of something that is not the container's own file."""
    return mount.get("type") == "bind" and f"/{container_id}/" not in mount.get("source", "")


def _mounts(settings: Settings, entry: Entry, spec: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    volumes = f"{settings.data}/volumes/"
    for mount in spec.get("mounts", ()):
        if not _is_users(mount, entry.id):
            continue
        source, given = mount["source"], mount.get("options", [])
        described = {
            "Type": "bind",
            "Source": source,
            "Destination": mount["destination"],
            "Mode": ",".join(given),
            "RW": not {"ro", "rro"} & set(given),
            "Propagation": next((one for one in given if one.endswith(("private", "shared", "slave"))), ""),
        }
        if source.startswith(volumes):
            described = {
                "Type": "volume",
                "Name": source[len(volumes) :].partition("/")[0],
                **described,
                "Driver": "local",
            }
            described["Type"] = "volume"
        found.append(described)
    return found


def _config(state: State, process: dict[str, Any]) -> dict[str, Any]:
    options = state.options
    return {
        "Hostname": options.get("hostname", ""),
        "User": options.get("user", ""),
        "AttachStdin": options.get("interactive", False) and not options.get("detach", False),
        "AttachStdout": not options.get("detach", False),
        "AttachStderr": not options.get("detach", False),
        "Tty": options.get("tty", False),
        "OpenStdin": options.get("interactive", False),
        "StdinOnce": options.get("interactive", False) and not options.get("detach", False),
        "Env": process.get("env", []),
        "Cmd": list(state.command),
        "Image": options.get("rootfs", state.root),
        "WorkingDir": process.get("cwd", "/"),
        "Labels": state.labels,
        "StopSignal": str(options.get("stop_signal", 15)),
        "StopTimeout": options.get("stop_timeout_s", 10),
    }


def _ours(entry: Entry, state: State, spec: dict[str, Any]) -> dict[str, Any]:
    userns = state.userns
    return {
        "UserNamespace": {
            "Kind": userns.get("kind", "host"),
            "UidMap": _mapping(userns.get("uid_map", ())),
            "GidMap": _mapping(userns.get("gid_map", ())),
            "IdmappedMounts": userns.get("idmap", False),
            "Note": userns.get("note", ""),
        },
        "Notes": list(state.notes),
        "Annotations": state.annotations,
        "Shape": state.shape,
        "Monitor": {
            "Pid": state.monitor_pid,
            "Alive": processes.is_alive(state.monitor_pid, state.monitor_start),
            **_counters(entry, state),
        },
        "Cgroup": state.cgroup,
        "NoNewPrivileges": spec.get("process", {}).get("noNewPrivileges", False),
        "Capabilities": spec.get("process", {}).get("capabilities", {}).get("bounding", []),
        "Seccomp": "seccomp" in spec.get("linux", {}) or os.path.exists(f"{entry.directory}/seccomp.bpf"),
        "Directory": entry.directory,
    }


def _mapping(pairs: Any) -> list[dict[str, int]]:
    return [{"ContainerId": one["container_id"], "HostId": one["host_id"], "Size": one["size"]} for one in pairs]


def _counters(entry: Entry, state: State) -> dict[str, Any]:
    """Return what the monitor has lost of the log so far: from itself while it runs, from the state afterwards."""
    lines, size = state.log.get("dropped_lines", 0), state.log.get("dropped_bytes", 0)
    clients, error = state.log.get("disconnected_clients", 0), state.log.get("error", "")
    if state.shape == MONITORED and state.status != STOPPED:
        try:
            with attach.Connection(entry.directory) as connection:
                connection.send(protocol.QUERY)
                told = connection.expect(protocol.COUNTERS, _PATIENCE_S)
            lines, size, clients, error = int(told[0]), int(told[1]), int(told[2]), told[3]
        except (WrongState, PycontainError):
            pass  # it has ended meanwhile; what it wrote is in the state that was loaded, or will be in the next
    return {
        "LogDroppedLines": lines,
        "LogDroppedBytes": size,
        "DisconnectedClients": clients,
        "LogError": error,
    }
