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
from pycontain.kernel.constants import CLD_EXITED, WEXITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from pycontain.spec.hooks import Hook

SIGKILL = 9
SOCK_SEQPACKET = 5
# how much of a hook's output an error message may hold
_KEPT_BYTES = 1024
_RECORD = struct.Struct("=cii")


def run_all(
    hooks: Sequence[Hook], state: dict[str, Any], path: str, *, prepare: Callable[[], None] | None = None
) -> None:
    """Run hooks one after the other; ``path`` is their JSON path, ``prepare`` is called in each hook's process.

    Raises:
        HookError: of the first that fails; the others are not run.
    """
    for index, hook in enumerate(hooks):
        run(hook, state, f"{path}[{index}]", prepare=prepare)


def run(hook: Hook, state: dict[str, Any], path: str, *, prepare: Callable[[], None] | None = None) -> None:
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
            _become(hook, told, written, failing, prepare)
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


def _become(hook: Hook, told: int, output: int, failing: int, prepare: Callable[[], None] | None) -> NoReturn:
    """Execute the hook in a process group of its own; in the child, never returns."""
    try:
        os.setpgid(0, 0)
        if prepare is not None:
            prepare()
        os.dup2(told, 0, inheritable=True)
        os.dup2(output, 1, inheritable=True)
        os.dup2(output, 2, inheritable=True)
        if hook.env is None:
            env = [name + b"=" + value for name, value in os.environb.items()]
        else:
            env = [os.fsencode(entry) for entry in hook.env]
        argv = [os.fsencode(word) for word in hook.args or (hook.path,)]
        # a hook of a runtime that was killed would go on alone
        _sys.finish(argv, env, [os.fsencode(hook.path)], (), failing, pdeathsig=SIGKILL)
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
            try:
                os.killpg(pid, SIGKILL)
            except ProcessLookupError:
                pass
        if output in ready:
            data = _read(output)
            tail = (tail + data)[-_KEPT_BYTES:]
            if not data:
                poll.unregister(output)
        if pidfd in ready:
            return (tail + _read(output))[-_KEPT_BYTES:], in_time


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""
