"""Start containers from a process that has loaded everything: what the runtime itself takes, without the interpreter.

``loaded.py PACKAGES ROOT ROOTFS``: PACKAGES is the directory that holds the package. Each line on standard input makes
one container, by a fork as small as a command's own process; the milliseconds until it has been waited for are
answered. Standard streams of the container are /dev/null.
"""

import os
import sys
import time


def main(packages: str, root: str, rootfs: str) -> None:
    """Answer until the end of input."""
    sys.path.insert(0, packages)
    # some only so that they are there
    from pycontain.cgroups import devices, limits  # noqa: F401
    from pycontain.engine import config, spawn  # noqa: F401
    from pycontain.engine.options import run_options
    from pycontain.plan import device_filter  # noqa: F401
    from pycontain.runtime import settings

    null = os.open(os.devnull, os.O_RDWR)
    made = settings.load(dict(os.environ), root=root)
    options = {"rootfs": rootfs, "command": ("/bin/true",), "rm": True}
    for _ in sys.stdin:
        start = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            for number in range(3):
                os.dup2(null, number)
            os._exit(spawn.run(made, run_options(options, dict(os.environ))))
        _, status = os.waitpid(pid, 0)
        print((time.perf_counter() - start) * 1000 if status == 0 else -1, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
