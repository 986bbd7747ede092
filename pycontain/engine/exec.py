"""``exec``: one more process in a running container, under the same confinement as its init. [lean]"""

from __future__ import annotations

import os

from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.engine import capabilities, config, defaults, direct, events
from pycontain.engine.assembly import keyring_of
from pycontain.engine.making import FILTER
from pycontain.engine.stdio import Streams
from pycontain.engine.surroundings import identify
from pycontain.errors import StoreError, WrongState
from pycontain.kernel import _sys
from pycontain.plan.facts import USERNS_HOST, saved_users
from pycontain.plan.process import compile_process
from pycontain.runtime import create, probe, processes, state
from pycontain.runtime.init import Stdio
from pycontain.runtime.join import Joiner
from pycontain.runtime.state import Store
from pycontain.spec.process import Capabilities, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.engine.options import ExecOptions
    from pycontain.plan.facts import UserNamespace
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
    userns = saved_users(saved.userns)
    process = _process(entry, saved, userns, options)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    streams = Streams(null, interactive=options.interactive, foreground=not (options.detach or options.tty))
    stdio = Stdio(*streams.inside)
    if userns.host_uid(0) == 0 and probe.is_privileged():
        stdio.guard()
    if not options.detach and os.geteuid() == 0:
        stdio.give(userns.host_uid(process.uid), userns.host_gid(process.gid))
    cgroup = Cgroup(CgroupPaths(**saved.cgroup)) if saved.cgroup else None
    if cgroup is not None and not cgroup.paths.exists:
        cgroup = None
    created = Joiner(saved.pid, pidfd, process, stdio, cgroup, keyring_of(entry.id)).create()
    for fd in (null, pidfd):
        os.close(fd)
    streams.close_inside()
    command = " ".join(options.command)
    events.record(settings, saved, events.EXEC_START, execPid=str(created.pid), command=command)
    if process.terminal:
        code = _attend_terminal(settings, entry, saved, created, process, options)
    else:
        code = _attend(created, process, options, streams)
    if not options.detach:
        events.record(settings, saved, events.EXEC_DIE, execPid=str(created.pid), exitCode=str(code), command=command)
    return code


def _attend_terminal(
    settings: Settings, entry: Entry, saved: State, created: Created, process: ProcessPlan, options: ExecOptions
) -> int:
    from pycontain.engine.detaching import Keeper
    from pycontain.runtime import terminal

    with Keeper(settings, entry, saved, created) as keeper:
        if options.detach:
            create.start(created, process)
            keeper.leave()
            return 0
        return terminal.attend(
            created,
            process,
            interactive=options.interactive,
            detach_keys=options.detach_keys,
            detached=keeper.leave,
        )


def _attend(created: Created, process: ProcessPlan, options: ExecOptions, streams: Streams) -> int:
    if options.detach:
        create.start(created, process)
        return 0
    try:
        direct.start(created, process)
    except BaseException:
        create.abandon(created)
        raise
    return direct.attend(created, streams)[0]


def _process(entry: Entry, saved: State, userns: UserNamespace, options: ExecOptions) -> ProcessPlan:
    """Return the command under the container's own confinement, from the configuration it was made with."""
    spec = config.load(entry)
    base = spec.process
    if base is None:
        raise StoreError(f"{entry.directory}/{config.NAME}: has no process", hint="make the container again")
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
        # whoever makes a user namespace has every capability in it
        available = _sys.capget()[1] if userns.kind == USERNS_HOST else -1
        names = capabilities.effective((), (), privileged=True, available=available)
        everything = Capabilities(bounding=names, effective=names, permitted=names)
        process = process.replace(capabilities=everything, no_new_privileges=False)
    return compile_process(
        process,
        last_capability=last,
        seccomp=seccomp,
        oom_score=defaults.OOM_SCORE,
        groups=userns.has_groups,
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
