"""The main job: a program runs as process 1, gets what it was given, and its end comes back."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness.cli import Cli, describe
from harness.probe import requires
from harness.waiting import until

from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.plan.capabilities import NUMBERS
from pycontain.plan.process import compile_process
from pycontain.runtime.create import adjust_oom_score
from pycontain.spec.process import Process

pytestmark = [pytest.mark.runtime, requires("root")]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def inside(pycontain: Cli, root: str | Path, script: str, *options: str | Path) -> str:
    """Return what a shell script says in a container; nothing may come on standard error."""
    done = pycontain.run("run", "--rm", *options, root, "--", "/bin/sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, ""), describe(done)
    return done.stdout


@pytest.mark.guest("uml")
def test_program_is_process_1_in_a_session_of_its_own(pycontain: Cli, busybox: Path) -> None:
    script = "echo $$ $PPID; cat /proc/1/comm; cut -d' ' -f4-6 /proc/self/stat; ls /proc | grep -c '^[0-9]'"
    first, comm, ids, processes = inside(pycontain, busybox, script).splitlines()
    assert (first, comm) == ("1 0", "sh")
    assert ids.split()[:2] == ["1", "1"]  # cut's parent is 1, its process group that of the shell
    assert int(processes) <= 4


def test_each_kind_of_root_runs(pycontain: Cli, root: str | Path) -> None:
    assert inside(pycontain, root, "echo hello; echo $$") == "hello\n1\n"


def test_output_and_error_are_the_caller_s_own(pycontain: Cli, busybox: Path) -> None:
    done = pycontain.run("run", "--rm", busybox, "--", "/bin/sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_standard_input_is_empty_without_i(pycontain: Cli, busybox: Path) -> None:
    assert pycontain.ok("run", "--rm", busybox, "--", "/bin/cat", input="secret") == ""


def test_standard_input_comes_with_i(pycontain: Cli, busybox: Path) -> None:
    text = "line\n" * 100_000
    assert pycontain.ok("run", "--rm", "-i", busybox, "--", "/bin/cat", input=text) == text


def test_large_output_is_whole(pycontain: Cli, busybox: Path) -> None:
    out = pycontain.ok("run", "--rm", busybox, "--", "/bin/sh", "-c", "seq 1 200000")
    assert out.count("\n") == 200_000
    assert out.endswith("\n200000\n")


def test_reader_that_goes_away_ends_the_program(pycontain: Cli, busybox: Path) -> None:
    """SIGPIPE has its default effect inside, though Python ignores it."""
    command = pycontain.popen("run", "--rm", busybox, "--", "/bin/sh", "-c", "yes; exit 3", stdin=subprocess.DEVNULL)
    with command:
        assert command.stdout.readline() == "y\n"
        command.stdout.close()
        assert command.wait(20) == 3


EXITS = {
    "true": (["/bin/true"], 0),
    "false": (["/bin/false"], 1),
    "own code": (["/bin/sh", "-c", "exit 7"], 7),
    "greatest code": (["/bin/sh", "-c", "exit 255"], 255),
    "from PATH": (["true"], 0),
    "not found": (["/no/such"], 127),
    "not found in PATH": (["no-such"], 127),
    "not found below a file": (["/etc/passwd/x"], 127),
    "not executable": (["/etc/passwd"], 126),
    "a directory": (["/etc"], 126),
    "an empty name": ([""], 127),
    "our own codes pass": (["/bin/sh", "-c", "exit 125"], 125),
}


@pytest.mark.parametrize("name", EXITS)
def test_exit_code(pycontain: Cli, busybox: Path, name: str) -> None:
    command, code = EXITS[name]
    done = pycontain.run("run", "--rm", busybox, "--", *command)
    assert done.returncode == code, describe(done)
    if code in (126, 127):
        assert done.stderr.startswith("pycontain: run: ")
        assert (command[0] or "''") in done.stderr
        assert done.stderr.count("\n") <= 2
    else:
        assert done.stderr == ""


SCRIPTS = {
    "missing interpreter": ("#!/no/such/interpreter\n", 127),
    "no interpreter": ("echo hello\n", 126),
    "empty": ("", 126),
    "another architecture": ("\x7fELF\x02\x01\x01" + "\0" * 9 + "\x02\0\xf3\0" + "\0" * 44, 126),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_file_that_cannot_be_executed(pycontain: Cli, busybox: Path, tmp_path: Path, name: str) -> None:
    content, code = SCRIPTS[name]
    (tmp_path / "script").write_text(content, encoding="latin-1")
    (tmp_path / "script").chmod(0o755)
    message = pycontain.fails("run", "--rm", "-v", f"{tmp_path}:/data", busybox, "--", "/data/script", code=code)
    assert "/data/script" in message


def test_crash_is_128_plus_its_signal(pycontain: Cli, debian: Path) -> None:
    """A real fault, as signals that process 1 sends to itself have no effect on it."""
    command = ["python3", "-c", "import faulthandler; faulthandler._read_null()"]
    assert pycontain.run("run", "--rm", debian, "--", *command).returncode == 128 + signal.SIGSEGV


def test_kill_from_outside_is_128_plus_9(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    command = pycontain.popen("run", "--rm", "--pidfile", pidfile, busybox, "--", "/bin/sh", "-c", "echo up; sleep 60")
    with command:
        assert command.stdout.readline() == "up\n"
        os.kill(int(pidfile.read_text()), signal.SIGKILL)
        assert command.wait(20) == 137
    assert not pidfile.exists()


#: Not passed on: what cannot be caught, the kernel's own news, real faults, and two of the C library's.
KEPT = (9, 19, 17, 13, 23, 28, 11, 7, 8, 4, 32, 33)
SIGNALS = [number for number in range(1, 65) if number not in KEPT]
COUNTING = f"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNALS})
os.write(1, b"up\\n")
while True:
    got = signal.sigwait({SIGNALS})
    os.write(1, b"%d\\n" % got)
    if got == signal.SIGRTMAX:
        break
"""


@pytest.mark.parametrize("options", [["--rm"], []], ids=["direct", "monitored"])
def test_signals_are_forwarded(pycontain: Cli, debian: Path, options: list[str]) -> None:
    with pycontain.popen("run", *options, debian, "--", "python3", "-c", COUNTING) as command:
        assert command.stdout.readline() == "up\n"
        for number in SIGNALS:
            os.kill(command.pid, number)
            assert command.stdout.readline() == f"{number}\n"
        assert command.wait(20) == 0


def test_without_sig_proxy_the_container_gets_no_signal(pycontain: Cli, debian: Path) -> None:
    script = COUNTING.replace("SIGRTMAX", "SIGUSR2")
    options = ["--sig-proxy=false", "--name", "kept"]
    with pycontain.popen("run", "--rm", *options, debian, "--", "python3", "-c", script) as command:
        assert command.stdout.readline() == "up\n"
        os.kill(command.pid, signal.SIGTERM)
        assert command.wait(20) == -signal.SIGTERM
    # as with docker: who watches has gone, the container has not
    assert pycontain.ok("exec", "kept", "/bin/echo", "alive") == "alive\n"
    pycontain.ok("exec", "kept", "/bin/sh", "-c", "kill -USR2 1")
    until(lambda: pycontain.containers() == [])


def test_signal_dispositions_and_mask_are_as_after_boot(pycontain: Cli, debian: Path) -> None:
    out = pycontain.ok("run", "--rm", debian, "--", "cat", "/proc/1/status")
    found = dict(line.split(":\t", 1) for line in out.splitlines())
    names = ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd")
    assert {name: found[name] for name in names} == dict.fromkeys(names, "0" * 16)


@pytest.mark.parametrize("preserve", [0, 2])
def test_descriptors_that_the_program_has(pycontain: Cli, busybox: Path, tmp_path: Path, preserve: int) -> None:
    """Those of the caller are closed unless they are asked for; ours are never seen."""
    files = [os.open(tmp_path / f"file{number}", os.O_CREAT | os.O_RDWR) for number in range(3)]
    try:
        for target, fd in enumerate(files, 3):
            os.dup2(fd, target + 100)
        script = "ls /proc/1/fd; [ ! -e /proc/1/fd/3 ] || echo three >&3"
        shell = 'exec 3>&103 4>&104 5>&105; exec "$@"'
        argv = pycontain.argv("run", "--rm", "--preserve-fds", str(preserve), busybox, "--", "/bin/sh", "-c", script)
        done = subprocess.run(
            ["/bin/bash", "-c", shell, "sh", *argv],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, pass_fds=(103, 104, 105),
        )  # fmt: skip
    finally:
        for fd in (*files, 103, 104, 105):
            os.close(fd)
    assert sorted(map(int, done.stdout.split())) == list(range(3 + preserve)), describe(done)
    assert (tmp_path / "file0").read_text() == ("three\n" if preserve else "")


def test_environment_is_docker_s(pycontain: Cli, busybox: Path) -> None:
    out = pycontain.ok("run", "--rm", "-h", "box", busybox, "--", "env", env={"SECRET": "x", "TERM": "dumb"})
    assert sorted(out.splitlines()) == ["HOME=/root", "HOSTNAME=box", f"PATH={PATH}", "container=pycontain"]


def test_environment_given(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nA=file\nB=file\n\nCALLER\n")
    options = ["--env-file", tmp_path / "env", "-e", "A=option", "-e", "CALLER", "-e", "GONE", "-e", "E=", "-e", "HOME"]
    out = pycontain.ok("run", "--rm", *options, busybox, "--", "env", env={"CALLER": "c", "HOME": "/h"})
    found = dict(line.split("=", 1) for line in out.splitlines())
    assert found.items() >= {"A": "option", "B": "file", "CALLER": "c", "E": "", "HOME": "/h"}.items()
    assert "GONE" not in found


def test_bytes_that_are_no_text_pass(pycontain: Cli, busybox: Path) -> None:
    script = 'printf "%s" "$1" | od -An -tx1; printf "%s" "$A" | od -An -tx1'
    command = ["/bin/sh", "-c", script, "sh", "\udcff\udcfeä"]
    for options in (["--rm"], []):
        done = pycontain.run("run", *options, "-e", "A=\udc80\udcff", busybox, "--", *command)
        assert done.stdout.split() == ["ff", "fe", "c3", "a4", "80", "ff"], describe(done)


USERS = {
    "default": ([], "0 0 0 /root"),
    "number": (["-u", "1234"], "1234 0 0 /"),
    "number and group": (["-u", "1234:77"], "1234 77 77 /"),
    "name": (["-u", "app"], "1000 1000 29,44,1000 /home/app"),
    "name and group": (["-u", "app:mail"], "1000 8 8 /home/app"),
    "number of a name": (["-u", "1000"], "1000 1000 29,44,1000 /home/app"),
    "added groups": (
        ["-u", "nobody", "--group-add", "mail", "--group-add", "4711"],
        "65534 65534 8,4711,65534 /nonexistent",
    ),
}


@pytest.mark.parametrize("name", USERS)
def test_user(pycontain: Cli, busybox: Path, name: str) -> None:
    options, expected = USERS[name]
    script = "id -u; id -g; grep ^Groups: /proc/self/status; echo $HOME; grep -E '^[UG]id:' /proc/self/status"
    uid, gid, groups, home, uids, gids = inside(pycontain, busybox, script, *options).splitlines()
    assert f"{uid} {gid} {','.join(groups.split()[1:])} {home}" == expected
    assert (uids.split()[1:], gids.split()[1:]) == ([uid] * 4, [gid] * 4)


def test_ordinary_user_has_no_capabilities(pycontain: Cli, busybox: Path) -> None:
    found = dict(
        line.split() for line in inside(pycontain, busybox, "grep ^Cap /proc/self/status", "-u", "app").splitlines()
    )
    assert {found[f"Cap{name}:"] for name in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
    assert int(found["CapBnd:"], 16) == 0xA80425FB


def test_working_directory(pycontain: Cli, busybox: Path) -> None:
    assert inside(pycontain, busybox, "pwd") == "/\n"
    assert inside(pycontain, busybox, "pwd", "-w", "/etc") == "/etc\n"
    assert inside(pycontain, busybox, "pwd; stat -c '%u %g' .", "-w", "/srv/new/one") == "/srv/new/one\n0 0\n"


def test_working_directory_outside_is_refused(pycontain: Cli, busybox: Path) -> None:
    assert "/proc/self/fd/3" in pycontain.fails("run", "--rm", "-w", "/proc/self/fd/3", busybox, "--", "/bin/true")


def test_umask(pycontain: Cli, busybox: Path) -> None:
    assert inside(pycontain, busybox, "umask") == "0022\n"
    assert inside(pycontain, busybox, "umask; touch /x; stat -c %a /x", "--umask", "027") == "0027\n640\n"


def test_entrypoint_goes_before_the_command(pycontain: Cli, busybox: Path) -> None:
    assert pycontain.ok("run", "--rm", "--entrypoint", "/bin/echo", busybox, "a", "-b") == "a -b\n"


def test_options_of_the_program_are_not_ours(pycontain: Cli, busybox: Path) -> None:
    assert pycontain.ok("run", "--rm", busybox, "/bin/echo", "--rm", "-d", "--", "x") == "--rm -d -- x\n"


def test_ulimit(pycontain: Cli, busybox: Path) -> None:
    options = ["--ulimit", "nofile=64:128", "--ulimit", "core=0", "--ulimit", "cpu=100"]
    script = "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -t; ulimit -n 129 2>/dev/null || echo refused"
    assert inside(pycontain, busybox, script, *options) == "64\n128\n0\n100\nrefused\n"


def test_oom_score(pycontain: Cli, busybox: Path) -> None:
    assert inside(pycontain, busybox, "cat /proc/self/oom_score_adj", "--oom-score-adj", "567") == "567\n"


SCORES = [(None, "500", "0"), (None, "0", "0"), ("300", "500", "300"), ("700", "500", "700")]


@pytest.mark.parametrize(("option", "caller", "score"), SCORES)
def test_oom_score_is_not_the_caller_s(
    pycontain: Cli, busybox: Path, option: str | None, caller: str, score: str
) -> None:
    options = [] if option is None else ["--oom-score-adj", option]
    read = "cat /proc/self/oom_score_adj"
    words = pycontain.argv("run", "--name", "it", "-d", *options, busybox, "--", "/bin/sh", "-c", f"{read}; sleep 99")
    script = (
        f'echo {caller} >/proc/self/oom_score_adj; "$@" >/dev/null; {shlex.join(pycontain.argv("exec", "it"))} {read}'
    )
    done = subprocess.run(["sh", "-c", script, "sh", *words], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{score}\n", done.stderr
    assert pycontain.ok("logs", "it") == f"{score}\n"


@pytest.mark.parametrize("tried", [True, False])
def test_an_oom_score_that_cannot_be_lowered(tried: bool) -> None:
    """Nobody asked for docker's 0: where the kernel refuses it the caller's stays. What was asked for is an error."""
    process = compile_process(Process(cwd="/", args=("x",), oom_score_adj=None if tried else -5), last_capability=40,
                              seccomp=None, oom_score=-5)  # fmt: skip
    child = os.fork()
    if child == 0:
        _effective, permitted, inheritable = _sys.capget()
        left = permitted & ~(1 << NUMBERS["CAP_SYS_RESOURCE"])
        _sys.capset(left, left, inheritable)
        try:
            adjust_oom_score("self", process)
        except HostError:
            os._exit(1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (0 if tried else 1)


def test_sysctls_are_the_container_s_own(pycontain: Cli, busybox: Path) -> None:
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text(), Path("/proc/sys/kernel/msgmax").read_text()
    wanted = "0" if before[0].strip() == "1" else "1"
    options = ["--sysctl", f"net.ipv4.ip_forward={wanted}", "--sysctl", "kernel.msgmax=4711"]
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"
    assert inside(pycontain, busybox, script, *options) == f"{wanted}\n4711\n"
    after = Path("/proc/sys/net/ipv4/ip_forward").read_text(), Path("/proc/sys/kernel/msgmax").read_text()
    assert after == before


ORPHANS = """
head -c 19 /proc/1/cmdline | tr '\\0' ' '; echo
(sleep 0.01 & sleep 0.01 & sleep 0.01 &)
sleep 0.3
grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l
"""


def test_init_reaps_orphans(pycontain: Cli, debian: Path) -> None:
    assert inside(pycontain, debian, ORPHANS, "--init") == "/run/pycontain-init\n0\n"


def test_orphans_stay_where_nobody_reaps_them(pycontain: Cli, debian: Path) -> None:
    """The control of the test above."""
    reckless = ["python3", "-c", f"import subprocess; print(subprocess.getoutput({ORPHANS!r}))"]
    assert pycontain.ok("run", "--rm", debian, "--", *reckless).splitlines()[1] == "3"


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
def test_init_hands_the_end_on(pycontain: Cli, busybox: Path, script: str, code: int) -> None:
    assert pycontain.run("run", "--rm", "--init", busybox, "--", "/bin/sh", "-c", script).returncode == code


def test_init_forwards_signals(pycontain: Cli, busybox: Path) -> None:
    script = "trap 'echo got; exit 9' USR1; echo up; while :; do sleep 0.05; done"
    with pycontain.popen("run", "--rm", "--init", busybox, "--", "/bin/sh", "-c", script) as command:
        assert command.stdout.readline() == "up\n"
        os.kill(command.pid, signal.SIGUSR1)
        assert command.stdout.readline() == "got\n"
        assert command.wait(20) == 9


@requires("kernel:5.6")
@pytest.mark.skipif(not os.path.exists("/proc/self/ns/time"), reason="this kernel has no time namespaces")
@pytest.mark.guest("qemu")
def test_clocks_are_shifted(pycontain: Cli, busybox: Path) -> None:
    host = float(Path("/proc/uptime").read_text().split()[0])
    inner = float(inside(pycontain, busybox, "cat /proc/uptime", "--time-offset", "boottime=1h").split()[0])
    assert 3600 <= inner - host < 3660
    assert os.readlink("/proc/self/ns/time") not in inside(
        pycontain, busybox, "readlink /proc/self/ns/time", "--time-offset", "10s"
    )


def test_impossible_clock_is_refused(pycontain: Cli, busybox: Path) -> None:
    message = pycontain.fails("run", "--rm", "--time-offset", "monotonic=-1000000h", busybox, "--", "/bin/true")
    assert "time offset" in message


def test_timeout_kills(pycontain: Cli, busybox: Path) -> None:
    begun = time.monotonic()
    for words in ([], ["--sig-proxy=false"]):  # its parent is the command, or a monitor
        done = pycontain.run("run", "--rm", *words, "--timeout", "1", busybox, "--", "/bin/sleep", "60")
        assert done.returncode == 137
        assert done.stderr == "pycontain: timeout: killed after 1 s\n", describe(done)
    assert 0.9 < time.monotonic() - begun < 15


def test_cidfile_and_pidfile(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    cidfile, pidfile = tmp_path / "cid", tmp_path / "pid"
    command = ["--cidfile", cidfile, "--pidfile", pidfile, busybox, "--", "/bin/sh", "-c", "echo up; cat; :"]
    with pycontain.popen("run", "--rm", "-i", *command) as running:
        assert running.stdout.readline() == "up\n"
        assert re.fullmatch(r"[0-9a-f]{64}", cidfile.read_text())
        assert pycontain.containers() == [cidfile.read_text()]
        pid = pidfile.read_text().strip()
        assert Path("/proc", pid, "cmdline").read_bytes().startswith(b"/bin/sh\0")
        running.stdin.close()
        assert running.wait(20) == 0
    assert cidfile.exists()
    assert not pidfile.exists()
    assert "exists" in pycontain.fails("run", "--rm", "--cidfile", cidfile, busybox, "--", "/bin/true")


def test_name_in_use(pycontain: Cli, container: str, busybox: Path) -> None:
    message = pycontain.fails("run", "--rm", "--name", container, busybox, "--", "/bin/true")
    assert container in message
    assert "in use" in message


def test_explain_makes_nothing(pycontain: Cli, busybox: Path) -> None:
    out = pycontain.ok("run", "--explain", "-m", "64m", "--name", "new", busybox, "--", "/bin/true")
    assert "execute /bin/true" in out
    assert pycontain.ok("explain", "-m", "64m", busybox, "--", "/bin/true").count("\n") == out.count("\n")
    assert not (pycontain.root / "state").exists() or not pycontain.containers()
