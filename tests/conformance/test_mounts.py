"""Mounts: every option, each with the flags it gives in mountinfo and, where it has any, with what it does."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness.mounts import SHOW, Seen, bind, in_userns, lines, seen, tmpfs, with_mounts
from harness.oci import Oci
from harness.probe import requires

pytestmark = requires("root")


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
    warned = oci.run("run", "-b", oci.bundle(with_mounts(oci, "true", bind("/etc", "size=1k")), "words"), "words")
    assert warned.returncode == 0, warned
    assert "has no effect on a bind mount" in warned.stderr


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


@pytest.mark.parametrize(
    ("mount", "told"),
    [
        ({"source": "/nonexistent", "options": ["bind"]}, ["/nonexistent", "No such file or directory"]),
        ({"type": "nofs"}, ["/x", "nofs", "No such device"]),
        ({"type": "tmpfs", "options": ["nosuch=3"]}, ["/x", "tmpfs: Unknown parameter 'nosuch'"]),
        ({"destination": "/tmp", "source": "/etc/passwd", "options": ["bind"]}, ["/tmp", "is a directory", "(a dir"]),
    ],
)
def test_an_error_names_the_mount_and_the_cure(oci: Oci, mount: dict[str, Any], told: list[str]) -> None:
    """§1.6: the place in the configuration first, then what was done and why it failed, in one line."""
    document = oci.config("true")
    number = len(document["mounts"])
    document["mounts"].append({"destination": "/x", "source": "none"} | mount)
    said = oci.fails("run", "-b", oci.bundle(document), "c")
    assert said.count("\n") == 1
    assert all(text in said for text in [f'msg="mounts[{number}]: ', *told]), said


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


@requires("kernel:6.8")  # before, the kernel lists mounts as they were attached
@pytest.mark.parametrize("users", [False, True], ids=["host users", "user namespace"])
def test_the_kernel_lists_mounts_in_order(oci: Oci, tmp_path: Path, users: bool) -> None:
    """M1: whoever reads mountinfo finds mounts as listed, whichever stage has made them, and none of ours besides."""
    others = [
        tmpfs(destination="/first"),
        bind("/etc/passwd", destination="/second"),
        tmpfs(destination="/third"),
        bind(str(tmp_path), "unbindable", destination="/fourth"),
        bind(str(tmp_path), "rslave", destination="/fifth", kind="rbind"),
    ]
    document = with_mounts(oci, SHOW, *others)
    if users:
        document = in_userns(document)
    found = [Seen(line).place for line in lines(oci.runs(document))]
    assert found == ["/", *(mount["destination"] for mount in document["mounts"])]


def layers(oci: Oci, number: int) -> list[str]:
    """Return directories with long names, each with a file of its own."""
    found = []
    for index in range(number):
        directory = oci.place / "layers" / f"{index:0>180}"
        directory.mkdir(parents=True)
        (directory / f"file{index}").write_text(f"{index}\n")
        found.append(str(directory))
    return found


@pytest.mark.parametrize("users", [False, True], ids=["host users", "user namespace"])
def test_an_overlay_of_many_layers(oci: Oci, users: bool) -> None:
    """M6: an option may be longer than the 255 bytes of fsconfig(2), and than a page where layers are listed."""
    options = ["lowerdir=" + ":".join(layers(oci, 24)), "ro"]
    assert len(options[0]) > 4096
    overlay = {"destination": "/mnt", "type": "overlay", "source": "overlay", "options": options}
    document = with_mounts(oci, "ls /mnt | wc -l; cat /mnt/file23; touch /mnt/x 2>/dev/null || echo refused", overlay)
    if users:
        document = in_userns(document)
    assert oci.runs(document).split() == ["24", "23", "refused"]


@pytest.mark.parametrize("users", [False, True], ids=["host users", "user namespace"])
def test_long_options_of_any_kind(oci: Oci, users: bool) -> None:
    """M6: what is no list of layers goes through mount(2), with its flags, up to a page."""
    names = layers(oci, 2)
    options = [f"lowerdir={names[0]}\\::{names[1]}", "noexec"]
    (Path(names[0] + ":")).mkdir()
    (Path(names[0] + ":") / "colon").touch()
    overlay = {"destination": "/mnt", "type": "overlay", "source": "overlay", "options": options}
    document = with_mounts(oci, f"ls /mnt; {SHOW}", overlay)
    if users:
        document = in_userns(document)
    found = oci.runs(document)
    assert found.split()[:2] == ["colon", "file1"]
    assert {"noexec"} <= seen(found, "/mnt").flags
    assert [row.place for row in map(Seen, lines(found)) if row.type == "overlay"] == ["/mnt"]
    overlay["options"] = [options[0] + ":" + ":".join(names * 12)]
    assert "mount(2) takes 4095" in oci.refuses(with_mounts(oci, "true", overlay))
