"""How a container is isolated without being asked to: what its processes may see, hold and do."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness.cli import Cli, describe
from harness.probe import has, requires

DOCKER_CAPABILITIES = 0xA80425FB
#: Docker's fourteen, by number: capabilities(7), linux/capability.h
DOCKER_NUMBERS = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
FIRST_RANGE, RANGE_SIZE = 0x80000, 65536


def inside(pycontain: Cli, root: str | Path, script: str, *options: str | Path) -> str:
    """Return what a shell script says in a container; nothing may come on standard error."""
    done = pycontain.run("run", "--rm", *options, root, "--", "/bin/sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, ""), describe(done)
    return done.stdout


def fields(text: str) -> dict[str, str]:
    """Return the fields of a status file of proc."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def state_of(pycontain: Cli, name: str) -> Any:
    """Return the state file of a container."""
    link = pycontain.root / "state" / "names" / name
    return json.loads((pycontain.root / "state" / "containers" / os.readlink(link) / "state.json").read_text())


def test_the_fourteen_are_docker_s() -> None:
    assert sum(1 << number for number in DOCKER_NUMBERS) == DOCKER_CAPABILITIES


@pytest.mark.guest
def test_capabilities_filter_and_privileges(pycontain: Cli, root: str | Path) -> None:
    status = fields(inside(pycontain, root, "cat /proc/self/status"))
    capabilities = {name: int(status[f"Cap{name}"], 16) for name in ("Bnd", "Eff", "Prm", "Inh", "Amb")}
    assert capabilities == {**dict.fromkeys(("Bnd", "Eff", "Prm"), DOCKER_CAPABILITIES), "Inh": 0, "Amb": 0}
    assert (status["Seccomp"], status["Seccomp_filters"], status["NoNewPrivs"]) == ("2", "1", "1")
    assert status["Threads"] == "1"


@pytest.mark.guest
def test_every_namespace_is_its_own(pycontain: Cli, root: str | Path) -> None:
    found = inside(pycontain, root, f"for n in {' '.join(NAMESPACES)}; do readlink /proc/self/ns/$n; done").split()
    assert [link.partition(":")[0] for link in found] == list(NAMESPACES)
    host = {os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES}
    assert not host & set(found)


@pytest.mark.guest
def test_users_are_a_range_of_their_own(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "-d", "--name", "ranged", busybox, "--", "/bin/sleep", "1000")
    maps = [pycontain.ok("exec", "ranged", "cat", f"/proc/self/{name}_map").split() for name in ("uid", "gid")]
    for inner, outer, size in maps:
        assert (int(inner), int(size)) == (0, RANGE_SIZE)
        assert int(outer) >= FIRST_RANGE
        assert int(outer) % RANGE_SIZE == 0
    state = state_of(pycontain, "ranged")
    assert state["userns"]["kind"] == "auto"  # not the fallback
    assert (state["userns"]["note"], state["notes"]) == ("", [])
    status = fields(Path("/proc", str(state["pid"]), "status").read_text())
    assert set(status["Uid"].split()) == {maps[0][1]}
    assert set(status["Gid"].split()) == {maps[1][1]}


def test_two_containers_have_different_ranges(pycontain: Cli, busybox: Path) -> None:
    for name in ("one", "two"):
        pycontain.ok("run", "-d", "--name", name, busybox, "--", "/bin/sleep", "1000")
    first, second = (state_of(pycontain, name)["userns"]["uid_map"][0]["host_id"] for name in ("one", "two"))
    assert abs(first - second) >= RANGE_SIZE


def test_range_is_free_again_after_the_run(pycontain: Cli, busybox: Path) -> None:
    claims = Path("/run/pycontain/userns")
    base = inside(pycontain, busybox, "cat /proc/self/uid_map").split()[1]
    assert not (claims / base).exists()


QUIET = {"nosuid", "nodev", "noexec"}
#: mount point -> (file system, per-mount flags but the times of access)
MOUNTS = {
    "/": ("overlay", {"rw"}),
    "/proc": ("proc", {"rw", *QUIET}),
    "/dev": ("tmpfs", {"rw", "nosuid"}),
    "/dev/pts": ("devpts", {"rw", "nosuid", "noexec"}),
    "/dev/mqueue": ("mqueue", {"rw", *QUIET}),
    "/dev/shm": ("tmpfs", {"rw", *QUIET}),
    "/sys": ("sysfs", {"ro", *QUIET}),
    "/etc/hosts": (None, {"rw", *QUIET}),
    "/etc/hostname": (None, {"rw", *QUIET}),
    "/etc/resolv.conf": (None, {"rw", *QUIET}),
}
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
THERMAL = "/sys/devices/system/cpu/cpu{}/thermal_throttle"


def mount_table(text: str) -> dict[str, tuple[str, set[str], list[str]]]:
    """Return ``{mount point: (file system, flags, propagation)}`` of a mountinfo file; the topmost mount counts."""
    table = {}
    for line in text.splitlines():
        words = line.split()
        separator = words.index("-")
        flags = set(words[5].split(",")) - {"relatime", "noatime"}
        table[words[4]] = (words[separator + 1], flags, words[6:separator])
    return table


@pytest.mark.guest
def test_mounts_and_their_flags(pycontain: Cli, root: str | Path) -> None:
    table = mount_table(inside(pycontain, root, "cat /proc/self/mountinfo"))
    dev = mount_table(Path("/proc/self/mountinfo").read_text())["/dev"][0]
    for path, (fstype, flags) in MOUNTS.items():
        found = table.pop(path)
        assert (fstype or found[0], flags) == found[:2], path
    for path in READONLY:
        if os.path.exists(path):
            assert table.pop(path)[:2] == ("proc", {"ro", *QUIET}), path
    masked = [*MASKED, *(THERMAL.format(number) for number in range(os.cpu_count() or 1))]
    for path in filter(os.path.exists, masked):
        found = table.pop(path)
        cover = ("tmpfs", {"ro", *QUIET}) if os.path.isdir(path) else (dev, {"ro", "nosuid", "noexec"})
        assert found[:2] == cover, path
    cgroups = {path: found for path, found in table.items() if path.startswith("/sys/fs/cgroup")}
    assert cgroups
    for path, found in cgroups.items():
        assert found[0] in ("cgroup", "cgroup2", "tmpfs")
        assert found[1] == {"ro", *QUIET}, path
    # the host's /usr or the like, on a disk of its own
    system = {path for path, found in table.items() if root == "@host" and found[:2] == ("overlay", {"rw"})}
    assert set(table) - set(cgroups) - system == set()


@pytest.mark.guest
def test_no_mount_is_shared_with_the_host(pycontain: Cli, root: str | Path) -> None:
    table = mount_table(inside(pycontain, root, "cat /proc/self/mountinfo"))
    assert {path: found[2] for path, found in table.items() if found[2]} == {}


@pytest.mark.guest
def test_masked_files_show_nothing(pycontain: Cli, busybox: Path) -> None:
    script = f"""
        for path in {" ".join(MASKED)}; do
            [ -e $path ] || continue
            if [ -d $path ]; then ls -A $path; else head -c 100 $path 2>/dev/null; fi  # AppArmor refuses some
        done
        for path in {" ".join((*READONLY, "/sys", "/sys/kernel"))}; do
            [ -d $path ] && touch $path/x 2>/dev/null && echo wrote $path
            [ -f $path ] && echo b 2>/dev/null >$path && echo wrote $path
        done
        mount -o remount,rw /sys 2>/dev/null && echo remounted
        umount /proc/keys 2>/dev/null && echo unmounted
        for f in /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness; do echo 1 2>/dev/null >$f && echo wrote $f; done
        for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x 2>/dev/null && echo made $d/x; done
        true
    """
    assert inside(pycontain, busybox, script) == ""


def test_unmask_and_mask(pycontain: Cli, busybox: Path) -> None:
    script = "wc -c </proc/timer_list; wc -c </proc/uptime"
    assert inside(pycontain, busybox, script).split()[0] == "0"
    options = ["--security-opt", "unmask=/proc/timer_list", "--security-opt", "mask=/proc/uptime"]
    found = pycontain.run("run", "--rm", *options, busybox, "--", "/bin/sh", "-c", f"ls -l /proc/timer_list; {script}")
    assert found.stdout.split()[-1] == "0", describe(found)
    assert found.stdout.startswith("-r--")


def test_sys_shows_the_container_s_own_network(pycontain: Cli, busybox: Path) -> None:
    assert inside(pycontain, busybox, "ls /sys/class/net; cat /sys/class/net/lo/operstate") == "lo\nunknown\n"
    assert inside(pycontain, busybox, "grep -c . /proc/net/dev; ip link show lo | grep -o 'LOOPBACK,UP'") == (
        "3\nLOOPBACK,UP\n"
    )


DEVICES = {
    "null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0),
}  # fmt: skip


@pytest.mark.guest
def test_devices_are_those_and_no_others(pycontain: Cli, busybox: Path) -> None:
    script = 'cd /dev; for f in *; do echo "$f|$(stat -c "%F|%t|%T|%a|%u|%g" $f)|$(readlink $f)"; done'
    found = {}
    for line in inside(pycontain, busybox, script).splitlines():
        name, kind, major, minor, mode, uid, gid, link = line.split("|")
        found[name] = link or (kind, (int(major, 16), int(minor, 16)), mode, uid, gid)
    assert found == {
        **{name: ("character special file", number, "666", "0", "0") for name, number in DEVICES.items()},
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
        "ptmx": "pts/ptmx",
        "pts": ("directory", (0, 0), "755", "0", "0"),
        "shm": ("directory", (0, 0), "1777", "0", "0"),
        # made by the kernel with the namespace, before there was a root in it
        "mqueue": ("directory", (0, 0), "1777", "65534", "65534"),
    }


@pytest.mark.guest
@pytest.mark.parametrize("user", ["root", "app"])
def test_every_default_device_works(pycontain: Cli, busybox: Path, user: str) -> None:
    script = """
        echo gone >/dev/null && [ -z "$(cat /dev/null)" ] && echo null
        [ "$(head -c 3 /dev/zero | od -An -tx1 | tr -d ' ')" = 000000 ] && echo zero
        echo 2>&1 x >/dev/full | grep -q 'No space left' && echo full
        for name in random urandom; do [ $(head -c 8 /dev/$name | wc -c) = 8 ] && echo $name; done
        (: </dev/tty) 2>&1 | grep -q 'No such device or address' && echo tty
        : <>/dev/ptmx && echo ptmx
        echo shared >/dev/shm/file && cat /dev/shm/file
        [ "$(cat /dev/stdin)" = "" ] && echo stdin >/dev/stdout && echo stderr >/dev/stderr
    """
    done = pycontain.run("run", "--rm", "-u", user, busybox, "--", "/bin/sh", "-c", script)
    assert done.stdout.split() == ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "shared", "stdin"]
    assert done.stderr == "stderr\n"


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    """Return a directory with device nodes that everybody may open: of the kernel's log, and /dev/zero's."""
    if os.statvfs(tmp_path).f_flag & os.ST_NODEV:
        pytest.skip(f"{tmp_path} is mounted nodev")
    for name, number in (("kmsg", os.makedev(1, 11)), ("zero", os.makedev(1, 5))):
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, number)
        (tmp_path / name).chmod(0o666)
    return tmp_path


OPEN_NODES = "for n in kmsg zero; do (: >/nodes/$n) 2>&1 | sed 's/.*: //;s/^$/opened/' | grep . || echo opened; done"


@requires("root", "cgroup:devices")
def test_forbidden_device_cannot_be_opened(pycontain: Cli, busybox: Path, nodes: Path) -> None:
    """EPERM comes from the device filter: the node's own mode allows everybody."""
    options = ["-v", f"{nodes}:/nodes"]
    assert inside(pycontain, busybox, OPEN_NODES, *options) == "Operation not permitted\nopened\n"
    # the control: allowed by number it opens
    options += ["--device-cgroup-rule", "c 1:11 w"]
    assert inside(pycontain, busybox, OPEN_NODES, *options) == "opened\nopened\n"


@pytest.mark.guest
def test_forbidden_device_cannot_be_opened_with_the_host_s_users(pycontain: Cli, busybox: Path) -> None:
    """There MKNOD works, so that only the filter is between the container and a disk."""
    script = """
        mknod /tmp/kmsg c 1 11 && mknod /tmp/zero c 1 5 && mknod /tmp/disk b 254 0 && mknod /tmp/loop b 7 0
        for n in kmsg zero disk loop; do (: </tmp/$n) 2>&1 | sed 's/.*: //'; done
    """
    out = inside(pycontain, busybox, script, "--userns", "host")
    assert out == "Operation not permitted\n" * 3


def test_device_given(pycontain: Cli, busybox: Path, nodes: Path) -> None:
    script = "stat -c '%t %T %u %a' /dev/log; (: >/dev/log) && echo writes; (: </dev/log) 2>/dev/null || echo refused"
    found = inside(pycontain, busybox, script, "--device", f"{nodes}/kmsg:/dev/log:w")
    assert found == "1 b 0 666\nwrites\nrefused\n"


def test_device_nodes_cannot_be_made(pycontain: Cli, busybox: Path) -> None:
    done = pycontain.run("run", "--rm", busybox, "--", "/bin/sh", "-c", "mknod /tmp/x b 254 0; mknod /tmp/pipe p")
    assert done.returncode == 0
    assert "Operation not permitted" in done.stderr


KEYS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
KEYCTL, ADD_KEY, JOIN, SEARCH, DESCRIBE, SESSION = {numbers}[os.uname().machine] + (1, 10, 6, -3)
def describe(ring):
    buffer = ctypes.create_string_buffer(256)
    size = libc.syscall(KEYCTL, DESCRIBE, ring, buffer, 256)
    return buffer.value.decode() if size >= 0 else os.strerror(ctypes.get_errno())
""".replace("{numbers}", "{'x86_64': (250, 248), 'aarch64': (219, 217)}")


def test_session_keyring_is_its_own(pycontain: Cli) -> None:
    """The filter forbids keyctl by default; without it the caller's keys must be out of reach all the same."""
    look = KEYS + (
        "found = libc.syscall(KEYCTL, SEARCH, SESSION, b'user', b'pycontain-test', 0)\n"
        "print(describe(SESSION)); print(found >= 0)\n"
    )
    caller = KEYS + (
        "libc.syscall(KEYCTL, JOIN, b'caller')\n"
        "libc.syscall(ADD_KEY, b'user', b'pycontain-test', b'secret', 6, SESSION)\n"
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )

    def run(*words: str) -> list[str]:
        argv = [sys.executable, "-c", caller, *words]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, describe(done)
        return done.stdout.splitlines()

    ring, found = run(sys.executable, "-c", look)
    assert (ring.split(";")[-1], found) == ("caller", "True")  # the control
    options = ["--rm", "--security-opt", "seccomp=unconfined"]
    ring, found = run(*pycontain.argv("run", *options, "@host", "--", "/usr/bin/python3", "-c", look))
    assert ring.split(";")[-1].startswith("_ses.")
    assert found == "False"


#: system call (x86_64) -> (arguments, errno under the default filter, errno that an allowed call ends with)
CALLS = {
    "keyctl": (250, (0, -3, 0), "EPERM"),
    "unshare user namespace": (272, (0x10000000,), "EPERM"),
    "bpf": (321, (0, 0, 0), "EPERM"),
    "io_uring_setup": (425, (1, 0), "EPERM"),
    "userfaultfd": (323, (1,), "EPERM"),
    "clone3": (435, (0, 0), "ENOSYS"),
    "mount": (165, (0, 0, 0, 0, 0), "EPERM"),
    "a call that no kernel has": (999, (), "ENOSYS"),
    "socket of AF_VSOCK": (41, (40, 1, 0), "EPERM"),
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
def test_filter_is_docker_s(pycontain: Cli) -> None:
    program = "import ctypes, errno, json; libc = ctypes.CDLL(None, use_errno=True)\n"
    program += f"calls = {CALLS!r}\n"
    program += "print(json.dumps({name: errno.errorcode[ctypes.get_errno()] if libc.syscall(number, *args) == -1"
    program += " else 'allowed' for name, (number, args, _) in calls.items()}))"
    command = ["@host", "--", "/usr/bin/python3", "-c", program]
    filtered = json.loads(pycontain.ok("run", "--rm", *command))
    assert filtered == {name: expected for name, (_, _, expected) in CALLS.items()}
    # the control: without the filter some of them are allowed, or fail for a reason of their own
    free = json.loads(pycontain.ok("run", "--rm", "--security-opt", "seccomp=unconfined", *command))
    assert {name for name in CALLS if free[name] != filtered[name]} >= {"keyctl", "clone3", "io_uring_setup"}
    assert free["unshare user namespace"] == "allowed"


def test_no_new_privileges_can_be_given_up(pycontain: Cli, busybox: Path) -> None:
    option = ["--security-opt", "no-new-privileges=false"]
    status = fields(inside(pycontain, busybox, "cat /proc/self/status", *option))
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("0", "2")
    assert int(status["CapEff"], 16) == DOCKER_CAPABILITIES


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--cap-drop", "ALL"], 0),
        (["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"], 1 << 10),
        (["--cap-drop", "CHOWN"], DOCKER_CAPABILITIES & ~1),
        (["--cap-add", "SYS_PTRACE"], DOCKER_CAPABILITIES | 1 << 19),
    ],
)
def test_capabilities_given_and_taken(pycontain: Cli, busybox: Path, options: list[str], expected: int) -> None:
    status = fields(inside(pycontain, busybox, "cat /proc/self/status", *options))
    assert {int(status[f"Cap{name}"], 16) for name in ("Bnd", "Eff", "Prm")} == {expected}


def test_privileged(pycontain: Cli, busybox: Path) -> None:
    script = "cat /proc/self/status; touch /sys/fs/cgroup/x 2>/dev/null; readlink /proc/self/ns/user; ls /dev"
    *lines, _ = inside(pycontain, busybox, script, "--privileged").split("\nfd\n")
    status = fields(lines[0])
    own = fields(Path("/proc/self/status").read_text())
    assert int(status["CapEff"], 16) == int(own["CapPrm"], 16)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("0", "0")
    assert os.readlink("/proc/self/ns/user") in lines[0]
    table = mount_table(inside(pycontain, busybox, "cat /proc/self/mountinfo", "--privileged"))
    assert table["/sys"][1] == {"rw", *QUIET}
    assert not set(table) & {*MASKED, *READONLY}


def test_users_of_the_host(pycontain: Cli, busybox: Path) -> None:
    script = "cat /proc/self/uid_map; cat /proc/self/status"
    first, rest = inside(pycontain, busybox, script, "--userns", "host").split("\n", 1)
    assert first.split() == Path("/proc/self/uid_map").read_text().split()
    assert int(fields(rest)["CapEff"], 16) == DOCKER_CAPABILITIES
    assert fields(rest)["Seccomp"] == "2"


def test_users_given(pycontain: Cli, busybox: Path) -> None:
    found = inside(pycontain, busybox, "cat /proc/self/uid_map /proc/self/gid_map", "--userns", "700000:800000:70000")
    assert found.split() == ["0", "700000", "70000", "0", "800000", "70000"]


@requires("fs:overlay", "root")
def test_fallback_is_said_and_refused_where_it_would_be_weak(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    """A root on an overlay cannot be shifted; made in a mount namespace of the test's own."""
    layers = pycontain.root / "layers"
    for name in ("upper", "work", "merged"):
        (layers / name).mkdir(parents=True)
    options = f"lowerdir={busybox},upperdir={layers}/upper,workdir={layers}/work"
    setup = f'mount -t overlay overlay -o {options} {layers}/merged && exec "$@"'

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", setup, "sh"]
        return Cli(pycontain.root, prefix=tuple(prefix)).run(
            "run",
            "--rm",
            *words,
            layers / "merged",
            "--",
            "/bin/sh",
            "-c",
            "cat /proc/self/uid_map; readlink /proc/self/ns/user",
        )

    try:
        done = run()
        assert done.returncode == 0, describe(done)
        assert done.stdout.split()[:3] == ["0", "0", "4294967295"]
        assert os.readlink("/proc/self/ns/user") not in done.stdout
        assert done.stderr.count("\n") == 1
        assert "overlay" in done.stderr
        for refused in (
            ["--userns", "auto,strict"],
            ["--cap-add", "SYS_ADMIN"],
            ["--cap-add", "SYS_PTRACE"],
            ["--cap-add", "DAC_READ_SEARCH"],
            ["--cap-add", "ALL"],
            ["--security-opt", "unmask=/proc/kcore"],
            ["-v", "/proc/sys:/x"],
        ):
            done = run(*refused)
            assert done.returncode == 125, describe(done)
            assert "overlay" in done.stderr
            assert " ".join(refused[1:2]).split("=")[0].split(":")[0] in done.stderr
    finally:
        subprocess.run(["rm", "-rf", str(layers)], check=True)


def test_other_processes_are_not_seen(pycontain: Cli, busybox: Path) -> None:
    out = inside(pycontain, busybox, "ls /proc | grep '^[0-9]' | wc -l; cat /proc/1/cgroup; kill -0 1 && echo alive")
    count, *cgroups, alive = out.splitlines()
    assert int(count) <= 5
    assert alive == "alive"
    assert {line.split(":", 2)[2] for line in cgroups} == {"/"}


@pytest.mark.skipif(not has("cgroup2"), reason="no cgroup2 here")
def test_cgroups_show_the_container_only(pycontain: Cli, busybox: Path) -> None:
    out = inside(pycontain, busybox, "cd /sys/fs/cgroup; [ ! -d unified ] || cd unified; cat cgroup.procs; :")
    assert out.split()[0] == "1"
    assert len(out.split()) <= 2
