"""Device nodes, links, and names in the root that lead elsewhere."""

from __future__ import annotations

from pathlib import Path

from harness.oci import Oci
from harness.probe import requires

pytestmark = requires("root")


def test_default_devices(oci: Oci, scratch_root: Path) -> None:
    """D1, D2: nodes and links that every container has, in a /dev of its own or in the root's."""
    script = "cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty; readlink fd; readlink ptmx"
    document = oci.config("sh", "-c", script)
    expected = oci.runs(document)
    assert "null character special file 1:3 666" in expected
    assert expected.endswith("/proc/self/fd\npts/ptmx\n")
    document["root"] = {"path": str(scratch_root)}
    document["mounts"] = document["mounts"][:1]
    assert oci.runs(document) == expected


def test_default_devices_in_a_user_namespace(oci: Oci, scratch_root: Path) -> None:
    """D4: bound from the host where the root has them as files."""
    document = oci.config("sh", "-c", "echo x > /dev/null; stat -c '%F %t:%T' /dev/null /dev/zero; readlink /dev/fd")
    document["root"] = {"path": str(scratch_root)}
    document["mounts"] = document["mounts"][:1]
    document["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 0, "size": 65536}]
    document["linux"].update(uidMappings=mapping, gidMappings=mapping)
    lines = oci.runs(document).splitlines()
    assert lines == ["character special file 1:3", "character special file 1:5", "/proc/self/fd"]
    document["linux"]["devices"] = [{"path": "/node", "type": "c", "major": 1, "minor": 3}]
    assert "/node" in oci.refuses(document)


def test_listed_devices(oci: Oci, scratch_root: Path) -> None:
    """D3, D5: nodes below /dev and elsewhere, fifos, redundant ones."""
    document = oci.config("stat", "-c", "%n %F %t:%T %a %u", "/dev/a/b", "/node", "/dev/pipe", "/dev/null")
    document["root"] = {"path": str(scratch_root)}
    document["linux"]["devices"] = [
        {"path": "/dev/a/b", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/node", "type": "b", "major": 7, "minor": 9, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o666},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
    ]
    assert oci.runs(document).splitlines() == [
        "/dev/a/b character special file 1:5 640 3",
        "/node block special file 7:9 600 0",
        "/dev/pipe fifo 0:0 666 0",
        "/dev/null character special file 1:3 666 0",
    ]
    # a second time the node is there already
    oci.runs(document)
    document["linux"]["devices"][1]["minor"] = 10
    assert "/node is there, but is another file" in oci.refuses(document)
    document["linux"]["devices"][1]["path"] = "/../x"
    assert "linux.devices[1]" in oci.refuses(document)


def test_links_that_lead_nowhere_yet(oci: Oci, scratch_root: Path) -> None:
    """M10: what they name is made, in the root and nowhere else."""
    outside = oci.place / "outside"
    outside.mkdir()
    (scratch_root / "link").symlink_to(outside)
    (scratch_root / "loop").symlink_to("loop")
    document = oci.config("sh", "-c", f"touch /link/x/mine && ls {outside}/x")
    document["root"] = {"path": str(scratch_root)}
    document["mounts"].append({"destination": "/link/x", "type": "tmpfs", "source": "tmpfs"})
    assert oci.runs(document) == "mine\n"
    assert list(outside.iterdir()) == []
    document["mounts"][-1]["destination"] = "/loop/x"
    oci.refuses(document)
