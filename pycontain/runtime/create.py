"""The maker's side of a start: clone, map, limit, hand over the trees, and wait until init is ready."""

from __future__ import annotations

import os
import select
import time

from pycontain.errors import HostError, PycontainError, StageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import CLD_EXITED, CLONE_NEWUSER, SOCK_SEQPACKET, WEXITED, WNOHANG
from pycontain.plan.process import RLIMITS
from pycontain.record import Record
from pycontain.runtime import entry, init, journal, processes
from pycontain.runtime.channel import (
    HOOKED,
    HOOKS,
    KEPT,
    MAPPED,
    READY,
    START,
    TERMINAL,
    TREES,
    Channel,
    Sequence,
)
from pycontain.runtime.held import answer, begin_error, no_listener
from pycontain.runtime.scheduling import schedule
from pycontain.runtime.trees import Trees, enter_private_mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from pycontain.cgroups.cgroup import Cgroup
    from pycontain.plan.plan import Plan
    from pycontain.plan.process import ProcessPlan
    from pycontain.runtime.init import Stdio
    from pycontain.runtime.journal import Journal

FILES_OF_A_START = 1024
DIES_WITHIN_MS = 10_000
TRACER_WAITS_WITHIN_MS = 500
UNKNOWN_EXIT = 255
RLIMIT_NAMES = {number: name for name, number in RLIMITS.items()}


class Created:
    """A container whose init is ready and waits for :func:`start`. ``terminal`` is a pty's master side or -1.

    Where it is held (runtime.held), :meth:`keep` lets this process go.
    """

    def __init__(self, pid: int, pid_start: int, pidfd: int, channel: Channel, terminal: int) -> None:
        self.pid = pid
        self.pid_start = pid_start
        self.pidfd = pidfd
        self.channel = channel
        self.terminal = terminal

    def keep(self) -> None:
        """Tell init that its state is saved: it waits to be started by somebody else from now on.

        Raises:
            StageError: init has died.
        """
        try:
            self.channel.send(KEPT)
        except BrokenPipeError as error:
            raise StageError("the container's first process has died", stage="init") from error
        self.channel.close()


class Terms(Record):
    """What a maker owes to others.

    ``listener`` is the socket at which init is to wait for its start, -1 where that is our business; ``hooks`` runs
    what a plan that awaits hooks wants from the runtime; ``peers`` are the first processes, as (pid, start time), of
    the containers whose namespaces the plan joins.
    """

    listener: int = -1
    peers: tuple[tuple[int, int], ...] = ()
    hooks: Callable[[Created], None] | None = None


DEFAULT_TERMS = Terms()


class Maker:
    """Makes one container from a plan.

    ``cgroup`` has been created and limited, or is None; ``staging`` is an empty directory of the container's state;
    ``forget`` is called first in the child, to close what only the maker may hold; ``tied`` ends init with us;
    ``meanwhile`` is called here while init mounts and enters its root: what init does not need is done then.
    ``terms`` say who starts it and who runs its hooks.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        journal: Journal,
        cgroup: Cgroup | None,
        stdio: Stdio,
        staging: str,
        tied: bool,
        forget: Callable[[], None],
        meanwhile: Callable[[], None],
        terms: Terms = DEFAULT_TERMS,
    ) -> None:
        self.plan = plan
        self._held = processes.Peers(())
        self.journal = journal
        self.cgroup = cgroup
        self.stdio = stdio
        self.staging = staging
        self.tied = tied
        self.forget = forget
        self.meanwhile = meanwhile
        self.terms = terms

    def create(self) -> Created:
        """Return the container once init is ready.

        Raises:
            PycontainError: what failed, on either side; init is dead then.
        """
        self._held = processes.Peers(self.terms.peers)
        try:
            return self._create()
        finally:
            self._held.close()

    def _create(self) -> Created:
        if not self.plan.host_inside:
            # init stays where the maker is; what such a plan has made outside is attached by init alone
            if self.plan.host and not self.plan.namespaces.inherits("mount"):
                enter_private_mounts()
            if self.plan.userns.host_uid(0) == 0:
                self.stdio.guard()
        cgroup_fd, join_fds = (-1, ()) if self.cgroup is None else (self.cgroup.unified_fd(), self.cgroup.join_fds())
        ours, theirs = _sys.socketpair(SOCK_SEQPACKET)
        channel = Channel(ours, self._sequence(), "maker")
        try:
            pid, pidfd = self._clone_init(channel, theirs, cgroup_fd, join_fds)
        except BaseException:
            channel.close()
            raise
        finally:
            for fd in join_fds:
                os.close(fd)
            if self.cgroup is not None:
                self.cgroup.close()
        created = Created(pid, processes.start_time(pid) or 0, pidfd, channel, -1)
        channel.watched = pid
        try:
            self.journal.intend(journal.PROCESS, str(pid), str(created.pid_start))
            self._converse(created)
        except BaseException as error:
            abandon(created)
            if self.cgroup is not None and self.cgroup.oom_kills():
                raise HostError(
                    "the memory limit is too small to start in: the kernel killed the container's first process",
                    requirement="memory",
                    hint="4 MiB are enough for the start itself",
                ) from error
            if isinstance(error, OSError):
                raise StageError(
                    f"{error.filename or 'create'}: {error.strerror}", stage="host", errno=error.errno or 0
                ) from error
            raise
        return created

    def _sequence(self) -> Sequence:
        return Sequence(
            mapped=self.plan.userns.new,
            terminal=self.plan.process.terminal,
            hooks=self.plan.awaits_hooks,
            held=self.terms.listener >= 0,
        )

    def _clone_init(self, channel: Channel, theirs: int, cgroup_fd: int, join_fds: tuple[int, ...]) -> tuple[int, int]:
        """Return init's pid and pidfd; init itself never returns from here. ``theirs`` is closed once it has it."""
        spaces = self.plan.namespaces
        if not spaces.needs_entry:
            pid, pidfd = _clone(spaces.clone, cgroup_fd)
            if pid == 0:
                self._be_init(Channel(theirs, self._sequence(), "init"), join_fds, (channel.fd,))
            os.close(theirs)
            return pid, pidfd
        joined = entry.open_joined(spaces)
        report_in, report_out = os.pipe()
        try:
            self._held.check()
            # Without privilege on the host everything else needs the container's user namespace first. The cgroup is
            # entered here: once in another user namespace, this process has no right to it, and init inherits it.
            pid, pidfd = _clone(CLONE_NEWUSER if self.plan.users_first else 0, cgroup_fd)
        except BaseException:
            for fd in (report_in, report_out, *(fd for fd, _ in joined)):
                os.close(fd)
            raise
        if pid == 0:
            inner = Channel(theirs, self._sequence(), "init")
            try:
                # with our end of the channel open it would not see us die
                for fd in (channel.fd, report_in):
                    os.close(fd)
                # init inherits them; nobody can set them from outside any more once it cannot be traced
                adjust_oom_score("self", self.plan.process)
                limit(0, self.plan.process)
                if self.plan.users_first:
                    init.take_ids(inner)
                entry.enter(spaces, joined, report_out, users_first=self.plan.users_first)
            except BaseException as error:  # a fork must not run its parent's code
                init.report(inner, error)
            self._be_init(inner, join_fds, ())
        # with init's end of the channel open here, its death would not be seen
        for fd in (theirs, report_out, *(fd for fd, _ in joined)):
            os.close(fd)
        return self._await_init(channel, pid, pidfd, report_in)

    def _await_init(self, channel: Channel, pid: int, pidfd: int, report_in: int) -> tuple[int, int]:
        """Return pid and pidfd of the init that process ``pid`` makes, and see that one off."""
        if self.plan.users_first:
            try:
                self._write_maps(pid)
                _send(channel, MAPPED)
            except BaseException:
                _sys.pidfd_send_signal(pidfd, 9, 0)  # it waits for them
                _sys.waitid_pidfd(pidfd, WEXITED)
                for fd in (report_in, pidfd):
                    os.close(fd)
                raise
        try:
            init_pid = entry.read_report(report_in)
        except StageError:
            channel.receive(READY)  # what it said before it died says more
            raise
        finally:
            os.close(report_in)
            _sys.waitid_pidfd(pidfd, WEXITED)
            os.close(pidfd)
        return init_pid, _sys.pidfd_open(init_pid, 0)

    def _be_init(self, channel: Channel, join_fds: tuple[int, ...], close: tuple[int, ...]) -> NoReturn:
        try:
            for fd in close:
                os.close(fd)
            self._held.close()
            self.forget()
        except BaseException as error:  # a fork must not run its parent's code
            init.report(channel, error)
        init.main(
            self.plan,
            channel,
            self.stdio,
            join_fds=join_fds,
            staging=self.staging,
            tied=self.tied,
            listener=self.terms.listener,
        )

    def _write_maps(self, pid: int) -> None:
        from pycontain.runtime.idmap import write_maps

        write_maps(pid, self.plan.userns)

    def _converse(self, created: Created) -> None:
        plan, channel = self.plan, created.channel
        late = plan.userns.new and not plan.users_first
        if late:
            self._write_maps(created.pid)
        if not plan.namespaces.needs_entry:
            limit(created.pid, plan.process)
            adjust_oom_score(created.pid, plan.process)
        if not plan.host_inside:
            self.stdio.give(plan.userns.host_uid(plan.process.uid), plan.userns.host_gid(plan.process.gid))
        if late:
            _send(channel, MAPPED)
        userns_fd = -1
        if plan.userns.uid_map and not plan.host_inside:
            userns_fd = os.open(f"/proc/{created.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        trees = Trees(plan.userns, self.staging, userns_fd)
        try:
            if not plan.host_inside and plan.host:
                trees.make(plan.host)
            self._held.check()  # the plan may show what another container sees
            # only what init attaches; the layers below an overlay are held by the overlay
            names = tuple(name for name in trees.fds if name in plan.attached)
            _send(channel, TREES, names, tuple(trees.fds[name] for name in names))
        finally:
            trees.close()
            if userns_fd >= 0:
                os.close(userns_fd)
        self.meanwhile()
        if plan.process.terminal:
            _, fds = channel.receive(TERMINAL)
            created.terminal = fds[0]
        if plan.awaits_hooks and self.terms.hooks is not None:
            channel.receive(HOOKS)
            self.terms.hooks(created)
            _send(channel, HOOKED)
        channel.receive(READY)
        if not plan.host_inside:
            schedule(created.pid, plan.process.scheduling)


def _send(channel: Channel, kind: bytes, fields: tuple[str, ...] = (), fds: tuple[int, ...] = ()) -> None:
    """Send; when init has gone, what it said before is the reason, not the broken pipe."""
    try:
        channel.send(kind, fields, fds)
    except (BrokenPipeError, ConnectionResetError):
        channel.receive(READY)
        raise


def _clone(flags: int, cgroup_fd: int) -> tuple[int, int]:
    try:
        return _sys.clone3(flags, cgroup_fd)
    except OSError as error:
        raise entry.refused(error) from error


def limit(pid: int, process: ProcessPlan) -> None:
    """Set the resource limits: a user namespace forbids its own root to raise hard ones.

    Of descriptors as many stay as a start needs; credentials.finish sets what was asked for.
    """
    for resource, soft, hard in process.rlimits:
        if resource == RLIMITS["RLIMIT_NOFILE"]:
            if 0 <= hard < FILES_OF_A_START:
                continue
            soft = max(soft, FILES_OF_A_START) if soft >= 0 else soft
        try:
            _sys.prlimit(pid, resource, soft, hard)
        except OSError as error:
            raise HostError(
                f"{RLIMIT_NAMES[resource]} {soft}:{hard}: {(error.strerror or '').lower()}",
                hint="raising a hard limit needs CAP_SYS_RESOURCE on the host",
            ) from error


def adjust_oom_score(pid: int | str, process: ProcessPlan) -> None:
    """Set the score for the OOM killer of ``pid``, which may be "self"."""
    if process.oom_score_adj is not None:
        try:
            with open(f"/proc/{pid}/oom_score_adj", "w", encoding="utf-8") as file:
                file.write(str(process.oom_score_adj))
        except OSError as error:
            if process.oom_score_tried:
                return
            raise HostError(
                f"oom score {process.oom_score_adj}: {(error.strerror or '').lower()}",
                hint="lowering it needs CAP_SYS_RESOURCE on the host",
            ) from error


def start(created: Created, process: ProcessPlan, listener: Callable[[int], None] = no_listener) -> None:
    """Let init execute the program, and return once it runs.

    ``listener`` gets the descriptor of a seccomp filter that notifies.

    Raises:
        ExecError: the program cannot be executed; 126 or 127.
        StageError: init has died, or was stopped for seconds.
    """
    try:
        created.channel.send(START)
        processes.await_answer(created.channel.fd, created.pid)
        data = answer(created.channel.fd, listener)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise StageError("the process has died before its program began", stage="init") from error
    created.channel.close()
    if data:
        raise start_error(data, process)


def start_error(data: bytes, process: ProcessPlan) -> PycontainError:
    """Return the error in a message that came instead of the end of file after START."""
    return begin_error(data, process.argv[0], process.paths)


def abandon(created: Created) -> None:
    """Kill init and reap it; used when a start cannot be completed. Does all of it, whatever fails."""
    created.channel.close()
    try:
        _sys.pidfd_send_signal(created.pidfd, 9, 0)
        _reap(created, DIES_WITHIN_MS)
    except OSError:
        pass  # it has died, or the journal knows it
    for fd in (created.pidfd, created.terminal):
        try:
            if fd >= 0:
                os.close(fd)
        except OSError:
            pass  # it is closed


def wait(created: Created) -> tuple[int, int]:
    """Wait until init ends and return ``(exit code, signal)``; by a signal the code is 128 + its number.

    Where somebody inside keeps its status from us the code is 255.
    """
    result = _reap(created, None)
    os.close(created.pidfd)
    if result is None:
        status = processes.exit_of_zombie(created.pid)
        if status is None:
            return UNKNOWN_EXIT, 0
        return (os.WEXITSTATUS(status), 0) if os.WIFEXITED(status) else (128 + os.WTERMSIG(status), os.WTERMSIG(status))
    _, code, status = result
    return (status, 0) if code == CLD_EXITED else (128 + status, status)


def _reap(created: Created, timeout_ms: int | None) -> tuple[int, int, int] | None:
    """Wait for the end of a process; None where its tracer, somebody inside, does not let us have its exit status."""
    poll = select.poll()
    poll.register(created.pidfd, select.POLLIN)
    if not poll.poll(timeout_ms):
        return None
    for _ in range(TRACER_WAITS_WITHIN_MS // 10):
        result = _sys.waitid_pidfd(created.pidfd, WEXITED | WNOHANG)
        if result is not None:
            return result
        time.sleep(0.01)
    return None
