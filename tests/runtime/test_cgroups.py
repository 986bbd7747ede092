"""A container's cgroups on this host's own hierarchies and on pure cgroup v2: making, freezing, killing, removing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cgroup_box import FAMILY, PARENT, SLEEP, SPIN, Box
from harness.probe import requires
from harness.waiting import until

from pycontain.cgroups import freezer, tree
from pycontain.cgroups.cgroup import USUAL_CONTROLLERS, Cgroup, CgroupPaths, locate
from pycontain.cgroups.host import probe_host
from pycontain.cgroups.layout import NONE
from pycontain.cgroups.stats import CgroupStats, stats
from pycontain.errors import HostError
from pycontain.spec.resources import LinuxResources, Memory

pytestmark = requires("root")
UML, BOTH = pytest.mark.guest("uml"), pytest.mark.guest


@pytest.fixture
def box() -> Iterator[Box]:
    with Box() as made:
        if not made.layout.unified and not made.layout.v1:
            pytest.skip("no cgroup can be made here")
        yield made


@pytest.fixture
def v1_box() -> Iterator[Box]:
    """A box on a host without cgroup v2: this one, with the unified hierarchy left out."""
    layout = probe_host()
    if "freezer" not in layout.v1:
        pytest.skip("the v1 freezer is not mounted")
    with Box(layout.replace(mode="v1", unified=None)) as made:
        yield made


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@UML
def test_every_directory_is_journaled_before_it_is_made(box: Box) -> None:
    cgroup = box.at("journal")
    seen = []

    def journal(path: str) -> None:
        assert not os.path.exists(path)
        seen.append(path)

    cgroup.create(journal)
    assert tuple(seen) == cgroup.paths.directories
    assert all(os.path.isdir(path) for path in seen)
    cgroup.remove()
    assert not any(os.path.exists(path) for path in seen)
    cgroup.remove()


@BOTH
def test_a_program_is_in_every_hierarchy_from_its_first_instruction(box: Box) -> None:
    cgroup = box.make("member")
    program = box.run(cgroup, "/bin/cat", "/proc/self/cgroup")
    lines = program.rest()
    assert program.wait() == 0
    assert lines
    controllers = {name for line in lines for name in line.split(":")[1].split(",") if name}
    assert controllers == set(cgroup.paths.v1)
    mounted = [line for line in lines if line.split(":")[1] or box.layout.unified]
    assert [line for line in mounted if not line.endswith(f"/{PARENT}/member")] == []


def test_state_is_enough_to_find_the_cgroup_again(box: Box) -> None:
    program = box.python(box.make("again"), SLEEP)
    again = Cgroup(CgroupPaths(**box.cgroups[0].paths.asdict()))
    assert again.procs() == (program.pid,)
    again.kill()
    assert program.wait() == -signal.SIGKILL
    again.remove()


def test_an_occupied_cgroup_is_refused(box: Box) -> None:
    program = box.python(box.make("occupied"), SLEEP)
    journal: list[str] = []
    with pytest.raises(HostError, match=f"has 1 processes already, the first is {program.pid}"):
        box.at("occupied").create(journal.append)
    assert journal == []


def test_an_occupied_cgroup_below_is_refused_too(box: Box) -> None:
    box.python(box.make("outer/inner"), SLEEP)
    with pytest.raises(HostError, match="processes already"):
        box.at("outer").create(box.journal.append)


def test_a_cgroup_that_another_makes_at_the_same_time_is_let_alone(box: Box) -> None:
    """Whoever undoes a container ends all that is in the cgroups of its journal."""
    cgroup = box.at("taken")
    last = cgroup.paths.directories[-1]
    journal: list[str] = []

    def beaten(path: str) -> None:
        journal.append(path)
        if path == last:
            os.makedirs(path)

    with pytest.raises(HostError, match="another container makes it too"):
        cgroup.create(beaten, withdraw=journal.remove)
    assert journal == list(cgroup.paths.directories[:-1])
    assert [os.path.isdir(path) for path in cgroup.paths.directories] == [
        path == last for path in cgroup.paths.directories
    ]
    os.rmdir(last)


def test_an_empty_cgroup_is_used_and_not_journaled(box: Box) -> None:
    cgroup = box.make("empty")
    journal: list[str] = []
    box.at("empty").create(journal.append)
    assert journal == []
    assert cgroup.procs() == ()


@UML
def test_a_frozen_cgroup_is_refused(box: Box) -> None:
    cgroup = box.make("frozen")
    cgroup.freeze()
    with pytest.raises(HostError, match="is frozen"):
        box.at("frozen").create(box.journal.append)
    with pytest.raises(HostError, match="is frozen"):
        box.at("frozen/below").create(box.journal.append)
    cgroup.thaw()
    box.at("frozen").create(box.journal.append)


def test_a_failure_half_way_leaves_nothing(box: Box) -> None:
    cgroup = box.at("half")
    made: list[str] = []

    def journal(path: str) -> None:
        if len(made) == len(cgroup.paths.directories) - 1:
            raise RuntimeError("the journal's disk is full")
        made.append(path)

    with pytest.raises(RuntimeError):
        cgroup.create(journal)
    assert not any(os.path.exists(path) for path in cgroup.paths.directories)


@UML
def test_a_parent_that_others_remove_meanwhile(box: Box) -> None:
    """Another pycontain may remove the empty shared parent between any two steps of ours."""
    parents = [os.path.dirname(path) for path in box.at("race/one").paths.directories]
    program = (
        "import os, sys\nprint(flush=True)\n"
        "while True:\n for p in sys.argv[1:]:\n  try: os.rmdir(p)\n  except OSError: pass"
    )
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", program, *parents], stdout=subprocess.PIPE) as remover:
        try:
            assert remover.stdout is not None
            remover.stdout.readline()
            for _ in range(10):
                cgroup = box.at("race/one")
                available = [name for name in cgroup.placement().unified or () if name in USUAL_CONTROLLERS]
                cgroup.create(box.journal.append)
                if cgroup.paths.unified:
                    assert cgroup.directory("unified").read("cgroup.controllers").split() == available
                cgroup.remove()
        finally:
            remover.kill()


def test_ensure_makes_a_shared_cgroup_once(box: Box) -> None:
    shared = box.at("shared")
    shared.ensure()
    box.python(shared, SLEEP)
    again = box.at("shared")
    again.ensure()
    assert len(again.procs()) == 1


@BOTH
def test_freeze_and_thaw(box: Box) -> None:
    cgroup = box.make("freeze")
    program = box.python(cgroup, SPIN)
    until(lambda: _cpu_ns(cgroup, program.pid) > 0)
    assert not cgroup.frozen()
    cgroup.freeze()
    assert cgroup.frozen()
    used = _cpu_ns(cgroup, program.pid)
    time.sleep(0.1)
    assert _cpu_ns(cgroup, program.pid) == used
    cgroup.thaw()
    assert not cgroup.frozen()
    until(lambda: _cpu_ns(cgroup, program.pid) > used)


def test_freeze_and_thaw_without_cgroup_v2(v1_box: Box) -> None:
    cgroup = v1_box.make("freeze1")
    program = v1_box.python(cgroup, FAMILY)
    program.line()
    cgroup.freeze()
    assert cgroup.frozen()
    cgroup.thaw()
    assert not cgroup.frozen()


def test_what_is_frozen_above_stays_frozen(box: Box) -> None:
    outer, inner = box.make("above"), box.make("above/below")
    box.python(inner, SLEEP)
    outer.freeze()
    assert inner.frozen()
    if inner.paths.unified:
        with pytest.raises(HostError, match="still frozen") as caught:
            inner.thaw(timeout_s=0.1)
        assert "above" in caught.value.hint
    outer.thaw()


@UML
def test_a_process_in_vfork_is_frozen_too(box: Box) -> None:
    """It waits uninterruptibly for its child, which waits for somebody to open a FIFO."""
    cgroup = box.make("vfork")
    with tempfile.TemporaryDirectory() as directory:
        fifo = f"{directory}/fifo"
        os.mkfifo(fifo)
        actions = f"[(os.POSIX_SPAWN_OPEN, 0, {fifo!r}, os.O_RDONLY, 0)]"
        program = box.python(cgroup, f"import os\nos.posix_spawn('/bin/true', ['true'], {{}}, file_actions={actions})")
        until(lambda: len(cgroup.procs()) == 2 and state_of(program.pid) == "D")
        cgroup.freeze()
        assert cgroup.frozen()
        cgroup.thaw()


def test_what_does_not_stop_in_time_runs_on(box: Box) -> None:
    cgroup = box.make("slow")
    program = box.python(cgroup, "import os\nos.fork(), os.fork(), os.fork()\nos.write(1, b'ready\\n')\n" + SPIN)
    for _ in range(8):
        program.line()
    error = None
    for _ in range(20):
        try:
            cgroup.freeze(timeout_s=0)
        except HostError as caught:
            error = caught
            break
        cgroup.thaw()
    if error is None:
        pytest.skip("eight processes on fewer processors stop at once here")
    assert "not all of its processes stopped within 0 s" in str(error)
    until(lambda: not cgroup.frozen())
    cgroup.freeze()


@UML
@pytest.mark.parametrize("frozen", [False, True])
def test_kill_takes_the_whole_family(box: Box, frozen: bool) -> None:
    cgroup = box.make("family")
    program = box.python(cgroup, FAMILY)
    for _ in range(4):
        assert program.line() == "ready"
    assert len(cgroup.procs()) == 4
    if frozen:
        cgroup.freeze()
    cgroup.kill()
    assert program.wait() == -signal.SIGKILL
    until(lambda: cgroup.procs() == ())
    if frozen:
        cgroup.thaw()


@pytest.mark.parametrize("frozen", [False, True])
def test_kill_without_cgroup_v2(v1_box: Box, frozen: bool) -> None:
    cgroup = v1_box.make("family1")
    program = v1_box.python(cgroup, FAMILY)
    for _ in range(4):
        program.line()
    if frozen:
        cgroup.freeze()
    cgroup.kill()
    assert cgroup.procs() == ()
    assert program.wait() == -signal.SIGKILL


@UML
def test_kill_without_cgroup_kill(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on kernels before 5.14."""
    monkeypatch.setattr(freezer, "kill_v2", lambda _directory: False)
    cgroup = box.make("family2")
    program = box.python(cgroup, FAMILY)
    program.line()
    cgroup.kill()
    assert cgroup.procs() == ()
    assert program.wait() == -signal.SIGKILL


def test_kill_also_below(box: Box) -> None:
    outer, inner = box.make("nest"), box.make("nest/inner/most")
    program = box.python(inner, SLEEP)
    assert outer.procs() == inner.procs() == (program.pid,)
    outer.kill()
    assert program.wait() == -signal.SIGKILL


def test_signal_all(box: Box) -> None:
    cgroup = box.make("signal")
    program = box.python(cgroup, SLEEP)
    assert cgroup.signal_all(signal.SIGTERM) == (program.pid,)
    assert program.wait() == -signal.SIGTERM
    assert cgroup.signal_all(signal.SIGTERM) == ()


@BOTH
def test_remove_takes_what_the_container_made_below(box: Box) -> None:
    cgroup = box.make("deep")
    for path in cgroup.paths.directories:
        for below in ("a/b/c", "a/d", "e"):
            os.makedirs(f"{path}/{below}", exist_ok=True)
    cgroup.remove()
    assert not any(os.path.exists(path) for path in cgroup.paths.directories)


def test_remove_names_who_is_left(box: Box) -> None:
    cgroup = box.make("busy")
    program = box.python(cgroup, SLEEP)
    started = time.monotonic()
    with pytest.raises(HostError, match=f"still has processes: {program.pid}"):
        cgroup.remove(timeout_s=0.1)
    assert time.monotonic() - started < 1.5


@UML
def test_remove_waits_for_the_last_process(box: Box) -> None:
    cgroup = box.make("late")
    program = box.python(cgroup, "import time\ntime.sleep(0.4)")
    cgroup.remove()
    assert program.wait() == 0


@UML
def test_the_process_that_init_moved_below_is_found(box: Box) -> None:
    outer, inner = box.make("exec"), box.make("exec/init")
    program = box.python(inner, SLEEP)
    if not outer.paths.unified:
        assert outer.unified_fd_of(program.pid) == -1
        return
    fd = outer.unified_fd_of(program.pid)
    try:
        assert os.readlink(f"/proc/self/fd/{fd}") == inner.paths.unified
    finally:
        os.close(fd)
    assert outer.unified_fd_of(os.getpid()) == -1


@UML
def test_delegate(box: Box) -> None:
    cgroup = box.make("delegate")
    if not cgroup.paths.unified:
        pytest.skip("needs cgroup v2")
    cgroup.delegate(65534, 65533)
    path = Path(cgroup.paths.unified)
    for name in ("", "cgroup.procs", "cgroup.subtree_control"):
        found = (path / name).stat()
        assert (found.st_uid, found.st_gid) == (65534, 65533), name
    assert (path / "cgroup.kill").stat().st_uid == 0
    assert (path / "cgroup.freeze").stat().st_uid == 0


def test_add_moves_a_process_in(box: Box) -> None:
    cgroup, other = box.make("add"), box.make("other")
    program = box.python(other, SLEEP)
    cgroup.add(program.pid)
    assert (cgroup.procs(), other.procs()) == ((program.pid,), ())


def test_without_cgroups_all_but_limits_goes_on() -> None:
    cgroup = Cgroup(locate(NONE, "pycontain/x"))
    assert cgroup.check(LinuxResources()) == ()
    cgroup.create(lambda path: pytest.fail(path))
    cgroup.apply(())
    assert (cgroup.unified_fd(), cgroup.join_fds(), cgroup.procs(), cgroup.frozen(), cgroup.oom_kills()) == (
        -1,
        (),
        (),
        False,
        0,
    )
    assert cgroup.signal_all(9) == ()
    assert stats(cgroup) == CgroupStats()
    cgroup.kill()
    cgroup.remove()
    with pytest.raises(HostError, match="no cgroup hierarchy can be used"):
        cgroup.check(LinuxResources(memory=Memory(limit=1 << 20)))
    with pytest.raises(HostError, match="freeze"):
        cgroup.freeze()


def test_a_cgroup_that_is_gone(box: Box) -> None:
    cgroup = box.make("gone")
    for _ in range(2):  # once with its directory held open, once without
        tree.remove(cgroup.paths.directories)
        cgroup.kill()
        assert (cgroup.procs(), cgroup.signal_all(9), cgroup.frozen(), cgroup.oom_kills()) == ((), (), False, 0)
        assert stats(cgroup) == CgroupStats()
        cgroup.remove()


def _cpu_ns(cgroup: Cgroup, pid: int) -> int:
    """Return the processor time of a process; the cgroup's is not counted everywhere."""
    assert pid in cgroup.procs()
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)
