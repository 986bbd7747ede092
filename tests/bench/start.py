"""Print how long a container's start takes, beside other runtimes: ``make bench``.

Every round runs each program once, in a new order, with a pause between two runs: the network namespace of the run
before is torn down in the background, and always meeting the same neighbour's rest would favour one. *Hot* leaves 60 ms
between runs; *after idle* 150 ms, after which the kernel's first cgroup operations take milliseconds.

Absolute times depend on the machine and its load; compare the ratios of one table.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from harness import images
from harness.cli import LAUNCHER

from bench import bundle
from bench.running import PAUSES_S, run_once, without_hybrid_cgroup2

#: How to get what is not installed.
INSTALL = {
    "pycontain": "make install",
    "crun": "apt-get install crun",
    "runc": "apt-get install runc",
    "bwrap": "apt-get install bubblewrap",
    "podman": "apt-get install --no-install-recommends podman",
}


@dataclass
class Peer:
    """A program under measurement: ``command(n)`` is the command line of its n-th run."""

    name: str
    command: Callable[[int], list[str]]
    what: str
    mount_namespace: int = -1
    times_ms: dict[str, list[float]] = field(default_factory=dict)

    def run(self, number: int, log: int | None = None) -> tuple[float, int]:
        """Run it and return milliseconds and exit code; ``log`` becomes its standard error."""
        return run_once(self.command(number), self.mount_namespace, log)


class Answering(Peer):
    """A process that makes a container for each line that it gets, and answers with the milliseconds."""

    def __init__(self, name: str, words: list[str], what: str) -> None:
        super().__init__(name, lambda _: words, what)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)

    def run(self, number: int, log: int | None = None) -> tuple[float, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        elapsed = float(self._process.stdout.readline() or -1)
        return elapsed, 0 if elapsed > 0 else 1

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def loaded(root: Path, rootfs: Path) -> Answering:
    """Return the runtime in a process that has loaded everything (``loaded.py``): its own part of a start."""
    program = str(Path(__file__).with_name("loaded.py"))
    base = str(sys._base_executable)  # type: ignore[attr-defined]
    words = [base, "-ISB", "-Xutf8", program, sysconfig.get_path("platlib"), str(root), str(rootfs)]
    return Answering("own part", words, "the same without the interpreter's boot and the imports")


def library(root: Path, rootfs: Path) -> Answering:
    """Return the library (``library.py``), whose launcher has been started."""
    words = [sys.executable, "-P", str(Path(__file__).with_name("library.py")), str(root), str(rootfs)]
    return Answering("library", words, "`pycontain.run` in a Python program, each run but the first")


def peers(directory: Path, rootfs: Path, namespace: int) -> Iterator[Peer]:
    """Yield each program that is installed; ``namespace`` is a mount namespace without the hybrid cgroup2 mount."""
    true = ["/bin/true"]
    oci = bundle.write(directory / "bundle", rootfs, true)
    docker = "every namespace but user, cgroup mount, 14 capabilities, Docker's seccomp profile, masked paths"

    def runtime(name: str) -> Callable[[int], list[str]]:
        return lambda n: [name, "--root", str(directory / name), "run", "--bundle", str(oci), f"pycontain-bench-{n}"]

    ours = [str(LAUNCHER), "--root", str(directory / "pycontain"), "run", "--rm", str(rootfs), *true]
    yield Peer("pycontain", lambda _: ours, "`run --rm`: the defaults, user namespace and overlay included")
    yield Peer("crun", runtime("crun"), docker, mount_namespace=namespace)
    yield Peer("runc", runtime("runc"), docker)
    bwrap = ["bwrap", "--unshare-all", "--ro-bind", str(rootfs), "/", "--proc", "/proc", "--dev", "/dev", *true]
    yield Peer("bwrap", lambda _: bwrap, "`--unshare-all`: no cgroup, no seccomp")
    # podman bears no runroot of more than 50 characters
    stores = ["--root", str(directory / "p"), "--runroot", str(directory / "r")]
    # its own limits are above what a machine without CAP_SYS_RESOURCE may set
    limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
    runtime_of_podman = ["--runtime=runc", "--cgroup-manager=cgroupfs"]
    run = ["run", "--rm", "--network=none", *limits, "--rootfs", f"{rootfs}:O", *true]
    podman = ["podman", *stores, *runtime_of_podman, *run]
    yield Peer("podman", lambda _: podman, "`run --rm --network=none` with runc, the same root below an overlay")


def usable(candidates: Iterator[Peer], directory: Path) -> tuple[list[Peer], list[str]]:
    """Return the programs that can run the container at all, and a line for each other one."""
    chosen, absent = [], []
    for peer in candidates:
        program = peer.command(0)[0]
        if shutil.which(program) is None:
            absent.append(f"{peer.name}: not installed: `{INSTALL[peer.name]}`")
            continue
        errors = directory / f"{peer.name}.stderr"
        with errors.open("wb") as log:
            _, code = peer.run(0, log.fileno())
        if code == 0:
            chosen.append(peer)
        else:
            lines = errors.read_text(errors="replace").strip().splitlines()
            absent.append(f"{peer.name}: exit code {code}: {lines[-1] if lines else 'no message'}")
    return chosen, absent


def measure(chosen: list[Peer], rounds: int) -> None:
    """Fill in each peer's times, round-robin in shuffled order."""
    number = 1
    for mode, pause_s in PAUSES_S.items():
        for _ in range(rounds):
            for peer in random.sample(chosen, len(chosen)):
                time.sleep(pause_s)
                elapsed, code = peer.run(number)
                number += 1
                if code != 0:
                    sys.exit(f"start.py: {peer.name} failed in the middle: exit code {code}")
                peer.times_ms.setdefault(mode, []).append(elapsed)


def table(chosen: list[Peer]) -> Iterator[str]:
    """Yield the result as a Markdown table; a ratio is our median divided by the other's."""
    modes = list(PAUSES_S)
    ours = [peer for peer in chosen if peer.name in ("pycontain", "own part", "library")]
    ratios = [f"{one.name} ÷ it" for one in ours]
    titles = [title for mode in modes for title in (f"{mode}, median ms", "min", *ratios)]
    yield f"| program | {' | '.join(titles)} | what it does |"
    yield "| --- |" + " ---: |" * len(titles) + " --- |"
    for peer in chosen:
        cells = [peer.name]
        for mode in modes:
            median = statistics.median(peer.times_ms[mode])
            cells += [f"{median:.1f}", f"{min(peer.times_ms[mode]):.1f}"]
            cells += [f"{statistics.median(one.times_ms[mode]) / median:.2f}" for one in ours]
        yield f"| {' | '.join(cells)} | {peer.what} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure container starts beside other runtimes.")
    parser.add_argument("--rounds", type=int, default=20, help="runs of each program in each mode (default: 20)")
    options = parser.parse_args()
    if os.geteuid() == 0 and "PYCONTAIN_BENCH_INSIDE" not in os.environ:
        # podman leaves mounts behind
        os.environ["PYCONTAIN_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, "-m", "bench.start", *sys.argv[1:]])
    # would make every start of ours compile its sources again
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    directory = images.memory_directory("bench-")
    try:
        rootfs = images.rootfs("busybox")
        root = directory / "pycontain"
        with (
            without_hybrid_cgroup2() as namespace,
            closing(loaded(root, rootfs)) as own_part,
            closing(library(root, rootfs)) as called,
        ):
            chosen, absent = usable(chain(peers(directory, rootfs, namespace), [own_part, called]), directory)
            measure(chosen, options.rounds)
        cores = os.cpu_count()
        print(f"`/bin/true` in a busybox root; kernel {os.uname().release}, {cores} cores, {options.rounds} rounds\n")
        print("\n".join([*table(chosen), "", *absent]))
    finally:
        images.remove(directory)


if __name__ == "__main__":
    main()
