"""The schema of interface files: syntax both ways, and that it knows every file that a limit is written into."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.cgroups import schema
from pycontain.cgroups.interfaces import (
    BandwidthFile,
    DeviceOperations,
    LimitFile,
    NestedTable,
    Table,
    WeightTable,
    Words,
)
from pycontain.cgroups.limits import Placement
from pycontain.cgroups.limits import settings as settings_of
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


class Files:
    """A directory of interface files in memory."""

    path = "/memory"

    def __init__(self, **texts: str) -> None:
        self.texts = texts

    def read(self, name: str) -> str:
        return self.texts[name]

    def write(self, name: str, text: str) -> None:
        self.texts[name] = text


@pytest.mark.parametrize(
    ("interface", "text", "value", "written"),
    [
        (LimitFile("x"), "max", None, "max"),
        (LimitFile("x"), "4096", 4096, "4096"),
        (LimitFile("x", "-1"), "9223372036854771712", None, "-1"),
        (LimitFile("x", "-1"), "-1", None, "-1"),
        (BandwidthFile("x"), "max 100000", (None, 100_000), "max 100000"),
        (BandwidthFile("x"), "50000", (50_000, None), "50000"),
        (WeightTable("x"), "default 100\n8:0 200", {"default": 100, "8:0": 200}, "default 100\n8:0 200"),
        (WeightTable("x"), "300", {"default": 300}, "default 300"),
        (
            NestedTable("x"),
            "8:0 rbps=max wbps=1024\n8:16 riops=5",
            {"8:0": {"rbps": None, "wbps": 1024}, "8:16": {"riops": 5}},
            "8:0 rbps=max wbps=1024\n8:16 riops=5",
        ),
    ],
)
def test_syntax_both_ways(interface: Any, text: str, value: Any, written: str) -> None:
    assert interface.sanitize_get(text) == value
    assert interface.sanitize_set(value) == written


def test_tables_of_the_kernel() -> None:
    assert Table("x").sanitize_get("") == {}
    assert Table("x").sanitize_get("low 0\nhigh -\noom_kill 3\nodd line 4") == {"low": 0, "oom_kill": 3, "odd line": 4}
    assert Words("x").sanitize_get("cpu io\n") == ("cpu", "io")
    assert NestedTable("x").sanitize_get("some avg10=0.50 total=7\nfull avg10=0.00 total=0") == {
        "some": {"avg10": 0.5, "total": 7},
        "full": {"avg10": 0.0, "total": 0},
    }
    assert DeviceOperations("x").sanitize_get("254:0 Read 10\n254:0 Write 20\nTotal 30") == {
        "254:0": {"Read": 10, "Write": 20}
    }


@given(st.integers(0, 1 << 62) | st.none())
def test_limits_survive(value: int | None) -> None:
    interface = LimitFile("x")
    assert interface.sanitize_get(interface.sanitize_set(value)) == value


EVERYTHING = LinuxResources(
    memory=Memory(limit=64, swap=128, reservation=32),
    cpu=Cpu(shares=512, quota=50_000, period=100_000, burst=1_000, idle=1, cpus="0-1,3", mems="0"),
    pids=Pids(-1),
    block_io=BlockIO(
        weight=500,
        weight_device=(WeightDevice(8, 0, weight=20),),
        throttle_read_bps_device=(ThrottleDevice(8, 0, 1024),),
        throttle_write_bps_device=(ThrottleDevice(8, 0, 1024),),
        throttle_read_iops_device=(ThrottleDevice(8, 0, 1024),),
        throttle_write_iops_device=(ThrottleDevice(8, 0, 1024),),
    ),
    hugepage_limits=(HugepageLimit("2MB", 0), HugepageLimit("1GB", 1 << 30)),
    rdma={"mlx5_1": Rdma(3, 10)},
)
ONLY_V1 = EVERYTHING.replace(
    memory=Memory(
        limit=-1, kernel=1, kernel_tcp=2, swappiness=10, disable_oom_killer=True, use_hierarchy=True, reservation=9
    ),
    cpu=EVERYTHING.cpu.replace(realtime_period=1000, realtime_runtime=500, idle=0) if EVERYTHING.cpu else None,
    block_io=BlockIO(leaf_weight=10, weight_device=(WeightDevice(8, 0, weight=20, leaf_weight=30),)),
    network=Network(5, (InterfacePriority("eth0", 5),)),
)
CONTROLLERS_V1 = (*schema.V1, "hugetlb")
CONTROLLERS_V2 = (*schema.V2, "hugetlb")


@pytest.mark.parametrize(
    ("generation", "resources"), [(1, EVERYTHING), (1, ONLY_V1), (2, EVERYTHING)], ids=["v1", "only v1", "v2"]
)
def test_every_limit_has_an_interface_that_writes_the_same(generation: int, resources: LinuxResources) -> None:
    placement = Placement(
        v1=CONTROLLERS_V1 if generation == 1 else (), unified=CONTROLLERS_V2 if generation == 2 else (), where=""
    )
    found = settings_of(resources, placement)
    assert found
    for setting in (*found, *(setting.instead for setting in found if setting.instead)):
        files = Files()
        controller = schema.controller(setting.controller, generation, files, setting.file)  # type: ignore[arg-type]
        writable = {
            interface.filename.decode() for interface in controller.interfaces().values() if not interface.readonly
        }
        assert setting.file in writable
        schema.assign(controller, setting.file, setting.value)
        written = files.texts[setting.file]
        assert written.removeprefix("default ") == setting.value.removeprefix("default ")


def test_a_file_that_the_schema_does_not_know_is_written_as_it_is() -> None:
    files = Files()
    schema.assign(schema.CoreV2(files), "cgroup.new", "a b")  # type: ignore[arg-type]
    assert files.texts == {"cgroup.new": "a b"}


def test_values_of_a_controller() -> None:
    files = Files(**{"memory.max": "max", "memory.current": "4096", "memory.low": "0"})

    def read(name: str) -> str:
        if name not in files.texts:
            raise FileNotFoundError(name)
        return files.texts[name]

    files.read = read  # type: ignore[method-assign]
    assert schema.inspect(schema.MemoryV2(files)) == {"current": 4096, "low": 0, "max": None}  # type: ignore[arg-type]
    schema.MemoryV2(files).max = None  # type: ignore[arg-type]
    schema.MemoryV2(files).low = 8192  # type: ignore[arg-type]
    assert files.texts["memory.low"] == "8192"


def test_a_counter_cannot_be_set() -> None:
    with pytest.raises(RuntimeError, match="readonly"):
        schema.MemoryV2(Files()).current = 1  # type: ignore[arg-type]
