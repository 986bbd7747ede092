"""Moves network devices of the host into a container. Source: config-linux.md#network-devices

::

    in the host's namespace                    in the container's
    look at the device and its addresses
    move it, under its new name  ───────────►  find it: the kernel may have filled in a number
                                               MTU and hardware address as they were
                                               global addresses that are permanent, set up

Devices are never moved back: with the container's namespace the kernel gives physical ones to the first namespace, and
removes those that are software.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pycontain.errors import HostError, SpecError
from pycontain.kernel import _sys
from pycontain.kernel.constants import CLONE_NEWNET
from pycontain.lean_json import child_path
from pycontain.record import Record
from pycontain.spec.linux import NetDevice

# linux/if_addr.h, linux/rtnetlink.h
IFA_F_PERMANENT = 0x80
RT_SCOPE_UNIVERSE = 0


class Device(Record):
    """What is to be the same inside: ``addresses`` are (address, prefix length, peer or "", broadcast or "", flags)."""

    index: int
    mtu: int
    hardware: str
    addresses: tuple[tuple[str, int, str, str, int], ...]


def move(devices: Mapping[str, NetDevice], pid: int) -> None:
    """Move the devices into the network namespace of process ``pid``.

    Raises:
        SpecError: a device cannot be moved; those before it have been.
        HostError: the process is in the runtime's own namespace.
    """
    if os.path.samefile(f"/proc/{pid}/ns/net", "/proc/self/ns/net"):
        raise HostError("linux.netDevices: the container has the host's network namespace")
    for name, wanted in devices.items():
        path = child_path("linux.netDevices", name)
        try:
            _move(name, wanted.name or name, pid)
        except NetlinkError as error:
            raise SpecError(path, f"{os.strerror(abs(error.code)).lower()}") from error
        except OSError as error:
            raise SpecError(path, f"{(error.strerror or str(error)).lower()}") from error


def _move(name: str, inside: str, pid: int) -> None:
    with IPRoute() as host:
        device = _look(host, name)
        with _within(pid), IPRoute() as container:
            taken = _names(container)
        if inside in taken:
            raise FileExistsError(17, f"the container's namespace has a device {inside}")
        host.link("set", index=device.index, ifname=inside, net_ns_pid=pid)
    with _within(pid), IPRoute() as container:
        # its index may be another one now, and of its name the kernel may have filled in the number
        new = [index for found, index in _names(container).items() if found not in taken]
        if len(new) != 1:
            raise FileNotFoundError(2, f"the device has not arrived alone as {inside}")
        _restore(container, new[0], device)


@contextmanager
def _within(pid: int) -> Iterator[None]:
    """Be in the network namespace of a process; sockets that are made there stay there."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _sys.setns(other, CLONE_NEWNET)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _sys.setns(own, CLONE_NEWNET)
    finally:
        os.close(own)


def _names(route: Any) -> dict[str, int]:
    return {link.get_attr("IFLA_IFNAME"): link["index"] for link in route.get_links()}


def _link(route: Any, index: int) -> Any:
    for link in route.get_links(index):
        return link
    raise FileNotFoundError(2, "the network device has gone")


def _look(route: Any, name: str) -> Device:
    found = route.link_lookup(ifname=name)
    if not found:
        raise FileNotFoundError(2, "no such network device")
    link = _link(route, found[0])
    addresses = []
    for entry in route.get_addr(index=found[0]):
        flags = entry.get_attr("IFA_FLAGS") or entry["flags"]
        if entry["scope"] != RT_SCOPE_UNIVERSE or not flags & IFA_F_PERMANENT:
            continue
        address, local = entry.get_attr("IFA_ADDRESS"), entry.get_attr("IFA_LOCAL")
        peer = address if local and local != address else ""
        broadcast = entry.get_attr("IFA_BROADCAST") or ""
        addresses.append((local or address, entry["prefixlen"], peer, broadcast, flags & ~IFA_F_PERMANENT))
    return Device(link["index"], link.get_attr("IFLA_MTU"), link.get_attr("IFLA_ADDRESS") or "", tuple(addresses))


def _restore(route: Any, index: int, device: Device) -> None:
    link = _link(route, index)
    if link.get_attr("IFLA_MTU") != device.mtu:
        route.link("set", index=index, mtu=device.mtu)
    if device.hardware and link.get_attr("IFLA_ADDRESS") != device.hardware:
        route.link("set", index=index, address=device.hardware)
    for local, length, peer, broadcast, flags in device.addresses:
        words: dict[str, Any] = {"index": index, "address": peer or local, "prefixlen": length}
        if ":" not in local:
            words["local"] = local
        if broadcast:
            words["broadcast"] = broadcast
        if flags:
            words["flags"] = flags
        route.addr("add", **words)
    route.link("set", index=index, state="up")
