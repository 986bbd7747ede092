"""``restore``: a container from a checkpoint. What belongs to the host is made by us, processes and the rest by CRIU.

::

    us                                         CRIU, in the container's cgroup
    cgroup, limits, root, mount points
     | ------------ RESTORE -----------------> |
     | <----------- setup-namespaces --------- |  loopback, network devices, prestart, createRuntime
     | <----------- orphan-pts-master [fd] --- |  to the console socket
     | <----------- post-restore ------------- |  the state is saved: running
     | <----------- success ------------------ |  the processes run, the first one is our child

The journal names the cgroup, CRIU itself and the first process before each of them exists or runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pycontain import lean_json
from pycontain.errors import PycontainError, SpecError, UsageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import CLONE_NEWNET, PR_SET_CHILD_SUBREAPER
from pycontain.oci import console, lifehooks, readiness, run
from pycontain.oci.criu import RESTORE, SOCKET, Criu, Refused
from pycontain.oci.ground import Ground, finish_root
from pycontain.oci.images import DESCRIPTORS, INVENTORY, NETWORK_KEY, PID_KEY, Images, require
from pycontain.oci.invocation import Invocation
from pycontain.oci.making import Making, Request, check_console, request
from pycontain.oci.store import RUNNING, write_pid_file
from pycontain.oci.words import Told
from pycontain.plan.namespaces import PROC_NAMES
from pycontain.plan.ops import LoopbackUp
from pycontain.runtime import forwarding, journal, processes
from pycontain.runtime.channel import Channel, Sequence
from pycontain.runtime.create import Created
from pycontain.runtime.init import Stdio
from pycontain.runtime.trees import enter_private_mounts

LOG = "restore.log"
INHERITED = ("pipe:", "socket:", "file[", "tty[")


def restore(invocation: Invocation, told: Told) -> int:
    """Restore a container and return its exit code; 0 when detached.

    Raises:
        PycontainError: it could not be restored; nothing is left then.
    """
    require(invocation)
    detach = told.flag("detach")
    if told.flag("no-pivot"):
        invocation.log.warning("--no-pivot: has no effect here, CRIU enters the root in its own way")
    if not detach and not told.flag("no-subreaper"):
        _sys.prctl(PR_SET_CHILD_SUBREAPER, 1)
    asked = request(invocation, told)
    with lifehooks.HostView() as view, Images(told, LOG, make=False) as images:
        with Restoring(invocation, asked, view, told, images) as restoring:
            check_console(restoring.bundle, restoring.request, needed=detach)
            created = restoring.restore()
            if not detach:
                forwarding.block()
            restoring.run_poststart()
        if detach:
            return 0
        code = console.attend(created)
        run.remove(restoring)
    return code


class Restoring(Making):
    """A container that is being restored: made as others are, but for its processes."""

    def __init__(
        self, invocation: Invocation, asked: Request, view: lifehooks.HostView, told: Told, images: Images
    ) -> None:
        super().__init__(invocation, asked, view, held=False)
        self._told = told
        self._images = images
        self._words = _descriptors(images.directory)

    def restore(self) -> Created:
        """Have CRIU restore it and return its first process, which runs.

        Raises:
            PycontainError: what failed.
        """
        linux = self.bundle.spec.linux
        _check(linux.namespace("mount"), linux.namespace("cgroup"))
        self.assemble()
        self._write_configuration()
        enter_private_mounts()
        self._images.open()
        if self.assembly.plan.userns.host_gid(0) > 0:
            self._images.admit(self.assembly.plan.userns.host_gid(0))
        with Ground(self.assembly.plan, self.container.directory) as ground:
            self._offer_old_readiness(ground)
            self._ask(ground)
        self.assembly.made()
        created = self.created
        assert created is not None, "CRIU has notified us"
        if self.request.pid_file:
            write_pid_file(self.request.pid_file, created.pid)
            self._has_pid_file = True
        return created

    def _offer_old_readiness(self, ground: Ground) -> None:
        """Have a directory to mount where the container was made with a socket to tell systemd, and is not any more."""
        if readiness.INSIDE not in ground.sources:
            directory = f"{self.container.directory}/{readiness.DIRECTORY}"
            os.mkdir(directory, 0o755)
            ground.sources[readiness.INSIDE] = directory

    def _ask(self, ground: Ground) -> None:
        cgroup, userns = self.assembly.cgroup, self.assembly.plan.userns
        stdio = Stdio(0, 1, 2)
        if userns.host_uid(0) == 0:
            stdio.guard()
        process = self.assembly.plan.process
        stdio.give(userns.host_uid(process.uid), userns.host_gid(process.gid))
        namespaces = dict(self._open_namespaces())
        # copies, for CRIU closes what it inherits, and may want the streams for a terminal
        inherited = {**self._streams((*stdio.fds, *range(3, 3 + self.request.preserve_fds))), **namespaces}
        exists = cgroup.paths.exists
        join_fds = cgroup.join_fds() if exists else ()
        try:
            with Criu(
                self.invocation.criu,
                (*stdio.fds, *inherited.values()),
                cgroup_fd=cgroup.unified_fd() if exists else -1,
                join_fds=join_fds,
                journal=self.container.journal,
            ) as criu:
                options = self._options(ground, criu.pid if exists else 0)
                options["inherit_fd"] = [{"key": key, "fd": SOCKET + 1 + at} for at, key in enumerate(inherited)]
                reactions = {
                    "setup-namespaces": lambda pid, _: self._set_up(pid),
                    "orphan-pts-master": lambda _, fds: self._take_terminal(fds),
                    "post-restore": lambda _, fds: self._note(),
                }
                criu.ask(RESTORE, reactions, opts=options)
        except Refused as refused:
            raise self._images.failure(self.invocation, "restore", refused) from refused
        finally:
            for fd in (*namespaces.values(), *join_fds):
                os.close(fd)
            cgroup.close()

    def _options(self, ground: Ground, member: int) -> dict[str, Any]:
        """Return what CRIU is asked for; ``member`` is a process in the container's cgroup, 0 for none."""
        told, spec = self._told, self.bundle.spec
        options = self._images.options(told, spec)
        options |= {
            "root": ground.root,
            "rst_sibling": True,
            "evasive_devices": True,
            # The newer way of restoring mounts (3.17) fails where a bind is of the file system of the root, the older
            # one where it cannot make a directory in the root.
            "mntns_compat_mode": self._can_write_root(),
            "tcp_close": told.flag("tcp-close"),
            "ext_mnt": [{"key": name, "val": source} for name, source in ground.sources.items()],
            "join_ns": [
                {"ns": PROC_NAMES.get(entry.type, entry.type), "ns_file": entry.path}
                for entry in spec.linux.namespaces
                if entry.path is not None and entry.type not in ("network", "pid")
            ],
        }
        for option in ("lsm-profile", "lsm-mount-context"):
            if told.text(option):
                options[option.replace("-", "_")] = told.text(option)
        if member:
            with open(f"/proc/{member}/cgroup", encoding="utf-8") as file:
                rows = [line.rstrip("\n").split(":", 2) for line in file]
            options["cg_root"] = [{"ctrl": controllers, "path": path} for _, controllers, path in rows]
        return options

    def _can_write_root(self) -> bool:
        """Whether CRIU could make a directory in the root, which it tries as the container's root."""
        read_only = os.statvfs(self.bundle.spec.root.path).f_flag & os.ST_RDONLY
        return not read_only and not self.assembly.plan.userns.uid_map

    def _open_namespaces(self) -> Iterator[tuple[str, int]]:
        """Yield (CRIU's key, open descriptor) of each namespace that CRIU is given as it is."""
        for kind, key in (("network", NETWORK_KEY), ("pid", PID_KEY)):
            entry = self.bundle.spec.linux.namespace(kind)
            if entry is None or entry.path is None:
                continue
            try:
                yield key, os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise SpecError("linux.namespaces", f"{entry.path}: {(error.strerror or '').lower()}") from error

    def _streams(self, given: tuple[int, ...]) -> dict[str, int]:
        """Return the descriptor that takes the place of each that the container was given, by CRIU's key.

        Raises:
            UsageError: it had more than there are now.
        """
        found: dict[str, int] = {}
        for number, word in enumerate(self._words):
            if word.startswith(INHERITED):
                if number >= len(given):
                    raise UsageError(f"descriptor {number} was {word}: --preserve-fds {number - 2} is needed")
                found.setdefault(word, given[number])
        return found

    def _set_up(self, pid: int) -> None:
        """Do what init does or waits for in a container that is new; no program of the container's runs yet."""
        started = processes.start_time(pid) or 0
        self.container.journal.intend(journal.PROCESS, str(pid), str(started))
        self.created = Created(pid, started, _sys.pidfd_open(pid), Channel(-1, Sequence.begun(), "maker"), -1)
        if any(isinstance(op, LoopbackUp) for op in self.assembly.plan.init):
            _raise_loopback(pid)
        network = self.bundle.spec.linux.namespace("network")
        if network is not None and network.path is not None:
            # what was moved into it when the container was made is still there
            linux = self.bundle.spec.linux.replace(net_devices={})
            self.bundle = self.bundle.replace(spec=self.bundle.spec.replace(linux=linux))
        hooks = self.bundle.spec.hooks
        if hooks.prestart or hooks.create_runtime:
            self._run_hooks(self.created)
        else:
            self._furnish(self.created)

    def _take_terminal(self, fds: tuple[int, ...]) -> None:
        if self.request.console_socket:
            console.send_terminal(fds[0], self.request.console_socket)
        elif self.created is not None:
            self.created.terminal = os.dup(fds[0])

    def _note(self) -> None:
        """Save the state of a container that is whole, and about to run."""
        created = self.created
        assert created is not None, "set up before"
        finish_root(self.assembly.plan, created.pid)
        if self.request.pidfd_socket:
            console.send(self.request.pidfd_socket, "pidfd", created.pidfd)
        self.state = self.state.replace(
            status=RUNNING,
            pid=created.pid,
            pid_start=created.pid_start,
            descriptors=self._descriptors_now(),
        )
        self.container.save(self.state)

    def _descriptors_now(self) -> tuple[str, ...]:
        """Return what the next checkpoint has to know of the first descriptors: those that we gave."""
        given = self.state.descriptors
        return tuple(
            given[number] if number < len(given) and word.startswith(INHERITED) else ""
            for number, word in enumerate(self._words)
        )


def _check(mount: Any, cgroup: Any) -> None:
    if mount is None or mount.path is not None:
        raise SpecError("linux.namespaces", "a container without a mount namespace of its own cannot be restored")
    if cgroup is not None and cgroup.path is not None:
        raise SpecError("linux.namespaces", "CRIU cannot restore into an existing cgroup namespace")


def _descriptors(directory: str) -> list[str]:
    """Return what the first descriptors were, by the file that is written with a checkpoint.

    Raises:
        UsageError: there is no checkpoint in the directory.
    """
    if not os.path.exists(f"{directory}/{INVENTORY}"):
        raise UsageError(f"--image-path: {directory}: holds no checkpoint")
    path = f"{directory}/{DESCRIPTORS}"
    try:
        with open(path, "rb") as file:
            words = lean_json.loads(file.read(), source=path)
    except OSError as error:
        raise UsageError(f"--image-path: {path}: {(error.strerror or '').lower()}") from error
    except PycontainError as error:
        raise UsageError(f"--image-path: {error}") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"--image-path: {path}: is not a list of words")
    return words


def _raise_loopback(pid: int) -> None:
    """Set up lo in the network namespace of a process."""
    own, theirs = (os.open(f"/proc/{who}/ns/net", os.O_RDONLY | os.O_CLOEXEC) for who in ("self", pid))
    try:
        _sys.setns(theirs, CLONE_NEWNET)
        _sys.link_up("lo")
        _sys.setns(own, CLONE_NEWNET)
    finally:
        os.close(own)
        os.close(theirs)
