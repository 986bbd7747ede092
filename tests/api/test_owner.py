"""Programs that use the library: threads, forks, and what is left when somebody is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from api.conftest import Program, launcher_of, servants
from harness.cli import Cli
from harness.probe import requires
from harness.processes import command_lines
from harness.waiting import until

pytestmark = [pytest.mark.runtime, requires("root")]

Start = Callable[..., Program]

#: A run that goes on until somebody ends it; the container says so on a file that the test sees.
SLEEPS = """
import sys, pycontain
pycontain.run(sys.argv[1], ["sh", "-c", "touch /seen/begun; exec sleep 987654"], store=sys.argv[2],
              volumes=[sys.argv[3] + ":/seen"])
"""
BEGINS_WITHIN_S = 30


def sleepers() -> list[int]:
    return [pid for pid, words in command_lines() if words[:2] == ["sleep", "987654"]]


def begin(program: Start, pycontain: Cli, busybox: Path, seen: Path, text: str = SLEEPS) -> Program:
    """Start a program whose container runs."""
    seen.chmod(0o777)
    started = program(text, busybox, pycontain.root, seen)
    until(lambda: (seen / "begun").exists() or started.process.poll() is not None, BEGINS_WITHIN_S)
    until(sleepers)
    return started


def test_runs_from_many_threads(program: Start, pycontain: Cli, busybox: Path) -> None:
    """200 runs from 16 threads: each gets its own output, and no descriptor, process or file is left."""
    text = """
import os, sys, pycontain
from concurrent.futures import ThreadPoolExecutor

def one(number):
    result = pycontain.run(sys.argv[1], ["sh", "-c", f"cat; exit {number % 200}"], stdin=str(number).encode(),
                           store=sys.argv[2])
    assert (result.exit_code, result.stdout) == (number % 200, str(number).encode()), result

one(0)
before = sorted(os.listdir("/proc/self/fd"))
with ThreadPoolExecutor(16) as pool:
    list(pool.map(one, range(200)))
assert sorted(os.listdir("/proc/self/fd")) == before
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child was ever ours")
"""
    assert program(text, busybox, pycontain.root).output(110) == "no child was ever ours\n"
    assert pycontain.leftovers() == []


def test_a_fork_has_nothing_of_its_parents(program: Start, pycontain: Cli, busybox: Path) -> None:
    """A child made in the middle of a run holds no socket or pipe of it, and makes containers by itself."""
    text = """
import os, sys, threading, time, pycontain

def run(*words, **options):
    return pycontain.run(sys.argv[1], words, store=sys.argv[2], **options)

run("true")
thread = threading.Thread(target=run, args=("sleep", "2"))
thread.start()
time.sleep(0.5)
def held():
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            pass  # that of the listing itself
    return [name for name in names if name.startswith("socket:")]

assert len(held()) == 2, held()
pid = os.fork()
if pid == 0:
    assert not held(), held()
    assert run("echo", "from the child").stdout == b"from the child\\n"
    os._exit(7)
_, status = os.waitpid(pid, 0)
thread.join()
print(os.waitstatus_to_exitcode(status), run("echo", "again").stdout)
"""
    assert program(text, busybox, pycontain.root).output() == "7 b'again\\n'\n"


def test_a_child_that_lives_on_does_not_keep_a_container(
    program: Start, pycontain: Cli, busybox: Path, tmp_path: Path
) -> None:
    """The owner is killed; a child that it forked during the run holds nothing that would say otherwise."""
    text = SLEEPS.replace(
        "import sys, pycontain",
        "import os, sys, threading, time, pycontain\n"
        "def child():\n"
        "    while not os.path.exists(sys.argv[3] + '/begun'): time.sleep(0.01)\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(1000)\n"
        "threading.Thread(target=child).start()\n",
    )
    owner = begin(program, pycontain, busybox, tmp_path, text)
    assert owner.process.stdout is not None
    child = int(owner.process.stdout.readline())
    try:
        owner.process.kill()
        until(lambda: not sleepers() and not pycontain.leftovers())
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("whom", ["owner", "launcher", "maker", "owner and launcher", "owner and maker"])
def test_nothing_is_left_of_a_container_whose(
    whom: str, program: Start, pycontain: Cli, busybox: Path, tmp_path: Path
) -> None:
    """Is killed; the leak check looks for mounts, cgroups, claims and processes."""
    owner = begin(program, pycontain, busybox, tmp_path)
    launcher = launcher_of(owner.process.pid)
    (maker,) = set(servants(owner.process.pid)) - {launcher}
    victims = {"owner": owner.process.pid, "launcher": launcher, "maker": maker}
    for name in whom.split(" and "):
        os.kill(victims[name], signal.SIGKILL)
    began = time.monotonic()
    until(lambda: not sleepers() and not pycontain.leftovers())
    assert time.monotonic() - began < 5
    _, err = owner.process.communicate(timeout=20)
    if "owner" not in whom:
        assert "pycontain.errors.StageError: the " in err
        assert "was killed" in err


def test_an_owner_whose_launcher_was_killed_gets_another(program: Start, pycontain: Cli, busybox: Path) -> None:
    text = """
import os, signal, sys, time, pycontain

def run(word):
    print(pycontain.run(sys.argv[1], ["echo", word], store=sys.argv[2]).stdout, flush=True)

run("one")
sys.stdin.readline()
run("two")
"""
    owner = program(text, busybox, pycontain.root)
    assert owner.process.stdout is not None
    assert owner.process.stdout.readline() == "b'one\\n'\n"
    os.kill(launcher_of(owner.process.pid), signal.SIGKILL)
    until(lambda: not servants(owner.process.pid))
    out, err = owner.process.communicate("\n", timeout=30)
    assert (out, err) == ("b'two\\n'\n", "")


def test_an_interrupt_ends_the_container(program: Start, pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    owner = begin(program, pycontain, busybox, tmp_path)
    owner.process.send_signal(signal.SIGINT)
    _, err = owner.process.communicate(timeout=20)
    assert err.endswith("KeyboardInterrupt\n")
    until(lambda: not sleepers() and not pycontain.leftovers())


def test_an_interrupt_does_so_though_a_fork_in_c_has_copies(
    program: Start, pycontain: Cli, busybox: Path, tmp_path: Path
) -> None:
    """No hook of Python's is called by such a fork."""
    text = SLEEPS.replace(
        "import sys, pycontain",
        "import ctypes, os, sys, threading, time, pycontain\n"
        "def child():\n"
        "    while not os.path.exists(sys.argv[3] + '/begun'): time.sleep(0.01)\n"
        "    pid = ctypes.PyDLL(None).fork()\n"
        "    if pid == 0:\n"
        "        ctypes.PyDLL(None).pause()\n"
        "    print(pid, flush=True)\n"
        "threading.Thread(target=child).start()\n",
    )
    owner = begin(program, pycontain, busybox, tmp_path, text)
    assert owner.process.stdout is not None
    child = int(owner.process.stdout.readline())
    try:
        owner.process.send_signal(signal.SIGINT)
        until(lambda: not sleepers() and not pycontain.leftovers())
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_launcher_ends_with_its_owner(program: Start, pycontain: Cli, busybox: Path) -> None:
    text = """
import sys, pycontain
pycontain.run(sys.argv[1], ["true"], store=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""
    owner = program(text, busybox, pycontain.root)
    assert owner.process.stdout is not None
    assert owner.process.stdout.readline() == "ready\n"
    (launcher,) = until(lambda: len(found := servants(owner.process.pid)) == 1 and found)
    assert os.readlink(f"/proc/{launcher}/cwd") == "/"
    owner.process.communicate("\n")
    until(lambda: not Path(f"/proc/{launcher}").exists())


def test_a_launcher_started_by_a_thread_outlives_it(program: Start, pycontain: Cli, busybox: Path) -> None:
    text = """
import sys, threading, pycontain

def run():
    results.append(pycontain.run(sys.argv[1], ["true"], store=sys.argv[2]).exit_code)

results = []
for _ in range(3):
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
print(results)
"""
    assert program(text, busybox, pycontain.root).output() == "[0, 0, 0]\n"


@pytest.mark.parametrize(("name", "most"), [("pycontain", 15), ("pycontain.errors", 15)])
def test_the_import_is_cheap(name: str, most: float) -> None:
    """Nothing but a few modules of ours: what a program pays that may never make a container."""
    text = (
        "import sys, time; before = set(sys.modules); a = time.perf_counter(); "
        f"import {name}; print((time.perf_counter() - a) * 1000, *sorted(set(sys.modules) - before))"
    )
    done = [subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True) for _ in range(5)]
    took = [one.stdout.split() for one in done]
    assert min(float(words[0]) for words in took) < most
    assert set(took[0][1:]) <= {"__future__", "pycontain", "pycontain.errors"}


def test_a_caller_without_descriptors_gets_an_error_and_loses_none(
    program: Start, pycontain: Cli, busybox: Path
) -> None:
    """At whichever descriptor it fails, with a launcher and without one."""
    text = """
import os, resource, sys, pycontain
from pycontain.engine import owner

pycontain.run, pycontain.HostError  # imported before it is too late
while os.open("/dev/null", os.O_RDONLY) < 20:
    pass  # no gaps

def open_ones():
    return sorted(fd for fd in range(100) if os.path.exists(f"/proc/self/fd/{fd}"))

def run():
    return pycontain.run(sys.argv[1], ["echo", "x"], store=sys.argv[2]).stdout

def launch():
    os.close(owner.launch())

def until_it_works(function):
    failed = 0
    for limit in range(21, 60):
        before = open_ones()
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
        try:
            return function(), failed
        except pycontain.HostError as error:
            failed += 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        assert open_ones() == before, (limit, before, open_ones())

assert until_it_works(launch)[1] > 5
run()
result, failed = until_it_works(run)
assert (result, failed > 3) == (b"x\\n", True)
print("done")
"""
    assert program(text, busybox, pycontain.root).output() == "done\n"


def test_a_launcher_that_cannot_start_says_why(program: Start, busybox: Path, tmp_path: Path) -> None:
    """Told at once, not after the patience for slow machines."""
    fake = tmp_path / "pycontain"
    fake.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    fake.chmod(0o755)
    text = """
import sys, time, pycontain
from pycontain.engine import owner
owner._program = lambda: sys.argv[2]
began = time.monotonic()
try:
    pycontain.run(sys.argv[1], ["true"])
except pycontain.HostError as error:
    print(error, time.monotonic() - began < 10)
"""
    out = program(text, busybox, fake).output()
    assert out == f"{fake}: the launcher does not start: no such luck True\n"
