"""Run containers by the library: ``library.py ROOT ROOTFS``; each line on standard input is one run.

The milliseconds that it took, with pipes for the container's streams, are answered. The first run, which starts the
launcher, is over before.
"""

from __future__ import annotations

import sys
import time

import pycontain


def main(root: str, rootfs: str) -> None:
    """Answer until the end of input."""
    pycontain.run(rootfs, ["/bin/true"], store=root)
    for _ in sys.stdin:
        start = time.perf_counter()
        code = pycontain.run(rootfs, ["/bin/true"], store=root).exit_code
        print((time.perf_counter() - start) * 1000 if code == 0 else -1, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
