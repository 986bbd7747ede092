"""Enter a running container with one more process: one setns for all namespaces, then as confined as its init.

::

    caller ── clone ──► E: cgroup, setns(pidfd, …) ── clone (CLONE_PARENT) ──► the process: ids, capabilities, finish()
       │ ◄── its pid, by a pipe ── E exits
       │ ◄── TERMINAL [fd], READY ── START ──►                 (runtime.channel, without ids and trees)
"""

from __future__ import annotations

import os

from pycontain.errors import HostError, StageError, WrongState
from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    CLONE_PARENT,
    PR_SET_DUMPABLE,
    SOCK_SEQPACKET,
    WEXITED,
)
from pycontain.plan.namespaces import CLONE_FLAGS, PROC_NAMES
from pycontain.plan.ops import NewFilesystem
from pycontain.runtime import credentials, entry, init, probe, processes, seal
from pycontain.runtime.channel import READY, START, TERMINAL, Channel, Sequence
from pycontain.runtime.create import Created, abandon, adjust_oom_score, limit
from pycontain.runtime.inside import open_terminal
from pycontain.runtime.newmounts import new_filesystem
from pycontain.runtime.scheduling import bind_cpus, schedule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pycontain.cgroups.cgroup import Cgroup
    from pycontain.plan.process import ProcessPlan
    from pycontain.runtime.init import Stdio


class Joiner:
    """Starts one process in the container whose init is ``pidfd`` (of ``pid``).

    ``cgroup`` is the container's, None where it has none; ``keyring`` is the name of its session keyring, "" where it
    has none of its own.
    """

    def __init__(
        self, pid: int, pidfd: int, process: ProcessPlan, stdio: Stdio, cgroup: Cgroup | None, keyring: str
    ) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.process = process
        self.stdio = stdio
        self.cgroup = cgroup
        self.keyring = keyring
        # whether the maker can schedule the process better than the process itself
        self._rights = False
        # the container's root, where setns does not lead there
        self._root = -1

    def create(self) -> Created:
        """Return the process, ready to be started by ``create.start``.

        Raises:
            PycontainError: what failed; the process is dead then.
        """
        flags = _different_namespaces(self.pid)
        if not flags & CLONE_NEWNS:
            self._root = os.open(f"/proc/{self.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._rights = self.process.scheduling.by_maker and probe.is_privileged()
        ours, theirs = _sys.socketpair(SOCK_SEQPACKET)
        report_in, report_out = os.pipe()
        cgroup_fd = -1 if self.cgroup is None else self.cgroup.unified_fd_of(self.pid)
        join_fds = () if self.cgroup is None else self.cgroup.join_fds()
        channel = Channel(ours, self._sequence(), "maker")
        if processes.has_ended(self.pidfd):
            # what has been looked up by its pid may be another process's, and with no namespace of its own nothing
            # else would tell
            raise WrongState("the container has just ended", hint="its state tells when")
        pid, pidfd = _clone(cgroup_fd)
        if pid == 0:
            unused = (ours, report_in, *((cgroup_fd,) if cgroup_fd >= 0 else ()))
            self._enter(Channel(theirs, self._sequence(), "init"), flags, join_fds, report_out, unused)
        mine = tuple(fd for fd in (cgroup_fd, self._root) if fd >= 0)
        for fd in (theirs, report_out, *join_fds, *mine):
            os.close(fd)
        try:
            inner = entry.read_report(report_in)
        except StageError:
            channel.receive(READY)  # what it said before it died says more
            raise
        finally:
            os.close(report_in)
            _sys.waitid_pidfd(pidfd, WEXITED)
            os.close(pidfd)
        created = Created(inner, processes.start_time(inner) or 0, _sys.pidfd_open(inner, 0), channel, -1)
        channel.watched = inner
        try:
            if self.process.terminal:
                created.terminal = channel.receive(TERMINAL)[1][0]
            channel.receive(READY)
            if self._rights:
                schedule(inner, self.process.scheduling)
        except BaseException:
            abandon(created)
            raise
        return created

    def _sequence(self) -> Sequence:
        return Sequence(mapped=False, trees=False, terminal=self.process.terminal)

    def _enter(
        self, channel: Channel, flags: int, join_fds: tuple[int, ...], report: int, unused: tuple[int, ...]
    ) -> NoReturn:
        try:
            for fd in unused:
                os.close(fd)
            adjust_oom_score("self", self.process)
            limit(0, self.process)
            # nothing in there may look at a process of the host that has not become one of theirs (CVE-2016-9962)
            _sys.prctl(PR_SET_DUMPABLE, 0)
            os.umask(0)
            for fd in join_fds:
                os.write(fd, b"0")
                os.close(fd)
            bind_cpus(self.process.scheduling.cpus, "process.execCPUAffinity.final")
            seal.preload()
            seal.seal()
            if flags:
                _sys.setns(self.pidfd, flags)
            # entering a user namespace counts as a change of ids, which sets what the host is configured to
            _sys.prctl(PR_SET_DUMPABLE, 0)
            os.close(self.pidfd)
            if self._root >= 0:
                os.fchdir(self._root)
                os.chroot(".")
                os.close(self._root)
            # With the host's user namespace, CAP_SYS_PTRACE inside is all it takes to seize whoever becomes visible
            # there: no process with more rights than the container's may.
            owned = bool(flags & CLONE_NEWUSER)
            slave = -1 if owned else self._become(channel)
            # for the same reason it holds nothing by then that is not the container's: no file and no terminal of the
            # caller, and not the host's null device
            if slave >= 0:
                init.install_streams(slave)
            else:
                self.stdio.install()
            preserved = range(3, 3 + self.process.preserve_fds)
            init.close_others((channel.fd, report, *preserved, *((slave,) if slave >= 0 else ())))
            pid, _ = _sys.clone3(CLONE_PARENT, -1, 0)
            if pid != 0:
                entry.report_pid(report, pid)
            os.close(report)
            if owned:
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
                _sys.prctl(PR_SET_DUMPABLE, 0)
                slave = self._become(channel)
            os.setsid()
            if slave >= 0:
                init.install_terminal(slave)
            channel.send(READY)
            channel.receive(START)
            credentials.finish(self.process, channel.fd, tied=False)
        except BaseException as error:  # nothing may leave this process but a message
            init.report(channel, error)

    def _become(self, channel: Channel) -> int:
        """Take on keyring, labels, user and capabilities of the container; return its terminal's side or -1."""
        process, slave = self.process, -1
        if self.keyring:
            _sys.keyctl_join_session(self.keyring)
        if process.terminal:
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            master, slave = open_terminal(root, process.uid)
            channel.send(TERMINAL, (), (master,))
            os.close(master)
            os.close(root)
        if not self._rights:
            schedule(0, process.scheduling)
        labelled = process.apparmor or process.selinux
        procfs = new_filesystem(NewFilesystem("", "proc", "proc")) if labelled else -1
        credentials.become(process, procfs if labelled else None)
        if procfs >= 0:
            os.close(procfs)
        return slave


def _different_namespaces(pid: int) -> int:
    """Return the CLONE_NEW* flags of the namespaces of ``pid`` that are not ours; setns to our own is an error."""
    flags = 0
    for kind, flag in CLONE_FLAGS.items():
        name = PROC_NAMES.get(kind, kind)
        if not os.path.exists(f"/proc/self/ns/{name}"):
            continue  # this kernel has no such namespaces
        try:
            theirs = os.stat(f"/proc/{pid}/ns/{name}")
        except OSError as error:
            raise HostError(
                f"look at the container's {kind} namespace: {(error.strerror or '').lower()}",
                hint="has it ended meanwhile?",
            ) from error
        if theirs.st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:
            flags |= flag
    return flags


def _clone(cgroup_fd: int) -> tuple[int, int]:
    try:
        return _sys.clone3(0, cgroup_fd)
    except OSError as error:
        raise HostError(
            f"new process in the container: {(error.strerror or '').lower()}", hint="is it at its limit of processes?"
        ) from error
