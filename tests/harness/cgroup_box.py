"""A cgroup of a test's own, and programs that run in it as a container's init would."""

from __future__ import annotations

import os
import select
import signal
from types import TracebackType

from pycontain.cgroups.cgroup import Cgroup, locate
from pycontain.cgroups.host import probe_host, usable
from pycontain.cgroups.layout import CgroupLayout
from pycontain.cgroups.setting import Setting
from pycontain.kernel import _sys
from pycontain.spec.resources import LinuxResources

#: Below which all cgroups of these tests lie.
PARENT = f"pycontain-cgtest-{os.getpid()}"

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")

#: Touches ten MiB more every time, says so, and stops at 120.
MEMORY_HOG = """
import os
kept = []
for size in range(10, 121, 10):
    kept.append(b"x" * (10 << 20))
    os.write(1, b"%d\\n" % size)
"""
#: Makes children that sleep until the kernel refuses one; says how many there are.
FORK_BOMB = """
import os, time
count = 0
try:
    while count < 500:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        count += 1
except OSError as error:
    os.write(1, b"%d %s\\n" % (count, str(error).encode()))
time.sleep(60)
"""
SPIN = "while True: pass"
SLEEP = "import time\ntime.sleep(60)"
#: A process with a child and a grandchild, in a session of their own; ready when it says so.
FAMILY = """
import os, time
os.fork(), os.fork()
os.setsid() if os.getpid() != os.getsid(0) else None
os.write(1, b"ready\\n")
time.sleep(60)
"""


class Program:
    """One program in a cgroup; ``output`` is the reading end of its standard output."""

    def __init__(self, cgroup: Cgroup, *argv: str) -> None:
        self.output, out = os.pipe2(os.O_CLOEXEC)
        entered, entering = os.pipe2(os.O_CLOEXEC)
        join_fds = cgroup.join_fds()
        self.pid, self.pidfd = _sys.clone3(0, cgroup.unified_fd())
        if self.pid == 0:
            try:
                for fd in join_fds:
                    os.write(fd, b"0")
                os.dup2(out, 1)
                os.write(entering, b"E")
                os.execv(argv[0], argv)
            finally:
                os._exit(127)
        for fd in (out, entering, *join_fds):
            os.close(fd)
        # under version 1 alone it enters by itself
        assert os.read(entered, 1) == b"E"
        os.close(entered)

    def line(self, timeout_s: float = 20) -> str:
        """Return the next line of output, empty at its end."""
        text = b""
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([self.output], [], [], timeout_s)
            assert ready, f"no line within {timeout_s} s"
            byte = os.read(self.output, 1)
            if not byte:
                break
            text += byte
        return text.decode().strip()

    def rest(self) -> list[str]:
        """Return all lines until the last writer has gone."""
        with os.fdopen(os.dup(self.output)) as file:
            return file.read().split("\n")[:-1]

    def wait(self, timeout_s: float = 20) -> int:
        """Return the exit code, negative for a signal, as subprocess does."""
        ready, _, _ = select.select([self.pidfd], [], [], timeout_s)
        assert ready, f"process {self.pid} still runs after {timeout_s} s"
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        os.close(self.output)
        self.pidfd = -1
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Kill and reap."""
        if self.pidfd >= 0:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


class Box:
    """Makes cgroups for one test and removes them all at its end, with what runs in them."""

    def __init__(self, layout: CgroupLayout | None = None) -> None:
        self.layout = usable(probe_host()) if layout is None else layout
        self.cgroups: list[Cgroup] = []
        self.programs: list[Program] = []
        self.journal: list[str] = []

    def at(self, name: str, layout: CgroupLayout | None = None) -> Cgroup:
        """Return the cgroup ``name``, not made yet."""
        cgroup = Cgroup(locate(layout or self.layout, f"{PARENT}/{name}"))
        self.cgroups.append(cgroup)
        return cgroup

    def make(self, name: str, resources: LinuxResources | None = None, layout: CgroupLayout | None = None) -> Cgroup:
        """Return the cgroup ``name``, made and limited in the order of a start."""
        cgroup = self.at(name, layout)
        settings: tuple[Setting, ...] = cgroup.check(resources or LinuxResources())
        cgroup.create(self.journal.append, settings)
        cgroup.apply(settings)
        return cgroup

    def run(self, cgroup: Cgroup, *argv: str) -> Program:
        """Start a program in a cgroup."""
        program = Program(cgroup, *argv)
        self.programs.append(program)
        return program

    def python(self, cgroup: Cgroup, text: str) -> Program:
        """Start a Python program in a cgroup."""
        return self.run(cgroup, *PYTHON, text)

    def __enter__(self) -> Box:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for cgroup in self.cgroups:
            cgroup.kill()
        for program in self.programs:
            program.close()
        for cgroup in (*self.cgroups, Cgroup(locate(self.layout, PARENT))):
            cgroup.remove()
