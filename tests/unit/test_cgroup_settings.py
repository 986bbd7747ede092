"""linux.resources as writes into interface files, for both generations of cgroups."""

from __future__ import annotations

import errno

import pytest

from pycontain.cgroups.controllers.cpu import shares_to_weight
from pycontain.cgroups.controllers.cpuset import parse_list
from pycontain.cgroups.limits import Placement, settings
from pycontain.cgroups.setting import Refused, Setting, write_all
from pycontain.errors import HostError, SpecError
from pycontain.spec.resources import (
    BlockIO,
    Cpu,
    HugepageLimit,
    InterfacePriority,
    LinuxResources,
    Memory,
    Network,
    Pids,
    Rdma,
    ThrottleDevice,
    WeightDevice,
)

V2 = Placement(
    v1=(),
    unified=("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"),
    where="cgroup v2 at /sys/fs/cgroup",
)
V1 = Placement(
    v1=("cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "net_prio", "pids", "rdma"),
    unified=("hugetlb",),
    where="cgroup v2 at /sys/fs/cgroup/unified",
)


def lines(resources: LinuxResources, placement: Placement) -> list[str]:
    return [f"{setting.file} = {setting.value}" for setting in settings(resources, placement)]


@pytest.mark.parametrize(
    ("memory", "v2", "v1"),
    [
        (Memory(), [], []),
        (Memory(limit=0, swap=0, reservation=0), [], []),
        (Memory(limit=64), ["memory.max = 64"], ["memory.limit_in_bytes = 64"]),
        (
            Memory(limit=64, swap=64),
            ["memory.swap.max = 0", "memory.max = 64"],
            ["memory.limit_in_bytes = 64", "memory.memsw.limit_in_bytes = 64"],
        ),
        (
            Memory(limit=64, swap=100, reservation=32),
            ["memory.swap.max = 36", "memory.max = 64", "memory.low = 32"],
            ["memory.limit_in_bytes = 64", "memory.memsw.limit_in_bytes = 100", "memory.soft_limit_in_bytes = 32"],
        ),
        (
            Memory(limit=64, swap=-1),
            ["memory.swap.max = max", "memory.max = 64"],
            ["memory.limit_in_bytes = 64", "memory.memsw.limit_in_bytes = -1"],
        ),
        (
            Memory(limit=-1),
            ["memory.swap.max = max", "memory.max = max"],
            ["memory.limit_in_bytes = -1", "memory.memsw.limit_in_bytes = -1"],
        ),
        (
            Memory(limit=-1, swap=50),
            ["memory.swap.max = 50", "memory.max = max"],
            ["memory.limit_in_bytes = -1", "memory.memsw.limit_in_bytes = 50"],
        ),
        (Memory(kernel=-1, kernel_tcp=-1, disable_oom_killer=False), [], []),
    ],
)
def test_memory(memory: Memory, v2: list[str], v1: list[str]) -> None:
    resources = LinuxResources(memory=memory)
    assert lines(resources, V2) == v2
    assert lines(resources, V1) == v1


def test_memory_that_only_v1_can_do() -> None:
    memory = Memory(kernel=1, kernel_tcp=2, swappiness=0, disable_oom_killer=True, use_hierarchy=True)
    assert lines(LinuxResources(memory=memory), V1) == [
        "memory.use_hierarchy = 1",
        "memory.kmem.limit_in_bytes = 1",
        "memory.kmem.tcp.limit_in_bytes = 2",
        "memory.swappiness = 0",
        "memory.oom_control = 1",
    ]


@pytest.mark.parametrize(
    ("memory", "name"),
    [
        (Memory(kernel=1), "memory.kernel:"),
        (Memory(kernel_tcp=1), "memory.kernelTCP:"),
        (Memory(swappiness=0), "memory.swappiness:"),
        (Memory(disable_oom_killer=True), "memory.disableOOMKiller:"),
        (Memory(use_hierarchy=False), "memory.useHierarchy:"),
    ],
)
def test_memory_that_v2_cannot_do_is_an_error(memory: Memory, name: str) -> None:
    with pytest.raises(HostError, match="cgroup v2") as caught:
        settings(LinuxResources(memory=memory), V2)
    assert str(caught.value).startswith(name)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("memory", "path"),
    [
        (Memory(limit=64, swap=63), "linux.resources.memory.swap"),
        (Memory(swap=64), "linux.resources.memory.swap"),
        (Memory(limit=-2), "linux.resources.memory.limit"),
        (Memory(reservation=-5), "linux.resources.memory.reservation"),
    ],
)
def test_memory_that_makes_no_sense(memory: Memory, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        settings(LinuxResources(memory=memory), V2)
    assert caught.value.path == path


def test_cgroup_v1_takes_memory_and_swap_alone() -> None:
    assert lines(LinuxResources(memory=Memory(swap=64)), V1) == ["memory.memsw.limit_in_bytes = 64"]
    with pytest.raises(SpecError, match="swappiness"):
        settings(LinuxResources(memory=Memory(swappiness=101)), V1)


@pytest.mark.parametrize(
    ("cpu", "v2", "v1"),
    [
        (Cpu(), [], []),
        (Cpu(shares=0, quota=0, period=0), [], []),
        (Cpu(shares=1024), ["cpu.weight = 100"], ["cpu.shares = 1024"]),
        (Cpu(quota=50_000), ["cpu.max = 50000"], ["cpu.cfs_quota_us = 50000"]),
        (Cpu(quota=-1), ["cpu.max = max"], ["cpu.cfs_quota_us = -1"]),
        (Cpu(period=50_000), ["cpu.max = max 50000"], ["cpu.cfs_period_us = 50000"]),
        (
            Cpu(quota=20_000, period=50_000, burst=10_000),
            ["cpu.max = 20000 50000", "cpu.max.burst = 10000"],
            ["cpu.cfs_period_us = 50000", "cpu.cfs_quota_us = 20000", "cpu.cfs_burst_us = 10000"],
        ),
        (Cpu(idle=1, shares=2), ["cpu.weight = 1", "cpu.idle = 1"], ["cpu.shares = 2", "cpu.idle = 1"]),
        (Cpu(idle=0, shares=2), ["cpu.idle = 0", "cpu.weight = 1"], ["cpu.idle = 0", "cpu.shares = 2"]),
        (Cpu(cpus="0-1", mems="0"), ["cpuset.cpus = 0-1", "cpuset.mems = 0"], ["cpuset.cpus = 0-1", "cpuset.mems = 0"]),
    ],
)
def test_cpu(cpu: Cpu, v2: list[str], v1: list[str]) -> None:
    assert lines(LinuxResources(cpu=cpu), V2) == v2
    assert lines(LinuxResources(cpu=cpu), V1) == v1


def test_realtime_is_only_for_v1() -> None:
    resources = LinuxResources(cpu=Cpu(realtime_period=1_000_000, realtime_runtime=950_000))
    assert lines(resources, V1) == ["cpu.rt_period_us = 1000000", "cpu.rt_runtime_us = 950000"]
    with pytest.raises(HostError, match="realtime"):
        settings(resources, V2)


@pytest.mark.parametrize(
    ("cpu", "key"),
    [
        (Cpu(shares=-1), "shares"),
        (Cpu(quota=999), "quota"),
        (Cpu(period=999), "period"),
        (Cpu(period=1_000_001), "period"),
        (Cpu(idle=2), "idle"),
        (Cpu(burst=-1), "burst"),
        (Cpu(quota=10_000, burst=10_001), "burst"),
        (Cpu(cpus="0-"), "cpus"),
        (Cpu(mems="1-0"), "mems"),
    ],
)
def test_cpu_that_makes_no_sense(cpu: Cpu, key: str) -> None:
    for placement in (V1, V2):
        with pytest.raises(SpecError) as caught:
            settings(LinuxResources(cpu=cpu), placement)
        assert caught.value.path == f"linux.resources.cpu.{key}"


# the three pairs that the formula goes through, what lies outside, and a tenth of a processor in Kubernetes
@pytest.mark.parametrize(
    ("shares", "weight"), [(0, 1), (2, 1), (262_144, 10_000), (1 << 40, 10_000), (1024, 100), (102, 17)]
)
def test_weight_of_shares(shares: int, weight: int) -> None:
    assert shares_to_weight(shares) == weight


def test_weight_grows_with_shares() -> None:
    weights = [shares_to_weight(shares) for shares in range(2, 5000, 7)]
    assert weights == sorted(weights)


def test_list_of_processors() -> None:
    assert parse_list("0-2,7, 9", "x") == {0, 1, 2, 7, 9}
    for wrong in ("", "a", "1,,2", "-1", "3-1", "0-99999999", "1-2-3", "²"):
        with pytest.raises(SpecError):
            parse_list(wrong, "x")


@pytest.mark.parametrize(("limit", "value"), [(0, "0"), (100, "100"), (-1, "max"), (-7, "max")])
def test_pids(limit: int, value: str) -> None:
    for placement in (V1, V2):
        assert lines(LinuxResources(pids=Pids(limit)), placement) == [f"pids.max = {value}"]
        assert lines(LinuxResources(pids=Pids()), placement) == []


def test_block_io() -> None:
    io = BlockIO(
        weight=500,
        weight_device=(WeightDevice(8, 0, weight=10),),
        throttle_read_bps_device=(ThrottleDevice(8, 0, 1024),),
        throttle_write_bps_device=(ThrottleDevice(8, 16, 0),),
        throttle_read_iops_device=(ThrottleDevice(8, 0, 5),),
        throttle_write_iops_device=(ThrottleDevice(8, 0, 6),),
    )
    resources = LinuxResources(block_io=io)
    assert lines(resources, V2) == [
        "io.bfq.weight = 500",
        "io.bfq.weight = 8:0 10",
        "io.max = 8:0 rbps=1024",
        "io.max = 8:16 wbps=max",
        "io.max = 8:0 riops=5",
        "io.max = 8:0 wiops=6",
    ]
    fallbacks = [setting.instead for setting in settings(resources, V2)[:2]]
    assert [found and f"{found.file} = {found.value}" for found in fallbacks] == [
        "io.weight = default 4950",
        "io.weight = 8:0 1",
    ]
    assert lines(resources, V1) == [
        "blkio.weight = 500",
        "blkio.weight_device = 8:0 10",
        "blkio.throttle.read_bps_device = 8:0 1024",
        "blkio.throttle.write_bps_device = 8:16 0",
        "blkio.throttle.read_iops_device = 8:0 5",
        "blkio.throttle.write_iops_device = 8:0 6",
    ]


def test_leaf_weight_is_only_for_v1() -> None:
    for io in (BlockIO(leaf_weight=20), BlockIO(weight_device=(WeightDevice(8, 0, leaf_weight=20),))):
        assert len(settings(LinuxResources(block_io=io), V1)) == 1
        with pytest.raises(HostError, match="leafWeight"):
            settings(LinuxResources(block_io=io), V2)


@pytest.mark.parametrize("weight", [9, 1001, -5])
def test_weight_out_of_range(weight: int) -> None:
    for placement in (V1, V2):
        with pytest.raises(SpecError, match="10 and 1000"):
            settings(LinuxResources(block_io=BlockIO(weight=weight)), placement)


def test_huge_pages_go_where_their_controller_is() -> None:
    resources = LinuxResources(hugepage_limits=(HugepageLimit("2MB", 4 << 20),))
    expected = ["hugetlb.2MB.max = 4194304", "hugetlb.2MB.rsvd.max = 4194304"]
    assert lines(resources, V2) == lines(resources, V1) == expected
    bound = V1.replace(v1=(*V1.v1, "hugetlb"), unified=())
    assert lines(resources, bound)[0] == "hugetlb.2MB.limit_in_bytes = 4194304"


@pytest.mark.parametrize("size", ["2M", "MB", "2 MB", "../MB", "2mb", ""])
def test_size_of_huge_pages_that_is_none(size: str) -> None:
    with pytest.raises(SpecError, match="pageSize"):
        settings(LinuxResources(hugepage_limits=(HugepageLimit(size, 1),)), V2)


def test_rdma() -> None:
    resources = LinuxResources(rdma={"mlx5_1": Rdma(3, 10_000), "mlx4_0": Rdma(hca_objects=1), "none": Rdma()})
    for placement in (V1, V2):
        assert lines(resources, placement) == [
            "rdma.max = mlx5_1 hca_handle=3 hca_object=10000",
            "rdma.max = mlx4_0 hca_object=1",
        ]


def test_network_is_only_for_v1() -> None:
    resources = LinuxResources(network=Network(1_048_577, (InterfacePriority("eth0", 5),)))
    assert lines(resources, V1) == ["net_cls.classid = 1048577", "net_prio.ifpriomap = eth0 5"]
    with pytest.raises(HostError, match="cgroup v2 has no net_cls"):
        settings(resources, V2)
    assert settings(LinuxResources(network=Network()), V2) == ()
    with pytest.raises(HostError, match="net_prio"):
        settings(resources, V1.replace(v1=("memory", "net_cls")))


def test_unified_comes_last_and_as_it_is() -> None:
    resources = LinuxResources(
        pids=Pids(1), unified={"memory.high": "1G", "cgroup.max.depth": "3", "io.max": "8:0 rbps=1"}
    )
    assert lines(resources, V2) == ["pids.max = 1", "memory.high = 1G", "cgroup.max.depth = 3", "io.max = 8:0 rbps=1"]


@pytest.mark.parametrize(
    "file", ["", "memory", ".max", "memory.", "a/b.c", "../memory.max", "cgroup.procs", "cgroup.threads", "a.b\0"]
)
def test_unified_that_is_no_interface_file(file: str) -> None:
    with pytest.raises(SpecError, match=r"linux\.resources\.unified"):
        settings(LinuxResources(unified={file: "1"}), V2)


def test_unified_needs_its_controller_in_v2() -> None:
    with pytest.raises(HostError, match="bogus: it is not available in cgroup v2 at /sys/fs/cgroup"):
        settings(LinuxResources(unified={"bogus.max": "1"}), V2)
    with pytest.raises(HostError, match="bound to cgroup v1"):
        settings(LinuxResources(unified={"memory.high": "1"}), V1)
    assert lines(LinuxResources(unified={"hugetlb.2MB.max": "0"}), V1) == ["hugetlb.2MB.max = 0"]
    with pytest.raises(HostError, match="no cgroup hierarchy can be used"):
        settings(LinuxResources(unified={"cgroup.max.depth": "1"}), V1.replace(unified=None))


def test_a_limit_without_its_controller_names_it_and_the_cure() -> None:
    uml = V2.replace(unified=("cpu", "io", "memory", "pids"))
    with pytest.raises(
        HostError, match=r"^cpu\.cpus: needs the cgroup controller cpuset: it is not available in"
    ) as caught:
        settings(LinuxResources(cpu=Cpu(cpus="0")), uml)
    assert "+cpuset" in caught.value.hint
    assert caught.value.requirement == "cgroup:cpuset"
    with pytest.raises(HostError, match="memory") as caught:
        settings(LinuxResources(memory=Memory(limit=1)), V2.replace(unified=()))
    assert "cgroup_enable=memory" in caught.value.hint


def test_rootless_without_delegation_is_told_how_to_get_it() -> None:
    reason = "/sys/fs/cgroup/user.slice is not delegated to uid 1000"
    placement = Placement(v1=(), unified=None, where="", reasons={"unified": reason}, delegate=True)
    with pytest.raises(HostError, match=reason) as caught:
        settings(LinuxResources(memory=Memory(limit=1)), placement)
    assert "systemd-run --user --scope -p Delegate=yes" in caught.value.hint
    assert settings(LinuxResources(), placement) == ()
    assert settings(LinuxResources(memory=Memory(), cpu=Cpu(), pids=Pids(), block_io=BlockIO()), placement) == ()


def test_a_controller_of_v1_that_cannot_be_written() -> None:
    placement = Placement(
        v1=(), unified=None, where="", reasons={"memory": "/sys/fs/cgroup/memory is mounted read-only"}
    )
    with pytest.raises(HostError, match="mounted read-only") as caught:
        settings(LinuxResources(memory=Memory(limit=1)), placement)
    assert "--privileged" in caught.value.hint


class V1Memory:
    """The rule of cgroup v1: memory may not be more than memory and swap."""

    def __init__(self, memory: int, both: int) -> None:
        self.files = {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": both}
        self.writes = 0

    def write(self, setting: Setting) -> None:
        self.writes += 1
        after = {**self.files, setting.file: int(setting.value)}
        if after["memory.limit_in_bytes"] > after["memory.memsw.limit_in_bytes"]:
            raise OSError(errno.EINVAL, "Invalid argument", setting.file)
        self.files = after


@pytest.mark.parametrize(("memory", "both"), [(10, 20), (200, 400), (1, 1), (1000, 1000), (100, 200), (50, 150)])
def test_limits_that_bound_each_other_grow_and_shrink(memory: int, both: int) -> None:
    kernel = V1Memory(100, 200)
    write_all(settings(LinuxResources(memory=Memory(limit=memory, swap=both)), V1), kernel.write)
    assert list(kernel.files.values()) == [memory, both]


def test_what_stays_refused_is_named() -> None:
    kernel = V1Memory(100, 200)
    with pytest.raises(Refused) as caught:
        write_all(settings(LinuxResources(memory=Memory(limit=300)), V1), kernel.write)
    assert caught.value.setting.label == "memory.limit"
    assert kernel.writes == 1


def test_another_error_is_not_tried_again() -> None:
    def write(setting: Setting) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", setting.file)

    with pytest.raises(Refused) as caught:
        write_all([Setting("memory", "memory.max", "1", "p"), Setting("pids", "pids.max", "1", "p")], write)
    assert caught.value.cause.errno == errno.EBUSY
    assert caught.value.setting.file == "memory.max"


def test_alternatives_and_optional_files() -> None:
    present = {"io.weight"}
    written = []

    def write(setting: Setting) -> None:
        if setting.file not in present:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", setting.file)
        written.append(setting.file)

    weight = settings(LinuxResources(block_io=BlockIO(weight=100)), V2)
    swap = settings(LinuxResources(memory=Memory(limit=-1)), V2)[:1]
    write_all([*swap, *weight], write)
    assert written == ["io.weight"]
    present.clear()
    with pytest.raises(Refused) as caught:
        write_all(weight, write)
    assert caught.value.cause.filename == "io.weight"
