"""Attacks on runtimes that were published, and ways that lead there: each gets nowhere.

Most attacks are functions that return what they have got, so that the same one shows on an old runc or crun that it can
be seen when it works. The numbers are those of pycontain-security(7).
"""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest
from harness import hostile_roots, programs
from harness.attacks import HOSTILE, NEVER, Old, attempt, bind, hostile, own_root, without
from harness.oci import Oci
from harness.probe import requires

pytestmark = [requires("root"), pytest.mark.guest("uml")]

# 9: CVE-2026-41579, CVE-2026-47766


def dev_is_a_link(oci: Oci, victim: Path) -> bool:
    """Return whether a directory of the host has changed to which the root's /dev leads."""
    root = own_root(oci)
    hostile_roots.canary_directory(victim)
    hostile_roots.replace_by_link(root, "/dev", victim)
    # the way leads somewhere in the root, too
    (root / str(victim).lstrip("/")).mkdir(parents=True)
    before = hostile_roots.tree_state(victim)
    attempt(oci, without(hostile(oci, root, "true"), "/dev", "/dev/pts", "/tmp"))
    return hostile_roots.tree_state(victim) != before


def test_dev_that_is_a_link(oci: Oci, tmp_path: Path) -> None:
    """9: nodes and links of /dev are made below the root."""
    assert not dev_is_a_link(oci, tmp_path / "victim")


@pytest.mark.parametrize("name", ["runc", "crun"])
def test_control_dev_that_is_a_link(reference: Old, name: str, tmp_path: Path) -> None:
    assert dev_is_a_link(reference(name, {"runc": (1, 4), "crun": (1, 28)}[name]), tmp_path / "victim")


# 6: CVE-2025-31133


def mask_is_a_link(oci: Oci) -> str:
    """Return what lies at a masked path when the null device of the container is a link to a kernel parameter."""
    root, devices = own_root(oci), oci.place / "devices"
    devices.mkdir()
    (devices / "null").symlink_to("/proc/sys/kernel/core_pattern")
    document = without(hostile(oci, root, "cat", "/proc/timer_list"), "/dev", "/dev/pts")
    document["mounts"].append(bind(devices, "/dev", "rw"))
    document["linux"]["maskedPaths"] = ["/proc/timer_list"]
    return attempt(oci, document).stdout


def test_mask_that_is_a_link(oci: Oci) -> None:
    """6: what covers a masked file is the host's null device, whatever the container has."""
    assert mask_is_a_link(oci) == ""


def test_control_mask_that_is_a_link(reference: Old) -> None:
    assert mask_is_a_link(reference("runc", (1, 2, 8))) == Path("/proc/sys/kernel/core_pattern").read_text()


# 7: CVE-2025-52565, CVE-2026-88264, CVE-2026-88265


def streams_are_links(oci: Oci, name: str, *, terminal: bool, readonly: bool = False) -> bool:
    """Return whether a file of the host was changed, or given to the program, to which ``/dev/NAME`` leads."""
    root, victim = own_root(oci), oci.place / "victim"
    victim.mkdir()
    (victim / "file").write_text("of the host\n")
    (root / "dev").mkdir(exist_ok=True)
    for place in ("null", "console", "tty"):
        (root / "dev" / place).unlink(missing_ok=True)
    (root / "dev" / name).symlink_to("/victim/file")
    (root / "victim").mkdir(exist_ok=True)
    document = without(
        hostile(oci, root, "sh", "-c", "echo said; for i in 0 1 2; do readlink /proc/self/fd/$i; done"), "/dev"
    )
    document["mounts"].append(bind(victim, "/victim", "rw"))
    document["process"]["terminal"] = terminal
    document["root"]["readonly"] = readonly
    before = hostile_roots.tree_state(victim)
    if terminal:
        master, slave = pty.openpty()
        done = attempt(oci, document, stdin=slave)
        os.close(master)
        os.close(slave)
    else:
        done = attempt(oci, document)
    return hostile_roots.tree_state(victim) != before or "/victim/file" in done.stdout


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("name", ["null", "console", "tty"])
def test_streams_that_are_links(oci: Oci, name: str, terminal: bool, readonly: bool) -> None:
    """7: console and null device come from the host by descriptor."""
    assert not streams_are_links(oci, name, terminal=terminal, readonly=readonly)


@pytest.mark.parametrize(
    ("runtime", "fixed", "name"),
    [("runc", (1, 2, 8), "console"), ("runc", (1, 2, 8), "null"), ("crun", NEVER, "null")],
)
def test_control_streams_that_are_links(reference: Old, runtime: str, fixed: tuple[int, ...], name: str) -> None:
    assert streams_are_links(reference(runtime, fixed), name, terminal=name == "console")


# 2, 8: CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2025-52881


def proc_is_the_containers(oci: Oci) -> tuple[bool, str]:
    """Return whether a file in the place of a kernel parameter was written to, and the parameter inside."""
    root = own_root(oci)
    decoy = root / "proc" / "sys" / "net" / "ipv4" / "ip_default_ttl"
    decoy.parent.mkdir(parents=True)
    decoy.write_text("decoy")
    for name in ("oom_score_adj", "attr/exec", "uid_map", "setgroups"):
        (root / "proc" / "self" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "proc" / "self" / name).write_text("decoy")
    (root / "real").mkdir(exist_ok=True)
    document = without(hostile(oci, root, "cat", "/real/sys/net/ipv4/ip_default_ttl"), "/proc")
    document["mounts"].append({"destination": "/real", "type": "proc", "source": "proc"})
    document["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    document["process"]["oomScoreAdj"] = 500
    done = attempt(oci, document)
    files = [path for path in (root / "proc").rglob("*") if path.is_file()]
    assert len(files) == 5
    return any(path.read_text() != "decoy" for path in files), done.stdout.strip()


def test_proc_that_is_the_containers(oci: Oci) -> None:
    """2, 8: what the kernel is told goes through a procfs that nobody else has."""
    assert proc_is_the_containers(oci) == (False, "77")


def test_control_proc_that_is_the_containers(reference: Old) -> None:
    assert proc_is_the_containers(reference("runc", (1, 2, 8)))[0]


# 1: CVE-2019-5736


@requires("program:gcc")
@pytest.mark.parametrize("how", ["run", "exec", "hook"])
def test_own_interpreter_cannot_be_overwritten(oci: Oci, tmp_path: Path, how: str) -> None:
    """1: the program that enters is on a read-only mount of its own.

    What the same attack does to a careless runtime is shown by tests/hostile/test_controls.py.
    """
    root, said = own_root(oci), oci.place / "shared" / "said"
    entry = hostile_roots.plant_self_exe(root, hostile_roots.evil_loader(tmp_path))
    said.parent.mkdir()
    (root / "shared").mkdir(exist_ok=True)
    document = hostile(oci, root, *([entry] if how == "run" else ["sleep", "1000"]))
    document["mounts"].append(bind(said.parent, "/shared", "rw"))
    before = hostile_roots.product_hashes()
    if how == "hook":
        document["hooks"] = {"startContainer": [{"path": entry, "args": [entry]}]}
        # its output would go to the runtime, which keeps it for a failure: the loader's shell writes it down
        (root / "bin" / "sh").unlink()
        (root / "bin" / "sh").write_text('#!/bin/busybox sh\nexec /bin/busybox sh "$@" >/shared/said\n')
        (root / "bin" / "sh").chmod(0o755)
    if how == "run":
        told = attempt(oci, document).stdout
    else:
        oci.ok("run", "-d", "-b", oci.bundle(document), "c")
        told = oci.run("exec", "c", entry).stdout if how == "exec" else said.read_text()
    assert hostile_roots.product_hashes() == before
    assert told.split() == ["sealed", "loader-ran"], told


# 3: CVE-2021-30465, CVE-2024-45310


@pytest.mark.host
@requires("program:gcc")
def test_swapped_paths(oci: Oci, tmp_path: Path) -> None:
    """3: mount points in a volume in which somebody swaps a directory for a link to the host.

    That whoever goes by path is led out is shown by tests/hostile/test_hostile_races.py.
    """
    canary, shared = hostile_roots.canary_directory(tmp_path / "canary"), oci.place / "shared"
    shared.mkdir()
    root = own_root(oci)
    (root / "shared").mkdir(exist_ok=True)
    programs.build(HOSTILE / "swapper.c", root / "swapper")
    document = hostile(oci, root, "/swapper", "swap", str(canary))
    document["process"]["cwd"] = "/shared"
    document["mounts"].append(bind(shared, "/shared", "rw"))
    oci.ok("run", "-d", "-b", oci.bundle(document, "swapper"), "swapper")
    before, outcomes = hostile_roots.tree_state(canary), set()
    script = "[ ! -e /shared/new/core_pattern ] && echo fine"
    for number in range(45):
        place = ("/shared/swap/new", "/shared/swap/sys", "/shared/swap")[number % 3]
        document = hostile(oci, oci.rootfs, "sh", "-c", script)
        document["mounts"] += [
            bind(shared, "/tmp", "rw"),
            {"destination": place.replace("/shared", "/tmp"), "type": "tmpfs", "source": "tmpfs"},
        ]
        document["process"]["cwd"] = "/tmp/swap"
        outcomes.add(attempt(oci, document).returncode)
    assert hostile_roots.tree_state(canary) == before
    assert str(canary) not in Path("/proc/self/mountinfo").read_text()
    assert 0 in outcomes
