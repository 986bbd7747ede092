"""The device filter at work: what opens and what does not, in cgroup v1 and with an eBPF program in v2."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from harness.cgroup_box import Box
from harness.images import REPOSITORY
from harness.probe import requires

from pycontain.cgroups.cgroup import Cgroup
from pycontain.cgroups.devices import BPF_CGROUP_DEVICE, DeviceFilter
from pycontain.cgroups.host import probe_host, usable
from pycontain.cgroups.update import update
from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.plan.device_filter import DENY_ALL, build, container_rules, normalize
from pycontain.spec.resources import DeviceRule, LinuxResources

pytestmark = requires("root")

#: Opens each FILE:FLAGS of its arguments and says what came of it.
OPEN = """
import os, sys
for word in sys.argv[1:]:
    path, flags = word.split(":")
    try:
        os.close(os.open(path, getattr(os, flags)))
        print("yes")
    except OSError as error:
        print(error.errno)
"""
#: Opens /dev/null as fast as it can until its input ends, and says how often that failed.
OPEN_AND_OPEN = """
import os, time
os.write(1, b"ready\\n")
failed, end = 0, time.monotonic() + 1
while time.monotonic() < end:
    try:
        os.close(os.open("/dev/null", os.O_RDWR))
    except OSError:
        failed += 1
print(failed, flush=True)
"""
NULL = DeviceRule(True, "c", 1, 3)
ZERO_READ = DeviceRule(True, "c", 1, 5, "r")
FULL = DeviceRule(True, "c", 1, 7)


def device_filter(*rules: DeviceRule) -> DeviceFilter:
    return DeviceFilter(normalize(rules), build(rules))


@pytest.fixture(params=["v1", "v2"])
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    layout = usable(probe_host())
    if request.param == "v1" and "devices" not in layout.v1:
        pytest.skip("the v1 controller devices is not mounted")
    if request.param == "v2":
        if layout.unified is None or not _has_bpf(layout.unified.mountpoint):
            pytest.skip("no cgroup v2, or a kernel without its device programs")
        layout = layout.replace(mode="v2", v1={})
    with Box(layout) as made:
        yield made


def _has_bpf(mountpoint: str) -> bool:
    fd = os.open(mountpoint, os.O_RDONLY)
    try:
        _sys.bpf_prog_query(fd, BPF_CGROUP_DEVICE)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def opened(box: Box, cgroup: Cgroup, *words: str) -> list[str]:
    program = box.run(cgroup, "/usr/bin/python3", "-I", "-S", "-c", OPEN, *words)
    lines = program.rest()
    assert program.wait() == 0
    return lines


def programs(cgroup: Cgroup) -> int:
    return len(_sys.bpf_prog_query(cgroup.unified_fd(), BPF_CGROUP_DEVICE))


def test_what_is_not_allowed_does_not_open(box: Box) -> None:
    cgroup = box.make("devices")
    cgroup.apply((), device_filter(DENY_ALL, NULL, ZERO_READ))
    assert opened(box, cgroup, "/dev/null:O_RDWR", "/dev/zero:O_RDONLY", "/dev/zero:O_WRONLY", "/dev/zero:O_RDWR") == [
        "yes",
        "yes",
        "1",
        "1",
    ]
    assert opened(box, cgroup, "/dev/full:O_RDONLY") == ["1"]


def test_all_but_one(box: Box) -> None:
    cgroup = box.make("devices")
    cgroup.apply((), device_filter(DeviceRule(True), DeviceRule(False, "c", 1, 5, "w")))
    assert opened(box, cgroup, "/dev/full:O_RDWR", "/dev/zero:O_RDONLY", "/dev/zero:O_RDWR") == ["yes", "yes", "1"]


def test_the_default_devices_of_a_container(box: Box) -> None:
    cgroup = box.make("devices")
    rules = container_rules((DENY_ALL,))
    cgroup.apply((), DeviceFilter(rules, build(rules)))
    wanted = [f"/dev/{name}:O_RDONLY" for name in ("null", "zero", "full", "random", "urandom", "kmsg")]
    assert opened(box, cgroup, *wanted) == ["yes"] * 5 + ["1"]


def test_everything_needs_no_program(box: Box) -> None:
    cgroup = box.make("devices")
    cgroup.apply((), device_filter(DeviceRule(True)))
    assert opened(box, cgroup, "/dev/kmsg:O_RDONLY") == ["yes"]
    if "devices" not in cgroup.paths.v1:
        assert programs(cgroup) == 0


def test_an_update_replaces_the_filter(box: Box) -> None:
    cgroup = box.make("devices")
    cgroup.apply((), device_filter(DENY_ALL, NULL, ZERO_READ))
    update(cgroup, LinuxResources(), device_filter(DENY_ALL, NULL, FULL))
    assert opened(box, cgroup, "/dev/null:O_RDWR", "/dev/full:O_RDWR", "/dev/zero:O_RDONLY") == ["yes", "yes", "1"]
    if "devices" not in cgroup.paths.v1:
        assert programs(cgroup) == 1
    update(cgroup, LinuxResources(), device_filter(DeviceRule(True)))
    assert opened(box, cgroup, "/dev/null:O_RDWR", "/dev/zero:O_RDONLY") == ["yes", "yes"]
    if "devices" not in cgroup.paths.v1:
        assert programs(cgroup) == 0


def test_an_update_never_takes_away_what_both_allow(box: Box) -> None:
    cgroup = box.make("devices")
    filters = [device_filter(DENY_ALL, NULL, ZERO_READ), device_filter(DENY_ALL, NULL, FULL)]
    cgroup.apply((), filters[0])
    program = box.python(cgroup, OPEN_AND_OPEN)
    program.line()
    for index in range(60):
        update(cgroup, LinuxResources(), filters[index % 2])
    assert program.line() == "0"
    assert program.wait() == 0


def test_an_exception_from_an_exception(box: Box) -> None:
    """An error in cgroup v1, which would ignore it; done in v2."""
    cgroup = box.at("devices")
    hole = device_filter(DENY_ALL, DeviceRule(True, "c", 1), DeviceRule(False, "c", 1, 5, "w"))
    if "devices" in cgroup.paths.v1:
        with pytest.raises(HostError, match="cgroup v1 cannot deny c 1:5 w within a wider rule"):
            cgroup.check(LinuxResources(), hole)
        return
    cgroup.create(box.journal.append, cgroup.check(LinuxResources(), hole))
    cgroup.apply((), hole)
    assert opened(box, cgroup, "/dev/zero:O_RDONLY", "/dev/zero:O_RDWR", "/dev/null:O_RDWR") == ["yes", "1", "yes"]


@pytest.mark.guest("uml")
def test_filter_on_pure_cgroup_v2() -> None:
    """What the other tests do one by one, on the oldest kernel that we support."""
    with Box() as box:
        if "devices" in box.layout.v1:
            pytest.skip("the controller devices is mounted as v1")
        cgroup = box.make("devices")
        cgroup.apply((), device_filter(DENY_ALL, NULL, ZERO_READ))
        assert opened(box, cgroup, "/dev/null:O_RDWR", "/dev/zero:O_RDONLY", "/dev/zero:O_RDWR") == ["yes", "yes", "1"]
        update(cgroup, LinuxResources(), device_filter(DENY_ALL, NULL, FULL))
        assert programs(cgroup) == 1
        assert opened(box, cgroup, "/dev/null:O_RDWR", "/dev/full:O_RDWR", "/dev/zero:O_RDONLY") == ["yes", "yes", "1"]
        update(cgroup, LinuxResources(), device_filter(DeviceRule(True)))
        assert programs(cgroup) == 0


def test_two_programs_are_replaced_by_one(box: Box) -> None:
    if "devices" in box.layout.v1:
        pytest.skip("cgroup v1 has no programs")
    cgroup = box.make("devices")
    for rules in ((DENY_ALL, NULL, FULL), (DENY_ALL, NULL, ZERO_READ)):
        fd = _sys.bpf_prog_load(15, BPF_CGROUP_DEVICE, build(rules), "Apache-2.0")
        _sys.bpf_prog_attach(cgroup.unified_fd(), fd, BPF_CGROUP_DEVICE, 2)
        os.close(fd)
    assert programs(cgroup) == 2
    assert opened(box, cgroup, "/dev/null:O_RDWR", "/dev/full:O_RDWR") == ["yes", "1"]
    cgroup.apply_devices(device_filter(DENY_ALL, FULL))
    assert programs(cgroup) == 1
    assert opened(box, cgroup, "/dev/null:O_RDWR", "/dev/full:O_RDWR") == ["1", "yes"]


def test_bpf_that_is_refused_says_what_it_needs(box: Box) -> None:
    """In a user namespace of our own we have every capability, but not where bpf(2) looks for it."""
    if "devices" in box.layout.v1:
        pytest.skip("cgroup v1 has no programs")
    cgroup = box.make("devices")
    program = f"""
from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.cgroups.devices import DeviceFilter
from pycontain.errors import HostError
from pycontain.plan.device_filter import DENY_ALL, build
cgroup = Cgroup(CgroupPaths(unified={cgroup.paths.unified!r}))
try:
    cgroup.apply_devices(DeviceFilter((DENY_ALL,), build((DENY_ALL,))))
except HostError as error:
    print(error, error.hint, sep="\\n")
"""
    done = subprocess.run(
        ["unshare", "-Ur", sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    message, hint = done.stdout.splitlines()
    assert message.startswith("devices: bpf(BPF_PROG_LOAD")
    assert message.endswith("operation not permitted")
    assert "CAP_BPF" in hint
