"""Roots that attack the runtime get nowhere.

That each attack works against a careless runtime is shown by ``test_controls.py``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import hostile_roots
from harness.cli import Cli, describe
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root")]

#: Ends of a start that each take another way through the runtime: name -> (options, command, exit code).
ENDS: dict[str, tuple[list[str], list[str], int]] = {
    "success": ([], ["/bin/true"], 0),
    "the program's own code": ([], ["/bin/sh", "-c", "exit 7"], 7),
    "no such program": ([], ["/no/such/program"], 127),
    "no such program in PATH": ([], ["no-such-program"], 127),
    "not executable": ([], ["/etc/passwd"], 126),
    "unknown user": (["-u", "no-such-user"], ["/bin/true"], 125),
    "working directory is a file": (["-w", "/etc/passwd"], ["/bin/true"], 125),
    "volume at a file's child": (["-v", "/tmp:/etc/passwd/below"], ["/bin/true"], 125),
    "terminal": (["-t"], ["/bin/true"], 0),
    "terminal and no such program": (["-t"], ["/no/such/program"], 127),
    "odd names": (["-e", "ÄÖ=ß€𝄞", "-e", "X=\udc80\udcff", "-h", "x" * 63], ["/bin/true"], 0),
    "user namespace of the host": (["--userns", "host"], ["/no/such/program"], 127),
}


@pytest.fixture(scope="module")
def hashes() -> Iterator[dict[str, str]]:
    """Yield the hashes of all that runs as the product; at the end they must be what they were."""
    before = hostile_roots.product_hashes()
    yield before
    assert hostile_roots.product_hashes() == before


@pytest.mark.parametrize("end", ENDS)
def test_no_planted_module_is_executed(pycontain: Cli, root: Path, end: str) -> None:
    options, command, code = ENDS[end]
    hostile_roots.plant_modules(root)
    done = pycontain.run("run", "--rm", "--writable", *options, root, "--", *command)
    assert hostile_roots.hits(root) == []
    assert done.returncode == code, describe(done)


@pytest.mark.parametrize("end", ENDS)
def test_no_source_is_opened_in_the_root(pycontain: Cli, root: Path, end: str) -> None:
    options, command, code = ENDS[end]
    assert hostile_roots.plant_fifos(root) > 200
    # whoever opens one of the FIFOs hangs
    done = pycontain.run("run", "--rm", *options, root, "--", *command, timeout=20)
    assert done.returncode == code, describe(done)


def test_a_writable_root_can_show_a_hit(pycontain: Cli, root: Path) -> None:
    """What the first test looks at is where a plant would write."""
    pycontain.ok("run", "--rm", "--writable", root, "--", "/bin/sh", "-c", "mkdir /hits && touch /hits/json")
    assert hostile_roots.hits(root) == ["json"]


@pytest.mark.guest("uml")
@pytest.mark.parametrize("name", ["/dev", "/proc", "/sys", "/etc", "/run", "/tmp", "/dev/shm", "/sys/fs/cgroup"])
@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
def test_link_at_a_directory_leads_nowhere(
    pycontain: Cli, root: Path, tmp_path: Path, name: str, relative: bool
) -> None:
    canary = hostile_roots.canary_directory(tmp_path / "canary")
    target = Path("../" * 20, str(canary).lstrip("/")) if relative else canary
    (root / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    hostile_roots.replace_by_link(root, name, target)
    before = hostile_roots.tree_state(canary)
    done = pycontain.run("run", "--rm", "--tmpfs", "/tmp/below", "-w", "/run", root, "--", "/bin/true")
    assert hostile_roots.tree_state(canary) == before
    assert done.returncode in (0, 125), describe(done)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["passwd", "group", "resolv.conf", "hosts", "hostname"])
def test_link_at_a_file_leads_nowhere(pycontain: Cli, root: Path, tmp_path: Path, name: str) -> None:
    canary = hostile_roots.canary_directory(tmp_path / "canary")
    (canary / name).write_text("evil:x:0:0::/:/bin/sh\n" if name == "passwd" else "canary\n")
    hostile_roots.replace_by_link(root, f"/etc/{name}", canary / name)
    before = hostile_roots.tree_state(canary)
    done = pycontain.run("run", "--rm", "-u", "evil", root, "--", "/bin/true")
    assert hostile_roots.tree_state(canary) == before
    # the host's file, in which there is such a user, was not read either
    assert done.returncode == 125, describe(done)
    pycontain.run("run", "--rm", "--add-host", "a:1.2.3.4", "--dns", "9.9.9.9", root, "--", "/bin/true")
    assert hostile_roots.tree_state(canary) == before


def test_link_at_a_volume_target_leads_nowhere(pycontain: Cli, root: Path, tmp_path: Path) -> None:
    canary = hostile_roots.canary_directory(tmp_path / "canary")
    volume = tmp_path / "volume"
    volume.mkdir()
    (root / "data").symlink_to(canary)
    before = hostile_roots.tree_state(canary)
    for target in ("/data", "/data/new", "/data/sys/new"):
        done = pycontain.run("run", "--rm", "-v", f"{volume}:{target}", root, "--", "/bin/true")
        assert hostile_roots.tree_state(canary) == before, target
        assert "Traceback" not in done.stderr


@pytest.mark.guest("uml")
@pytest.mark.parametrize(
    "options",
    [[], ["-t"], ["--userns", "host"], ["--read-only"], ["--privileged"], ["--security-opt", "seccomp=unconfined"]],
    ids=" ".join,
)
def test_own_interpreter_cannot_be_overwritten(
    pycontain: Cli, root: Path, tmp_path: Path, options: list[str], hashes: dict[str, str]
) -> None:
    entry = hostile_roots.plant_self_exe(root, hostile_roots.evil_loader(tmp_path))
    done = pycontain.run("run", "--rm", *options, root, "--", entry)
    _assert_sealed(done)
    assert hostile_roots.product_hashes() == hashes


def _assert_sealed(done: subprocess.CompletedProcess[str]) -> None:
    """Check that the loader ran, and that it saw a read-only mount; on a terminal its complaint is between."""
    lines = done.stdout.split()
    assert (lines[:1], lines[-1:]) == (["sealed"], ["loader-ran"]), describe(done)
    assert "wrote" not in lines, describe(done)


def test_own_interpreter_cannot_be_overwritten_from_exec(
    pycontain: Cli, root: Path, tmp_path: Path, hashes: dict[str, str]
) -> None:
    entry = hostile_roots.plant_self_exe(root, hostile_roots.evil_loader(tmp_path))
    container = pycontain.ok("run", "-d", root, "--", "/bin/sleep", "60").strip()
    done = pycontain.run("exec", container, entry)
    _assert_sealed(done)
    assert hostile_roots.product_hashes() == hashes


def test_processes_that_enter_show_nothing_of_the_host(pycontain: Cli, root: Path, hashes: dict[str, str]) -> None:
    """A process of the container grasps at whatever enters by ``exec``: its program, its root and its descriptors."""
    grasp = r"""
        while :; do
            for p in /proc/[0-9]*; do
                [ "$p" = /proc/1 ] && continue
                echo overwritten 2>/dev/null >>$p/exe
                ls $p/root/ 2>/dev/null | grep -qx images && echo root >>/hits
                for fd in $p/fd/*; do
                    case $(readlink $fd) in /usr/* | /etc/* | *python* | *pycontain*) echo $fd >>/hits ;; esac
                done
            done
        done 2>/dev/null
    """
    container = pycontain.ok("run", "-d", "--cap-add", "SYS_PTRACE", root, "--", "/bin/sh", "-c", grasp).strip()
    for _ in range(20):
        assert pycontain.ok("exec", container, "/bin/echo", "in") == "in\n"
    assert pycontain.run("exec", container, "/bin/cat", "/hits").stdout == ""
    assert hostile_roots.product_hashes() == hashes


def test_caller_s_environment_and_directory_are_not_code(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    for name in ("json", "encodings", "os", "pycontain", "sitecustomize", "click"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(77)\n")
    startup = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "json.py")}
    loader = {"LD_LIBRARY_PATH": str(tmp_path), "LD_PRELOAD": "", "PYTHONINSPECT": "1"}
    script = 'echo "${PYTHONPATH-}${PYTHONHOME-}${LD_LIBRARY_PATH-}"'
    done = pycontain.run("run", "--rm", busybox, "--", "/bin/sh", "-c", script, env={**startup, **loader}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "\n"), describe(done)


#: System calls that open a file by name.
OPENING = ("open(", "openat(", "openat2(", "creat(", "open_by_handle_at(")


@requires("program:strace")
@pytest.mark.parametrize("end", ["success", "no such program", "not executable", "odd names"])
def test_nothing_is_opened_between_pivot_root_and_execve(pycontain: Cli, root: Path, tmp_path: Path, end: str) -> None:
    options, command, code = ENDS[end]
    # one file per process: calls of two processes are not cut in pieces
    tracer = ["strace", "-ff", "-o", str(tmp_path / "trace"), "-e", "trace=%file,pivot_root,execve,execveat"]
    argv = [*tracer, *pycontain.argv("run", "--rm", *options, root, "--", *command)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == code, describe(done)
    opened = [opened_inside(path.read_text(errors="replace")) for path in tmp_path.glob("trace.*")]
    assert [calls for calls in opened if calls is not None] == [[]]


def opened_inside(trace: str) -> list[str] | None:
    """Return what the process opened by name between its pivot_root and its execve; None if it called no pivot_root."""
    found: list[str] | None = None
    for call in trace.splitlines():
        if found is None:
            if call.startswith("pivot_root(") and call.endswith("= 0"):
                found = []
        elif call.startswith("exec") and call.endswith("= 0"):
            break
        elif call.startswith(OPENING):
            found.append(call)
    return found


def test_the_trace_is_read_rightly() -> None:
    planted = 'openat(AT_FDCWD, "/usr/lib/python3.11/encodings/punycode.py", O_RDONLY) = 3'
    trace = f"""openat(AT_FDCWD, "/etc/before", O_RDONLY) = 3
pivot_root(".", ".")                    = 0
{planted}
execve("/bin/true", ["/bin/true"], 0x1) = -1 ENOENT (No such file or directory)
execve("/usr/bin/true", ["true"], 0x1)  = 0
openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY) = 3"""
    assert opened_inside(trace) == [planted]
    assert opened_inside(trace.replace("pivot_root", "getpid")) is None
