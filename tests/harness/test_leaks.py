"""The leak check notices a planted leak of every kind, and nothing where nothing was planted.

Each plant runs in a child with mount, network and UTS namespaces of its own, so that the plant itself cannot stay.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from harness.probe import requires

TESTS = Path(__file__).parents[1]

#: Put around each plant: prints what was new while it was there, then what is left after it was taken away.
FRAME = """
import json, os, subprocess, sys
sys.path.insert(0, {tests!r})
from harness import leaks
before = leaks.take()
{plant}
planted = leaks.left_since(before, grace_s=0)
{remove}
print(json.dumps([planted, leaks.left_since(before)]))
"""

PRIVATE_RUN = "subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', '/run'], check=True); os.mkdir('/run/pycontain')"

#: name: (needed of the host, prepared before the first picture, the plant, its removal, a word of the report)
PLANTS = {
    "mount": (
        (),
        "",
        "subprocess.run(['mount', '-t', 'tmpfs', 'planted', '/mnt'], check=True)",
        "subprocess.run(['umount', '/mnt'], check=True)",
        "mount: / /mnt",
    ),
    "child": (
        (),
        "",
        "child = subprocess.Popen(['sleep', '60'])",
        "child.kill(); child.wait()",
        "process: pid",
    ),
    "orphan of the program": (
        (),
        "",
        "orphan = int(subprocess.check_output("
        "['bash', '-c', '(exec -a pycontain sleep 60 >/dev/null 2>&1) & echo $!']))",
        "os.kill(orphan, 9)",
        "pycontain 60",
    ),
    "cgroup": (
        ("cgroup2",),
        "group = f'{sys.argv[1]}/pycontain-selftest-{os.getpid()}'",
        "os.mkdir(group)",
        "os.rmdir(group)",
        "cgroup: /",
    ),
    "process in a cgroup": (
        ("cgroup2",),
        "group = f'{sys.argv[1]}/pycontain-selftest-{os.getpid()}'; os.mkdir(group)",
        "orphan = int(subprocess.check_output(['sh', '-c', 'sleep 60 >/dev/null 2>&1 & echo $!']))\n"
        "open(group + '/cgroup.procs', 'w').write(str(orphan))",
        "import time; os.kill(orphan, 9); time.sleep(0.3); os.rmdir(group)",
        "(sleep)",
    ),
    "network namespace": (
        (),
        "",
        "orphan = int(subprocess.check_output(['sh', '-c', 'unshare -n sleep 60 >/dev/null 2>&1 & echo $!']))\n"
        "import time; time.sleep(0.3)",
        "os.kill(orphan, 9)",
        "namespace: net:[",
    ),
    "pid namespace": (
        (),
        "",
        "orphan = int(subprocess.check_output("
        "['sh', '-c', 'unshare -pf --kill-child sleep 60 >/dev/null 2>&1 & echo $!']))\n"
        "import time; time.sleep(0.3)",
        "os.kill(orphan, 9)",
        "namespace: pid:[",
    ),
    "link": (
        ("program:ip",),
        "subprocess.run(['mount', '-t', 'sysfs', 'sysfs', '/sys'], check=True)",
        "subprocess.run(['ip', 'link', 'add', 'planted0', 'type', 'veth', 'peer', 'planted1'], check=True)",
        "subprocess.run(['ip', 'link', 'del', 'planted0'], check=True)",
        "link: planted1",
    ),
    "loop device": (
        ("loop",),
        "",
        "open('/dev/shm/planted.img', 'wb').truncate(1 << 20)\n"
        "loop = subprocess.check_output(['losetup', '-f', '--show', '/dev/shm/planted.img'], text=True).strip()",
        "subprocess.run(['losetup', '-d', loop], check=True); os.unlink('/dev/shm/planted.img')",
        "loop device: loop",
    ),
    "claim of a user namespace": (
        (),
        PRIVATE_RUN,
        "os.mkdir('/run/pycontain/userns'); open('/run/pycontain/userns/1000000', 'w').close()",
        "os.unlink('/run/pycontain/userns/1000000')",
        "file: /run/pycontain/userns/1000000",
    ),
    "state directory": (
        (),
        PRIVATE_RUN,
        "os.makedirs('/run/pycontain/containers/' + 64 * 'a')",
        "os.rmdir('/run/pycontain/containers/' + 64 * 'a')",
        "file: /run/pycontain/containers/aaa",
    ),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=requires("root", *row[0])) for name, row in PLANTS.items()])
def test_planted_leak_is_noticed(name: str) -> None:
    _, prepare, plant, remove, word = PLANTS[name]
    planted, left = _run(prepare, plant, remove)
    assert any(word in line for line in planted), f"expected {word!r} in {planted}"
    assert left == []


@requires("root")
def test_nothing_is_found_where_nothing_was_planted() -> None:
    assert _run("", "", "") == [[], []]


def _run(prepare: str, plant: str, remove: str) -> list[list[str]]:
    from harness import probe

    frame = FRAME.replace("before =", f"{prepare}\nbefore =")
    script = frame.replace("{tests!r}", repr(str(TESTS))).replace("{plant}", plant).replace("{remove}", remove)
    done = subprocess.run(
        ["unshare", "-m", "-n", "-u", sys.executable, "-c", script, str(probe.cgroup2_mount())],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found
