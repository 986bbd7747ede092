"""Checkpoint and restore with a real CRIU, in guest qemu where this kernel is none for it."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import programs, waiting
from harness.cli import describe
from harness.oci import Oci
from harness.probe import requires
from harness.terminal import Terminal

COUNTER = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; echo out $i; usleep 50000; done"

#: A test that every guest skips would be an error: only a host that has CRIU sends them there.
_IN_GUEST = [pytest.mark.guest("qemu")] if shutil.which("criu") else []


def with_criu(test: Callable[..., None]) -> Callable[..., None]:
    for mark in (requires("root", "criu"), pytest.mark.timeout(300), *_IN_GUEST):
        test = mark(test)
    return test


def until(condition: Callable[[], Any]) -> Any:
    """Wait longer than on a host: where CRIU works here, it is a guest."""
    return waiting.until(condition, 60)


class Checkpointed:
    """A container of one bundle, with its checkpoint in one directory."""

    def __init__(self, oci: Oci, document: dict[str, Any]) -> None:
        self.oci = oci
        self.bundle = oci.bundle(document)
        self.images = oci.place / "images"
        self.log = oci.place / "work"
        for name in ("c.out", "c.err"):
            # CRIU opens them again as the container's root
            (oci.place / name).touch()
            (oci.place / name).chmod(0o666)

    def call(self, *args: str, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command whose container gets standard streams that are not the test's."""
        with (self.oci.place / "c.out").open("a") as out, (self.oci.place / "c.err").open("w+") as err:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out if stdout is None else stdout, "stderr": err}
            done = subprocess.run(self.oci.argv(*args), **streams, timeout=200, start_new_session=True)
        said = (self.oci.place / "c.err").read_text()
        return subprocess.CompletedProcess(done.args, done.returncode, "", said)

    def run(self, *more: str, stdout: int | None = None) -> None:
        done = self.call("run", "--detach", "--bundle", str(self.bundle), *more, "c", stdout=stdout)
        assert done.returncode == 0, describe(done)

    def arguments(self, verb: str, *more: str) -> list[str]:
        paths = ["--image-path", str(self.images), "--work-path", str(self.log)]
        return [verb, *paths, *(["--detach", "--bundle", str(self.bundle)] if verb == "restore" else []), *more, "c"]

    def ok(self, verb: str, *more: str, stdout: int | None = None) -> None:
        done = self.call(*self.arguments(verb, *more), stdout=stdout)
        name = "restore.log" if verb == "restore" else "dump.log"
        log = (self.log / name).read_text(errors="replace") if (self.log / name).exists() else ""
        assert done.returncode == 0, f"{describe(done)}\n{log[-6000:]}"

    def fails(self, verb: str, *more: str) -> str:
        return self.oci.fails(*self.arguments(verb, *more), timeout=200)

    def pid(self) -> int:
        found: int = self.oci.state("c")["pid"]
        return found

    def read(self, path: str) -> str:
        try:
            return Path(f"/proc/{self.pid()}/root{path}").read_text()
        except FileNotFoundError:
            return ""

    def count(self) -> int:
        return int(until(lambda: self.read("/tmp/count").strip()))

    def goes_on(self, before: int) -> None:
        first = self.count()
        assert first >= before
        until(lambda: self.count() > first + 1)


def full(oci: Oci, *args: str) -> dict[str, Any]:
    """Return a configuration with everything that engines mount, mask and bind."""
    document = oci.config(*args)
    options = ["nosuid", "noexec", "nodev"]
    for kind in ("file", "directory"):
        (oci.place / kind).mkdir()
    (oci.place / "file" / "hosts").write_text("127.0.0.1 localhost\n")
    (oci.place / "directory" / "inner").mkdir()
    document["mounts"] += [
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*options, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*options, "ro"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*options, "size=64k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": options},
        {"destination": "/tmp/hosts", "source": str(oci.place / "file" / "hosts"), "options": ["bind", "ro"]},
        {"destination": "/mnt", "source": str(oci.place / "directory"), "options": ["rbind"]},
        {"destination": "/mnt/inner", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]},
    ]
    document["linux"]["namespaces"].append({"type": "cgroup"})
    document["linux"]["maskedPaths"] = ["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware"]
    document["linux"]["readonlyPaths"] = ["/proc/sys", "/proc/sysrq-trigger"]
    document["linux"]["resources"] = {"pids": {"limit": 50}}
    return document


def mounts_of(pid: int) -> list[str]:
    """Return what is mounted: where, with which flags, what; and how what is mounted there spreads."""
    rows = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return sorted(" ".join([*row[4 : row.index("-")], row[row.index("-") + 1]]) for row in rows)


@with_criu
def test_a_program_goes_on_where_it_was(oci: Oci) -> None:
    """Twice: a container that was restored can be checkpointed again. Its mounts and limits are the same."""
    document = full(oci, "sh", "-c", COUNTER)
    one = Checkpointed(oci, document)
    reader, writer = os.pipe()
    one.run(stdout=writer)
    os.close(writer)
    assert os.read(reader, 6) == b"out 1\n"
    for _ in range(2):
        before, mounts = one.count(), mounts_of(one.pid())
        one.ok("checkpoint")
        assert "does not exist" in oci.fails("state", "c")
        assert oci.left() == []
        os.close(reader)
        reader, writer = os.pipe()
        one.ok("restore", "--pid-file", str(oci.place / "pid"), stdout=writer)
        os.close(writer)
        assert oci.state("c")["status"] == "running"
        assert (oci.place / "pid").read_text() == str(one.pid())
        one.goes_on(before)
        assert int(os.read(reader, 100).split()[1]) >= before
        assert mounts_of(one.pid()) == mounts
    place = Path(f"/sys/fs/cgroup/{document['linux']['cgroupsPath']}")
    assert str(one.pid()) in (place / "cgroup.procs").read_text().split()
    assert (place / "pids.max").read_text() == "50\n"
    assert oci.ok("exec", "c", "sh", "-c", "cat /tmp/hosts; cat /proc/keys").strip() == "127.0.0.1 localhost"
    assert "lo" in oci.ok("exec", "c", "cat", "/proc/net/dev")
    assert str(oci.place) not in Path("/proc/self/mountinfo").read_text()
    oci.ok("kill", "c", "KILL")
    oci.wait("c", "stopped")
    oci.ok("delete", "c")
    assert not place.exists()
    os.close(reader)


@with_criu
def test_leave_running_and_paused(oci: Oci) -> None:
    one = Checkpointed(oci, oci.config("sh", "-c", COUNTER))
    one.run()
    before = one.count()
    one.ok("checkpoint", "--leave-running")
    assert oci.state("c")["status"] == "running"
    one.goes_on(before)
    assert "already exists" in one.fails("restore")
    one.goes_on(before)
    oci.ok("pause", "c")
    one.ok("checkpoint", "--leave-running")
    assert oci.state("c")["status"] == "paused"
    oci.ok("delete", "--force", "c")
    one.ok("restore")
    one.goes_on(before)


@with_criu
def test_pre_dump_and_parent(oci: Oci) -> None:
    one = Checkpointed(oci, oci.config("sh", "-c", COUNTER))
    one.run()
    final, one.images = one.images, oci.place / "first"
    before = one.count()
    one.ok("checkpoint", "--pre-dump")
    one.goes_on(before)
    one.images = final
    assert "--parent-path" in one.fails("checkpoint", "--parent-path", str(oci.place / "first"))
    assert "--parent-path" in one.fails("checkpoint", "--parent-path", "../nowhere")
    one.ok("checkpoint", "--parent-path", "../first")
    assert (one.images / "parent").is_symlink()
    one.ok("restore")
    one.goes_on(before)


@with_criu
def test_lazy_pages(oci: Oci) -> None:
    """Memory that is fetched by its first use: the first container goes when the second one has it all."""
    one = Checkpointed(oci, oci.config("sh", "-c", COUNTER))
    one.run()
    before = one.count()
    reader, writer = os.pipe()
    server = ("--page-server", "127.0.0.1:27277", "--status-fd", str(writer))
    argv = oci.argv(*one.arguments("checkpoint", "--lazy-pages", *server))
    null = subprocess.DEVNULL
    with subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, pass_fds=[writer]) as dump:
        os.close(writer)
        assert os.read(reader, 10) == b"\0"
        os.close(reader)
        daemon = ("criu", "lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", "27277")
        with subprocess.Popen(
            [*daemon, "-D", one.images, "-W", one.log], stdin=null, stdout=null, stderr=null
        ) as pages:
            until((one.log / "lazy-pages.socket").exists)
            document = json.loads((one.bundle / "config.json").read_text())
            document["linux"]["cgroupsPath"] += "-2"
            other = oci.bundle(document, "other")
            words = one.arguments("restore", "--lazy-pages")
            words[words.index(str(one.bundle))], words[-1] = str(other), "d"
            done = one.call(*words)
            assert done.returncode == 0, describe(done)
            assert (pages.wait(100), dump.wait(100)) == (0, 0)
    assert oci.left() == ["d"]
    count = Path(f"/proc/{oci.state('d')['pid']}/root/tmp/count")
    until(lambda: int(count.read_text() or 0) > before + 1)


@with_criu
def test_connections(oci: Oci) -> None:
    """Without its option a connection is refused, and the container goes on as if nothing had been."""
    script = (
        "sleep 1000 | busybox nc -l -p 5000 > /tmp/count & usleep 300000;"
        "i=0; while :; do i=$((i+1)); echo $i; usleep 50000; done | busybox nc 127.0.0.1 5000"
    )
    one = Checkpointed(oci, oci.config("sh", "-c", script))
    one.run()

    def received() -> int:
        return len(one.read("/tmp/count").split())

    until(lambda: received() > 2)
    said = one.fails("checkpoint")
    assert "criu cannot checkpoint the container: " in said
    assert str(one.log / "dump.log") in said
    assert oci.state("c")["status"] == "running"
    before = received()
    until(lambda: received() > before)
    one.ok("checkpoint", "--tcp-established")
    one.ok("restore", "--tcp-established")
    assert received() >= before
    now = received()
    until(lambda: received() > now + 1)
    words = one.read("/tmp/count").split()
    assert words[:-1] == [str(number) for number in range(1, len(words))]


def receive(listener: socket.socket) -> int:
    connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    return fds[0]


@with_criu
def test_terminal(oci: Oci) -> None:
    document = oci.config("sh", "-c", "while read x; do echo got $x; done")
    document["process"]["terminal"] = True
    one = Checkpointed(oci, document)
    path = oci.place / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(100)
        one.run("--console-socket", str(path))
        for word in (b"one", b"two"):
            master = receive(listener)
            os.write(master, word + b"\n")
            seen = b""
            while b"got " + word not in seen:
                seen += os.read(master, 100)
            one.ok("checkpoint")
            os.close(master)
            assert "console socket" in one.fails("restore")
            one.ok("restore", "--console-socket", str(path))
        os.close(receive(listener))


LOCK = """
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

int main(void) {
    int fd = open("/tmp/count", O_CREAT | O_RDWR, 0600);
    if (flock(fd, LOCK_EX) == 0 && write(fd, "7", 1) == 1)
        for (;;)
            pause();
    return 1;
}
"""


@with_criu
def test_locks(oci: Oci, scratch_root: Path) -> None:
    (oci.place / "lock.c").write_text(LOCK)
    programs.build(oci.place / "lock.c", scratch_root / "bin" / "lock")
    document = oci.config("/bin/lock")
    document["root"]["path"] = str(scratch_root)
    one = Checkpointed(oci, document)
    one.run()
    assert one.count() == 7
    one.fails("checkpoint")
    assert oci.state("c")["status"] == "running"
    one.ok("checkpoint", "--file-locks")
    one.ok("restore", "--file-locks")
    held = [line for line in Path("/proc/locks").read_text().splitlines() if f" {one.pid()} " in line]
    assert len(held) == 1


@with_criu
def test_foreground_on_a_terminal(oci: Oci) -> None:
    """A program of the caller's own session: its terminal is connected again, and its exit code returned."""
    one = Checkpointed(oci, oci.config("sh", "-c", "echo began; read x; echo got $x; exit 7"))
    first = Terminal(oci.argv("run", "--bundle", one.bundle, "c"))
    first.until("began")
    one.ok("checkpoint", "--shell-job")
    assert first.exit_code() == 137
    words = [word for word in one.arguments("restore", "--shell-job") if word != "--detach"]
    second = Terminal(oci.argv(*words))
    until(lambda: oci.left() and (oci.root / "c" / "state.json").exists() and oci.state("c")["status"] == "running")
    second.type("it\n")
    second.until("got it")
    assert second.exit_code() == 7
    assert oci.left() == []


@with_criu
def test_hooks(oci: Oci) -> None:
    """Those outside are run; those inside belong to a start, which is over."""
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    order = oci.place / "order"
    document = oci.config("sh", "-c", COUNTER)
    document["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {oci.place}/{kind}; echo {kind} >> {order}"]}]
        for kind in kinds
        if kind not in {"startContainer", "createContainer"}
    }
    one = Checkpointed(oci, document)
    one.run()
    one.count()
    order.unlink()
    one.ok("checkpoint")
    assert order.read_text().split() == ["poststop"]
    order.unlink()
    one.ok("restore")
    assert order.read_text().split() == ["prestart", "createRuntime", "poststart"]
    told = json.loads((oci.place / "poststart").read_text())
    assert (told["status"], told["pid"]) == ("running", one.pid())
    oci.ok("delete", "--force", "c")
    document["hooks"]["createRuntime"] = [{"path": "/bin/false"}]
    oci.bundle(document)
    assert "hooks.createRuntime[0]" in one.fails("restore")
    assert oci.left() == []


@with_criu
def test_users_of_its_own(oci: Oci, scratch_root: Path) -> None:
    """A user namespace, in a root that is somebody else's."""
    document = oci.config("sh", "-c", COUNTER)
    document["root"]["path"] = str(scratch_root)
    document["linux"]["namespaces"].append({"type": "user"})
    rows = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    document["linux"].update(uidMappings=rows, gidMappings=rows)
    os.chmod(oci.place, 0o755)
    one = Checkpointed(oci, document)
    one.run()
    before = one.count()
    one.ok("checkpoint")
    one.ok("restore")
    one.goes_on(before)
    assert Path(f"/proc/{one.pid()}/uid_map").read_text().split() == ["0", "100000", "65536"]
    assert oci.ok("exec", "c", "stat", "-c", "%u %F", "/tmp/count", "/dev/null").split()[0] == "0"
    assert oci.ok("exec", "c", "sh", "-c", "echo > /dev/null; ls -l /dev/pts/ptmx").startswith("crw-rw-rw-")
    oci.ok("delete", "--force", "c")


@with_criu
def test_shifted_owners(oci: Oci) -> None:
    document = oci.config("sh", "-c", COUNTER)
    shared = Path(os.environ["PYCONTAIN_TEST_DISK"]) / "shared"
    shared.mkdir()
    (shared / "file").touch()
    rows = [{"containerID": 0, "hostID": 1000, "size": 65536}]
    bind = {"destination": "/tmp/shared", "source": str(shared), "options": ["bind"]}
    document["mounts"].append({**bind, "uidMappings": rows, "gidMappings": rows})
    one = Checkpointed(oci, document)
    one.run()
    before = one.count()
    assert oci.ok("exec", "c", "stat", "-c", "%u", "/tmp/shared/file") == "1000\n"
    one.ok("checkpoint")
    one.ok("restore")
    one.goes_on(before)
    assert oci.ok("exec", "c", "stat", "-c", "%u", "/tmp/shared/file") == "1000\n"


@with_criu
def test_namespace_of_others(oci: Oci) -> None:
    """A network namespace that is joined by path is not the checkpoint's, and is joined again."""
    with subprocess.Popen(["unshare", "--net", "sleep", "1000"]) as holder:
        path = f"/proc/{holder.pid}/ns/net"
        until(lambda: os.readlink(path) != os.readlink("/proc/self/ns/net"))
        document = oci.config("sh", "-c", COUNTER)
        document["linux"]["namespaces"][-1]["path"] = path
        one = Checkpointed(oci, document)
        one.run()
        before = one.count()
        one.ok("checkpoint")
        one.ok("restore")
        one.goes_on(before)
        assert os.readlink(f"/proc/{one.pid()}/ns/net") == os.readlink(path)
        oci.ok("delete", "--force", "c")
        holder.kill()


@with_criu
def test_killed_restores(oci: Oci) -> None:
    """A runtime that is killed while CRIU works leaves what delete --force removes, and nothing that runs."""
    document = oci.config("sh", "-c", COUNTER)
    place = Path(f"/sys/fs/cgroup/{document['linux']['cgroupsPath']}")
    one = Checkpointed(oci, document)
    one.run()
    before = one.count()
    one.ok("checkpoint", "--leave-running")
    oci.ok("delete", "--force", "c")
    started = time.monotonic()
    one.ok("restore")
    longest = time.monotonic() - started
    oci.ok("delete", "--force", "c")
    chance = random.Random(7)
    null = subprocess.DEVNULL
    for _ in range(4):
        command = oci.argv(*one.arguments("restore"))
        process = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)
        time.sleep(chance.uniform(0.2, 1.1) * longest)
        process.kill()
        process.wait()
        oci.ok("delete", "--force", "c")
        assert oci.left() == []
        assert not place.exists()
    one.ok("restore")
    one.goes_on(before)


@with_criu
def test_wrong_requests(oci: Oci) -> None:
    one = Checkpointed(oci, oci.config("sleep", "1000"))
    assert "no such directory" in one.fails("restore").lower() or "no such file" in one.fails("restore").lower()
    one.images.mkdir()
    assert "holds no checkpoint" in one.fails("restore")
    assert oci.left() == []
    oci.ok("create", "--bundle", one.bundle, "c")
    assert "not running" in one.fails("checkpoint")
    oci.ok("start", "c")
    assert "--manage-cgroups-mode" in one.fails("checkpoint", "--manage-cgroups-mode", "rude")
    assert "--empty-ns" in one.fails("checkpoint", "--empty-ns", "pid")
    assert "--status-fd" in one.fails("checkpoint", "--status-fd", "77")
    assert "--page-server" in one.fails("checkpoint", "--page-server", "nowhere")
    assert "criu: Error" in one.fails("checkpoint", "--page-server", "127.0.0.1:1")
    assert oci.state("c")["status"] == "running"
