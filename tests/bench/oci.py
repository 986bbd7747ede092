"""Print how long each command of ``pycontain-oci`` takes, beside runc and crun: ``make bench-oci``.

Every round runs each program once, in a new order (``start.py`` says why). The configuration is Docker's default.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness import images
from harness.cli import LAUNCHER

from bench import bundle
from bench.running import PAUSES_S, run_once, start_once, wait_for, without_hybrid_cgroup2

CROWD = 500
AT_A_TIME = 8
KILOBYTE = 1024


@dataclass
class Runtime:
    """A low-level runtime, its own state directory and what it keeps there."""

    name: str
    program: str
    root: Path
    bundles: Path
    mount_namespace: int = -1
    times_ms: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def words(self, *words: str) -> list[str]:
        """Return a command line of it."""
        return [self.program, "--root", str(self.root), *words]

    def timed(self, *words: str) -> float:
        """Return the milliseconds of a command; one that fails ends the measurement."""
        elapsed, code = run_once(self.words(*words), self.mount_namespace)
        if code != 0:
            sys.exit(f"oci.py: {self.name} {' '.join(words)}: exit code {code}")
        return elapsed

    def bundle(self, name: str) -> str:
        """Return the path of a bundle."""
        return str(self.bundles / name)

    def keep(self, name: str) -> None:
        """Start a container that sleeps."""
        self.timed("create", "--bundle", self.bundle("sleep"), name)
        self.timed("start", name)


def run(runtime: Runtime, name: str) -> float:
    """Measure ``run``."""
    return runtime.timed("run", "--bundle", runtime.bundle("true"), name)


def life(runtime: Runtime, name: str) -> float:
    """Measure ``create``, ``start`` and ``delete --force`` of a program that goes on until then."""
    elapsed = runtime.timed("create", "--bundle", runtime.bundle("sleep"), name)
    elapsed += runtime.timed("start", name)
    return elapsed + runtime.timed("delete", "--force", name)


def execute(runtime: Runtime, _: str) -> float:
    """Measure ``exec`` into a running container."""
    return runtime.timed("exec", "kept", "/bin/true")


def state(runtime: Runtime, _: str) -> float:
    """Measure ``state``."""
    return runtime.timed("state", "kept")


def several(runtime: Runtime, name: str) -> float:
    """Measure ``run`` of some at once, divided by their number."""
    words = ("run", "--bundle", runtime.bundle("true"))
    start = time.perf_counter()
    pids = [start_once(runtime.words(*words, f"{name}-{n}"), runtime.mount_namespace) for n in range(AT_A_TIME)]
    codes = [wait_for(pid) for pid in pids]
    if any(codes):
        sys.exit(f"oci.py: {runtime.name}: exit codes {codes}")
    return (time.perf_counter() - start) * 1000 / AT_A_TIME


def listing(runtime: Runtime, _: str) -> float:
    """Measure ``list``."""
    return runtime.timed("list")


ACTIONS: dict[str, Callable[[Runtime, str], float]] = {
    "run": run,
    "create, start, delete": life,
    "exec": execute,
    "state": state,
    f"run, {AT_A_TIME} at a time, each": several,
}


def runtimes(directory: Path, rootfs: Path, namespace: int) -> Iterator[Runtime]:
    """Yield each runtime that is installed; ``namespace`` is a mount namespace without the hybrid cgroup2 mount."""
    bundles = directory / "bundles"
    bundles.mkdir()
    bundle.write(bundles / "true", rootfs, ["/bin/true"])
    bundle.write(bundles / "sleep", rootfs, ["/bin/sleep", "3600"])
    for name, program, mounts in (
        ("pycontain-oci", str(LAUNCHER.with_name("pycontain-oci")), -1),
        ("crun", "crun", namespace),
        ("runc", "runc", -1),
    ):
        if shutil.which(program) is None:
            print(f"{name}: not installed", file=sys.stderr)
            continue
        yield Runtime(name, program, directory / name, bundles, mounts)


def measure(chosen: list[Runtime], actions: dict[str, Callable[[Runtime, str], float]], rounds: int) -> None:
    """Fill in each runtime's times, round-robin in shuffled order."""
    for mode, pause_s in PAUSES_S.items():
        for number in range(rounds):
            for action, function in actions.items():
                for runtime in random.sample(chosen, len(chosen)):
                    time.sleep(pause_s)
                    name = f"bench-{os.getpid()}-{number}-{mode[:3]}"
                    elapsed = function(runtime, name)
                    runtime.times_ms.setdefault((action, mode), []).append(elapsed)


def crowded(chosen: list[Runtime], rounds: int) -> None:
    """Measure ``list`` and ``state`` among many containers."""
    for runtime in chosen:
        for number in range(CROWD - 1):
            runtime.keep(f"crowd-{os.getpid()}-{number}")
    measure(chosen, {f"list of {CROWD}": listing, f"state among {CROWD}": state}, rounds)
    for runtime in chosen:
        for number in range(CROWD - 1):
            runtime.timed("delete", "--force", f"crowd-{os.getpid()}-{number}")


def least_memory_kb(runtime: Runtime) -> int:
    """Return the least memory limit, in KiB, under which ``/bin/true`` runs, to 64 KiB."""
    configuration = json.loads((runtime.bundles / "true" / "config.json").read_text())
    directory = runtime.bundles / f"memory-{runtime.name}"
    directory.mkdir()
    low, high = 0, 16 * KILOBYTE
    while high - low > 64:
        limit = (low + high) // 2
        configuration["linux"]["resources"]["memory"] = {"limit": limit * KILOBYTE}
        (directory / "config.json").write_text(json.dumps(configuration))
        words = runtime.words("run", "--bundle", str(directory), f"memory-{limit}")
        _, code = run_once(words, runtime.mount_namespace)
        low, high = (low, limit) if code == 0 else (limit, high)
        run_once(runtime.words("delete", "--force", f"memory-{limit}"), runtime.mount_namespace)
    return high


def table(chosen: list[Runtime]) -> Iterator[str]:
    """Yield the result as a Markdown table; a ratio is our median divided by the other's."""
    ours, *others = chosen
    titles = [f"{mode}, median ms | " + " | ".join(f"÷ {other.name}" for other in others) for mode in PAUSES_S]
    yield f"| command | {' | '.join(titles)} |"
    yield "| --- |" + " ---: |" * (len(PAUSES_S) * len(chosen))
    for action in dict.fromkeys(action for action, _ in ours.times_ms):
        cells = [action]
        for mode in PAUSES_S:
            median = statistics.median(ours.times_ms[action, mode])
            cells.append(f"{median:.1f}")
            cells += [f"{median / statistics.median(other.times_ms[action, mode]):.2f}" for other in others]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure pycontain-oci beside runc and crun.")
    parser.add_argument("--rounds", type=int, default=20, help="runs of each command in each mode (default: 20)")
    parser.add_argument("--crowd", action="store_true", help=f"also among {CROWD} containers, which takes a minute")
    options = parser.parse_args()
    # would make every start of ours compile its sources again
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    directory = images.memory_directory("bench-")
    try:
        with without_hybrid_cgroup2() as namespace:
            chosen = list(runtimes(directory, images.rootfs("busybox"), namespace))
            for runtime in chosen:
                runtime.keep("kept")
            try:
                measure(chosen, ACTIONS, options.rounds)
                if options.crowd:
                    crowded(chosen, options.rounds)
                memory = ", ".join(f"{runtime.name} {least_memory_kb(runtime)}" for runtime in chosen)
            finally:
                for runtime in chosen:
                    runtime.timed("delete", "--force", "kept")
        print(f"kernel {os.uname().release}, {os.cpu_count()} cores, {options.rounds} rounds\n")
        print("\n".join([*table(chosen), "", f"least memory limit for /bin/true, KiB: {memory}"]))
    finally:
        images.remove(directory)


if __name__ == "__main__":
    main()
