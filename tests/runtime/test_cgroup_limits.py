"""Limits that really limit: memory hog, fork bomb, processor quota and the rest, on this host and in the guests."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cgroup_box import FORK_BOMB, MEMORY_HOG, SLEEP, SPIN, Box
from harness.probe import requires

from pycontain.cgroups.cgroup import Cgroup
from pycontain.cgroups.stats import CgroupStats, CpuStats, MemoryStats, stats
from pycontain.cgroups.update import update
from pycontain.errors import HostError, SpecError
from pycontain.spec.resources import (
    BlockIO,
    Cpu,
    HugepageLimit,
    LinuxResources,
    Memory,
    Pids,
    Rdma,
    ThrottleDevice,
)

pytestmark = requires("root")
UML, QEMU, BOTH = pytest.mark.guest("uml"), pytest.mark.guest("qemu"), pytest.mark.guest
MIB = 1 << 20


@pytest.fixture
def box() -> Iterator[Box]:
    with Box() as made:
        yield made


def memory_of(cgroup: Cgroup) -> MemoryStats:
    found = stats(cgroup).memory
    assert found is not None
    return found


def cpu_of(cgroup: Cgroup) -> CpuStats:
    found = stats(cgroup).cpu
    assert found is not None
    return found


@BOTH
@requires("cgroup:memory")
def test_a_memory_hog_is_killed_and_counted(box: Box) -> None:
    limit = 64 * MIB
    cgroup = box.make("hog", LinuxResources(memory=Memory(limit=limit, swap=limit)))
    assert cgroup.oom_kills() == 0
    program = box.python(cgroup, MEMORY_HOG)
    assert program.wait() == -signal.SIGKILL
    assert cgroup.oom_kills() == 1
    used = memory_of(cgroup)
    assert (used.limit, used.oom_kills) == (limit, 1)
    # the kernel counts failures of cgroup v1 no longer (seen on 6.18)
    assert used.failures > 0 or "memory" in cgroup.paths.v1
    if used.peak is not None:
        assert 32 * MIB < used.peak <= limit


@requires("cgroup:memory")
def test_below_the_limit_nobody_is_killed(box: Box) -> None:
    cgroup = box.make("modest", LinuxResources(memory=Memory(limit=200 * MIB, swap=200 * MIB)))
    program = box.python(cgroup, MEMORY_HOG)
    assert program.rest()[-1] == "120"
    assert program.wait() == 0
    assert cgroup.oom_kills() == 0


@BOTH
@requires("cgroup:pids")
def test_a_fork_bomb_is_held(box: Box) -> None:
    cgroup = box.make("bomb", LinuxResources(pids=Pids(30)))
    program = box.python(cgroup, FORK_BOMB)
    assert program.line() == "29 [Errno 11] Resource temporarily unavailable"
    pids = stats(cgroup).pids
    assert pids is not None
    assert (pids.current, pids.limit) == (30, 30)
    assert pids.failures > 0
    assert len(cgroup.procs()) == 30


@BOTH
@requires("cgroup:cpu")
def test_half_a_processor(box: Box) -> None:
    cgroup = box.make("half", LinuxResources(cpu=Cpu(quota=50_000, period=100_000)))
    box.python(cgroup, "import os\nos.fork()\n" + SPIN)
    time.sleep(0.3)
    started, before = time.monotonic_ns(), cpu_of(cgroup)
    time.sleep(2)
    after, ended = cpu_of(cgroup), time.monotonic_ns()
    periods = after.periods - before.periods
    held = after.throttled_periods - before.throttled_periods
    quotas = (after.usage_ns - before.usage_ns) / 50_000_000
    # The kernel's own periods are the measure: on a busy machine the group may not get its half in some, and is held in
    # none of these. One more or less, because neither look is made at a period's end.
    assert periods <= (ended - started) / 100_000_000 + 1
    assert (held - 1) * 0.95 <= quotas <= (periods + 1) * 1.05, (before, after)
    assert held > 0
    assert after.throttled_ns > before.throttled_ns


@requires("cgroup:cpu")
def test_weights_share_one_processor(box: Box) -> None:
    """Shares 1024 and 3072: a quarter and three quarters, by the weights that they become."""
    light = box.make("light", LinuxResources(cpu=Cpu(shares=1024)))
    heavy = box.make("heavy", LinuxResources(cpu=Cpu(shares=3072)))
    for cgroup in (light, heavy):
        box.python(cgroup, "import os\nos.sched_setaffinity(0, {0})\n" + SPIN)
    time.sleep(0.3)
    before = [cpu_of(cgroup).usage_ns for cgroup in (light, heavy)]
    time.sleep(2)
    used = [cpu_of(cgroup).usage_ns - start for cgroup, start in zip((light, heavy), before, strict=True)]
    # v2: weights 100 and 258, so 0.72 instead of 0.75; the bounds allow for a busy machine
    assert 0.6 <= used[1] / sum(used) <= 0.85, used


@QEMU
@requires("cgroup:cpuset")
def test_one_processor(box: Box) -> None:
    last = max(os.sched_getaffinity(0))
    cgroup = box.make("pinned", LinuxResources(cpu=Cpu(cpus=str(last), mems="0")))
    program = box.python(cgroup, "import os\nprint(os.sched_getaffinity(0), flush=True)")
    assert program.line() == str({last})


@QEMU
@requires("cgroup:cpuset")
def test_a_processor_that_is_not_there(box: Box) -> None:
    with pytest.raises(HostError, match=r"cpu\.cpus: processor 4000 of 0,4000 is not available") as caught:
        box.at("absent").check(LinuxResources(cpu=Cpu(cpus="0,4000")))
    assert caught.value.hint.startswith("available: 0")
    with pytest.raises(HostError, match="memory node 9 is not available"):
        box.at("absent").check(LinuxResources(cpu=Cpu(mems="9")))


@QEMU
@requires("cgroup2:hugetlb")
def test_huge_pages(box: Box) -> None:
    cgroup = box.make("huge", LinuxResources(hugepage_limits=(HugepageLimit("2MB", 4 * MIB),)))
    limits = {entry.page_size: entry.limit for entry in stats(cgroup).hugetlb}
    assert limits["2MB"] == 4 * MIB
    assert limits["1GB"] is None
    assert cgroup.directory("hugetlb").read("hugetlb.2MB.rsvd.max") == str(4 * MIB)
    with pytest.raises(HostError, match=r"hugepageLimits\[0\]: this kernel has no hugetlb\.3MB\.max") as caught:
        box.make("huge3", LinuxResources(hugepage_limits=(HugepageLimit("3MB", 0),)))
    assert "2MB" in caught.value.hint


@requires("cgroup1:blkio", "loop")
def test_rates_of_cgroup_v1(box: Box) -> None:
    _rates(box)


@UML
@requires("cgroup2:io", "loop")
def test_rates_of_cgroup_v2(box: Box) -> None:
    _rates(box)


def _rates(box: Box) -> None:
    number = os.stat("/dev/loop0").st_rdev
    device = (os.major(number), os.minor(number))
    io = BlockIO(
        throttle_read_bps_device=(ThrottleDevice(*device, MIB),),
        throttle_write_iops_device=(ThrottleDevice(*device, 100),),
    )
    cgroup = box.make("io", LinuxResources(block_io=io))
    if "blkio" in cgroup.paths.v1:
        assert cgroup.directory("blkio").read("blkio.throttle.read_bps_device") == f"{device[0]}:{device[1]} {MIB}"
    else:
        line = cgroup.directory("io").read("io.max")
        assert line == f"{device[0]}:{device[1]} rbps={MIB} wbps=max riops=max wiops=100"
    absent = BlockIO(throttle_read_bps_device=(ThrottleDevice(250, 250, 1),))
    with pytest.raises(HostError, match=r"throttleReadBpsDevice\[0\]: no block device 250:250 here"):
        box.make("io2", LinuxResources(block_io=absent))


@QEMU
@requires("cgroup2:io", "disk")
def test_a_slow_disk(box: Box) -> None:
    """Two MiB written past the page cache at one MiB per second."""
    disk = Path(os.environ["PYCONTAIN_TEST_DISK"])
    number = os.stat(disk).st_dev
    io = BlockIO(throttle_write_bps_device=(ThrottleDevice(os.major(number), os.minor(number), MIB),))
    cgroup = box.make("disk", LinuxResources(block_io=io))
    program = box.run(
        cgroup, "/bin/dd", "if=/dev/zero", f"of={disk}/slow", "bs=256k", "count=12", "oflag=direct", "status=none"
    )
    started = time.monotonic()
    assert program.wait(timeout_s=30) == 0
    assert time.monotonic() - started > 2
    (disk / "slow").unlink()
    counted = stats(cgroup).io
    assert counted
    assert sum(entry.write_bytes for entry in counted) >= 3 * MIB


@BOTH
def test_a_weight_goes_to_the_scheduler_that_the_kernel_has(box: Box) -> None:
    resources = LinuxResources(block_io=BlockIO(weight=500))
    if not _has_weight(box.make("weightless")):
        with pytest.raises(HostError, match=r"blockIO\.weight: this kernel has no (io|blkio\.bfq)\.weight") as caught:
            box.make("weight", resources)
        assert "BFQ" in caught.value.hint
        return
    cgroup = box.make("weight", resources)
    if "blkio" in cgroup.paths.v1:
        assert cgroup.directory("blkio").read("blkio.bfq.weight") == "500"
    else:
        files = [cgroup.directory("io").read_or(name, "") for name in ("io.bfq.weight", "io.weight")]
        assert "default 500" in files[0] or "default 4950" in files[1]


def _has_weight(cgroup: Cgroup) -> bool:
    directory = cgroup.directory("blkio" if "blkio" in cgroup.paths.v1 else "io")
    return any(
        directory.read_or(name, "") for name in ("io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight")
    )


@UML
@requires("pure-cgroup2", "cgroup2:memory")
def test_unified(box: Box) -> None:
    cgroup = box.make("unified", LinuxResources(unified={"memory.high": str(32 * MIB), "memory.oom.group": "1"}))
    assert cgroup.directory("memory").read("memory.high") == str(32 * MIB)
    assert cgroup.directory("memory").read("memory.oom.group") == "1"
    with pytest.raises(HostError, match=r"unified\.memory\.bogus: this kernel has no memory\.bogus"):
        box.make("unified2", LinuxResources(unified={"memory.bogus": "1"}))
    with pytest.raises(HostError, match=r"unified\.memory\.max: write 'abc'"):
        box.make("unified3", LinuxResources(unified={"memory.max": "abc"}))


@QEMU
@requires("cgroup2:rdma")
def test_rdma_without_a_device(box: Box) -> None:
    with pytest.raises(HostError, match=r"rdma\.mlx5_0"):
        box.make("rdma", LinuxResources(rdma={"mlx5_0": Rdma(1, 1)}))


@UML
@requires("cgroup:memory")
def test_memory_grows_and_shrinks_with_swap(box: Box) -> None:
    cgroup = box.make("update", LinuxResources(memory=Memory(limit=64 * MIB, swap=96 * MIB)))
    for limit, swap in ((256, 512), (32, 32), (100, 150), (200, 200), (48, 300)):
        update(cgroup, LinuxResources(memory=Memory(limit=limit * MIB, swap=swap * MIB)))
        found = memory_of(cgroup)
        assert (found.limit, found.swap_limit) == (limit * MIB, (swap - limit) * MIB)
    update(cgroup, LinuxResources(memory=Memory(limit=-1)))
    assert memory_of(cgroup).limit is None


@UML
@requires("cgroup:memory")
def test_a_limit_below_the_present_use(box: Box) -> None:
    cgroup = box.make("shrink", LinuxResources(memory=Memory(limit=128 * MIB, swap=128 * MIB)))
    program = box.python(cgroup, f"import os\nkept = b'x' * {40 * MIB}\nos.write(1, b'ready\\n')\n" + SLEEP)
    program.line()
    with pytest.raises(HostError, match=r"memory\.limit: 8388608 is below the present use of \d+ bytes"):
        update(cgroup, LinuxResources(memory=Memory(limit=8 * MIB, swap=8 * MIB, check_before_update=True)))
    if "memory" in cgroup.paths.v1:
        with pytest.raises(HostError, match=r"memory\.limit: 8388608 is below the present use of \d+ bytes"):
            update(cgroup, LinuxResources(memory=Memory(limit=8 * MIB, swap=8 * MIB)))
    assert memory_of(cgroup).limit == 128 * MIB
    assert cgroup.procs() == (program.pid,)


@UML
@requires("cgroup:pids", "cgroup:cpu")
def test_an_update_that_fails_changes_nothing(box: Box) -> None:
    cgroup = box.make("undo", LinuxResources(pids=Pids(30), cpu=Cpu(quota=50_000, period=100_000)))
    before = _files(cgroup, "cpu", "pids")
    # a burst beyond the quota is refused after the others were written
    wrong = LinuxResources(pids=Pids(10), cpu=Cpu(quota=20_000, shares=77), block_io=_absent_disk())
    with pytest.raises(HostError, match=r"no block device|blkio"):
        update(cgroup, wrong)
    assert _files(cgroup, "cpu", "pids") == before


def _absent_disk() -> BlockIO:
    return BlockIO(throttle_read_bps_device=(ThrottleDevice(250, 250, 1),))


def _files(cgroup: Cgroup, *controllers: str) -> dict[str, str]:
    names = {
        "cpu": ("cpu.shares", "cpu.weight", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
        "pids": ("pids.max",),
    }
    return {name: cgroup.directory(owner).read_or(name, "") for owner in controllers for name in names[owner]}


@UML
@requires("cgroup:cpu")
def test_a_period_alone_keeps_the_quota(box: Box) -> None:
    cgroup = box.make("period", LinuxResources(cpu=Cpu(quota=20_000, period=100_000)))
    update(cgroup, LinuxResources(cpu=Cpu(period=50_000)))
    assert set(_files(cgroup, "cpu").values()) >= ({"20000", "50000"} if "cpu" in cgroup.paths.v1 else {"20000 50000"})
    update(cgroup, LinuxResources(cpu=Cpu(quota=-1)))
    assert set(_files(cgroup, "cpu").values()) >= ({"-1", "50000"} if "cpu" in cgroup.paths.v1 else {"max 50000"})


@UML
@requires("cgroup:cpu")
def test_quota_period_and_burst_in_any_order(box: Box) -> None:
    cgroup = box.make("burst", LinuxResources(cpu=Cpu(quota=20_000, period=100_000, burst=20_000)))
    for quota, burst in ((5_000, 5_000), (90_000, 80_000), (1_000, 0)):
        update(cgroup, LinuxResources(cpu=Cpu(quota=quota, period=100_000, burst=burst)))
        found = cgroup.directory("cpu").read_or("cpu.max.burst", "") or cgroup.directory("cpu").read("cpu.cfs_burst_us")
        assert found == str(burst)


@UML
@requires("pure-cgroup2", "cgroup2:memory")
def test_swap_alone_needs_a_limit_to_count_from(box: Box) -> None:
    cgroup = box.make("swap", LinuxResources(memory=Memory(limit=64 * MIB)))
    update(cgroup, LinuxResources(memory=Memory(swap=100 * MIB)))
    assert memory_of(cgroup).swap_limit == 36 * MIB
    unlimited = box.make("swap2", LinuxResources())
    with pytest.raises(SpecError, match=r"needs memory\.limit"):
        update(unlimited, LinuxResources(memory=Memory(swap=100 * MIB)))


@BOTH
def test_stats_of_a_running_program(box: Box) -> None:
    cgroup = box.make("stats")
    program = box.python(cgroup, f"import os\nkept = b'x' * {20 * MIB}\nos.write(1, b'ready\\n')\n" + SLEEP)
    program.line()
    found = stats(cgroup)
    assert found.cpu is not None
    assert found.cpu.usage_ns > 0
    assert found.memory is not None
    assert found.memory.usage >= 20 * MIB
    assert found.memory.anonymous >= 20 * MIB
    assert 0 < found.memory.working_set <= found.memory.usage
    assert found.pids is not None
    assert (found.pids.current, found.pids.limit) == (1, None)
    assert found.asdict()["memory"]["raw"]
    cgroup.kill()
    program.wait()
    cgroup.remove()
    assert stats(cgroup) == CgroupStats()


@BOTH
@requires("pure-cgroup2")
def test_a_limit_of_a_controller_that_is_not_here(box: Box) -> None:
    """User-mode-linux has no cpuset; where everything is there, the check has nothing to say."""
    cgroup = box.at("missing")
    available = cgroup.placement().unified or ()
    for controller, resources in (
        ("cpuset", LinuxResources(cpu=Cpu(cpus="0"))),
        ("hugetlb", LinuxResources(hugepage_limits=(HugepageLimit("2MB", 0),))),
    ):
        if controller in available:
            assert cgroup.check(resources)
            continue
        with pytest.raises(HostError, match=f"needs the cgroup controller {controller}") as caught:
            cgroup.check(resources)
        assert caught.value.hint
    assert not os.path.exists(cgroup.paths.unified)
