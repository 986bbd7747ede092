"""create, start, state, kill, delete, run, list."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from harness.oci import Oci
from harness.probe import requires
from harness.waiting import until

from pycontain.runtime import processes

pytestmark = requires("root")


def created(oci: Oci, *args: str, name: str = "c") -> None:
    oci.ok("create", "--bundle", oci.bundle(oci.config(*args), name), "--pid-file", oci.place / "pid", name)


def created_to_tell(oci: Oci) -> Path:
    """Create a container, and return the file that its program makes."""
    shared = oci.place / "shared"
    shared.mkdir()
    document = oci.config("touch", "/shared/ran")
    document["mounts"].append({"destination": "/shared", "source": str(shared), "options": ["bind"]})
    oci.ok("create", "--bundle", oci.bundle(document), "c")
    return shared / "ran"


def test_the_program_runs_when_started_not_before(oci: Oci) -> None:
    """L1: create makes all but the process; start runs it."""
    ran = created_to_tell(oci)
    state = oci.state("c")
    assert state["status"] == "created"
    assert os.readlink(f"/proc/{state['pid']}/ns/pid") != os.readlink("/proc/self/ns/pid")
    assert not ran.exists()
    oci.ok("start", "c")
    oci.wait("c", "stopped")
    assert ran.exists()
    assert oci.state("c")["pid"] == 0
    oci.ok("delete", "c")
    assert "container does not exist" in oci.fails("state", "c")


def test_pid_file(oci: Oci) -> None:
    """L9: the pid file is there when create returns, and says what state says."""
    created(oci, "true")
    assert (oci.place / "pid").read_text() == str(oci.state("c")["pid"])


def test_an_error_leaves_nothing(oci: Oci) -> None:
    """L2: a failed create is as if it had never been tried."""
    document = oci.config("true")
    document["mounts"].append({"destination": "/x", "source": "/nonexistent", "options": ["bind"]})
    assert "/nonexistent" in oci.refuses(document)
    for text in ("", "null", "[]", "{}", '{"ociVersion": "1.0.0", "ociVersion": "1.0.0"}'):
        oci.refuses(text)


def test_ids(oci: Oci) -> None:
    """L3, L8: an id is unique, can be used again, and has to be one."""
    created(oci, "true")
    bundle = oci.place / "c"
    assert "already exists" in oci.fails("create", "--bundle", bundle, "c")
    assert oci.state("c")["status"] == "created"
    oci.ok("delete", "--force", "c")
    created(oci, "true")
    for name in ("", "..", ".x", "a/b", "a b", "x" * 2000):
        assert "invalid container id" in oci.fails("create", "--bundle", bundle, name)


def test_start_needs_a_created_container(oci: Oci) -> None:
    """L5: start of a container that is not created is an error without effect."""
    oci.fails("start", "c")
    created(oci, "sleep", "100")
    oci.ok("start", "c")
    oci.fails("start", "c")
    assert oci.state("c")["status"] == "running"
    oci.ok("kill", "c", "KILL")
    oci.wait("c", "stopped")
    assert "stopped" in oci.fails("start", "c")


def test_kill(oci: Oci) -> None:
    """L6: kill is for created and running containers."""
    assert "container does not exist" in oci.fails("kill", "c", "9")
    created(oci, "sh", "-c", "trap 'exit 7' USR1; while :; do sleep 0.1; done")
    oci.ok("kill", "c", "0")
    oci.ok("start", "c")
    assert "unknown signal" in oci.fails("kill", "c", "NONSENSE")
    oci.ok("kill", "c", "SIGUSR1")
    oci.wait("c", "stopped")
    assert "container not running" in oci.fails("kill", "c", "9")
    oci.ok("kill", "--all", "c", "9")


@pytest.mark.parametrize("signal", ["TERM", "15", "SIGINT"])
def test_a_container_that_waits_can_be_ended(oci: Oci, signal: str) -> None:
    """L6: a signal that ends processes ends one that waits to be started."""
    created(oci, "true")
    oci.ok("kill", "c", signal)
    oci.wait("c", "stopped")


def test_delete(oci: Oci) -> None:
    """L7: delete is for stopped containers, unless it is forced."""
    assert "container does not exist" in oci.fails("delete", "c")
    oci.ok("delete", "--force", "c")
    created(oci, "sleep", "100")
    assert "not stopped: created" in oci.fails("delete", "c")
    oci.ok("start", "c")
    pid = oci.state("c")["pid"]
    assert "not stopped: running" in oci.fails("delete", "c")
    assert oci.state("c")["pid"] == pid
    oci.ok("delete", "-f", "c")
    assert processes.start_time(pid) is None


def test_state(oci: Oci) -> None:
    """L9: what state prints."""
    document = oci.config("true")
    document["annotations"] = {"org.example": "ünïcode"}
    oci.ok("create", "--bundle", oci.bundle(document), "c")
    state = oci.state("c")
    assert state["ociVersion"].startswith("1.")
    assert (state["id"], state["status"]) == ("c", "created")
    assert state["bundle"] == str(oci.place / "bundle")
    assert state["annotations"] == document["annotations"]
    assert json.loads(oci.ok("list", "--format", "json"))[0]["id"] == "c"
    assert oci.ok("list").split()[:6] == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert oci.ok("list", "-q") == "c\n"


def test_a_later_change_of_the_bundle_does_not_matter(oci: Oci) -> None:
    """B6: the configuration is copied."""
    created(oci, "sleep", "100")
    (oci.place / "c" / "config.json").write_text("nonsense")
    oci.ok("start", "c")
    assert oci.state("c")["status"] == "running"


def test_exit_codes_of_run(oci: Oci) -> None:
    """§1.12: run ends as the program did."""
    bundle = oci.bundle(oci.config("sh", "-c", "exit 42"))
    assert oci.run("run", "--bundle", bundle, "c").returncode == 42
    document = oci.config("sh", "-c", "kill -9 $$")
    # the first process of a pid namespace cannot be killed from inside
    document["linux"]["namespaces"] = [{"type": "mount"}]
    bundle = oci.bundle(document)
    assert oci.run("run", "-b", bundle, "c").returncode == 137
    assert oci.left() == []


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("nonesuch", "executable file not found in $PATH"),
        ("/nonesuch", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "permission denied"),
    ],
)
def test_a_program_that_cannot_be_executed_is_told_by_create(oci: Oci, program: str, text: str) -> None:
    """P2: and in the words that engines look for."""
    bundle = oci.bundle(oci.config(program))
    assert text in oci.fails("create", "--bundle", bundle, "c")
    assert text in oci.fails("run", "--bundle", bundle, "c")
    assert oci.left() == []


def test_a_program_that_turns_out_to_be_none_is_told_by_start(oci: Oci) -> None:
    """P2: what only execve finds out."""
    (oci.place / "broken").write_text("#!/nonexistent\n")
    (oci.place / "broken").chmod(0o755)
    document = oci.config("/broken")
    document["mounts"].append({"destination": "/tmp/x", "source": str(oci.place / "broken"), "options": ["bind"]})
    document["process"]["args"] = ["/tmp/x"]
    oci.ok("create", "--bundle", oci.bundle(document), "c")
    assert "no such file or directory" in oci.fails("start", "c")
    assert oci.state("c")["status"] == "stopped"


def test_detached(oci: Oci) -> None:
    """§1.12: run --detach returns when the program runs."""
    oci.ok("run", "--detach", "--pid-file", oci.place / "pid", "-b", oci.bundle(oci.config("sleep", "100")), "c")
    assert oci.state("c")["status"] == "running"
    assert (oci.place / "pid").read_text() == str(oci.state("c")["pid"])


def test_signals_are_forwarded_to_the_foreground(oci: Oci) -> None:
    """§1.12: a signal to run is a signal to the program."""
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    bundle = oci.bundle(oci.config("sh", "-c", script))
    process = subprocess.Popen(oci.argv("run", "-b", bundle, "c"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    assert process.wait(20) == 9
    process.stdout.close()


def with_descriptor_3(oci: Oci, file: Path) -> Oci:
    """Return the program with a file open as descriptor 3."""
    shell = ("sh", "-c", f'exec "$0" "$@" 3>{file}', *oci.program)
    return Oci(oci.root, oci.place, oci.rootfs, shell)


def test_descriptors(oci: Oci) -> None:
    """D6: nothing but 0 to 2 is open, and what is to be preserved."""
    file = oci.place / "three"
    opened = with_descriptor_3(oci, file)
    # the last one is that of ls, on the directory itself
    assert opened.runs(oci.config("ls", "/proc/self/fd")).split() == ["0", "1", "2", "3"]
    bundle = oci.bundle(oci.config("sh", "-c", "echo told >&3"))
    opened.ok("run", "--preserve-fds", "1", "-b", bundle, "c")
    assert file.read_text() == "told\n"
    assert "preserved-fd" in oci.fails("run", "--preserve-fds", "1", "-b", bundle, "c")


def activated(oci: Oci, file: Path, pid: str) -> Oci:
    """Return the program as systemd would start it with a socket, of the process id that the shell makes of ``pid``."""
    script = f'LISTEN_FDS=1 LISTEN_PID={pid} exec "$0" "$@" 3>{file}'
    return Oci(oci.root, oci.place, oci.rootfs, ("sh", "-c", script, *oci.program))


@pytest.mark.parametrize("namespaces", [["pid", "mount"], ["mount"]], ids=["own ids", "the host's ids"])
def test_listen_fds(oci: Oci, namespaces: list[str]) -> None:
    """D6: sockets of systemd are handed on, to a program that finds its own process id."""
    file = oci.place / "three"
    document = oci.config("sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $$ >&3; exec sleep 100")
    document["process"]["env"] += ["LISTEN_FDS=7", "LISTEN_PID=7"]
    document["linux"]["namespaces"] = [{"type": kind} for kind in namespaces]
    activated(oci, file, "$$").ok("run", "--detach", "-b", oci.bundle(document), "c")
    until(lambda: file.read_text().endswith("\n"))  # run waits for the program, not for what it says
    count, told, own = file.read_text().split()
    assert (count, told) == ("1", own)
    activated(oci, file, "$$").ok("exec", "c", "sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $$ >&3")
    count, told, own = file.read_text().split()
    assert (count, told) == ("1", own)


@pytest.mark.parametrize("pid", ["1", "", "$$0"])
def test_listen_fds_of_another_process(oci: Oci, pid: str) -> None:
    """D6: what was for whoever called us, as sd_listen_fds(3) says, is not for the container."""
    file = oci.place / "three"
    document = oci.config("sh", "-c", "echo .$LISTEN_FDS.$LISTEN_PID; echo told >&3")
    process = activated(oci, file, pid).run("run", "-b", oci.bundle(document), "c")
    assert process.stdout == "..\n"
    assert process.returncode != 0
    assert file.read_text() == ""


def test_the_log_is_no_preserved_descriptor(oci: Oci) -> None:
    """D6: a descriptor that the caller has not opened is not one that the runtime has."""
    bundle = oci.bundle(oci.config("true"))
    log = oci.place / "log"
    assert "preserved-fd 3" in oci.fails("--log", log, "run", "--preserve-fds", "1", "-b", bundle, "c")
    assert oci.left() == []


def test_messages(oci: Oci) -> None:
    """§1.12: errors as JSON in a file, and plainly on standard error."""
    log = oci.place / "log"
    done = subprocess.run(
        [*oci.argv("--log", log, "--log-format", "json"), "state", "none"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "container does not exist\n")
    entry = json.loads(log.read_text())
    assert (entry["level"], entry["msg"]) == ("error", "container does not exist")
    assert oci.run("nonesuch").returncode == 3
    assert oci.ok("--version").startswith("runc version ")


def test_one_of_many_wins(oci: Oci) -> None:
    """L3: of many creates of one id at once, one succeeds, and what it made is whole."""
    bundle = oci.bundle(oci.config("sleep", "100"))
    argv = oci.argv("create", "--bundle", bundle, "c")
    null = subprocess.DEVNULL
    processes = [subprocess.Popen(argv, stdin=null, stdout=null, stderr=null) for _ in range(20)]
    assert sorted(process.wait(60) for process in processes) == [0] + [1] * 19
    oci.ok("start", "c")
    assert oci.state("c")["status"] == "running"


def test_a_pid_file_replaces_no_device_or_link(oci: Oci) -> None:
    """L2: what is no regular file stays as it is, and nothing has been made."""
    pipe = oci.place / "pipe"
    os.mkfifo(pipe)
    bundle = oci.bundle(oci.config("sleep", "100"))
    link = oci.place / "link"
    link.symlink_to(oci.place / "elsewhere")
    for path in (pipe, link):
        assert "not a regular file" in oci.fails("create", "--pid-file", path, "-b", bundle, "c")
    assert oci.left() == []
    assert link.is_symlink()
    assert not (oci.place / "elsewhere").exists()
    oci.ok("run", "--detach", "-b", bundle, "c")
    assert "not a regular file" in oci.fails("exec", "--pid-file", pipe, "c", "true", code=255)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_container_that_waits_can_be_paused(oci: Oci) -> None:
    """§1.12: pause and resume are for created containers too, and none is started while it is paused."""
    created(oci, "sleep", "100")
    oci.ok("pause", "c")
    assert oci.state("c")["status"] == "paused"
    assert "in the paused state" in oci.fails("start", "c")
    assert "not stopped: paused" in oci.fails("delete", "c")
    assert "cannot exec in a created container" in oci.fails("exec", "--ignore-paused", "c", "true", code=255)
    oci.ok("resume", "c")
    assert oci.state("c")["status"] == "created"
    oci.ok("start", "c")
    assert oci.state("c")["status"] == "running"


def test_a_container_without_a_process(oci: Oci) -> None:
    """L1: it can be created and looked at; nothing can start it."""
    document = oci.config("true")
    del document["process"]
    bundle = oci.bundle(document)
    assert "process: is missing" in oci.fails("run", "-b", bundle, "c")
    assert oci.left() == []
    oci.ok("create", "-b", bundle, "c")
    said = oci.fails("start", "c")
    assert "configuration has no process (delete --force removes it)" in said
    assert oci.state("c")["status"] == "created"
    assert "execute" not in oci.ok("explain", "-b", bundle)
    oci.ok("kill", "c", "KILL")
    oci.wait("c", "stopped")
    oci.ok("delete", "c")
    assert oci.left() == []


def test_an_init_that_is_stopped_hangs_nobody(oci: Oci) -> None:
    """L5: start gives up, and the program does not begin later."""
    ran = created_to_tell(oci)
    os.kill(oci.state("c")["pid"], signal.SIGSTOP)
    assert "was stopped before its program began" in oci.fails("start", "c", timeout=30)
    assert oci.state("c")["status"] == "stopped"
    assert not ran.exists()


def is_locked(path: Path) -> bool:
    """Return whether a command holds the lock of a container."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("again", [False, True], ids=["removed", "made again"])
def test_run_removes_no_other_container_of_its_id(oci: Oci, again: bool) -> None:
    """§1.12: what another command has removed meanwhile is not missed, and a new one of the id is let alone."""
    first = oci.bundle(oci.config("sh", "-c", "echo ready; exec sleep 100"), "first")
    process = subprocess.Popen(
        oci.argv("run", "--pid-file", oci.place / "pid", "-b", first, "c"), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        until(lambda: not is_locked(oci.root / "c" / "lock"))
        # run is not to look before the id is in use again
        process.send_signal(signal.SIGSTOP)
        oci.ok("delete", "--force", "c")
        if again:
            second = oci.bundle(oci.config("sleep", "100"), "second")
            oci.ok("run", "--detach", "--pid-file", oci.place / "pid", "-b", second, "c")
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) == 137
    assert oci.left() == (["c"] if again else [])
    assert (oci.place / "pid").exists() == again
    if again:
        assert oci.state("c")["status"] == "running"


def test_a_pid_file_in_the_working_directory(oci: Oci, tmp_path: Path) -> None:
    """L9: nothing else is left beside it."""
    bundle = oci.bundle(oci.config("sleep", "100"))
    oci.ok("create", "--pid-file", "pid", "-b", bundle, "c", cwd=tmp_path)
    assert os.listdir(tmp_path) == ["pid"]
    assert (tmp_path / "pid").read_text() == str(oci.state("c")["pid"])
    assert stat.S_IMODE((tmp_path / "pid").stat().st_mode) == 0o644


def test_kill_all_without_cgroups(oci: Oci) -> None:
    """L6: whose processes nobody knows is an error, unless all end with the first."""
    script = 'umount -l /sys/fs/cgroup && exec "$0" "$@"'
    hidden = Oci(oci.root, oci.place, oci.rootfs, ("unshare", "-m", "sh", "-c", script, *oci.program))
    document = oci.config("sleep", "100")
    del document["linux"]["cgroupsPath"]
    hidden.ok("run", "--detach", "-b", hidden.bundle(document), "c")
    assert "no cgroup" in hidden.fails("kill", "--all", "c", "TERM")
    assert oci.state("c")["status"] == "running"
    hidden.ok("kill", "--all", "c", "KILL")
    oci.wait("c", "stopped")
    hidden.ok("kill", "--all", "c", "KILL")
    document["linux"]["namespaces"] = [{"type": "mount"}]
    hidden.ok("run", "--detach", "-b", hidden.bundle(document), "d")
    assert "no cgroup" in hidden.fails("kill", "--all", "d", "KILL")
