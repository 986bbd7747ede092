"""Runs one hook of a configuration: its input, environment, output, process group and time. [lean]

The state lies in a memory file, so that a hook that does not read it blocks nobody and kills nobody; the output comes
through a pipe of which the end is kept for an error message. A hook that leaves a daemon behind has ended when its own
process has.

Source: config.md#posix-platform-hooks, runtime.md#lifecycle
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time

from pycontain import lean_json
from pycontain.errors import HookError
from pycontain.kernel import _sys
from pycontain.kernel.constants import CLD_EXITED, SECCOMP_FILTER_FLAG_NEW_LISTENER, SIGKILL, SOCK_SEQPACKET, WEXITED
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from pycontain.spec.hooks import Hook

# how much of a hook's output an error message may hold
_KEPT_BYTES = 1024
_RECORD = struct.Struct("=cii")


class Surroundings(Record):
    """What a hook's process has of others.

    ``prepare`` is called in it first; ``env`` is its environment where the hook has none, None for the runtime's own.
    ``seccomp`` is a filter that binds it, and ``lowered`` the capabilities that it keeps once that is loaded.
    """

    prepare: Callable[[], None] | None = None
    env: tuple[str, ...] | None = None
    seccomp: bytes | None = None
    seccomp_flags: int = 0
    lowered: tuple[int, int, int] | None = None


RUNTIMES_OWN = Surroundings()


def run_all(hooks: Sequence[Hook], state: dict[str, Any], path: str, surroundings: Surroundings = RUNTIMES_OWN) -> None:
    """Run hooks one after the other; ``path`` is their JSON path.

    Raises:
        HookError: of the first that fails; the others are not run.
    """
    for index, hook in enumerate(hooks):
        run(hook, state, f"{path}[{index}]", surroundings)


def run(hook: Hook, state: dict[str, Any], path: str, surroundings: Surroundings = RUNTIMES_OWN) -> None:
    """Run one hook and wait for it.

    Raises:
        HookError: it cannot be executed, ends with another code than 0, or takes longer than it may.
    """
    told = os.memfd_create("state", os.MFD_CLOEXEC)
    output, written = os.pipe()
    # a socket: from its end the hook's process sees that the runtime is still there
    failed, failing = _sys.socketpair(SOCK_SEQPACKET)
    try:
        os.write(told, lean_json.dumps(state, surrogates=True).encode())
        os.lseek(told, 0, os.SEEK_SET)
        pid, pidfd = _sys.clone3(0)
        if pid == 0:
            _become(hook, told, written, failing, surroundings)
        for fd in (written, failing):
            os.close(fd)
        written = failing = -1
        try:
            _attend(hook, path, pid, pidfd, output, failed)
        finally:
            os.close(pidfd)
    finally:
        for fd in (told, output, failed, written, failing):
            if fd >= 0:
                os.close(fd)


def _become(hook: Hook, told: int, output: int, failing: int, surroundings: Surroundings) -> NoReturn:
    """Execute the hook in a process group of its own; in the child, never returns."""
    try:
        os.setpgid(0, 0)
        if surroundings.prepare is not None:
            surroundings.prepare()
        os.dup2(told, 0, inheritable=True)
        os.dup2(output, 1, inheritable=True)
        os.dup2(output, 2, inheritable=True)
        entries = surroundings.env if hook.env is None else hook.env
        if entries is None:
            env = [name + b"=" + value for name, value in os.environb.items()]
        else:
            env = [os.fsencode(entry) for entry in entries]
        argv = [os.fsencode(word) for word in hook.args or (hook.path,)]
        # nobody would answer its notifications: what the filter wants to be asked about is refused
        flags = surroundings.seccomp_flags & ~SECCOMP_FILTER_FLAG_NEW_LISTENER
        paths = [os.fsencode(hook.path)]
        # by SIGKILL: a hook of a runtime that was killed would go on alone
        _sys.finish(argv, env, paths, (), failing, surroundings.seccomp, flags, SIGKILL, surroundings.lowered)
    except OSError as error:
        os.write(failing, _RECORD.pack(b"E", error.errno or errno.EIO, 0))
    finally:
        os._exit(127)


def _attend(hook: Hook, path: str, pid: int, pidfd: int, output: int, failed: int) -> None:
    tail, in_time = _collect(hook, pid, pidfd, output)
    result = _sys.waitid_pidfd(pidfd, WEXITED)
    assert result is not None, "it has ended"
    _, code, status = result
    record = os.read(failed, _RECORD.size)
    if record:
        _, number, _ = _RECORD.unpack(record)
        raise HookError(f"{path}: {hook.path}: {os.strerror(number).lower()}")
    said = f": {' '.join(tail.decode('utf-8', 'backslashreplace').split())}" if tail.strip() else ""
    if not in_time:
        raise HookError(f"{path}: {hook.path}: did not end within {hook.timeout} s{said}")
    if code != CLD_EXITED:
        raise HookError(f"{path}: {hook.path}: ended by signal {status}{said}")
    if status:
        raise HookError(f"{path}: {hook.path}: exit status {status}{said}")


def _collect(hook: Hook, pid: int, pidfd: int, output: int) -> tuple[bytes, bool]:
    """Read what the hook says until it ends; return the end of that, and whether it ended in time."""
    deadline = None if hook.timeout is None else time.monotonic() + hook.timeout
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(output, select.POLLIN)
    os.set_blocking(output, False)
    tail, in_time = b"", True
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = dict(poll.poll(None if left is None else left * 1000))
        if not ready and in_time:
            in_time, deadline = False, None
            _kill(pid, pidfd)
        if output in ready:
            data = _read(output)
            tail = (tail + data)[-_KEPT_BYTES:]
            if not data:
                poll.unregister(output)
        if pidfd in ready:
            return (tail + _read(output))[-_KEPT_BYTES:], in_time


def _kill(pid: int, pidfd: int) -> None:
    """Kill a hook with its process group, and alone: it may have gone into another one."""
    try:
        os.killpg(pid, SIGKILL)
    except ProcessLookupError:
        pass
    _sys.pidfd_send_signal(pidfd, SIGKILL, 0)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""
