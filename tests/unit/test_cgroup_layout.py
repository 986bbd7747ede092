"""Reading mountinfo and /proc/self/cgroup: the worlds that hosts and containers show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.cgroups.cgroup import CgroupPaths, locate
from pycontain.cgroups.layout import NONE, CgroupLayout, Hierarchy, probe
from pycontain.errors import SpecError

ROOT = "23 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n24 23 0:22 / /sys rw - sysfs sysfs rw\n"
V2 = ROOT + "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    ROOT
    + """\
30 24 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
32 30 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
33 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 30 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
"""
)
HYBRID_OWN = "5:memory:/user/a\n4:cpu,cpuacct:/user\n1:name=systemd:/user.slice\n0::/user.slice\n"


def test_v2() -> None:
    layout = probe(V2, "0::/user.slice/session-2.scope\n")
    assert layout == CgroupLayout("v2", Hierarchy("/sys/fs/cgroup", "/user.slice/session-2.scope"))
    assert layout.v1_hierarchies() == ()


def test_hybrid_with_controllers_mounted_together() -> None:
    layout = probe(HYBRID, HYBRID_OWN)
    assert layout.mode == "hybrid"
    assert layout.unified == Hierarchy("/sys/fs/cgroup/unified", "/user.slice")
    assert layout.v1["cpu"] == layout.v1["cpuacct"] == Hierarchy("/sys/fs/cgroup/cpu,cpuacct", "/user")
    assert layout.v1["name=systemd"].mountpoint == "/sys/fs/cgroup/systemd"
    assert [hierarchy.mountpoint.rpartition("/")[2] for hierarchy in layout.v1_hierarchies()] == [
        "memory",
        "cpu,cpuacct",
        "systemd",
    ]


def test_v1_without_unified() -> None:
    text = "".join(line for line in HYBRID.splitlines(keepends=True) if "cgroup2" not in line)
    assert probe(text, HYBRID_OWN).mode == "v1"


def test_v2_beside_a_named_v1_hierarchy_is_v2() -> None:
    text = "".join(line for line in HYBRID.splitlines(keepends=True) if "cpu" not in line and "memory" not in line)
    assert probe(text, HYBRID_OWN).mode == "v2"


def test_no_cgroups() -> None:
    assert probe(ROOT, "0::/\n") == NONE
    assert probe(V2, "").unified == Hierarchy("/sys/fs/cgroup", None)


def test_inside_a_container_without_cgroup_namespace() -> None:
    """Docker on v1 binds the container's own cgroup over each mount point."""
    text = ROOT + "40 24 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    assert probe(text, "3:memory:/docker/abc\n").v1["memory"] == Hierarchy("/sys/fs/cgroup/memory", "/")
    assert probe(text, "3:memory:/docker/abc/below\n").v1["memory"].own == "/below"
    assert probe(text, "3:memory:/docker/abcdef\n").v1["memory"].own is None
    assert probe(text, "3:memory:/elsewhere\n").v1["memory"].own is None


def test_outside_of_the_cgroup_namespace() -> None:
    """A mount that was made before the namespace shows a root of ``/..``, and so does a process from outside."""
    text = ROOT + "40 24 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert probe(text, "0::/\n").unified == Hierarchy("/sys/fs/cgroup", None)
    assert probe(V2, "0::/../sibling\n").unified == Hierarchy("/sys/fs/cgroup", None)


def test_the_mount_that_shows_us_and_most_wins() -> None:
    text = (
        V2
        + "50 23 0:26 /system.slice /mnt/a rw - cgroup2 cgroup2 rw\n"
        + "51 23 0:26 /user.slice /mnt/b rw - cgroup2 cgroup2 rw\n"
    )
    assert probe(text, "0::/user.slice/x\n").unified == Hierarchy("/sys/fs/cgroup", "/user.slice/x")
    only_binds = text.replace(V2, ROOT)
    assert probe(only_binds, "0::/user.slice/x\n").unified == Hierarchy("/mnt/b", "/x")


@pytest.mark.parametrize(
    "over",
    [
        "60 30 0:99 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n",  # on top of the mount itself
        "60 24 0:99 / /sys/fs rw - tmpfs tmpfs rw\n",  # over a directory on the way
        "60 24 0:99 / /sys rw - sysfs sysfs rw\n",  # on top of the mount that it is mounted in
    ],
)
def test_a_hidden_mount_does_not_count(over: str) -> None:
    assert probe(V2 + over, "0::/\n") == CgroupLayout("none")


def test_the_mount_on_top_counts() -> None:
    text = V2 + "60 30 0:26 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert probe(text, "0::/a/b\n").unified == Hierarchy("/sys/fs/cgroup", "/b")


def test_escaped_mount_point() -> None:
    text = ROOT + "40 23 0:26 / /mnt/a\\040b\\134c rw - cgroup2 cgroup2 rw\n"
    unified = probe(text, "0::/\n").unified
    assert unified is not None
    assert unified.mountpoint == "/mnt/a b\\c"


def test_a_removed_cgroup_and_a_colon_in_a_path() -> None:
    unified = probe(V2, "0::/a:b (deleted)\n").unified
    assert unified is not None
    assert unified.own == "/a:b"


@given(st.text(alphabet="0123456789/:-. cgroup2rwm,\n\\", max_size=300), st.text(alphabet="0:/abc,=\n", max_size=80))
def test_any_text_is_read_without_an_error(mountinfo: str, own: str) -> None:
    probe(mountinfo, own)
    probe(V2 + mountinfo + " - cgroup2", "0::/\n" + own)


def test_locate_v2() -> None:
    layout = CgroupLayout("v2", Hierarchy("/sys/fs/cgroup", "/user.slice", "/"))
    assert locate(layout, "pycontain/abc") == CgroupPaths(
        unified="/sys/fs/cgroup/pycontain/abc", anchor="/sys/fs/cgroup", own="/sys/fs/cgroup/user.slice"
    )
    assert locate(layout, "/a//./b/").unified == "/sys/fs/cgroup/a/b"


def test_locate_below_our_own_cgroup() -> None:
    layout = CgroupLayout("v2", Hierarchy("/sys/fs/cgroup", "/u/x.scope", base="/u/x.scope"))
    paths = locate(layout, "pycontain/abc")
    assert paths.unified == "/sys/fs/cgroup/u/x.scope/pycontain/abc"
    assert paths.anchor == paths.own == "/sys/fs/cgroup/u/x.scope"
    assert locate(layout, "/u/y.scope").unified == "/sys/fs/cgroup/u/y.scope"


def test_locate_hybrid_names_each_directory_once() -> None:
    paths = locate(probe(HYBRID, HYBRID_OWN), "pycontain/abc")
    assert paths.directories == (
        "/sys/fs/cgroup/unified/pycontain/abc",
        "/sys/fs/cgroup/memory/pycontain/abc",
        "/sys/fs/cgroup/cpu,cpuacct/pycontain/abc",
        "/sys/fs/cgroup/systemd/pycontain/abc",
    )
    assert CgroupPaths(**paths.asdict()) == paths


def test_locate_nowhere() -> None:
    paths = locate(NONE, "pycontain/abc")
    assert not paths.exists
    assert paths.directories == ()


@pytest.mark.parametrize("path", ["", "/", "..", "/a/../b", "a/..", "./.", "/a\0b", "a\nb"])
def test_a_path_may_not_leave_its_hierarchy(path: str) -> None:
    with pytest.raises(SpecError, match=r"linux\.cgroupsPath"):
        locate(probe(V2, "0::/\n"), path)
