"""Bundles with mounts, and what mountinfo shows of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.oci import Oci

USERNS = {
    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
    "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
}
SHOW = "cat /proc/self/mountinfo"


def with_mounts(oci: Oci, script: str, *mounts: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with these mounts after the usual ones, that runs a shell script."""
    document = oci.config("sh", "-ec", script)
    document["mounts"] += mounts
    return document


def in_userns(document: dict[str, Any]) -> dict[str, Any]:
    """Let the container have a user namespace of its own."""
    document["linux"]["namespaces"].append({"type": "user"})
    document["linux"].update(USERNS)
    return document


class Seen:
    """One line of mountinfo: the flags of the mount, its propagation, and the options of the file system."""

    def __init__(self, line: str) -> None:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        self.place, self.flags, self.propagation = fields[4], set(fields[5].split(",")), fields[6:]
        self.type, self.source, options = right.split(" ", 2)
        self.options = set(options.split(","))


def lines(text: str) -> list[str]:
    """Return the lines of mountinfo that are in a text."""
    return [line for line in text.splitlines() if " - " in line]


def seen(text: str, place: str) -> Seen:
    """Return the topmost mount at a place."""
    return [found for found in map(Seen, lines(text)) if found.place == place][-1]


def tmpfs(*options: str, destination: str = "/mnt") -> dict[str, Any]:
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def bind(source: Path | str, *options: str, destination: str = "/mnt", kind: str = "bind") -> dict[str, Any]:
    return {"destination": destination, "type": "none", "source": str(source), "options": [kind, *options]}
