"""``exec``: one more process in a running container, under the same confinement as its init. [lean]"""

from __future__ import annotations

import os

from pycontain import lean_json
from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.errors import SpecError, UsageError, WrongState
from pycontain.kernel import _sys
from pycontain.oci import bundle, console, store
from pycontain.oci.assembly import available_capabilities, check_groups, ungrantable
from pycontain.oci.making import FILTER, preserved
from pycontain.oci.notifying import saved_listener
from pycontain.oci.store import PAUSED, RUNNING
from pycontain.plan.facts import saved_users
from pycontain.plan.process import compile_process
from pycontain.plan.scheduling import of_process
from pycontain.runtime import create, forwarding, probe, processes
from pycontain.runtime.init import Stdio
from pycontain.runtime.join import Joiner
from pycontain.runtime.scheduling import bind_cpus
from pycontain.spec.decode import decode_process
from pycontain.spec.process import Capabilities, User
from pycontain.spec.rules.validation import validate_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.oci.invocation import Invocation
    from pycontain.oci.store import Container, State
    from pycontain.oci.words import Told
    from pycontain.plan.facts import UserNamespace
    from pycontain.plan.process import ProcessPlan
    from pycontain.plan.scheduling import Scheduling
    from pycontain.runtime.create import Created
    from pycontain.spec.process import Process

_NO_ID = 0xFFFFFFFF
#: Options that say what a document of --process says too.
_OF_PROCESS = ("cwd", "env", "user", "additional-gids", "process-label", "apparmor", "no-new-privs", "cap")


def execute(invocation: Invocation, told: Told) -> int:
    """Run a process in a container and return its exit code; 0 at once when detached.

    Raises:
        WrongState: the container does not run, or is paused.
        ExecError: the program cannot be executed.
    """
    preserve, listen_fds = preserved(invocation, told)
    container = invocation.store.find(told.arguments[0])
    saved = container.load()
    _check_status(container, saved, ignore_paused=told.flag("ignore-paused"))
    process = _process(invocation, container, told)
    socket, detach = told.text("console-socket"), told.flag("detach")
    console.check(process, socket, needed=detach)
    users = saved_users(saved.userns)
    check_groups(process, users)
    available = available_capabilities(users)
    for line in ungrantable(process, available):
        invocation.log.warning(line)
    plan = compile_process(
        process,
        last_capability=probe.last_capability(),
        seccomp=_saved_filter(container),
        seccomp_flags=saved.seccomp_flags,
        preserve_fds=preserve,
        groups=users.has_groups,
        available=available,
    ).replace(scheduling=_scheduling(process, saved), listen_fds=listen_fds)
    bind_cpus(plan.scheduling.first_cpus, "process.execCPUAffinity.initial")
    created = _join(saved, users, plan, told)
    try:
        if saved.rdt:
            from pycontain.oci import rdt

            rdt.enter(saved.rdt, created.pid)
        if process.terminal and process.console_size is not None:
            _sys.tty_set_size(created.terminal, process.console_size.height, process.console_size.width)
        if socket:
            console.send_terminal(created.terminal, socket)
            os.close(created.terminal)
            created.terminal = -1
        if told.text("pidfd-socket"):
            console.send(told.text("pidfd-socket"), "pidfd", created.pidfd)
        if told.text("pid-file"):
            store.write_pid_file(told.text("pid-file"), created.pid)
        if not detach:
            forwarding.block()
        with saved_listener(container, saved, pid=created.pid, status=RUNNING) as listener:
            create.start(created, plan, listener.send)
    except BaseException:
        create.abandon(created)
        raise
    if detach:
        return 0
    return console.attend(created)


def _check_status(container: Container, saved: State, *, ignore_paused: bool) -> None:
    status = container.status(saved)
    if status == PAUSED and not ignore_paused:
        raise WrongState("cannot exec in a paused container (use --ignore-paused to override)")
    if status not in (RUNNING, PAUSED) or saved.status != RUNNING:
        status = saved.status if status == PAUSED else status
        raise WrongState(f"cannot exec in a {status} container: container not running")


def _join(saved: State, users: UserNamespace, plan: ProcessPlan, told: Told) -> Created:
    pidfd = processes.open_pidfd(saved.pid, saved.pid_start)
    if pidfd is None:
        raise WrongState("container not running")
    stdio = Stdio(0, 1, 2)
    if probe.is_privileged():
        if users.host_uid(0) == 0:
            stdio.guard()
        if not plan.terminal:
            stdio.give(users.host_uid(plan.uid), users.host_gid(plan.gid))
    paths = CgroupPaths(**saved.cgroup)
    try:
        with Cgroup(_below(paths, told.all("cgroup"))) as cgroup:
            found = cgroup if cgroup.paths.exists else None
            return Joiner(saved.pid, pidfd, plan, stdio, found, saved.keyring).create()
    finally:
        os.close(pidfd)


def _below(paths: CgroupPaths, asked: tuple[str, ...]) -> CgroupPaths:
    """Return the cgroups for a process that is to be in one below the container's: ``[CONTROLLER,…:]PATH``.

    Raises:
        UsageError: there is no such cgroup below the container's.
    """
    unified, v1 = paths.unified, dict(paths.v1)
    for text in asked:
        controllers, colon, path = text.rpartition(":")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise UsageError(f"--cgroup: {text!r} leaves the container's cgroup")
        below = "".join(f"/{part}" for part in parts)
        for name in controllers.split(",") if colon and controllers else ("", *v1):
            if name in v1:
                v1[name] = paths.v1[name] + below
            elif name == "" and unified:
                unified = paths.unified + below
            else:
                raise UsageError(f"--cgroup: unknown controller {name!r}")
    for directory in (*v1.values(), *((unified,) if unified else ())):
        if not os.path.isdir(directory):
            raise UsageError(f"--cgroup: {directory}: no such file or directory")
    return paths.replace(unified=unified, v1=v1)


def _saved_filter(container: Container) -> bytes | None:
    try:
        with open(f"{container.directory}/{FILTER}", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _scheduling(process: Process, saved: State) -> Scheduling:
    """Return what the process asks for, and what holds for every process of the container."""
    found = of_process(process)
    common = saved.scheduling
    if "personality" in common:
        found = found.replace(personality=common["personality"])
    if "memory_mode" in common:
        found = found.replace(memory_policy=(common["memory_mode"], tuple(common["memory_nodes"])))
    return found


def _process(invocation: Invocation, container: Container, told: Told) -> Process:
    """Return the process that is asked for: a document, or the container's own with changes.

    Raises:
        SpecError: the document is wrong.
        UsageError: there is neither a document nor a command, or an option makes no sense.
    """
    file, command = told.text("process"), told.arguments[1:]
    if file:
        if command:
            raise UsageError("a command cannot be given together with --process")
        try:
            with open(file, "rb") as stream:
                document = lean_json.loads(stream.read(lean_json.MAX_BYTES + 1), source=file)
        except OSError as error:
            raise UsageError(f"--process: {file}: {(error.strerror or '').lower()}") from error
        process, warnings = decode_process(document, source=file)
        for line in (*warnings, *validate_process(process, source=file), *_unused(process, told)):
            invocation.log.warning(line)
        return process
    if not command:
        raise UsageError("process args cannot be empty: give a command or --process")
    base = bundle.saved(container.directory).process
    if base is None:
        raise SpecError("process", "is missing", source=bundle.NAME)
    return _changed(base, told).replace(args=command)


def _unused(process: Process, told: Told) -> tuple[str, ...]:
    """Return a warning for each option that a document stands instead of; conmon says --tty beside one as well."""
    names = [name for name in _OF_PROCESS if told.values.get(name)]
    if told.flag("tty") and not process.terminal:
        names.append("tty")
    return tuple(f"--{name}: has no effect, --process says everything" for name in names)


def _changed(base: Process, told: Told) -> Process:
    changes: dict[str, object] = {
        "terminal": told.flag("tty"),
        "env": (*base.env, *told.all("env")),
        "cwd": told.text("cwd", base.cwd),
    }
    for entry in told.all("env"):
        if entry.find("=") <= 0:
            raise UsageError("--env: is not of the form NAME=value")
    if told.text("user") or told.all("additional-gids"):
        changes["user"] = _user(base.user, told)
    if told.all("cap"):
        changes["capabilities"] = _capabilities(base, told.all("cap"))
    if told.flag("no-new-privs"):
        changes["no_new_privileges"] = True
    for option, name in (("apparmor", "apparmor_profile"), ("process-label", "selinux_label")):
        if told.text(option):
            changes[name] = told.text(option)
    return base.replace(**changes)


def _user(base: User, told: Told) -> User:
    uid, gid = base.uid, base.gid
    if told.text("user"):
        first, colon, second = told.text("user").partition(":")
        uid, gid = _id("user", first), _id("user", second) if colon else base.gid
    groups = tuple(_id("additional-gids", text) for text in told.all("additional-gids"))
    return base.replace(uid=uid, gid=gid, additional_gids=(*base.additional_gids, *groups))


def _id(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < _NO_ID):
        raise UsageError(f"--{option}: {text!r} is not an id")
    return int(text)


def _capabilities(base: Process, names: tuple[str, ...]) -> Capabilities:
    sets = base.capabilities or Capabilities()
    added = tuple(name if name.startswith("CAP_") else f"CAP_{name}" for name in map(str.upper, names))
    return sets.replace(
        bounding=(*sets.bounding, *added),
        effective=(*sets.effective, *added),
        permitted=(*sets.permitted, *added),
    )
