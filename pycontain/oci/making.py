"""What ``create`` and ``run`` share: a container from its bundle up to an init that is ready, or nothing. [lean]"""

from __future__ import annotations

import os
import time

from pycontain.errors import HookError, UsageError
from pycontain.oci import assembly, bundle, console, lifehooks, store, undoing
from pycontain.oci.notifying import Listener
from pycontain.record import Record
from pycontain.runtime import held, processes
from pycontain.runtime.create import Maker, Terms, abandon
from pycontain.runtime.init import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from pycontain.oci.assembly import Assembly
    from pycontain.oci.bundle import Bundle
    from pycontain.oci.invocation import Invocation
    from pycontain.oci.store import Container, State
    from pycontain.oci.words import Told
    from pycontain.plan.scheduling import Scheduling
    from pycontain.runtime.create import Created

FILTER = "seccomp.bpf"


class Request(Record):
    """What the command line of ``create`` and ``run`` asks for. ``preserve_fds`` counts those of LISTEN_FDS too."""

    id: str
    bundle: str
    console_socket: str = ""
    pidfd_socket: str = ""
    pid_file: str = ""
    keyring: bool = True
    pivot: bool = True
    preserve_fds: int = 0
    listen_fds: int = 0


def request(invocation: Invocation, told: Told) -> Request:
    """Return the request of a command line.

    Raises:
        UsageError: a value makes no sense, or a descriptor to hand on is not open.
    """
    preserve, listen_fds = preserved(invocation, told)
    return Request(
        id=store.check_id(told.arguments[0]),
        bundle=told.text("bundle"),
        console_socket=told.text("console-socket"),
        pidfd_socket=told.text("pidfd-socket"),
        pid_file=told.text("pid-file"),
        keyring=not told.flag("no-new-keyring"),
        pivot=not told.flag("no-pivot"),
        preserve_fds=preserve,
        listen_fds=listen_fds,
    )


def preserved(invocation: Invocation, told: Told) -> tuple[int, int]:
    """Return how many descriptors from 3 on are handed on, and how many of them are those of LISTEN_FDS.

    To be asked before anything is opened. Source: sd_listen_fds(3): only the process of LISTEN_PID is meant.

    Raises:
        UsageError: one of them is not open: the number would become one of ours.
    """
    listen = os.environ.get("LISTEN_FDS", "") if os.environ.get("LISTEN_PID") == str(os.getpid()) else ""
    listen_fds = int(listen) if listen.isascii() and listen.isdigit() and len(listen) < 5 else 0
    preserve = told.number("preserve-fds") + listen_fds
    for fd in range(3, 3 + preserve):
        try:
            os.fstat(fd)
            ours = fd == invocation.log.fd
        except OSError:
            ours = True
        if ours:
            raise UsageError(f"unable to stat preserved-fd {fd} (of {preserve} fds): bad file descriptor")
    return preserve, listen_fds


class Making:
    """A container that is being made: its directory exists, its lock is held by this process.

    Use as a context manager: when the block fails, everything made so far is undone. ``view`` is where its hooks run,
    which live as long as this process does; ``held``: somebody else starts it.
    """

    def __init__(self, invocation: Invocation, request: Request, view: lifehooks.HostView, *, held: bool) -> None:
        self.invocation = invocation
        self.request = request
        self.view = view
        self.held = held
        self.bundle: Bundle
        self.container: Container
        self.assembly: Assembly
        self.created: Created | None = None
        self.state: State
        self._hooked = False
        self._furnished = False
        self._has_pid_file = False

    def __enter__(self) -> Self:
        self.bundle = bundle.load(self.request.bundle, starts=not self.held)
        for line in self.bundle.warnings:
            self.invocation.log.warning(line)
        self.container = self.invocation.store.add(self.request.id)
        if "NOTIFY_SOCKET" in os.environ:
            self._offer_readiness()
        return self

    def _offer_readiness(self) -> None:
        from pycontain.oci import readiness

        try:
            self.bundle = self.bundle.replace(spec=readiness.offer(self.container, self.bundle.spec))
        except BaseException:
            undoing.undo(self.container)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: object, _trace: object) -> None:
        try:
            if kind is not None:
                self._hooked = self._hooked or isinstance(error, HookError)
                self._undo()
        finally:
            self.container.unlock()

    def _undo(self) -> None:
        if self.created is not None:
            abandon(self.created)
        undoing.undo(self.container)
        self.remove_pid_file()
        if self._hooked:
            lifehooks.run_poststop(self.bundle.spec.hooks, self.state, self.invocation.log, self.view)

    def remove_pid_file(self) -> None:
        """Remove the file of the process id, if this call has written it."""
        if self._has_pid_file:
            store.remove_pid_file(self.request.pid_file, self.state.pid)

    def assemble(self) -> None:
        """Make everything but the container's processes.

        Raises:
            PycontainError: what cannot be had.
        """
        request = self.request
        self.assembly = assembly.assemble(
            self.container,
            self.bundle,
            self.invocation.store.root,
            assembly.Terms(
                keyring=request.keyring,
                preserve_fds=request.preserve_fds,
                listen_fds=request.listen_fds,
                pivot=request.pivot,
                systemd=self.invocation.systemd,
            ),
        )
        for line in self.assembly.warnings:
            self.invocation.log.warning(line)
        self.state = self._first_state()

    def create(self, *, status: str) -> Created:
        """Make the container's processes and return its init; ``status`` is what the state says when it is ready.

        Raises:
            PycontainError: what failed.
        """
        request, container = self.request, self.container
        self.assemble()
        staging = f"{container.directory}/trees"
        os.mkdir(staging, 0o700)
        listener = held.listen(container.directory) if self.held else -1
        created = self.created = Maker(
            self.assembly.plan,
            journal=container.journal,
            cgroup=self.assembly.cgroup if self.assembly.cgroup.paths.exists else None,
            stdio=Stdio(0, 1, 2),
            staging=staging,
            tied=False,
            forget=container.forget,
            meanwhile=self._write_configuration,
            terms=Terms(listener=listener, hooks=self._run_hooks),
        ).create()
        self.assembly.made()
        if not self._furnished:
            self._furnish(created)
        if listener >= 0:
            os.close(listener)
        if created.terminal >= 0 and request.console_socket:
            console.send_terminal(created.terminal, request.console_socket)
            os.close(created.terminal)
            created.terminal = -1
        if request.pidfd_socket:
            console.send(request.pidfd_socket, "pidfd", created.pidfd)
        self.state = self.state.replace(status=status, pid=created.pid, pid_start=created.pid_start)
        container.save(self.state)
        if request.pid_file:
            store.write_pid_file(request.pid_file, created.pid)
            self._has_pid_file = True
        return created

    def _furnish(self, created: Created) -> None:
        """Give the container what belongs to its namespaces and processes and comes from outside; hooks may see it."""
        self._furnished = True
        if self.assembly.rdt:
            from pycontain.oci import rdt

            rdt.enter(self.assembly.rdt, created.pid)
        if self.bundle.spec.linux.net_devices:
            from pycontain.oci import netdevices

            netdevices.move(self.bundle.spec.linux.net_devices, created.pid)

    def listener(self) -> Listener:
        """Return the listener of the seccomp filter, which is nobody where that does not notify."""
        flags = self.assembly.plan.process.seccomp_flags
        return Listener(self.bundle.spec.linux.seccomp, flags, self.state, pid=self.state.pid, status=store.CREATED)

    def run_poststart(self) -> None:
        """Run the hooks that follow the start.

        Raises:
            HookError: one failed.
        """
        self._hooked = True  # the program has run: whatever ends it now, the poststop hooks follow
        lifehooks.run_poststart(self.bundle.spec.hooks, self.state, self.view)

    def keep(self) -> None:
        """Let init wait for whoever starts it."""
        assert self.created is not None, "create() comes first"
        self.created.keep()

    def _first_state(self) -> State:
        plan, spec = self.assembly.plan, self.bundle.spec
        return store.State(
            id=self.container.id,
            bundle=self.bundle.directory,
            rootfs=spec.root.path,
            oci_version=spec.oci_version,
            created_ns=time.time_ns(),
            boot_id=processes.boot_id(),
            owner=os.geteuid(),
            cgroup=self.assembly.cgroup.paths.asdict(),
            userns=plan.userns.asdict(),
            annotations=dict(spec.annotations),
            program=plan.process.argv[0] if plan.process.argv else "",
            paths=plan.process.paths,
            hooks=lifehooks.kinds(spec.hooks),
            keyring=self.assembly.keyring,
            seccomp_flags=plan.process.seccomp_flags,
            rdt=self.assembly.rdt,
            scheduling=_common(plan.process.scheduling),
            descriptors=_descriptors(0 if plan.process.terminal else 3, self.request.preserve_fds),
            mounts=tuple(target for target, _ in plan.outer_mounts),
        )

    def _write_configuration(self) -> None:
        """Keep the configuration as it is now: what becomes of the bundle must not matter."""
        self.container.write(bundle.NAME, self.bundle.text)
        if self.assembly.plan.process.seccomp is not None:
            self.container.write(FILTER, self.assembly.plan.process.seccomp)

    def _run_hooks(self, created: Created) -> None:
        """Run the hooks before pivot_root; they may ask for the container's state."""
        self._furnish(created)
        self._hooked = True
        self.state = self.state.replace(pid=created.pid, pid_start=created.pid_start)
        self.container.save(self.state)
        state = self.assembly.plan.hook_state
        assert state is not None, "a plan that awaits hooks has a state for them"
        lifehooks.run_before(self.bundle.spec.hooks, state, created.pid, self.view)


def _descriptors(streams: int, preserved: int) -> tuple[str, ...]:
    """Return what is behind the descriptors that the container gets: "pipe:[7]"; "" for each stream of its own."""
    given = (*range(streams), *range(3, 3 + preserved))
    return tuple(os.readlink(f"/proc/self/fd/{fd}") if fd in given else "" for fd in range(3 + preserved))


def _common(scheduling: Scheduling) -> dict[str, Any]:
    """Return what later processes of the container share with its first one, as JSON has it."""
    found: dict[str, Any] = {}
    if scheduling.personality is not None:
        found["personality"] = scheduling.personality
    if scheduling.memory_policy is not None:
        found["memory_mode"], nodes = scheduling.memory_policy
        found["memory_nodes"] = list(nodes)
    return found


def check_console(found: Bundle, request: Request, *, needed: bool) -> None:
    """Refuse a terminal without a socket for it, and the reverse; see :func:`console.check`."""
    assert found.spec.process is not None, "bundle.load has seen to it"
    console.check(found.spec.process, request.console_socket, needed=needed)
