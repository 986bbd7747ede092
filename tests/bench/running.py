"""Run a program under measurement, as a shell would: fork, execute, wait."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness import probe

#: Between two runs: short enough that the machine stays awake; long enough that it does not.
PAUSES_S = {"hot": 0.06, "after idle": 0.15}


def run_once(argv: list[str], mount_namespace: int = -1, log: int | None = None) -> tuple[float, int]:
    """Fork and execute; return milliseconds until the program has been waited for, and its exit code."""
    start = time.perf_counter()
    code = wait_for(start_once(argv, mount_namespace, log))
    return (time.perf_counter() - start) * 1000, code


def start_once(argv: list[str], mount_namespace: int = -1, log: int | None = None) -> int:
    """Fork and execute; return the process. ``log`` becomes its standard error, else what it says is lost."""
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_RDWR)
            if mount_namespace >= 0:
                ctypes.CDLL(None).setns(mount_namespace, 0x20000)  # CLONE_NEWNS
            for target, source in ((0, null), (1, null), (2, null if log is None else log)):
                os.dup2(source, target)
            os.execvp(argv[0], argv)
        finally:
            os._exit(127)
    return pid


def wait_for(pid: int) -> int:
    """Wait for a process and return its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def without_hybrid_cgroup2() -> Iterator[int]:
    """Yield a mount namespace that lacks the cgroup2 mount of a hybrid host, at which crun would stumble; else -1."""
    mount = probe.cgroup2_mount()
    if not probe.has("hybrid") or not probe.has("root"):
        yield -1
        return
    script = f"umount {mount} && echo ready && exec sleep 3600"
    holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            sys.exit(f"start.py: cannot unmount {mount} in a private mount namespace")
        descriptor = os.open(f"/proc/{holder.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        yield descriptor
        os.close(descriptor)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
