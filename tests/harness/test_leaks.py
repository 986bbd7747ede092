"""The leak check notices a planted leak of every kind, and nothing where nothing was planted.

Each plant runs in a child with mount, network and UTS namespaces of its own, so that the plant itself cannot stay.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import probe
from harness.probe import requires

TESTS = Path(__file__).parents[1]

#: Put around each plant: prints what was new while it was there, then what is left after it was taken away.
FRAME = """
import json, os, subprocess, sys, time
sys.path.insert(0, {tests!r})
from harness import leaks

group = f"{{sys.argv[1]}}/pycontain-selftest-{{os.getpid()}}"

def run(*command):
    return subprocess.check_output(command, text=True).strip()

def orphan(command):
    pid = int(run("bash", "-c", f"({{command}} >/dev/null 2>&1) & echo $!"))
    time.sleep(0.3)  # until it is what it will be
    return pid

{prepare}
before = leaks.take()
{plant}
planted = leaks.left_since(before, grace_s=0)
{remove}
print(json.dumps([planted, leaks.left_since(before)]))
"""

PRIVATE_RUN = "run('mount', '-t', 'tmpfs', 'tmpfs', '/run'); os.mkdir('/run/pycontain')"


@dataclass(frozen=True)
class Plant:
    """A leak: statements that make it and take it away, and a pattern of the line that must report it."""

    plant: str
    remove: str
    report: str
    prepare: str = ""
    needs: tuple[str, ...] = ()


PLANTS = {
    "mount": Plant(
        "run('mount', '-t', 'tmpfs', 'planted', '/mnt')", "run('umount', '/mnt')", "mount: / /mnt tmpfs planted"
    ),
    "child": Plant(
        "child = subprocess.Popen(['tail', '-f', '/dev/null'])",
        "child.kill(); child.wait()",
        r"process: pid \d+ \(tail\)",
    ),
    "orphan of the program": Plant(
        "pid = orphan('exec -a pycontain sleep 60')", "os.kill(pid, 9)", r"\(sleep\) pycontain 60"
    ),
    "cgroup": Plant("os.mkdir(group)", "os.rmdir(group)", "cgroup: /pycontain-selftest", needs=("cgroup2",)),
    "process in a cgroup": Plant(
        "pid = orphan('exec tail -f /dev/null'); open(group + '/cgroup.procs', 'w').write(str(pid))",
        "os.kill(pid, 9); time.sleep(0.3); os.rmdir(group)",
        r"process: pid \d+ \(tail\)",
        prepare="os.mkdir(group)",
        needs=("cgroup2",),
    ),
    "network namespace": Plant(
        "pid = orphan('exec unshare -n tail -f /dev/null')",
        "os.kill(pid, 9)",
        r"namespace: net:\[\d+\] held by pid \d+ \(tail\)",
    ),
    "pid namespace": Plant(
        "pid = orphan('exec unshare -pf --kill-child tail -f /dev/null')",
        "os.kill(pid, 9)",
        r"namespace: pid:\[\d+\] held by pid \d+ \(unshare\)",
    ),
    "link": Plant(
        "run('ip', 'link', 'add', 'planted0', 'type', 'veth', 'peer', 'planted1')",
        "run('ip', 'link', 'del', 'planted0')",
        "link: planted1",
        prepare="run('mount', '-t', 'sysfs', 'sysfs', '/sys')",
        needs=("program:ip",),
    ),
    "loop device": Plant(
        "open(image, 'wb').truncate(1 << 20); loop = run('losetup', '-f', '--show', image)",
        "run('losetup', '-d', loop); os.unlink(image)",
        "loop device: loop",
        prepare="image = f'/dev/shm/planted-{os.getpid()}'",
        needs=("loop",),
    ),
    "claim of a user namespace": Plant(
        "os.mkdir('/run/pycontain/userns'); open('/run/pycontain/userns/1000000', 'w').close()",
        "os.unlink('/run/pycontain/userns/1000000')",
        "file: /run/pycontain/userns/1000000",
        prepare=PRIVATE_RUN,
    ),
    "state directory": Plant(
        "os.makedirs('/run/pycontain/containers/' + 64 * 'a')",
        "os.rmdir('/run/pycontain/containers/' + 64 * 'a')",
        "file: /run/pycontain/containers/aaa",
        prepare=PRIVATE_RUN,
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=requires("root", *row.needs)) for name, row in PLANTS.items()]
)
def test_planted_leak_is_noticed(name: str) -> None:
    planted, left = _run(PLANTS[name])
    assert any(re.search(PLANTS[name].report, line) for line in planted), planted
    assert [line for line in left if re.search(PLANTS[name].report, line)] == []


@requires("root")
def test_nothing_is_found_where_nothing_was_planted() -> None:
    planted, left = _run(Plant("", "", ""))
    # others may use this machine meanwhile, but nothing of theirs lasts in both pictures
    assert set(planted) & set(left) == set()


def _run(row: Plant) -> list[list[str]]:
    script = FRAME.format(tests=str(TESTS), prepare=row.prepare, plant=row.plant, remove=row.remove)
    done = subprocess.run(
        ["unshare", "-m", "-n", "-u", sys.executable, "-c", script, str(probe.cgroup2_mount())],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found
