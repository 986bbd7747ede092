"""Fixtures of the kernel room: a child in namespaces of its own, a program without a C library."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontain.kernel import _sys
from pycontain.kernel import constants as c

InChild = Callable[..., object]

# _start of a program that exits with 42: unistd.h of each architecture, exit_group
EXIT_42 = {
    "x86_64": "mov $42, %edi\n mov $231, %eax\n syscall\n",
    "aarch64": "mov x0, #42\n mov x8, #94\n svc #0\n",
}


def _in_child(function: Callable[[], object], flags: int = 0) -> object:
    """Return what ``function`` returns in a process of its own; a literal, or the text of its OSError."""
    parent, child = _sys.socketpair(c.SOCK_SEQPACKET)
    pid, pidfd = _sys.clone3(flags)
    if pid == 0:
        try:
            answer = repr(function())
        except BaseException as error:
            answer = repr(f"{type(error).__name__}: {error}")
        _sys.sendmsg(child, answer.encode())
        os._exit(0)
    os.close(child)
    data, _, _ = _sys.recvmsg(parent, 65536)
    _sys.waitid_pidfd(pidfd, c.WEXITED)
    os.close(parent)
    os.close(pidfd)
    return ast.literal_eval(data.decode())


@pytest.fixture
def in_child() -> InChild:
    """Return the runner of a function in a forked process, with clone flags."""
    return _in_child


@pytest.fixture
def in_mount_namespace() -> InChild:
    """Return the runner of a function in private user (if need be) and mount namespaces."""

    def run(function: Callable[[], object], flags: int = 0) -> object:
        uid, gid = os.geteuid(), os.getegid()

        def privately() -> object:
            if user:
                # without a map nothing can be created on a file system of the namespace: EOVERFLOW
                Path("/proc/self/setgroups").write_text("deny")
                Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
                Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
            _sys.mount(None, "/", None, c.MS_REC | c.MS_PRIVATE, None)
            return function()

        user = 0 if os.geteuid() == 0 else c.CLONE_NEWUSER
        return _in_child(privately, flags | user | c.CLONE_NEWNS)

    return run


@pytest.fixture(scope="session")
def exit_42(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a static program that does nothing but ``exit_group(42)``."""
    folder = tmp_path_factory.mktemp("static")
    source = folder / "exit_42.s"
    source.write_text(f".globl _start\n_start:\n {EXIT_42[platform.machine()]}")
    program = folder / "exit_42"
    subprocess.run(["cc", "-nostdlib", "-static", "-o", program, source], check=True)
    return program
