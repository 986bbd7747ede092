"""features: what is listed can be asked for and is done, each element of it; what is not listed is refused."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.filters import filtered, listening, profile
from harness.mounts import SHOW, Seen, bind, in_userns, seen, tmpfs, with_mounts
from harness.oci import Oci
from harness.probe import requires

from pycontain.oci import features
from pycontain.plan.capabilities import NUMBERS

pytestmark = requires("root")

DOCUMENT = features.document()
LINUX = DOCUMENT["linux"]
SECCOMP = LINUX["seccomp"]


def test_the_document_is_what_is_printed(oci: Oci) -> None:
    assert json.loads(oci.ok("features")) == DOCUMENT


@pytest.mark.parametrize("kind", LINUX["namespaces"])
def test_namespaces(oci: Oci, kind: str) -> None:
    """The container has one of its own."""
    name = {"mount": "mnt", "network": "net"}.get(kind, kind)
    document = oci.config("readlink", f"/proc/self/ns/{name}")
    others = [entry for entry in document["linux"]["namespaces"] if entry["type"] != kind]
    document["linux"]["namespaces"] = others
    if kind != "mount":  # without, nothing would be run in the container's root
        assert oci.runs(document).strip() == os.readlink(f"/proc/self/ns/{name}")
    if kind == "user":
        in_userns(document)
    else:
        others.append({"type": kind})
    assert oci.runs(document).strip() != os.readlink(f"/proc/self/ns/{name}")


def test_capabilities(oci: Oci) -> None:
    """The process has it in all five sets, and no other."""
    sets = ("bounding", "effective", "inheritable", "permitted", "ambient")
    document = in_userns(oci.config("cat", "/proc/self/status"))
    for name in LINUX["capabilities"]:
        document["process"]["capabilities"] = {key: [name] for key in sets}
        lines = [line for line in oci.runs(document).splitlines() if line.startswith("Cap")]
        assert {int(line.split()[1], 16) for line in lines} == {1 << NUMBERS[name]}, name
        assert len(lines) == len(sets)


def test_a_word_on_a_bind_that_is_not_listed(oci: Oci, shared: Path) -> None:
    """A warning: the kernel takes a file system's options only where one is made."""
    done = oci.run("run", "-b", oci.bundle(with_mounts(oci, "cat /mnt/file", bind(shared, "x"))), "c")
    assert (done.returncode, done.stdout) == (0, "of the host\n")
    assert '"x\\" has no effect' in done.stderr


def test_a_capability_that_is_not_listed(oci: Oci) -> None:
    """A warning, as the specification has it: it is none that the process could have."""
    document = oci.config("grep", "CapBnd", "/proc/self/status")
    document["process"]["capabilities"] = {"bounding": ["CAP_X", "CAP_KILL"]}
    done = oci.run("run", "-b", oci.bundle(document), "c")
    assert (done.returncode, done.stdout) == (0, f"CapBnd:\t{1 << NUMBERS['CAP_KILL']:016x}\n")
    assert "CAP_X" in done.stderr


def test_hooks(oci: Oci) -> None:
    """Each runs."""
    place = oci.place / "hooks"
    place.mkdir()
    document = oci.config("true")
    document["mounts"].append(bind(place, destination="/mnt"))
    document["hooks"] = {}
    for kind in DOCUMENT["hooks"]:
        where = "/mnt" if kind == "startContainer" else place
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f": >{where}/{kind}"], "env": ["PATH=/usr/bin:/bin"]}
        document["hooks"][kind] = [hook]
    oci.runs(document)
    assert sorted(os.listdir(place)) == sorted(DOCUMENT["hooks"])


# -- mount options: each of them, after what it is the opposite of, and what mountinfo shows then


def has(flag: str) -> Callable[[Seen], bool]:
    return lambda mount: flag in mount.flags


def has_not(flag: str) -> Callable[[Seen], bool]:
    return lambda mount: flag not in mount.flags


def is_shown(option: str) -> Callable[[Seen], bool]:
    return lambda mount: option in mount.options


def is_not_shown(option: str) -> Callable[[Seen], bool]:
    return lambda mount: option not in mount.options


def anyhow(_mount: Seen) -> bool:
    """Nothing shows it: that the mount is there is what can be seen."""
    return True


def propagates(word: str) -> Callable[[Seen], bool]:
    return lambda mount: " ".join(mount.propagation).partition(":")[0] == word


def _both(word: str, opposite: str, flag: str) -> dict[str, tuple[list[str], Callable[[Seen], bool]]]:
    """Return the rows of a flag of a mount: set, taken back, and both for all mounts below."""
    return {
        word: ([word], has(flag)),
        opposite: ([word, opposite], has_not(flag)),
        f"r{word}": ([f"r{word}"], has(flag)),
        f"r{opposite}": ([f"r{word}", f"r{opposite}"], has_not(flag)),
    }


NEW: dict[str, tuple[list[str], Callable[[Seen], bool]]] = {
    **_both("ro", "rw", "ro"),
    **_both("nosuid", "suid", "nosuid"),
    **_both("nodev", "dev", "nodev"),
    **_both("noexec", "exec", "noexec"),
    **_both("noatime", "atime", "noatime"),
    **_both("nodiratime", "diratime", "nodiratime"),
    **_both("nosymfollow", "symfollow", "nosymfollow"),
    **_both("relatime", "norelatime", "noatime"),
    **_both("strictatime", "nostrictatime", "noatime"),
    # of the three ways to count accesses, one always holds
    "relatime": (["noatime", "relatime"], has("relatime")),
    "rrelatime": (["rnoatime", "rrelatime"], has("relatime")),
    "strictatime": (["strictatime"], has_not("relatime")),
    "rstrictatime": (["rstrictatime"], has_not("relatime")),
    "nostrictatime": (["strictatime", "nostrictatime"], has("relatime")),
    "rnostrictatime": (["rstrictatime", "rnostrictatime"], has("relatime")),
    "defaults": (["defaults"], has("rw")),
    "sync": (["sync"], is_shown("sync")),
    "async": (["sync", "async"], is_not_shown("sync")),
    "dirsync": (["dirsync"], is_shown("dirsync")),
    "lazytime": (["lazytime"], is_shown("lazytime")),
    "nolazytime": (["lazytime", "nolazytime"], is_not_shown("lazytime")),
    "mand": (["mand"], anyhow),
    "nomand": (["mand", "nomand"], anyhow),
    "iversion": (["iversion"], anyhow),
    "noiversion": (["iversion", "noiversion"], anyhow),
    "silent": (["silent"], anyhow),
    "loud": (["silent", "loud"], anyhow),
    "private": (["private"], propagates("")),
    "rprivate": (["rprivate"], propagates("")),
    "shared": (["shared"], propagates("shared")),
    "rshared": (["rshared"], propagates("shared")),
    "slave": (["slave"], propagates("")),
    "rslave": (["rslave"], propagates("")),
    "unbindable": (["unbindable"], propagates("unbindable")),
    "runbindable": (["runbindable"], propagates("unbindable")),
}
#: What is about something that is there already.
OTHER = {"bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup"}


def test_every_mount_option_is_tried() -> None:
    assert set(DOCUMENT["mountOptions"]) == set(NEW) | OTHER


def test_options_of_a_new_file_system(oci: Oci) -> None:
    mounts = [tmpfs(*words, destination=f"/tmp/{word}") for word, (words, _) in NEW.items()]
    said = oci.runs(with_mounts(oci, SHOW, *mounts))
    for word, (words, holds) in NEW.items():
        mount = seen(said, f"/tmp/{word}")
        assert mount.type == "tmpfs"
        assert holds(mount), (words, mount.flags, mount.options, mount.propagation)


@pytest.mark.parametrize("word", sorted(OTHER))
def test_options_of_what_is_there(oci: Oci, shared: Path, word: str) -> None:
    os.chown(shared / "file", 5, 6)
    (shared / "below").mkdir()
    show = f"{SHOW}; stat -c %u:%g /mnt/file; ls /mnt/below"
    if word in ("bind", "rbind"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", shared / "below"], check=True)
        try:
            (shared / "below" / "deep").touch()
            said = oci.runs(with_mounts(oci, show, bind(shared, kind=word)))
        finally:
            subprocess.run(["umount", shared / "below"], check=True)
        assert ("deep" in said) == (word == "rbind")
    elif word in ("idmap", "ridmap"):
        assert "\n5:6\n" in oci.runs(in_userns(with_mounts(oci, show, bind(shared, word))))
    elif word == "remount":
        said = oci.runs(with_mounts(oci, SHOW, bind(shared), bind("none", "remount", "ro")))
        assert "ro" in seen(said, "/mnt").flags
    else:
        said = oci.runs(with_mounts(oci, "ls /etc; touch /etc/new", tmpfs(word, destination="/etc")))
        assert "passwd" in said.split()
        assert not (oci.rootfs / "etc" / "new").exists()


# -- seccomp


@pytest.mark.parametrize("action", SECCOMP["actions"])
def test_actions(oci: Oci, action: str) -> None:
    document = filtered(oci, "sh", "-c", "mkdir /tmp/x; ls -d /tmp/x", action=action)
    profile(document)["defaultAction"] = "SCMP_ACT_LOG" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    profile(document)["listenerPath"] = str(oci.place / "listener")
    with listening(oci.place / "listener", errno=28) as agent:
        done = oci.run("run", "-b", oci.bundle(document), "c")
    said = {
        "SCMP_ACT_ERRNO": "Operation not permitted",
        "SCMP_ACT_TRACE": "Function not implemented",
        "SCMP_ACT_NOTIFY": "No space left",
    }.get(action, "Bad system call")
    if action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG"):
        assert (done.returncode, done.stdout, done.stderr) == (0, "/tmp/x\n", "")
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
    assert len(agent.messages) == (action == "SCMP_ACT_NOTIFY")


#: Harmless signals, and what each comparison says of them and 18.
SIGNALS = (17, 18, 23, 28)
OPERATORS: dict[str, Callable[[int], bool]] = {
    "SCMP_CMP_NE": lambda number: number != 18,
    "SCMP_CMP_LT": lambda number: number < 18,
    "SCMP_CMP_LE": lambda number: number <= 18,
    "SCMP_CMP_EQ": lambda number: number == 18,
    "SCMP_CMP_GE": lambda number: number >= 18,
    "SCMP_CMP_GT": lambda number: number > 18,
    "SCMP_CMP_MASKED_EQ": lambda number: number & 18 == 16,
}


@pytest.mark.parametrize("operator", SECCOMP["operators"])
def test_operators(oci: Oci, operator: str) -> None:
    condition = {"index": 1, "op": operator, "value": 18, "valueTwo": 16}
    script = f"for number in {' '.join(map(str, SIGNALS))}; do kill -$number $$ 2>/dev/null || echo $number; done"
    document = filtered(oci, "sh", "-c", script, names=["kill"], args=[condition])
    assert oci.runs(document).split() == [str(number) for number in SIGNALS if OPERATORS[operator](number)]


def test_architectures(oci: Oci) -> None:
    """A filter that is for another one too is in force here."""
    document = filtered(oci, "sh", "-c", "mkdir /tmp/x 2>/dev/null || grep Seccomp: /proc/self/status")
    for arch in SECCOMP["archs"]:
        profile(document)["architectures"] = sorted({"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", arch})
        assert oci.runs(document) == "Seccomp:\t2\n", arch


@pytest.mark.parametrize("flag", SECCOMP["supportedFlags"])
def test_flags(oci: Oci, flag: str) -> None:
    """The kernel takes it, and with it the filter; WAIT_KILLABLE_RECV only where there is a listener."""
    action = "SCMP_ACT_NOTIFY" if flag.endswith("WAIT_KILLABLE_RECV") else "SCMP_ACT_ERRNO"
    document = filtered(oci, "sh", "-c", "mkdir /tmp/x 2>/dev/null || cat /proc/self/status", action=action)
    profile(document).update(flags=[flag], listenerPath=str(oci.place / "listener"))
    with listening(oci.place / "listener", errno=1):
        assert "Seccomp:\t2\n" in oci.runs(document)


# -- what is not listed


UNLISTED: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "namespace": ("linux.namespaces[5].type", lambda document: document["linux"]["namespaces"].append({"type": "x"})),
    "mount option": ("x", lambda document: document["mounts"].append(tmpfs("x"))),
    "seccomp action": ("defaultAction", lambda document: profile(document).update(defaultAction="SCMP_ACT_X")),
    "seccomp architecture": ("architectures", lambda document: profile(document).update(architectures=["X"])),
    "seccomp flag": ("flags", lambda document: profile(document).update(flags=["SECCOMP_FILTER_FLAG_X"])),
    "seccomp operator": (
        "op",
        lambda document: profile(document)["syscalls"][0].update(args=[{"index": 0, "op": "X", "value": 0}]),
    ),
    "memory policy": ("memoryPolicy.mode", lambda document: document["linux"].update(memoryPolicy={"mode": "MPOL_X"})),
    "flag of a memory policy": (
        "memoryPolicy.flags",
        lambda document: document["linux"].update(memoryPolicy={"mode": "MPOL_LOCAL", "flags": ["MPOL_F_X"]}),
    ),
}


@pytest.mark.parametrize("what", UNLISTED)
def test_what_is_not_listed_is_refused(oci: Oci, what: str) -> None:
    words, change = UNLISTED[what]
    document = filtered(oci, "true")
    change(document)
    assert words in oci.refuses(document)
