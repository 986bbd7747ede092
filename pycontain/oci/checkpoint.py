"""``checkpoint``: the processes of a container and all that the kernel knows of them, as files, by CRIU."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pycontain import lean_json
from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.errors import SpecError, UsageError, WrongState
from pycontain.oci import bundle, verbs
from pycontain.oci.criu import DUMP, PRE_DUMP, Criu, Refused
from pycontain.oci.images import DESCRIPTORS, MASK, NETWORK_KEY, PID_KEY, Images, require
from pycontain.oci.invocation import Invocation
from pycontain.oci.mountinfo import mount_id, mount_id_below, mount_table
from pycontain.oci.store import PAUSED, RUNNING, Container, State
from pycontain.oci.words import Told
from pycontain.runtime import processes
from pycontain.runtime.replacing import replace_file
from pycontain.spec.runtime import Spec

LOG = "dump.log"
NO_FD = -1
# linux/major.h: /dev/null and the like; virtual, serial and pseudo-terminals
MEMORY_DEVICES = 1
NULL = os.makedev(1, 3)
TERMINALS = (4, 5, *range(136, 144))


def checkpoint(invocation: Invocation, told: Told) -> int:
    """Write a container's processes into files; they have ended then, and the container is removed.

    With --leave-running and --pre-dump they go on.

    Raises:
        WrongState: the container does not run.
        HostError: CRIU cannot do it; the container goes on.
    """
    require(invocation)
    container = invocation.store.find(told.arguments[0])
    container.lock()
    state = container.load()
    status = container.status(state)
    if status not in (RUNNING, PAUSED):
        raise WrongState(f"container cannot be checkpointed in {status} state: it is not running")
    spec = bundle.saved(container.directory)
    _check(spec)
    with Images(told, LOG, make=True) as images:
        Dump(invocation, told, images, container, state, spec).write(paused=status == PAUSED)
    if not told.flag("leave-running") and not told.flag("pre-dump"):
        verbs.destroy(invocation, container)
    return 0


def _check(spec: Spec) -> None:
    """Refuse what CRIU would restore as something else, or not at all.

    Raises:
        SpecError: the container has no root of its own.
    """
    mounts = spec.linux.namespace("mount")
    if mounts is None or mounts.path is not None:
        raise SpecError("linux.namespaces", "a container without a mount namespace of its own cannot be checkpointed")


class Dump:
    """One checkpoint that is being written."""

    def __init__(
        self, invocation: Invocation, told: Told, images: Images, container: Container, state: State, spec: Spec
    ) -> None:
        self._invocation = invocation
        self._told = told
        self._images = images
        self._container = container
        self._state = state
        self._spec = spec
        self._status_fd = _status_fd(told)

    def write(self, *, paused: bool) -> None:
        """Have CRIU write it; ``paused``: the container's processes are stopped already, and stay so.

        Raises:
            HostError: CRIU cannot.
        """
        told, full = self._told, not self._told.flag("pre-dump")
        options = self._options()
        if full:
            options["external"], files = self._externals()
            options["ext_mnt"] = [{"key": path, "val": name} for path, name in self._mounts()]
            self._write_descriptors(files)
        try:
            with Criu(self._invocation.criu, apart=True) as criu:
                if not full:
                    criu.require("mem_track")
                if told.flag("lazy-pages"):
                    criu.require("lazy_pages")
                criu.ask(DUMP if full else PRE_DUMP, {"status-ready": self._tell_ready}, opts=options)
        except Refused as refused:
            raise self._images.failure(self._invocation, "checkpoint", refused) from refused
        finally:
            if not paused:
                self._thaw()

    def _options(self) -> dict[str, Any]:
        told, state = self._told, self._state
        options = self._images.options(told, self._spec)
        options |= {
            "pid": state.pid,
            "root": state.rootfs,
            "leave_running": told.flag("leave-running"),
            "tcp_skip_in_flight": told.flag("tcp-skip-in-flight"),
            "link_remap": told.flag("link-remap"),
        }
        freezer = state.cgroup.get("v1", {}).get("freezer") or state.cgroup.get("unified")
        if freezer:
            options["freeze_cgroup"] = freezer
        if told.text("parent-path"):
            options["parent_img"] = self._parent(told.text("parent-path"))
        if told.text("parent-path") or told.flag("pre-dump"):
            options["track_mem"] = True
        if told.text("page-server"):
            options["ps"] = _page_server(told.text("page-server"))
        return options

    def _parent(self, path: str) -> str:
        if path.startswith("/"):
            raise UsageError("--parent-path: must be relative to --image-path")
        if not os.path.isdir(f"{self._images.directory}/{path}"):
            raise UsageError(f"--parent-path: {self._images.directory}/{path}: no such directory")
        return path

    def _tell_ready(self, _pid: int, _fds: tuple[int, ...]) -> None:
        """Tell whoever waits at --status-fd that pages can be fetched."""
        if self._status_fd != NO_FD:
            os.write(self._status_fd, b"\0")
            os.close(self._status_fd)
            self._status_fd = NO_FD

    def _thaw(self) -> None:
        """Let the processes go on: a CRIU that was killed leaves them stopped."""
        with Cgroup(CgroupPaths(**self._state.cgroup)) as cgroup:
            if cgroup.paths.exists and processes.is_alive(self._state.pid, self._state.pid_start) and cgroup.frozen():
                cgroup.thaw()

    def _mounts(self) -> Iterator[tuple[str, str]]:
        """Yield (path, name) of each mount that comes from outside and has to come from there again."""
        table = {mount.id: mount for mount in mount_table(self._state.pid)}
        root = os.open(f"/proc/{self._state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        outside = set()
        try:
            for target in self._state.mounts:
                try:
                    found = table.get(mount_id_below(root, target))
                except OSError:
                    continue  # unmounted since, and its mount point removed
                if found is not None and found.path != "/":
                    outside.add(found.path)
        finally:
            os.close(root)
        hosts = {mount.device for mount in mount_table(os.getpid())}
        trees = {mount.path for mount in table.values() if mount.path in outside and mount.device in hosts}
        null = os.stat(MASK).st_dev
        null_device = f"{os.major(null)}:{os.minor(null)}"
        for mount in table.values():
            # what came with a recursive bind is of the host, what the container mounted on it is not
            below = mount.device in hosts and any(mount.path.startswith(f"{path}/") for path in trees)
            if mount.path in outside or below:
                yield mount.path, mount.path
            elif mount.device == null_device and mount.root.endswith("/null"):
                yield mount.path, MASK

    def _externals(self) -> tuple[list[str], dict[str, int]]:
        """Return the namespaces and files of others, in CRIU's words; and which descriptor each file was given as."""
        found = []
        for kind, name, key in (("network", "net", NETWORK_KEY), ("pid", "pid", PID_KEY)):
            entry = self._spec.linux.namespace(kind)
            if entry is not None and entry.path is not None:
                found.append(f"{name}[{os.stat(entry.path).st_ino}]:{key}")
        files = self._outer_files()
        return [*found, *files], files

    def _outer_files(self) -> dict[str, int]:
        """Return the files of others that processes have open, as CRIU names them, with the descriptor they came as.

        A program may have moved it, as shells do while they redirect: then its path tells which one it was.
        """
        mounts = {mount.id for mount in mount_table(self._state.pid)}
        words, terminals = self._state.descriptors, self._told.flag("shell-job")
        found: dict[str, int] = {}
        with self._held_still() as processes_inside:
            for pid in (self._state.pid, *processes_inside):
                for number, status, path in _open_files(pid, mounts):
                    key = _key(status, mount_id(pid, number), terminals=terminals)
                    came_as = number if number < max(3, len(words)) else _index(words, status, path)
                    if key and came_as >= 0:
                        found.setdefault(key, came_as)
        return found

    @contextmanager
    def _held_still(self) -> Iterator[tuple[int, ...]]:
        """Hold the container's processes while they are looked at; yield them."""
        with Cgroup(CgroupPaths(**self._state.cgroup)) as cgroup:
            thawed = cgroup.paths.exists and not cgroup.frozen()
            if thawed:
                cgroup.freeze()
            try:
                yield cgroup.procs()
            finally:
                if thawed:
                    cgroup.thaw()

    def _write_descriptors(self, files: dict[str, int]) -> None:
        """Write down what restore has to connect again: pipes that we were given, and files of others."""
        words = list(self._state.descriptors) or [""] * 3
        for key, number in files.items():
            words[number] = key
        replace_file(f"{self._images.directory}/{DESCRIPTORS}", lean_json.dumps(words).encode())


def _status_fd(told: Told) -> int:
    """Return the descriptor of --status-fd.

    Raises:
        UsageError: it is not open for writing.
    """
    if not told.text("status-fd"):
        return NO_FD
    fd = told.number("status-fd")
    try:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    except OSError:
        raise UsageError(f"--status-fd: {fd} is not open") from None
    if flags & os.O_ACCMODE == os.O_RDONLY:
        raise UsageError(f"--status-fd: {fd} is not open for writing")
    os.set_inheritable(fd, False)
    return fd


def _page_server(text: str) -> dict[str, Any]:
    address, _, port = text.rpartition(":")
    if not address or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError("--page-server: is not of the form ADDRESS:PORT")
    return {"address": address.strip("[]"), "port": int(port)}


def _open_files(pid: int, mounts: set[int]) -> Iterator[tuple[int, os.stat_result, str]]:
    """Yield (number, status, path) of each open file of a process that is on none of these mounts."""
    directory = f"/proc/{pid}/fd"
    for name in os.listdir(directory):
        try:
            if mount_id(pid, int(name)) not in mounts:
                yield int(name), os.stat(f"{directory}/{name}"), os.readlink(f"{directory}/{name}")
        except FileNotFoundError:
            continue  # closed meanwhile


def _key(status: os.stat_result, mount: int, *, terminals: bool) -> str:
    """Return CRIU's name of a file that is somebody else's, "" for what it does not know by name."""
    major = os.major(status.st_rdev) if stat.S_ISCHR(status.st_mode) else 0
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or major == MEMORY_DEVICES:
        return f"file[{mount:x}:{status.st_ino:x}]"
    return f"tty[{status.st_rdev:x}:{status.st_dev:x}]" if terminals and major in TERMINALS else ""


def _index(words: tuple[str, ...], status: os.stat_result, path: str) -> int:
    """Return which descriptor a file came as, by its path at that time; -1 for none."""
    if path in words:
        return words.index(path)
    # a null device may have been replaced by one on a mount of its own
    return words.index(MASK) if MASK in words and stat.S_ISCHR(status.st_mode) and status.st_rdev == NULL else -1
