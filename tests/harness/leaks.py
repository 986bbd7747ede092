"""What a test left behind on the host: compares two pictures of everything a container run can leave.

A picture is ``{kind: {key: description}}``. Keys survive the reuse of a pid or a name where that is possible.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

Picture = dict[str, dict[str, str]]

#: How long asynchronous teardown (a network namespace, a cgroup's last process) may take, in seconds.
GRACE_S = 2.0

#: Directories that all containers share; what is left in them shows as a process or as a directory below.
SHARED_CGROUPS = ("/pycontain", "/pycontain/monitors")

RUN_DIRECTORY = Path("/run/pycontain")

#: Directories below it that keep what is slow to compute; they may fill.
CACHES = ("seccomp",)

#: Files there that stay: what happened to containers that have gone, of bounded size.
RECORDS = ("events.log", "events.log.1")

_ID = re.compile(r"[0-9a-f]{64}")

#: Length of an id as people see it.
SHORT = 12


def take() -> Picture:
    """Return a picture of the host as this process sees it."""
    processes = list(_processes())
    return {
        "mount": _mounts(),
        "cgroup": _cgroups(),
        "process": {key: text for key, text, ours in processes if ours},
        "namespace": _namespaces(),
        "link": {name: name for name in _entries("/sys/class/net")},
        "loop device": dict(_loops()),
        "file": {path: path for path in _files(RUN_DIRECTORY)},
    }


def new_since(before: Picture, after: Picture | None = None) -> list[str]:
    """Return one line for each thing of ``after`` (default: now) that ``before`` does not have.

    What a container that was there before does meanwhile is not counted.
    """
    after = take() if after is None else after
    lines = [f"{kind}: {text}" for kind in after for key, text in after[kind].items() if key not in before[kind]]
    old = {name for path in before["cgroup"] if _ID.fullmatch(name := path.rpartition("/")[2])}
    return [line for line in lines if not any(container in line for container in old)]


def left_since(before: Picture, grace_s: float = GRACE_S) -> list[str]:
    """Like :func:`new_since`, but allows ``grace_s`` seconds for teardown that the kernel does in the background."""
    deadline = time.monotonic() + grace_s
    pause_s = 0.005
    while (found := new_since(before)) and time.monotonic() < deadline:
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.2)
    return found


def without_foreign(lines: list[str], own: tuple[str, ...]) -> list[str]:
    """Return ``lines`` without those about containers whose claim names a state directory outside of ``own``.

    For a machine on which others use the program at the same time. Containers without a user namespace of their own
    have no claim; they still look like leaks.
    """
    # tests give --root: the default directories are not theirs
    foreign = {str(RUN_DIRECTORY / name) for name in ("names", "containers")}
    for claim in _files(RUN_DIRECTORY / "userns"):
        try:
            owner = Path(claim).read_text().strip()
        except OSError:
            continue  # released meanwhile
        if owner and not owner.startswith(own):
            foreign |= {owner.rpartition("/")[2][:SHORT], claim}
    theirs = {pid for line in lines if (pid := _foreign_program(line))}
    return [line for line in lines if not _of_another_run(line) and not any(word in line for word in foreign | theirs)]


def _of_another_run(line: str) -> bool:
    """Return whether a line names what another run of these tests made, or what it shares with this one."""
    named = set(re.findall(r"pycontain-test-(\d+)-", line))
    return (bool(named) and str(os.getpid()) not in named) or line.startswith("cgroup: /pycontain-oci in ")


def _foreign_program(line: str) -> str:
    """Return ``pid N `` where ``line`` is about the program of another installation than this one."""
    program = re.match(r"process: (pid \d+ ).* (/\S+)/pycontain/launcher/_start\.py", line)
    return program[1] if program and not program[2].startswith(sys.prefix) else ""


def mop_up(containers: list[str]) -> None:
    """Kill and remove, by the kernel's means alone, what containers that the program could not remove left.

    So that a failure is one failure, and a container that runs for ever does not.
    """
    paths = [path for mount in cgroup_mounts() for name in containers for path in _below(mount, name)]
    for path in paths:
        for pid in Path(path, "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    deadline = time.monotonic() + GRACE_S
    while paths and time.monotonic() < deadline:
        time.sleep(0.05)
        paths = [path for path in paths if not _removed(path)]
    for claim in _files(RUN_DIRECTORY / "userns"):
        if Path(claim).read_text().strip().rpartition("/")[2] in containers:
            os.unlink(claim)


def _below(mount: str, name: str) -> list[str]:
    return [directory for directory, _, _ in os.walk(mount) if directory.endswith(f"/{name}")]


def _removed(cgroup: str) -> bool:
    try:
        os.rmdir(cgroup)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # busy: its last process is still dying
    return True


def _mounts() -> dict[str, str]:
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mounts[line.split()[0]] = f"{' '.join(left.split()[3:5])} {right}"
    return mounts


def _cgroups() -> dict[str, str]:
    """Return the path below a hierarchy's mount -> the same with the hierarchies that have it."""
    found: dict[str, list[str]] = {}
    for mount in cgroup_mounts():
        for directory in _directories(mount):
            below = directory[len(mount) :]
            if "pycontain" in below and not below.endswith(SHARED_CGROUPS):
                found.setdefault(below, []).append(mount.rpartition("/")[2])
    return {below: f"{below} in {' '.join(names)}" for below, names in found.items()}


def _directories(top: str) -> Iterator[str]:
    """Yield a cgroup and those below it; their many files are not looked at where there are no more of them."""
    yield top
    try:
        if os.stat(top).st_nlink > 2:
            below = [entry.path for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
        else:
            return
    except FileNotFoundError:
        return  # removed meanwhile
    for directory in below:
        yield from _directories(directory)


def cgroup_mounts() -> Iterator[str]:
    """Yield where each hierarchy is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup"):
            yield left.split()[4]


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16).decode(errors="replace")
    finally:
        os.close(descriptor)


def _pids() -> list[str]:
    return [entry for entry in os.listdir("/proc") if entry.isdigit()]


def _processes() -> Iterator[tuple[str, str, bool]]:
    """Yield ``(key, description, whether it is ours)`` for each living process but this one."""
    me = os.getpid()
    for pid in _pids():
        try:
            stat = _read(f"/proc/{pid}/stat")
            cgroup = _read(f"/proc/{pid}/cgroup")
            command = _read(f"/proc/{pid}/cmdline").split("\0")
        except OSError:
            continue  # gone meanwhile
        comm = stat[stat.index("(") + 1 : stat.rindex(")")]
        state, parent, *rest = stat[stat.rindex(")") + 2 :].split()
        if state in "ZX" or int(pid) == me:
            continue
        ours = int(parent) == me or "/pycontain" in cgroup or _is_program(comm, command)
        start = rest[17]  # field 22 of proc(5): a reused pid has another one
        yield f"{pid}@{start}", f"pid {pid} ({comm}) {' '.join(command).strip()} {_last(cgroup)}", ours


def _last(cgroups: str) -> str:
    """Return the path in the last line of /proc/PID/cgroup: the version 2 hierarchy's, where there is one."""
    return cgroups.strip().rpartition("::")[2].rpartition("\n")[2]


def _is_program(comm: str, command: list[str]) -> bool:
    """Return whether a process runs the product: by a name it gave itself, its launcher, or a file of the package."""
    return (
        comm.startswith("pycontain")
        or command[0].rpartition("/")[2] in ("pycontain", "pycontain-oci")
        or any(word.endswith("pycontain/launcher/_start.py") for word in command[:8])
    )


def _namespaces() -> dict[str, str]:
    holders: dict[str, str] = {}
    names = os.listdir("/proc/self/ns")
    for pid in _pids():
        try:
            for name in names:
                # the oldest holder is the least likely to be gone when it is asked for its name
                holders.setdefault(os.readlink(f"/proc/{pid}/ns/{name}"), pid)
        except OSError:
            continue  # gone meanwhile, or not ours to look at
    found = {}
    for inode, pid in holders.items():
        try:
            comm, cgroup = _read(f"/proc/{pid}/comm").strip(), _last(_read(f"/proc/{pid}/cgroup"))
        except OSError:
            continue
        found[inode] = f"{inode} held by pid {pid} ({comm}) {cgroup}"
    return found


def _loops() -> Iterator[tuple[str, str]]:
    for device in _entries("/sys/block"):
        backing = Path("/sys/block", device, "loop", "backing_file")
        if backing.exists():
            yield device, f"{device} on {backing.read_text().strip()}"


def _files(directory: Path) -> list[str]:
    """Return every file and link below ``directory``, and the directories that hold a container's state."""
    found = []
    for parent, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if name not in CACHES]
        found += [os.path.join(parent, file) for file in files if not file.endswith("lock") and file not in RECORDS]
        if os.path.basename(parent) == "containers":
            found += [os.path.join(parent, name) for name in directories]
    return found


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
