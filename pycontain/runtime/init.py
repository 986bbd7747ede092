"""Inside: what the container's first process does between clone and execve, op by op.

It is a fork of the maker's interpreter, sealed before it looks at the container's root. It runs the plan's init
stage, becomes the container's user, says READY, waits for START and ends in finish(), which is C.
"""

from __future__ import annotations

import errno
import os
import stat

from pycontain.errors import PycontainError, StageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    CLONE_NEWCGROUP,
    MS_PRIVATE,
    MS_REC,
    PIPEFS_MAGIC,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    SIGKILL,
)
from pycontain.plan.ops import Attach
from pycontain.runtime import credentials, entry, held, hooks, seal
from pycontain.runtime.channel import MAPPED, READY, START, TREES, Channel
from pycontain.runtime.inside import APPLIERS, Inside, make_fresh, preload
from pycontain.runtime.newmounts import guarded_null, is_null
from pycontain.runtime.scheduling import bind_cpus, schedule
from pycontain.runtime.trees import Trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    from pycontain.plan.ops import Op
    from pycontain.plan.plan import Plan


class Stdio:
    """The descriptors that become 0, 1 and 2; with a terminal they are the pseudo-terminal's instead."""

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self.fds: tuple[int, ...] = (stdin, stdout, stderr)

    def install(self) -> None:
        """Put them in place, whatever numbers they have."""
        copies = [os.dup(fd) for fd in self.fds]
        for number, copy in enumerate(copies):
            os.dup2(copy, number, inheritable=True)
            os.close(copy)

    def guard(self) -> None:
        """Replace the host's null device by the same on a read-only mount.

        Root inside that is root outside could change its mode and owner for the whole host through our descriptor.
        """
        found = [fd for fd in self.fds if is_null(os.fstat(fd))]
        if found:
            tree = guarded_null()
            null = os.open(f"/proc/self/fd/{tree}", os.O_RDWR | os.O_CLOEXEC)
            os.close(tree)
            self.fds = tuple(null if fd in found else fd for fd in self.fds)

    def give(self, uid: int, gid: int) -> None:
        """Make the pipes among them the user's own: only so can /dev/stdout be opened by name.

        A FIFO that has a name is somebody's file: its owner stays. One that may not be changed, as without privilege,
        is left as it is. Source: runc, fixStdioPermissions; pipe(7)
        """
        for fd in self.fds:
            try:
                if stat.S_ISFIFO(os.fstat(fd).st_mode) and _sys.fstatfs_type(fd) == PIPEFS_MAGIC:
                    os.fchown(fd, uid, gid)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EINVAL, errno.EROFS):
                    raise


def main(
    plan: Plan,
    channel: Channel,
    stdio: Stdio,
    *,
    join_fds: tuple[int, ...],
    staging: str,
    tied: bool,
    listener: int = -1,
) -> NoReturn:
    """Become the container's program, or report what failed and exit; never returns.

    ``join_fds`` are ``tasks`` files of v1 cgroups to enter; ``tied`` ends this process with its parent; ``listener`` is
    the socket at which to wait for whoever starts it, -1 where that is the maker.
    """
    try:
        _run(plan, channel, stdio, join_fds, staging, tied)
        channel = _await_start(plan, channel, listener)
        if plan.start_hooks:
            _run_start_hooks(plan)
        credentials.finish(plan.process, channel.fd, tied=tied)
    except BaseException as error:  # nothing may leave this process but a message
        report(channel, error)


def _await_start(plan: Plan, channel: Channel, listener: int) -> Channel:
    """Say that all is ready, wait for the start, and return the channel that it came by.

    Nothing of the host's is held meanwhile, however long that is: not what the caller has left open, no cgroup and no
    namespace. Whoever seizes this process, where others share its process ids, would get at the host by it.
    """
    waiting = (channel.fd, listener) if listener >= 0 else (channel.fd,)
    close_others((*waiting, *range(3, 3 + plan.process.preserve_fds)))
    if listener < 0:
        channel.send(READY)
        channel.receive(START)
        return channel
    # whoever makes the container is told, not whoever starts it
    if plan.process.argv:
        credentials.find_program(plan.process)
    channel.send(READY)
    return held.hold(channel, listener)


def _run_start_hooks(plan: Plan) -> None:
    """Run the startContainer hooks: they are programs of the container, and get no more than its own program does."""
    assert plan.hook_state is not None, "compile_plan has seen to it"
    process = plan.process
    inside = hooks.Surroundings(
        env=credentials.environment(process),
        seccomp=process.seccomp,
        seccomp_flags=process.seccomp_flags,
        lowered=credentials.lowered_late(process),
    )
    state = plan.hook_state.document("created", os.getpid())
    hooks.run_all(plan.start_hooks, state, "hooks.startContainer", inside)


def take_ids(channel: Channel) -> None:
    """Become root of the new user namespace once its maps are written."""
    channel.receive(MAPPED)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def install_terminal(slave: int) -> None:
    """Make a terminal the controlling one of this session, and standard input, output and error."""
    _sys.tty_make_controlling(slave)
    install_streams(slave)


def install_streams(slave: int) -> None:
    """Make a terminal's side standard input, output and error."""
    for number in range(3):
        os.dup2(slave, number, inheritable=True)


def close_others(keep: Iterable[int]) -> None:
    """Close every descriptor from 3 on that is not in ``keep``."""
    first = 3
    for fd in sorted(keep):
        if fd > first:
            _sys.close_range(first, fd - 1)
        first = max(first, fd + 1)
    _sys.close_range(first, 2**32 - 1)


def report(channel: Channel, error: BaseException) -> NoReturn:
    """Tell the maker what failed, and exit."""
    try:
        if isinstance(error, PycontainError):
            channel.fail(error)
        elif isinstance(error, OSError):
            text = f"{error.filename or 'init'}: {error.strerror}"
            channel.fail(StageError(text, stage="init", errno=error.errno or 0))
        else:
            text = f"internal error: {type(error).__name__}: {error}{_place(error)}"
            channel.fail(StageError(text, stage="init"))
    finally:
        os._exit(125)


def _place(error: BaseException) -> str:
    """Return file, line and function of the innermost frame, without reading any source file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f" ({code.co_filename}:{trace.tb_lineno} {code.co_name})"


def _run(plan: Plan, channel: Channel, stdio: Stdio, join_fds: tuple[int, ...], staging: str, tied: bool) -> None:
    if tied:
        _sys.prctl(PR_SET_PDEATHSIG, SIGKILL)
    _unshare(plan.namespaces.late & ~CLONE_NEWCGROUP)
    if plan.userns.new and not plan.users_first:
        take_ids(channel)
    _sys.prctl(PR_SET_DUMPABLE, 0)
    os.umask(0)
    os.setsid()
    for fd in join_fds:
        os.write(fd, b"0")
        os.close(fd)
    bind_cpus(plan.process.scheduling.cpus, "cpus")
    _unshare(plan.namespaces.late & CLONE_NEWCGROUP)
    if not plan.namespaces.inherits("mount"):
        _sys.mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    inside = Inside(plan, channel)
    seal.preload()
    preload(plan.init)
    early = [op for op in plan.init if type(op) in inside.EARLY]
    for op in early:
        _apply(inside, APPLIERS[type(op)], op)
    for op in plan.init:
        if isinstance(op, Attach) and op.renew:
            break  # what comes behind is to be made later
        if isinstance(op, Attach) and op.fresh is not None:
            _apply(inside, make_fresh, op)
    _receive_trees(plan, channel, inside, staging)
    seal.seal()
    for op in plan.init:
        if op not in early:
            _apply(inside, APPLIERS[type(op)], op)
    _install_streams(plan, inside, stdio)
    if plan.host_inside:
        schedule(0, plan.process.scheduling)
    credentials.become(plan.process, inside.procfs if plan.process.apparmor or plan.process.selinux else None)


def _install_streams(plan: Plan, inside: Inside, stdio: Stdio) -> None:
    if inside.terminal >= 0:
        install_terminal(inside.terminal)
        return
    if plan.host_inside:
        stdio.give(plan.process.uid, plan.process.gid)
    stdio.install()


def _unshare(flags: int) -> None:
    if flags:
        try:
            _sys.unshare(flags)
        except OSError as error:
            raise entry.refused(error) from error


def _receive_trees(plan: Plan, channel: Channel, inside: Inside, staging: str) -> None:
    names, fds = channel.receive(TREES)
    inside.trees = dict(zip(names, fds, strict=True)) if fds else {}
    if plan.host_inside and plan.host:
        trees = Trees(plan.userns, staging)
        trees.make(plan.host)
        inside.trees = trees.fds


def _apply(inside: Inside, function: Callable[[Inside, Any], None], op: Op) -> None:
    try:
        function(inside, op)
    except OSError as error:
        raise StageError(
            f"{op.describe()}: {error.filename or ''}: {error.strerror}",
            stage="init",
            op=type(op).__name__,
            spec_path=op.spec_path,
            errno=error.errno or 0,
            hint=_hint(error),
        ) from error


def _hint(error: OSError) -> str:
    if error.errno == 28:
        return "a limit on mounts or memory was met: sysctl fs.mount-max, or --memory"
    return ""
