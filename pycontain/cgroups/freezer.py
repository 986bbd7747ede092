"""Stopping every process of a cgroup at once, and killing them all. [lean]

cgroup v2's freezer works in a hybrid host too: its files are there whatever controllers the hierarchy has.

Source: cgroup-v2.rst "cgroup.freeze", "cgroup.kill"; cgroup-v1/freezer-subsystem.rst; pidfd_open(2)
"""

from __future__ import annotations

import errno
import os
import select
import time

from pycontain.cgroups.directory import Directory
from pycontain.cgroups.tree import processes
from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import SIGKILL

_KILL_TIMEOUT_S = 10.0


def freeze_v2(directory: Directory, timeout_s: float) -> None:
    """Stop the processes and return when all have stopped.

    Raises:
        HostError: some do not stop in time (a process in uninterruptible sleep); the cgroup is thawed again.
    """
    directory.write("cgroup.freeze", "1")
    if not _wait_for_event(directory, "frozen 1", timeout_s):
        directory.write("cgroup.freeze", "0")
        raise _not_frozen(directory, timeout_s)


def thaw_v2(directory: Directory, timeout_s: float) -> None:
    """Let the processes run again.

    Raises:
        HostError: the cgroup stays frozen, because one above it is.
    """
    directory.write("cgroup.freeze", "0")
    if not _wait_for_event(directory, "frozen 0", timeout_s):
        raise HostError(f"thaw cgroup {directory.path}: still frozen", hint="a cgroup above it is frozen: thaw that")


def _wait_for_event(directory: Directory, line: str, timeout_s: float) -> bool:
    """Wait until ``cgroup.events`` has this line; return whether it came."""
    deadline = time.monotonic() + timeout_s
    fd = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory.fd)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while line not in os.pread(fd, 4096, 0).decode().splitlines():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            poll.poll(max(1, int(left_s * 1000)))
        return True
    finally:
        os.close(fd)


def freeze_v1(directory: Directory, timeout_s: float) -> None:
    """Stop the processes with the freezer controller.

    A process that forks at the wrong moment leaves the cgroup "FREEZING": FROZEN is written again, and after some time
    the cgroup is thawed for a moment in between, as the kernel's documentation recommends.

    Raises:
        HostError: some do not stop in time; the cgroup is thawed again.
    """
    deadline = time.monotonic() + timeout_s
    tries = 0
    while True:
        directory.write("freezer.state", "FROZEN")
        if directory.read("freezer.state") == "FROZEN":
            return
        if time.monotonic() > deadline:
            directory.write("freezer.state", "THAWED")
            raise _not_frozen(directory, timeout_s)
        tries += 1
        if tries % 20 == 0:
            directory.write("freezer.state", "THAWED")
        time.sleep(0.001)


def thaw_v1(directory: Directory) -> None:
    """Let the processes run again."""
    directory.write("freezer.state", "THAWED")


def _not_frozen(directory: Directory, timeout_s: float) -> HostError:
    return HostError(
        f"freeze cgroup {directory.path}: not all of its processes stopped within {timeout_s:g} s",
        hint="one waits for a device or a network file system (state D in ps); try again later",
    )


def kill_v2(directory: Directory) -> bool:
    """Kill every process in and below the cgroup in one step; return whether this kernel can (5.14)."""
    try:
        directory.write("cgroup.kill", "1")
    except OSError as error:
        # EOPNOTSUPP: a threaded cgroup
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            return False
        raise
    return True


def kill_frozen(directory: Directory, file: str, freeze: str, thaw: str) -> None:
    """Kill while nobody can fork. Not waited for: a signal to a process that is frozen is kept until it is thawed."""
    directory.write(file, freeze)
    try:
        signal_each(directory.path, SIGKILL)
    finally:
        directory.write(file, thaw)


def signal_each(path: str, signum: int) -> tuple[int, ...]:
    """Send a signal to every process in and below the cgroup, never to a stranger; return whom it was sent to.

    A process id read from the cgroup may be somebody else's a moment later. So all are opened first, the list is read
    once more, and only who is on it both times gets the signal: what is opened was in the cgroup then.
    """
    opened: dict[int, int] = {}
    try:
        for pid in processes(path):
            try:
                opened[pid] = _sys.pidfd_open(pid, 0)
            except OSError as error:
                # ended, EINVAL: reaped leader, or 0: a process outside our pid namespace
                if error.errno not in (errno.ESRCH, errno.EINVAL):
                    raise
        members = set(processes(path))
        sent = []
        for pid, fd in opened.items():
            if pid in members:
                try:
                    _sys.pidfd_send_signal(fd, signum, 0)
                    sent.append(pid)
                except ProcessLookupError:
                    pass
        return tuple(sent)
    finally:
        for fd in opened.values():
            os.close(fd)


def kill_each(path: str) -> None:
    """Kill until the cgroup is empty, for kernels without ``cgroup.kill``: freezing first keeps new ones from coming.

    Raises:
        HostError: processes are left after 10 s.
    """
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    pause_s = 0.001
    while processes(path):
        if time.monotonic() > deadline:
            left = " ".join(str(pid) for pid in processes(path)[:10])
            raise HostError(f"kill the processes of cgroup {path}: still there: {left}")
        signal_each(path, SIGKILL)
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)
