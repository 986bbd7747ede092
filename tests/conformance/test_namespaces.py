"""Namespaces: new ones, joined ones, their clocks and users."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from harness.oci import Oci
from harness.probe import requires

pytestmark = requires("root")


def sleeping(oci: Oci, **changes: Any) -> dict[str, Any]:
    document = oci.config("sleep", "1000")
    document["linux"].update(changes)
    return document


def test_time_offsets(oci: Oci) -> None:
    """N6: the clocks of a new time namespace, for init and for exec."""
    document = oci.config("cat", "/proc/uptime")
    document["linux"]["namespaces"].append({"type": "time"})
    document["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 1000000, "nanosecs": 5}}
    with open("/proc/uptime") as file:
        here = float(file.read().split()[0])
    assert float(oci.runs(document).split()[0]) == pytest.approx(here + 1000000, abs=60)
    document["process"]["args"] = ["sleep", "1000"]
    oci.ok("run", "-d", "-b", oci.bundle(document), "d")
    assert float(oci.ok("exec", "d", "cat", "/proc/uptime").split()[0]) > 1000000
    document["linux"]["timeOffsets"] = {"realtime": {"secs": 1}}
    assert "timeOffsets.realtime" in oci.refuses(document)
    document["linux"]["timeOffsets"] = {"boottime": {"secs": -(10**12)}}
    assert "time offsets" in oci.refuses(document)


def test_joined_by_path(oci: Oci) -> None:
    """N2, L7: joined by path, of the right type; deleting leaves them alone."""
    oci.ok("run", "-d", "-b", oci.bundle(sleeping(oci), "holder"), "holder")
    pid = oci.state("holder")["pid"]
    document = oci.config("sh", "-c", "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; echo $$")
    kinds = {"network": "net", "ipc": "ipc", "pid": "pid"}
    joined = [{"type": kind, "path": f"/proc/{pid}/ns/{name}"} for kind, name in kinds.items()]
    document["linux"]["namespaces"] = [{"type": "mount"}, *joined]
    said = oci.runs(document).split()
    assert said[:2] == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("net", "ipc")]
    assert int(said[2]) > 1
    for path, text in ((f"/proc/{pid}/ns/uts", "another type"), ("/etc/passwd", "network"), ("relative", "absolute")):
        joined[0]["path"] = path
        assert text in oci.refuses(document)
    assert oci.state("holder")["status"] == "running"


def test_inherited(oci: Oci) -> None:
    """N4: what is not listed is the caller's; N5: nothing is listed twice."""
    document = oci.config("sh", "-c", "for kind in pid net ipc uts mnt; do readlink /proc/self/ns/$kind; done")
    document["linux"]["namespaces"] = [{"type": "mount"}]
    said = oci.runs(document).split()
    assert said[:4] == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "net", "ipc", "uts")]
    assert said[4] != os.readlink("/proc/self/ns/mnt")
    document["linux"]["namespaces"] = [{"type": "mount"}, {"type": "mount"}]
    assert "linux.namespaces[1]" in oci.refuses(document)


def test_names(oci: Oci) -> None:
    """N7: host name and domain name of a new uts namespace."""
    document = oci.config("cat", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname")
    document.update(hostname="box", domainname="example.org")
    assert oci.runs(document).split() == ["box", "example.org"]
    document["linux"]["namespaces"] = [{"type": "mount"}]
    assert "hostname" in oci.refuses(document)


def test_kernel_parameters(oci: Oci) -> None:
    """N8: of the container's own namespaces, and of nothing else."""
    document = oci.config("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax")
    document["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4321"}
    assert oci.runs(document).split() == ["1", "4321"]
    for name in ("kernel.panic", "net.ipv4/../../kernel.panic", "vm.swappiness", "user.max_user_namespaces"):
        document["linux"]["sysctl"] = {name: "1"}
        assert "linux.sysctl" in oci.refuses(document)


def test_users(oci: Oci) -> None:
    """U1, U3: mappings as they stand; a user namespace that is joined."""
    document = oci.config("cat", "/proc/self/uid_map", "/proc/self/gid_map")
    document["linux"]["namespaces"].append({"type": "user"})
    document["linux"]["uidMappings"] = [
        {"containerID": 0, "hostID": 100000, "size": 1000},
        {"containerID": 2000, "hostID": 300000, "size": 10},
    ]
    document["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 1000}]
    words = oci.runs(document).split()
    assert words == ["0", "100000", "1000", "2000", "300000", "10", "0", "200000", "1000"]
    document["process"]["args"] = ["sleep", "1000"]
    oci.ok("run", "-d", "-b", oci.bundle(document), "d")
    assert oci.ok("exec", "--user", "5:6", "d", "id", "-u").strip() == "5"
    other = oci.config("cat", "/proc/self/uid_map")
    other["linux"]["namespaces"] = [
        *({"type": kind} for kind in ("mount", "pid", "network", "ipc")),
        {"type": "user", "path": f"/proc/{oci.state('d')['pid']}/ns/user"},
    ]
    assert oci.runs(other, "e").split()[:3] == ["0", "100000", "1000"]


def test_seccomp_kills(oci: Oci) -> None:
    """S: a default action of KILL without rules ends the program by SIGSYS, and hangs nobody."""
    document = oci.config("true")
    document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_KILL"}
    document["process"]["noNewPrivileges"] = True
    begun = time.monotonic()
    assert oci.run("run", "-b", oci.bundle(document), "c").returncode == 159
    assert time.monotonic() - begun < 10
