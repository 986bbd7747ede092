"""``exec``: one more process in a running container, under the same confinement as its init. [lean]"""

from __future__ import annotations

import os

from pycontain import lean_json
from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.engine import capabilities, direct
from pycontain.engine.making import FILTER
from pycontain.engine.surroundings import identify
from pycontain.errors import SpecError, StoreError, WrongState
from pycontain.kernel import _sys
from pycontain.plan.facts import USERNS_SINGLE
from pycontain.plan.process import compile_process
from pycontain.runtime import create, probe, processes, state
from pycontain.runtime.init import Stdio
from pycontain.runtime.join import Joiner
from pycontain.runtime.state import Store
from pycontain.spec.decode import decode
from pycontain.spec.process import Capabilities, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.engine.options import ExecOptions
    from pycontain.engine.terminal import Flow
    from pycontain.plan.process import ProcessPlan
    from pycontain.runtime.create import Created
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Entry, State
    from pycontain.spec.process import Process


def execute(settings: Settings, options: ExecOptions) -> int:
    """Run a command in a container and return its exit code; 0 at once when detached.

    Raises:
        WrongState: the container does not run, or is paused.
        ExecError: the command cannot be executed.
    """
    entry = Store(settings).find(options.container)
    saved = entry.load()
    status = entry.status(saved)
    name = options.container
    if status == state.PAUSED:
        raise WrongState(f"container {name} is paused", hint=f"let it go on first: pycontain unpause {name}")
    if status != state.RUNNING:
        raise WrongState(f"container {name} is not running", hint=f"start it: pycontain start {name}")
    pidfd = processes.open_pidfd(saved.pid, saved.pid_start)
    if pidfd is None:
        raise WrongState(f"container {name} has just ended")
    process = _process(entry, saved, options)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    stdio, flows = _stdio(options, null)
    cgroup = Cgroup(CgroupPaths(**saved.cgroup)) if saved.cgroup else None
    created = Joiner(saved.pid, pidfd, process, stdio, cgroup if cgroup and cgroup.paths.exists else None).create()
    for fd in {null, pidfd, *stdio.fds} - {0, 1, 2}:
        os.close(fd)
    return _attend(created, process, options, flows)


def _attend(created: Created, process: ProcessPlan, options: ExecOptions, flows: list[Flow]) -> int:
    if options.detach:
        create.start(created, process)
        return 0
    if process.terminal:
        return _attend_terminal(created, process, options)
    if flows:
        return _attend_pipes(created, process, flows)
    create.start(created, process)
    exit_code, _signal = direct.attend(created, sig_proxy=True)
    return exit_code


def _stdio(options: ExecOptions, null: int) -> tuple[Stdio, list[Flow]]:
    """Return what the process gets as 0, 1 and 2, and what is to be copied: a terminal of ours is never handed in."""
    if options.detach:
        return Stdio(null, null, null), []
    wanted = [0 if options.interactive else null, 1, 2]
    flows: list[Flow] = []
    for number, fd in enumerate(wanted):
        if options.tty or not os.isatty(fd):
            continue
        from pycontain.engine.terminal import Flow

        read, write = os.pipe()
        wanted[number] = read if number == 0 else write
        ends = (0, write) if number == 0 else (read, number)
        flows.append(Flow(*ends, outward=number > 0, owned=True))
    return Stdio(*wanted), flows


def _attend_pipes(created: Created, process: ProcessPlan, flows: list[Flow]) -> int:
    from pycontain.engine.terminal import relay

    create.start(created, process)
    relay(created.pidfd, tuple(flows), forward=_forwarder(created))
    return create.wait(created)[0]


def _forwarder(created: Created) -> Callable[[int], None]:
    def forward(number: int) -> None:
        try:
            _sys.pidfd_send_signal(created.pidfd, number, 0)
        except ProcessLookupError:
            pass

    return forward


def _attend_terminal(created: Created, process: ProcessPlan, options: ExecOptions) -> int:
    from pycontain.engine.terminal import Flow, RawTerminal, relay, require_terminal, size_of

    master = created.terminal
    raw = None
    flows = [Flow(master, 1, outward=True)]
    if options.interactive:
        require_terminal()
        raw = RawTerminal(0)
        flows.append(Flow(0, master, outward=False, keys=options.detach_keys))

    def resized() -> None:
        size = size_of(0) or size_of(1)
        if size is not None:
            _sys.tty_set_size(master, *size)

    try:
        if raw is not None:
            raw.apply()
        create.start(created, process)
        ended = relay(created.pidfd, tuple(flows), forward=_forwarder(created), resized=resized, terminal=raw)
    finally:
        if raw is not None:
            raw.restore()
    return create.wait(created)[0] if ended else 0


def _process(entry: Entry, saved: State, options: ExecOptions) -> ProcessPlan:
    """Return the command under the container's own confinement, from the configuration it was made with."""
    path = f"{entry.directory}/config.json"
    try:
        with open(path, encoding="utf-8") as file:
            spec, _ = decode(lean_json.loads(file.read(), source=path, surrogates=True), source=path)
    except (OSError, SpecError) as error:
        raise StoreError(f"{path}: {error}", hint="make the container again") from error
    base = spec.process
    if base is None:
        raise StoreError(f"{path}: has no process", hint="make the container again")
    user = options.user or f"{base.user.uid}:{base.user.gid}"
    identity = identify(f"/proc/{saved.pid}/root", user, ())
    groups = identity.additional_gids if options.user else base.user.additional_gids
    process = base.replace(
        args=options.command,
        env=_environment(base, options, identity.home),
        cwd=options.workdir or base.cwd,
        terminal=options.tty,
        user=User(identity.uid, identity.gid, base.user.umask, groups),
    )
    seccomp = None if options.privileged else _filter(entry)
    last = probe.last_capability()
    if options.privileged:
        names = capabilities.effective((), (), privileged=True)
        everything = Capabilities(bounding=names, effective=names, permitted=names)
        process = process.replace(capabilities=everything, no_new_privileges=False)
    return compile_process(
        process,
        last_capability=last,
        seccomp=seccomp,
        preserve_fds=options.preserve_fds,
        groups=saved.userns.get("kind") != USERNS_SINGLE,
    )


def _environment(base: Process, options: ExecOptions, home: str) -> tuple[str, ...]:
    variables = {entry.partition("=")[0]: entry for entry in base.env}
    if options.user:
        variables["HOME"] = f"HOME={home}"
    if options.tty:
        variables.setdefault("TERM", "TERM=xterm")
    for entry in options.env:
        name, equals, _ = entry.partition("=")
        if equals:
            variables[name] = entry
        else:
            variables.pop(name, None)
    return tuple(variables.values())


def _filter(entry: Entry) -> bytes | None:
    try:
        with open(f"{entry.directory}/{FILTER}", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
