"""Start containers from a process that has loaded everything: what the runtime itself takes, without the interpreter.

``loaded.py PACKAGES ROOT ROOTFS``: PACKAGES is the directory that holds the package. Each line on standard input makes
one container, by a fork as small as a command's own process; the milliseconds until it has been waited for are
answered. The fork is made before: it is this measurement's, no command does it. What follows from it, pages that are
copied when they are written, is in the figure. Standard streams of the container are /dev/null.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable


def main(packages: str, root: str, rootfs: str) -> None:
    """Answer until the end of input."""
    sys.path.insert(0, packages)
    gc.set_threshold(100_000)  # as launcher/_start.py does for every command
    # some only so that they are there
    from pycontain.cgroups import devices, limits  # noqa: F401
    from pycontain.engine import config, spawn  # noqa: F401
    from pycontain.engine.options import run_options
    from pycontain.plan import device_filter  # noqa: F401
    from pycontain.runtime import settings

    made = settings.load(dict(os.environ), root=root)
    options = {"rootfs": rootfs, "command": ("/bin/true",), "rm": True}
    go, waiting = -1, 0
    while True:
        if not waiting:
            go, waiting = waiting_run(lambda: spawn.run(made, run_options(options, dict(os.environ))))
        if not sys.stdin.readline():
            break
        start = time.perf_counter()
        os.close(go)
        _, status = os.waitpid(waiting, 0)
        print((time.perf_counter() - start) * 1000 if status == 0 else -1, flush=True)
        waiting = 0
    os.kill(waiting, signal.SIGKILL)
    os.waitpid(waiting, 0)


def waiting_run(run: Callable[[], int]) -> tuple[int, int]:
    """Fork a process that runs a container once the descriptor is closed; return that descriptor and the process."""
    told, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.read(told, 1)
        os.close(told)
        os._exit(run())
    os.close(told)
    return go, pid


if __name__ == "__main__":
    main(*sys.argv[1:])
