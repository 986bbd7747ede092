"""linux.netDevices, in a network namespace that stands for the host's; linux.intelRdt where there is none."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.oci import Oci
from harness.probe import requires

pytestmark = requires("root", "program:ip")


class Network:
    """A network namespace in which the runtime is started; ``near`` and ``far`` are the ends of a veth."""

    def __init__(self, oci: Oci, holder: int) -> None:
        self.enter = ("nsenter", "--net", "--target", str(holder), "--")
        self.oci = Oci(oci.root, oci.place, oci.rootfs, (*self.enter, *oci.program))
        self.ip("link add near address 02:00:00:00:00:07 mtu 1400 type veth peer name far")

    def ip(self, words: str) -> str:
        return subprocess.run([*self.enter, "ip", *words.split()], check=True, capture_output=True, text=True).stdout

    def names(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self.ip("-json link"))}

    def devices(self, name: str = "c") -> dict[str, Any]:
        """Return what a container has, by name."""
        pid = str(self.oci.state(name)["pid"])
        words = ["nsenter", "--net", "--target", pid, "--", "ip", "-json", "address"]
        found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        return {link["ifname"]: link for link in found}

    def document(self, **devices: dict[str, Any]) -> dict[str, Any]:
        document = self.oci.config("sleep", "100")
        document["linux"]["netDevices"] = devices
        return document

    def create(self, document: dict[str, Any], name: str = "c") -> None:
        self.oci.ok("create", "-b", self.oci.bundle(document, name), name)


@pytest.fixture
def network(oci: Oci) -> Iterator[Network]:
    with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            yield Network(oci, holder.pid)
        finally:
            oci.remove_all()
            holder.kill()


def test_a_device_is_moved_with_all_it_has(network: Network) -> None:
    """R4: name, MTU, hardware address and permanent global addresses are kept, and it is set up."""
    network.ip("address add 192.0.2.7/24 brd + dev near")
    network.ip("address add 198.51.100.1 peer 198.51.100.2/32 dev near")
    network.ip("address add 2001:db8::7/64 dev near nodad")
    network.ip("address add 192.0.2.8/24 dev near valid_lft 100 preferred_lft 100")
    network.ip("address add 169.254.1.1/16 scope link dev near")
    network.create(network.document(near={}))
    assert network.names() == {"lo", "far"}
    device = network.devices()["near"]
    assert (device["mtu"], device["address"]) == (1400, "02:00:00:00:00:07")
    assert "UP" in device["flags"]
    addresses = {entry["local"]: entry for entry in device["addr_info"] if not entry["local"].startswith("fe80:")}
    assert set(addresses) == {"192.0.2.7", "198.51.100.1", "2001:db8::7"}
    assert addresses["192.0.2.7"]["prefixlen"] == 24
    assert addresses["192.0.2.7"]["broadcast"] == "192.0.2.255"
    assert addresses["198.51.100.1"]["address"] == "198.51.100.2"
    assert addresses["2001:db8::7"]["prefixlen"] == 64


def test_names(network: Network) -> None:
    """R4: a new name, and one that the kernel completes; in a user namespace and before hooks too."""
    network.ip("link add second type veth peer name other")
    document = network.document(near={"name": "eth7"}, second={"name": "eth%d"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 10}]
    document["linux"].update(uidMappings=mapping, gidMappings=mapping)
    document["linux"]["namespaces"].append({"type": "user"})
    seen = network.oci.place / "seen"
    script = f"nsenter --net --target $(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/') -- ip -o link > {seen}"
    document["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    document["hooks"]["createRuntime"][0]["env"] = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    network.create(document)
    assert set(network.devices()) == {"lo", "eth7", "eth0"}
    assert "eth7" in seen.read_text()
    network.oci.ok("delete", "--force", "c")
    # nothing is moved back: with the namespace the ends of the veths are gone
    assert not {"near", "second"} & network.names()


def test_devices_that_cannot_be_moved(network: Network) -> None:
    """R4: unknown ones, names that are taken or none, the loopback, the host's namespace, no namespace."""
    for devices in (
        {"nonesuch": {}},
        {"near": {"name": "lo"}},
        {"near": {"name": "a/b"}},
        {"near": {"name": "much-too-long-a-name"}},
        {"near": {"name": "same"}, "far": {"name": "same"}},
        {"lo": {"name": "lo7"}},
    ):
        assert "linux.netDevices" in network.oci.refuses(network.document(**devices))
    assert {"near", "far"} <= network.names()
    document = network.document(near={})
    document["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
    assert "linux.netDevices" in network.oci.refuses(document)
    document["linux"]["namespaces"].append({"type": "network", "path": "/proc/self/ns/net"})
    assert "linux.netDevices" in network.oci.refuses(document)
    assert "near" in network.names()


def test_a_network_namespace_that_is_joined(network: Network) -> None:
    """R4: a device is moved there; deleting the container leaves it."""
    network.oci.ok("run", "--detach", "-b", network.oci.bundle(network.oci.config("sleep", "100"), "holder"), "holder")
    path = f"/proc/{network.oci.state('holder')['pid']}/ns/net"
    document = network.document(near={})
    document["linux"]["namespaces"] = [{"type": "mount"}, {"type": "network", "path": path}]
    network.create(document)
    network.oci.ok("delete", "--force", "c")
    assert "near" in network.devices("holder")


@pytest.mark.skipif(Path("/sys/fs/resctrl/schemata").exists(), reason="there is a resctrl here")
def test_resctrl_where_there_is_none(oci: Oci) -> None:
    """R3: without a resctrl that is mounted, intelRdt is an error."""
    document = oci.config("true")
    for wanted in ({}, {"closID": "x"}, {"l3CacheSchema": "L3:0=f"}, {"enableMonitoring": True}):
        document["linux"]["intelRdt"] = wanted
        assert "linux.intelRdt: no resctrl" in oci.refuses(document)
    for wanted in ({"closID": ".."}, {"closID": "a/b"}, {"memBwSchema": "L3:0=f"}, {"l3CacheSchema": "L3:0=f\nL3:1=f"}):
        document["linux"]["intelRdt"] = wanted
        assert "linux.intelRdt." in oci.refuses(document)
