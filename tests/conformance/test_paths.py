"""maskedPaths and readonlyPaths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.oci import Oci
from harness.probe import requires

pytestmark = requires("root")


def hidden(oci: Oci, script: str, **linux: list[str]) -> dict[str, Any]:
    document = oci.config("sh", "-c", script)
    names = ["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER", "CAP_MKNOD", "CAP_SYS_ADMIN"]
    document["process"]["capabilities"] = {"bounding": names, "permitted": names, "effective": names}
    document["linux"].update(linux)
    return document


def mount_options(text: str, path: str) -> set[str]:
    (line,) = (line.split() for line in text.splitlines() if line.split()[4] == path)
    return set(line[5].split(","))


def test_masked_files_and_directories(oci: Oci, scratch_root: Path) -> None:
    """R1: a file is the null device, a directory is empty and takes nothing; what is not there is passed over."""
    for name in ("full", "full2"):
        (scratch_root / name).mkdir()
        (scratch_root / name / "file").write_text("x")
    script = (
        "stat -c %F,%t,%T /etc/passwd; wc -c < /etc/passwd; ls -A /full /full2; touch /full/x; chmod 0 /etc/passwd; "
        "chown 1 /etc/passwd; stat -c %a,%u /dev/null; cat /proc/self/mountinfo"
    )
    paths = ["/etc/passwd", "/full", "/full2", "/etc/passwd", "/nonexistent/x", "/etc/passwd/x", "/proc/nonesuch"]
    document = hidden(oci, script, maskedPaths=paths)
    document["root"] = {"path": str(scratch_root)}
    before = os.stat("/dev/null")
    done = oci.run("run", "-b", oci.bundle(document), "c")
    said, _, table = done.stdout.partition("666,0\n")
    assert said.splitlines() == ["character special file,1,3", "0", "/full:", "", "/full2:"]
    assert mount_options(table, "/full") >= {"ro", "nosuid", "nodev", "noexec"}
    assert done.stderr.count("Read-only file system") == 3
    after = os.stat("/dev/null")
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
    assert (scratch_root / "full" / "file").read_text() == "x"


def test_masked_through_links(oci: Oci, scratch_root: Path) -> None:
    """R1: a link is followed inside the root, and never out of it."""
    outside = oci.place / "outside"
    outside.write_text("secret of the host")
    (scratch_root / "secret").write_text("secret")
    (scratch_root / "link").symlink_to("/secret")
    (scratch_root / "out").symlink_to(f"../../../../../..{outside}")
    document = hidden(oci, "cat /secret /link | wc -c", maskedPaths=["/link", "/out"])
    document["root"]["path"] = str(scratch_root)
    assert oci.runs(document) == "0\n"
    assert outside.read_text() == "secret of the host"


def test_masked_where_things_are_mounted(oci: Oci) -> None:
    """R1: what is hidden is what the mounts show, also in a user namespace."""
    document = hidden(
        oci, "cat /proc/kallsyms | wc -c; ls -A /proc/fs | wc -l", maskedPaths=["/proc/kallsyms", "/proc/fs"]
    )
    assert oci.runs(document).split() == ["0", "0"]
    mapping = [{"containerID": 0, "hostID": 100000, "size": 10}]
    document["linux"].update(uidMappings=mapping, gidMappings=mapping)
    document["linux"]["namespaces"].append({"type": "user"})
    assert oci.runs(document).split() == ["0", "0"]


def test_read_only_paths(oci: Oci) -> None:
    """R2: with all that is mounted below, keeping the flags of the mount; what is not there is passed over."""
    script = "touch /tmp/a /tmp/in/b /tmp/free; cat /proc/self/mountinfo"
    document = hidden(oci, script, readonlyPaths=["/tmp", "/proc/sys", "/proc/sys", "/nonexistent", "/etc/passwd"])
    document["mounts"].append({"destination": "/tmp/in", "type": "tmpfs", "options": ["noexec"]})
    document["mounts"].append({"destination": "/tmp/free", "source": str(oci.place), "options": ["bind", "rw"]})
    done = oci.run("run", "-b", oci.bundle(document), "c")
    assert done.stderr.count("Read-only file system") == 3
    below = [
        line for line in done.stdout.splitlines() if line.split()[4] in ("/tmp", "/tmp/in", "/tmp/free", "/proc/sys")
    ]
    last = {line.split()[4]: set(line.split()[5].split(",")) for line in below}
    assert all("ro" in options for options in last.values())
    assert last["/tmp"] >= {"nosuid", "nodev"}
    assert "noexec" in last["/tmp/in"]
    assert last["/proc/sys"] >= {"nosuid", "noexec", "nodev"}


def test_paths_that_are_none(oci: Oci) -> None:
    """R1, R2: paths have to be absolute, and need a mount namespace."""
    for name in ("maskedPaths", "readonlyPaths"):
        assert f"linux.{name}[0]" in oci.refuses(hidden(oci, "true", **{name: ["etc/passwd"]}))
        document = hidden(oci, "true", **{name: ["/etc/passwd"]})
        document.update(mounts=[], root={"path": str(oci.rootfs)})
        document["linux"]["namespaces"] = [{"type": "pid"}]
        assert f"linux.{name}" in oci.refuses(document)
