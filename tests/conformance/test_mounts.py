"""Mounts: every option, each with the flags it gives in mountinfo and, where it has any, with what it does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness.oci import Oci
from harness.probe import requires

pytestmark = requires("root")

USERNS = {
    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
    "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
}
SHOW = "cat /proc/self/mountinfo"
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


@pytest.fixture
def shared(oci: Oci) -> Path:
    """Return a directory of the host with a file in it."""
    directory = oci.place / "shared"
    directory.mkdir()
    (directory / "file").write_text("of the host\n")
    return directory


@pytest.fixture
def nested(shared: Path) -> Any:
    """Yield a directory below which a tmpfs is mounted."""
    (shared / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", shared / "below"], check=True)
    try:
        yield shared
    finally:
        subprocess.run(["umount", shared / "below"], check=True)


# what each word adds to the flags of a mount that is rw,relatime, and what it takes away
FLAGS = [
    (("ro",), {"ro"}),
    (("ro", "rw"), {"rw"}),
    (("nosuid",), {"nosuid"}),
    (("nosuid", "suid"), set()),
    (("nodev",), {"nodev"}),
    (("nodev", "dev"), set()),
    (("noexec",), {"noexec"}),
    (("noexec", "exec"), set()),
    (("noatime",), {"noatime"}),
    (("noatime", "atime"), {"relatime"}),
    (("nodiratime",), {"nodiratime", "relatime"}),
    (("nodiratime", "diratime"), {"relatime"}),
    (("relatime",), {"relatime"}),
    (("noatime", "relatime"), {"relatime"}),
    (("relatime", "norelatime"), {"relatime"}),
    (("strictatime",), set()),
    (("strictatime", "nostrictatime"), {"relatime"}),
    (("nosymfollow",), {"nosymfollow"}),
    (("nosymfollow", "symfollow"), set()),
    (("defaults", "silent", "loud", "iversion", "noiversion"), {"rw"}),
    (("rro",), {"ro"}),
    (("rro", "rrw"), {"rw"}),
    (("rnosuid",), {"nosuid"}),
    (("rnosuid", "rsuid"), set()),
    (("rnodev",), {"nodev"}),
    (("rnodev", "rdev"), set()),
    (("rnoexec",), {"noexec"}),
    (("rnoexec", "rexec"), set()),
    (("rnoatime",), {"noatime"}),
    (("rnoatime", "ratime"), {"relatime"}),
    (("rnodiratime",), {"nodiratime"}),
    (("rnodiratime", "rdiratime"), set()),
    (("rrelatime",), {"relatime"}),
    (("rstrictatime",), set()),
    (("rstrictatime", "rnostrictatime"), {"relatime"}),
    (("rnoatime", "rnorelatime"), {"relatime"}),
    (("rnosymfollow",), {"nosymfollow"}),
    (("rnosymfollow", "rsymfollow"), set()),
]
_ALL = {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow"}
_IDS = [",".join(words) for words, _ in FLAGS]


def check_flags(found: Seen, words: tuple[str, ...], wanted: set[str]) -> None:
    # every access time is one of three: strictatime has no word of its own
    time = {"noatime", "relatime"} & wanted or (set() if "strictatime" in "".join(words) else {"relatime"})
    assert found.flags & _ALL == (wanted | time) & _ALL, (words, found.flags)


@pytest.mark.parametrize(("words", "wanted"), FLAGS, ids=_IDS)
def test_flags_of_a_new_file_system(oci: Oci, words: tuple[str, ...], wanted: set[str]) -> None:
    """M5: of a file system that is mounted anew."""
    text = oci.runs(with_mounts(oci, SHOW, tmpfs(*words)))
    check_flags(seen(text, "/mnt"), words, wanted)


@pytest.mark.parametrize(("words", "wanted"), FLAGS, ids=_IDS)
def test_flags_of_a_bind(oci: Oci, shared: Path, words: tuple[str, ...], wanted: set[str]) -> None:
    """M5, M8: of a directory of the host."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", shared], check=True)
    try:
        text = oci.runs(with_mounts(oci, SHOW, bind(shared, *words)))
    finally:
        subprocess.run(["umount", shared], check=True)
    check_flags(seen(text, "/mnt"), words, wanted)


@pytest.mark.parametrize(("word", "option"), [("sync", "sync"), ("dirsync", "dirsync"), ("lazytime", "lazytime")])
def test_flags_of_the_file_system_itself(oci: Oci, word: str, option: str) -> None:
    """M5: sync, dirsync and lazytime are the file system's, and their opposites take them back."""
    assert option in seen(oci.runs(with_mounts(oci, SHOW, tmpfs(word))), "/mnt").options
    opposite = {"sync": "async", "lazytime": "nolazytime"}.get(word)
    if opposite:
        assert option not in seen(oci.runs(with_mounts(oci, SHOW, tmpfs(word, opposite))), "/mnt").options


@pytest.mark.parametrize("words", [("mand",), ("mand", "nomand"), ("iversion",)])
def test_flags_that_nothing_shows(oci: Oci, words: tuple[str, ...]) -> None:
    """M5: the kernel takes them."""
    assert seen(oci.runs(with_mounts(oci, SHOW, tmpfs(*words))), "/mnt").type == "tmpfs"


def test_data(oci: Oci) -> None:
    """M6: what is no word of ours goes to the file system, which may refuse it."""
    found = seen(oci.runs(with_mounts(oci, SHOW, tmpfs("size=64k,nr_inodes=7", "mode=0710", "uid=3"))), "/mnt")
    assert {"size=64k", "nr_inodes=7", "mode=710", "uid=3"} <= found.options
    assert "nonsense" in oci.refuses(with_mounts(oci, SHOW, tmpfs("nonsense=1")))
    assert "means nothing for a bind mount" in oci.refuses(with_mounts(oci, SHOW, bind("/etc", "size=1k")))


def test_what_the_flags_do(oci: Oci, shared: Path) -> None:
    """M5: ro, noexec, nodev, nosuid and nosymfollow are not only shown."""
    (shared / "true").write_bytes((oci.rootfs / "bin/busybox").read_bytes())
    (shared / "true").chmod(0o4755)
    os.mknod(shared / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (shared / "link").symlink_to("file")
    oci.runs(with_mounts(oci, "/mnt/true && cat /mnt/link && echo >/mnt/null && touch /mnt/new", bind(shared)))
    for word, script in (
        ("ro", "! touch /mnt/other"),
        ("noexec", "! /mnt/true"),
        ("nodev", "! cat /mnt/null"),
        ("nosymfollow", "! cat /mnt/link"),
        ("rro", "! touch /mnt/other"),
        ("rnoexec", "! /mnt/true"),
        ("rnodev", "! cat /mnt/null"),
        ("rnosymfollow", "! cat /mnt/link"),
    ):
        oci.runs(with_mounts(oci, script, bind(shared, word)))
    # busybox gives up what its set-user-id bit gave it, but for programs that need it
    (shared / "su").hardlink_to(shared / "true")
    for words, text in (((), "assword"), (("nosuid",), "must be suid")):
        document = with_mounts(oci, "/mnt/su 2>&1 || true", bind(shared, *words))
        document["process"]["user"] = {"uid": 1000, "gid": 1000}
        assert text in oci.runs(document)


def test_recursive_attributes_reach_what_is_mounted_below(oci: Oci, nested: Path) -> None:
    """M5: the words with r hold all through, those without for the one mount."""
    both = oci.runs(with_mounts(oci, SHOW, bind(nested, "rro", "rnoexec", kind="rbind")))
    assert {"ro", "noexec"} <= seen(both, "/mnt").flags & seen(both, "/mnt/below").flags
    one = oci.runs(with_mounts(oci, SHOW, bind(nested, "ro", kind="rbind")))
    assert "ro" in seen(one, "/mnt").flags
    assert "rw" in seen(one, "/mnt/below").flags
    none = oci.runs(with_mounts(oci, SHOW, bind(nested, kind="bind")))
    assert "/mnt/below" not in none


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (("private",), set()),
        (("rprivate",), set()),
        (("shared",), {"shared"}),
        (("rshared",), {"shared"}),
        (("slave",), set()),
        (("rslave",), set()),
        (("unbindable",), {"unbindable"}),
        (("runbindable",), {"unbindable"}),
    ],
)
def test_propagation_of_a_new_file_system(oci: Oci, words: tuple[str, ...], fields: set[str]) -> None:
    """M5: a file system of the container's own begins a peer group of its own."""
    found = seen(oci.runs(with_mounts(oci, SHOW, tmpfs(*words))), "/mnt")
    assert {field.partition(":")[0] for field in found.propagation} == fields


@pytest.mark.parametrize(
    ("word", "fields", "inside", "outside"),
    [
        ("rshared", {"shared"}, True, True),
        ("rslave", {"master"}, True, False),
        ("rprivate", set(), False, False),
        ("shared", {"shared"}, True, True),
        ("slave", {"master"}, True, False),
        ("private", set(), False, False),
        ("unbindable", {"unbindable"}, False, False),
        ("runbindable", {"unbindable"}, False, False),
    ],
)
def test_propagation_of_a_bind(
    oci: Oci, shared: Path, word: str, fields: set[str], inside: bool, outside: bool
) -> None:
    """M5: whether mounts of the host appear inside, and those made inside on the host."""
    (shared / "a").mkdir()
    (shared / "b").mkdir()
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    subprocess.run(["mount", "--make-rshared", shared], check=True)
    try:
        script = "cat /proc/self/mountinfo; mount -t tmpfs inside /mnt/b; while ! [ -e /mnt/end ]; do sleep 0.1; done"
        document = with_mounts(oci, script + "; cat /proc/self/mountinfo >/mnt/end", bind(shared, word, kind="rbind"))
        document["process"]["capabilities"] = {
            kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "effective", "permitted")
        }
        oci.ok("run", "--detach", "-b", oci.bundle(document), "c", timeout=20)
        subprocess.run(["mount", "-t", "tmpfs", "outside", shared / "a"], check=True)
        for _ in range(50):
            if "inside" in (text := Path(f"/proc/{oci.state('c')['pid']}/mountinfo").read_text()):
                break
        found = seen(text, "/mnt")
        assert {field.partition(":")[0] for field in found.propagation} == fields
        assert (" - tmpfs outside " in text) is inside
        assert (" - tmpfs inside " in Path("/proc/self/mountinfo").read_text()) is outside
    finally:
        oci.run("delete", "-f", "c")
        subprocess.run(["umount", "-R", shared], check=True)


def test_contradicting_propagation_is_refused(oci: Oci) -> None:
    """B5: two kinds of propagation."""
    assert "contradicts" in oci.refuses(with_mounts(oci, SHOW, tmpfs("rshared", "rprivate")))


def test_remount(oci: Oci, shared: Path) -> None:
    """M5: remount changes a mount that is there, with bind that alone, without it the file system too."""
    again = {"destination": "/mnt", "options": ["remount", "nosuid", "size=128k", "ro"]}
    found = seen(oci.runs(with_mounts(oci, SHOW, tmpfs("size=64k", "noexec"), again)), "/mnt")
    assert {"ro", "nosuid"} <= found.flags
    assert {"ro", "size=128k"} <= found.options
    assert "noexec" not in found.flags
    again = bind("none", "remount", "ro", "nodev")
    found = seen(oci.runs(with_mounts(oci, SHOW, bind(shared, "noexec"), again)), "/mnt")
    assert {"ro", "nodev"} <= found.flags
    assert "noexec" not in found.flags
    assert "rw" in found.options
    again = bind("none", "remount", "rnoexec", "shared")
    found = seen(oci.runs(with_mounts(oci, SHOW, tmpfs(), again)), "/mnt")
    assert "noexec" in found.flags
    assert found.propagation
    assert "/tmp/x" in oci.refuses(with_mounts(oci, SHOW, {"destination": "/tmp/x", "options": ["remount", "ro"]}))
    assert "remount" in oci.refuses(with_mounts(oci, SHOW, tmpfs("remount", "tmpcopyup")))


@pytest.fixture
def owned(shared: Path) -> Path:
    """Return a directory with a file of user 5 and group 6, and one of root."""
    os.chown(shared / "file", 5, 6)
    return shared


def stats(oci: Oci, document: dict[str, Any], file: str = "/mnt/file") -> str:
    document["process"]["args"] = ["stat", "-c", "%u:%g", file]
    return oci.runs(document).strip()


MAPS = {
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 100}],
    "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 100}],
}


@pytest.mark.parametrize("words", [("idmap",), ("ridmap",), ()])
def test_owners_shifted_by_a_mapping_of_the_mount_s_own(oci: Oci, owned: Path, words: tuple[str, ...]) -> None:
    """M7: with mappings the words are not needed, and no user namespace either."""
    assert stats(oci, with_mounts(oci, "", bind(owned, *words) | MAPS)) == "1005:2006"


def test_owners_shifted_by_the_user_namespace_s_mapping(oci: Oci, owned: Path) -> None:
    """M7: without mappings it is that of the container's users: their ids are the file system's."""
    assert stats(oci, in_userns(with_mounts(oci, "", bind(owned, "idmap")))) == "5:6"
    assert stats(oci, in_userns(with_mounts(oci, "", bind(owned)))) == "65534:65534"
    own = {
        "uidMappings": [{"containerID": 5, "hostID": 100007, "size": 1}],
        "gidMappings": [{"containerID": 6, "hostID": 100008, "size": 1}],
    }
    assert stats(oci, in_userns(with_mounts(oci, "", bind(owned, "idmap") | own))) == "7:8"


def test_ridmap_reaches_what_is_mounted_below(oci: Oci, nested: Path) -> None:
    """M7: idmap is the one mount's, ridmap that of the tree."""
    (nested / "below" / "file").touch()
    os.chown(nested / "below" / "file", 5, 6)
    for word, owner in (("ridmap", "1005:2006"), ("idmap", "5:6")):
        document = with_mounts(oci, "", bind(nested, word, kind="rbind") | MAPS)
        assert stats(oci, document, "/mnt/below/file") == owner


def test_mappings_that_make_no_sense(oci: Oci, owned: Path) -> None:
    """M7: one of two mappings, none at all, or for something that is no bind mount."""
    half = {"uidMappings": MAPS["uidMappings"]}
    assert "gidMappings" in oci.refuses(with_mounts(oci, SHOW, bind(owned, "idmap") | half))
    assert "idmap" in oci.refuses(with_mounts(oci, SHOW, bind(owned, "idmap")))
    assert "bind mounts only" in oci.refuses(with_mounts(oci, SHOW, tmpfs("idmap") | MAPS))
    assert "bind mounts only" in oci.refuses(with_mounts(oci, SHOW, tmpfs() | MAPS))
    assert "exclude" in oci.refuses(with_mounts(oci, SHOW, bind(owned, "idmap", "ridmap") | MAPS))


def test_copy_up(oci: Oci) -> None:
    """M5: a tmpfs that begins with what it covers."""
    script = "[ -f /etc/passwd ] && echo x >/etc/new && stat -c %a /etc && " + SHOW
    mode = f"{stat.S_IMODE((oci.rootfs / 'etc').stat().st_mode):o}"
    out = oci.runs(with_mounts(oci, script, tmpfs("tmpcopyup", destination="/etc")))
    assert out.splitlines()[0] == mode
    assert seen(out.split("\n", 1)[1], "/etc").type == "tmpfs"
    assert not (oci.rootfs / "etc/new").exists()
    assert "tmpcopyup is for tmpfs" in oci.refuses(with_mounts(oci, SHOW, bind("/etc", "tmpcopyup")))


def test_mode_of_a_tmpfs(oci: Oci, shared: Path) -> None:
    """M13: it is that of the directory that it covers, unless one is given; /dev/shm is everybody's."""
    (shared / "private").mkdir(0o750)
    (shared / "private").chmod(0o2750)
    over = bind(shared, destination="/tmp/x")
    script = "stat -c %a /tmp/x/private /tmp/new /dev/shm /tmp/given"
    document = with_mounts(
        oci,
        script,
        over,
        tmpfs(destination="/tmp/x/private"),
        tmpfs(destination="/tmp/new"),
        tmpfs(destination="/dev/shm"),
        tmpfs("mode=0700", destination="/tmp/given"),
    )
    assert oci.runs(document).split() == ["2750", "1777", "1777", "700"]


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
