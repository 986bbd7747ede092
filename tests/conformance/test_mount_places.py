"""Mounts: order, places, sources, /proc, the root itself."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from harness.mounts import SHOW, Seen, bind, in_userns, lines, seen, tmpfs, with_mounts
from harness.oci import Oci
from harness.probe import requires

pytestmark = requires("root")

#: Runs a program as root of a user namespace that has the host's first ids, with mounts of its own.
NESTED = """
import os, sys
from pycontain.kernel import _sys
from pycontain.kernel.constants import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER
from pycontain.plan.facts import USERNS_CUSTOM, UserNamespace
from pycontain.runtime.idmap import write_maps
from pycontain.spec.ids import IDMapping
ready, told = os.pipe()
pid, _ = _sys.clone3(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
if pid == 0:
    os.close(told)
    os.read(ready, 1)
    _sys.mount("proc", "/proc", "proc", 0, None)
    os.execv(sys.argv[1], sys.argv[1:])
maps = (IDMapping(0, 0, 65536),)
write_maps(pid, UserNamespace(USERNS_CUSTOM, maps, maps))
os.close(told)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_order(oci: Oci, shared: Path) -> None:
    """M1: in the order of the list; a later one covers an earlier one."""
    document = with_mounts(oci, "ls /mnt", bind(shared), tmpfs())
    assert oci.runs(document) == ""
    document = with_mounts(oci, "ls /mnt", tmpfs(), bind(shared))
    assert oci.runs(document) == "file\n"


def test_relative_destination(oci: Oci) -> None:
    """M2: it counts from the root, with a warning."""
    log = oci.place / "log"
    bundle = oci.bundle(with_mounts(oci, SHOW, tmpfs(destination="mnt")))
    assert seen(oci.ok("--log", log, "run", "-b", bundle, "c"), "/mnt").type == "tmpfs"
    assert "deprecated" in log.read_text()


def test_relative_source(oci: Oci) -> None:
    """M4: of a bind mount, it counts from the bundle."""
    document = with_mounts(oci, "cat /tmp/told", bind("told", destination="/tmp/told"))
    bundle = oci.bundle(document)
    (bundle / "told").write_text("from the bundle")
    assert oci.ok("run", "-b", bundle, "c") == "from the bundle"


@pytest.mark.parametrize("kind", [{"type": "bind"}, {"type": "none"}, {"type": "ext4"}, {}])
def test_what_makes_a_bind_is_its_options(oci: Oci, shared: Path, kind: dict[str, str]) -> None:
    """M3: bind or rbind, whatever the type."""
    document = with_mounts(oci, "cat /mnt/file", {"destination": "/mnt", "source": str(shared), "options": ["rbind"]})
    document["mounts"][-1].update(kind)
    assert oci.runs(document) == "of the host\n"


def test_mount_points_are_made(oci: Oci, shared: Path) -> None:
    """M10: a directory for a directory, a file for a file, with what is missing above; never the wrong one."""
    directory, file = bind(shared, destination="/tmp/a/b/c"), bind(shared / "file", destination="/tmp/d/e/file")
    script = "cat /tmp/a/b/c/file /tmp/d/e/file; stat -c %a /tmp/a /tmp/d"
    assert oci.runs(with_mounts(oci, script, directory, file)).split("\n")[:4] == ["of the host"] * 2 + ["755"] * 2
    assert "directory" in oci.refuses(with_mounts(oci, SHOW, bind(shared, destination="/etc/passwd")))
    assert "directory" in oci.refuses(with_mounts(oci, SHOW, bind(shared / "file", destination="/etc")))
    assert "/nonesuch" in oci.refuses(with_mounts(oci, SHOW, bind("/nonesuch", destination="/mnt")))


def test_destinations_stay_in_the_root(oci: Oci, shared: Path) -> None:
    """M10: neither .. nor a link leads out of the root."""
    (shared / "link").symlink_to("/")
    (shared / "up").symlink_to("../../../../../../../../tmp")
    outside = Path("/tmp/pycontain-outside")
    for place in ("/tmp/x/link/tmp/pycontain-outside", "/tmp/x/up/pycontain-outside", "/../../tmp/pycontain-outside"):
        document = with_mounts(oci, SHOW, bind(shared, destination="/tmp/x"), tmpfs(destination=place))
        assert seen(oci.runs(document), "/tmp/pycontain-outside").type == "tmpfs"
        assert not outside.exists()


@pytest.mark.parametrize(
    ("place", "allowed"),
    [
        ("/proc/uptime", True),
        ("/proc/sys/kernel/ns_last_pid", True),
        ("/proc//meminfo", True),
        ("/proc/self/attr/current", False),
        ("/proc/1/environ", False),
        ("/proc/sys/kernel/hostname", False),
        ("/tmp/link/version", False),
        ("/tmp/link/uptime", True),
    ],
)
def test_mounts_on_proc(oci: Oci, shared: Path, place: str, allowed: bool) -> None:
    """M11: only a few entries of /proc can be covered, on whichever way."""
    links = oci.place / "links"
    links.mkdir()
    (links / "link").symlink_to("/proc")
    document = with_mounts(
        oci, "cat /proc/uptime", bind(links, destination="/tmp"), bind(shared / "file", destination=place)
    )
    if place == "/proc/sys/kernel/ns_last_pid" and not Path(place).exists():
        pytest.skip("this kernel has no ns_last_pid")
    if allowed:
        assert ("of the host" in oci.runs(document)) is place.endswith("uptime")
    else:
        assert "nothing can be mounted there" in oci.refuses(document)


def test_proc_is_a_procfs(oci: Oci, shared: Path) -> None:
    """M11: nothing else can be put at /proc."""
    assert "only a proc file system" in oci.refuses(with_mounts(oci, SHOW, bind(shared, destination="/proc")))
    assert "only a proc file system" in oci.refuses(with_mounts(oci, SHOW, tmpfs(destination="/proc/")))
    document = oci.config("cat", "/proc/self/mountinfo")
    document["mounts"][0] = bind("/proc", destination="/proc", kind="rbind")
    assert seen(oci.runs(document), "/proc").type == "proc"


@pytest.mark.parametrize("kind", ["proc", "sysfs"])
def test_a_link_in_the_place_of_proc(oci: Oci, shared: Path, kind: str) -> None:
    """M11: or of /sys, or of a way to them, is refused."""
    (shared / "link").symlink_to("/tmp")
    (shared / "empty").mkdir()
    for place in ("/mnt/link", "/mnt/file"):
        new = {"destination": place, "type": kind, "source": kind}
        assert place in oci.refuses(with_mounts(oci, SHOW, bind(shared), new))
    new = {"destination": "/mnt/empty", "type": kind, "source": kind}
    assert seen(oci.runs(with_mounts(oci, SHOW, bind(shared), new)), "/mnt/empty").type == kind


def test_the_usual_file_systems(oci: Oci) -> None:
    """M9, M14: proc, sysfs, devpts, mqueue and shm with their options."""
    quiet = ["nosuid", "noexec", "nodev"]
    document = with_mounts(
        oci,
        SHOW + "; stat -c %a:%g /dev/pts/ptmx",
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": quiet},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*quiet, "mode=1777", "size=1m"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*quiet, "ro"]},
    )
    document["mounts"][2]["options"] += ["gid=5"]
    out = oci.runs(document)
    assert {"gid=5", "mode=620", "ptmxmode=666"} <= seen(out, "/dev/pts").options
    assert out.rstrip().endswith("666:0")
    assert set(quiet) <= seen(out, "/dev/mqueue").flags
    assert seen(out, "/dev/mqueue").type == "mqueue"
    assert (seen(out, "/dev/shm").source, "size=1024k" in seen(out, "/dev/shm").options) == ("shm", True)
    assert {*quiet, "ro"} <= seen(out, "/sys").flags


def test_flags_of_dev(oci: Oci) -> None:
    """M5: the options of /dev are its own: none is added, and read-only is the last thing that it becomes."""
    document = oci.config("cat", "/proc/self/mountinfo")
    document["mounts"][1]["options"] = ["ro", "noexec", "strictatime", "mode=0751"]
    found = seen(oci.runs(document), "/dev")
    assert {"ro", "noexec"} <= found.flags
    assert not {"nosuid", "relatime"} & found.flags
    document["process"]["args"] = ["stat", "-c", "%a", "/dev"]
    assert oci.runs(document).strip() == "751"
    document["mounts"][1]["options"] = []
    assert oci.runs(document).strip() == f"{stat.S_IMODE((oci.rootfs / 'dev').stat().st_mode):o}"


@pytest.mark.parametrize("word", ["shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable"])
@pytest.mark.parametrize("host_is_shared", [True, False])
def test_propagation_of_the_root(oci: Oci, word: str, host_is_shared: bool) -> None:
    """M15: shared is a peer group of its own, slave follows the host's, the others follow nobody."""
    root = oci.place / "rootfs"
    root.mkdir()
    subprocess.run(["mount", "--bind", oci.rootfs, root], check=True)
    subprocess.run(["mount", f"--make-{'shared' if host_is_shared else 'private'}", root], check=True)
    try:
        document = oci.config("cat", "/proc/self/mountinfo")
        document["root"]["path"] = str(root)
        document["linux"]["rootfsPropagation"] = word
        found = seen(oci.runs(document), "/")
        host = seen(Path("/proc/self/mountinfo").read_text(), str(root))
    finally:
        subprocess.run(["umount", root], check=True)
    fields = dict(field.partition(":")[::2] for field in found.propagation)
    peers = dict(field.partition(":")[::2] for field in host.propagation)
    wanted = {"shared": {"shared"}, "slave": {"master"} if host_is_shared else set(), "unbindable": {"unbindable"}}
    assert set(fields) == wanted.get(word.removeprefix("r"), set())
    if "shared" in fields:
        assert fields["shared"] != peers.get("shared")
    if "master" in fields:
        assert fields["master"] == peers["shared"]


def test_propagation_of_the_root_that_is_none(oci: Oci) -> None:
    """M15: another word is refused."""
    document = oci.config("true")
    document["linux"]["rootfsPropagation"] = "foo"
    assert "linux.rootfsPropagation" in oci.refuses(document)


def test_readonly_root(oci: Oci, shared: Path) -> None:
    """M17: the root becomes read-only after the mounts, which keep their own flags."""
    document = with_mounts(oci, "! touch /new; touch /mnt/new; " + SHOW, bind(shared))
    out = oci.runs(document)
    assert "ro" in seen(out, "/").flags
    assert (shared / "new").exists()


@pytest.mark.parametrize("userns", [False, True])
def test_without_pivot_root(oci: Oci, userns: bool) -> None:
    """M16: --no-pivot; nothing of the host's root is left where it can be reached."""
    document = with_mounts(oci, "ls /; ls /proc/1/root/; " + SHOW, tmpfs())
    if userns:
        in_userns(document)
    out = oci.ok("run", "--no-pivot", "-b", oci.bundle(document), "c")
    names = sorted(os.listdir(oci.rootfs))
    assert sorted(out.split()[: len(names)]) == names
    assert seen(out, "/mnt").type == "tmpfs"
    assert [found.place for found in map(Seen, lines(out)) if found.type == "proc"] == ["/proc"]


def test_locked_flags(oci: Oci, shared: Path) -> None:
    """M8: in a user namespace what the host forbids stays forbidden, and to name its opposite is an error."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec,noatime", "tmpfs", shared], check=True)
    shared.chmod(0o755)
    inside = Oci(oci.root, oci.place, oci.rootfs, (sys.executable, "-c", NESTED, *oci.program))
    try:
        for words, flags in (
            ((), {"nosuid", "nodev", "noexec", "noatime"}),
            (("ro",), {"ro", "nosuid", "nodev", "noexec", "noatime"}),
            (("nosuid", "rnoexec"), {"nosuid", "nodev", "noexec", "noatime"}),
        ):
            document = with_mounts(inside, SHOW, bind(shared, *words))
            assert flags <= seen(inside.runs(document), "/mnt").flags, words
        for word in ("exec", "suid", "dev", "strictatime", "rexec"):
            assert "not permitted" in inside.refuses(with_mounts(inside, SHOW, bind(shared, word))), word
    finally:
        subprocess.run(["umount", shared], check=True)


@pytest.mark.parametrize(
    ("source", "words", "flags", "absent"),
    [
        ("nosuid,nodev,noexec", (), {"nosuid", "nodev", "noexec"}, {"ro"}),
        ("nosuid,nodev,noexec", ("ro",), {"ro"}, {"nosuid", "nodev", "noexec"}),
        ("nosuid,noexec,noatime", ("rw",), {"noatime"}, {"nosuid", "noexec"}),
        ("ro,nosuid", ("noexec",), {"noexec"}, {"ro", "nosuid"}),
        ("noexec,nodev", ("exec",), set(), {"noexec", "nodev"}),
        ("noatime", ("strictatime",), set(), {"noatime", "relatime"}),
    ],
)
def test_flags_of_the_source(
    oci: Oci, shared: Path, source: str, words: tuple[str, ...], flags: set[str], absent: set[str]
) -> None:
    """M8: with no word about flags a bind keeps those of its source, with one it has only those that are named."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", source, "tmpfs", shared], check=True)
    try:
        found = seen(oci.runs(with_mounts(oci, SHOW, bind(shared, *words))), "/mnt").flags
    finally:
        subprocess.run(["umount", shared], check=True)
    assert flags <= found
    assert not absent & found


def test_a_read_only_tmpfs_takes_mount_points(oci: Oci, shared: Path) -> None:
    """M5, M10: it becomes read-only when what lies in it is mounted."""
    document = with_mounts(oci, SHOW, tmpfs("ro", "tmpcopyup"), bind(shared, destination="/mnt/a/b"))
    out = oci.runs(document)
    assert "ro" in seen(out, "/mnt").flags
    assert "rw" in seen(out, "/mnt/a/b").flags
