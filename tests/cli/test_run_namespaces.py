"""Names and namespaces: a container's own by default, the host's or another container's where that is asked for."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from harness.cli import Cli, describe
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root")]

FILES = {"cgroupns": "cgroup", "ipc": "ipc", "network": "net", "pid": "pid", "uts": "uts"}


def inside(pycontain: Cli, root: Path, script: str, *options: str | Path) -> str:
    """Return what a shell script says in a container."""
    done = pycontain.run("run", "--rm", *options, root, "--", "/bin/sh", "-c", script)
    assert done.returncode == 0, describe(done)
    return done.stdout


def namespace(pycontain: Cli, container: str, name: str) -> str:
    """Return what identifies a namespace of a running container."""
    return pycontain.ok("exec", container, "readlink", f"/proc/self/ns/{name}").strip()


# -- names ------------------------------------------------------------------------------------------------------


@pytest.mark.guest("uml")
def test_host_name_is_the_short_id(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    cidfile = tmp_path / "cid"
    script = "hostname; cat /etc/hostname; echo $HOSTNAME"
    out = inside(pycontain, busybox, script, "--cidfile", cidfile)
    assert out.split() == [cidfile.read_text()[:12]] * 3
    assert os.uname().nodename not in out


def test_names_given(pycontain: Cli, busybox: Path) -> None:
    script = "hostname; cat /etc/hostname /proc/sys/kernel/domainname; cat /etc/hosts"
    options = ["-h", "box", "--domainname", "example.org", "--add-host", "db:192.0.2.7", "--add-host", "v6:2001:db8::1"]
    name, file, domain, *hosts = inside(pycontain, busybox, script, *options).splitlines()
    assert (name, file, domain) == ("box", "box", "example.org")
    lines = {line.split()[0]: line.split()[1:] for line in hosts if line.strip() and not line.startswith("#")}
    assert "localhost" in lines["127.0.0.1"]
    assert lines["192.0.2.7"] == ["db"]
    assert lines["2001:db8::1"] == ["v6"]
    assert any("box" in names for names in lines.values())


def test_own_name_resolves(pycontain: Cli, busybox: Path) -> None:
    assert "127.0." in inside(pycontain, busybox, "ping -c 1 -W 1 box | head -1", "-h", "box")


def test_name_servers(pycontain: Cli, busybox: Path) -> None:
    out = inside(pycontain, busybox, "cat /etc/resolv.conf", "--dns", "192.0.2.53", "--dns", "2001:db8::53")
    assert re.findall(r"^nameserver (\S+)$", out, re.MULTILINE) == ["192.0.2.53", "2001:db8::53"]


def test_without_network_no_name_server_is_promised(pycontain: Cli, busybox: Path) -> None:
    """The network none is named as the reason when a name does not resolve."""
    out = inside(pycontain, busybox, "cat /etc/resolv.conf")
    assert not re.search(r"^nameserver", out, re.MULTILINE)
    assert "network" in out
    assert "none" in out


def test_files_of_names_can_be_changed_for_this_container_only(pycontain: Cli, busybox: Path) -> None:
    assert inside(pycontain, busybox, "echo '192.0.2.1 x' >>/etc/hosts; tail -1 /etc/hosts") == "192.0.2.1 x\n"
    assert "192.0.2.1" not in inside(pycontain, busybox, "cat /etc/hosts")


def test_network_is_empty_but_for_loopback(pycontain: Cli, busybox: Path) -> None:
    script = "ip -o addr show | grep -c .; ip route; ping -c 1 -W 1 127.0.0.1 | grep -o '1 packets received'"
    assert inside(pycontain, busybox, script) == "2\n1 packets received\n"


# -- of the host ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("userns", [[], ["--userns", "host"]], ids=["own users", "host's users"])
@pytest.mark.parametrize("option", FILES)
def test_namespace_of_the_host(pycontain: Cli, busybox: Path, option: str, userns: list[str]) -> None:
    script = "; ".join(f"readlink /proc/self/ns/{name}" for name in FILES.values())
    done = pycontain.run("run", "--rm", *userns, f"--{option}", "host", busybox, "--", "/bin/sh", "-c", script)
    assert done.returncode == 0, describe(done)
    shared = {link.partition(":")[0] for link in done.stdout.split() if link == _own(link.partition(":")[0])}
    assert shared == {FILES[option]}
    # one line tells what is lost under a user namespace; without one nothing is
    lines = [line for line in done.stderr.splitlines() if f"--{option} host" in line]
    assert len(lines) == (1 if not userns and option != "uts" else 0), describe(done)
    assert len(done.stderr.splitlines()) == len(lines)


def _own(name: str) -> str:
    return os.readlink(f"/proc/self/ns/{name}")


def test_all_of_the_host(pycontain: Cli, busybox: Path) -> None:
    options = [word for option in FILES for word in (f"--{option}", "host")]
    script = "hostname; ls -d /proc/$PPID >/dev/null && echo processes; ls /sys/class/net | wc -l; cat /dev/null"
    name, *rest = inside(pycontain, busybox, script, *options).split()
    assert name == os.uname().nodename
    assert rest[0] == "processes"
    assert int(rest[1]) == len(os.listdir("/sys/class/net"))


def test_processes_of_the_host_are_seen_and_out_of_reach(pycontain: Cli, busybox: Path) -> None:
    me = os.getpid()
    script = f"""
        head -c 6 /proc/{me}/comm >/dev/null && echo seen
        kill -0 {me} 2>/dev/null && echo signalled
        for f in environ maps mem root/etc/passwd cwd/x fd/0 exe; do
            head -c 1 /proc/{me}/$f >/dev/null 2>&1 && echo read $f
        done
        (echo 1 >/proc/sys/vm/swappiness) 2>/dev/null && echo wrote
        (echo 0 >/proc/{me}/oom_score_adj) 2>/dev/null && echo wrote
        true
    """
    assert inside(pycontain, busybox, script, "--pid", "host") == "seen\n"


def test_network_of_the_host_brings_its_names(pycontain: Cli, busybox: Path) -> None:
    out = inside(pycontain, busybox, "cat /etc/resolv.conf; hostname", "--network", "host")
    assert out.splitlines()[-1] == os.uname().nodename
    for line in re.findall(r"^nameserver .*$", Path("/etc/resolv.conf").read_text(), re.MULTILINE):
        assert line in out


def test_cgroups_of_the_host_are_seen_and_read_only(pycontain: Cli, busybox: Path) -> None:
    script = """
        find /sys/fs/cgroup -name 'pycontain' -maxdepth 2 | grep -q . && echo seen
        for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x 2>/dev/null && echo made $d/x; done
        for f in $(find /sys/fs/cgroup -name cgroup.procs -maxdepth 2); do echo 1 2>/dev/null >$f && echo wrote $f; done
        true
    """
    assert inside(pycontain, busybox, script, "--cgroupns", "host") == "seen\n"


# -- of another container ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", FILES)
def test_namespace_of_a_container(pycontain: Cli, busybox: Path, container: str, option: str) -> None:
    script = "; ".join(f"readlink /proc/self/ns/{name}" for name in (*FILES.values(), "user"))
    *links, user = inside(pycontain, busybox, script, f"--{option}", f"container:{container}").split()
    theirs = {name: namespace(pycontain, container, name) for name in (*FILES.values(), "user")}
    assert {name for name, link in zip(FILES.values(), links, strict=True) if link == theirs[name]} == {FILES[option]}
    assert user == theirs["user"]  # one range belongs to one group of containers


def test_all_of_a_container(pycontain: Cli, busybox: Path, container: str) -> None:
    options = [word for option in FILES for word in (f"--{option}", f"container:{container}")]
    script = "; ".join(f"readlink /proc/self/ns/{name}" for name in FILES.values())
    found = inside(pycontain, busybox, script, *options).split()
    assert found == [namespace(pycontain, container, name) for name in FILES.values()]


def test_processes_of_a_container(pycontain: Cli, busybox: Path, container: str) -> None:
    """Proc must be one of the joined namespace, and the joined process one that may be signalled."""
    script = "cat /proc/1/comm; kill -0 1 && echo reached; ls /proc/1/root/bin/busybox; echo $$"
    *lines, pid = inside(pycontain, busybox, script, "--pid", f"container:{container}").splitlines()
    assert lines == ["sleep", "reached", "/proc/1/root/bin/busybox"]
    assert int(pid) > 1


def test_end_of_a_joined_process_is_not_the_end_of_the_container(pycontain: Cli, busybox: Path, container: str) -> None:
    done = pycontain.run("run", "--rm", "--pid", f"container:{container}", busybox, "--", "/bin/sh", "-c", "kill -9 $$")
    assert done.returncode == 137, describe(done)
    assert pycontain.ok("exec", container, "/bin/echo", "alive") == "alive\n"


def test_network_and_names_of_a_container(pycontain: Cli, busybox: Path, container: str) -> None:
    pycontain.ok("exec", container, "/bin/sh", "-c", "echo '192.0.2.9 theirs' >>/etc/hosts")
    pycontain.ok("exec", "-d", container, "/bin/sh", "-c", "nc -l -p 7777 -e /bin/echo hello")
    script = (
        "hostname; grep theirs /etc/hosts; for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 7777 && break; sleep 0.1; done"
    )
    name, line, hello = inside(pycontain, busybox, script, "--network", f"container:{container}").splitlines()
    assert (name, hello) != ("other-host", "")
    assert line == "192.0.2.9 theirs"
    assert hello == "hello"


def test_host_name_of_a_container(pycontain: Cli, busybox: Path, container: str) -> None:
    assert inside(pycontain, busybox, "hostname", "--uts", f"container:{container}") == "other-host\n"


def test_shared_memory_of_a_container(pycontain: Cli, busybox: Path, container: str) -> None:
    pycontain.ok("exec", container, "/bin/sh", "-c", "echo theirs >/dev/shm/file")
    script = "cat /dev/shm/file; echo mine >/dev/shm/other"
    assert inside(pycontain, busybox, script, "--ipc", f"container:{container}") == "theirs\n"
    assert pycontain.ok("exec", container, "cat", "/dev/shm/other") == "mine\n"


def test_volumes_work_in_a_group(pycontain: Cli, busybox: Path, container: str, tmp_path: Path) -> None:
    """Owners are shifted by the mapping of the user namespace that is joined."""
    options = ["--pid", f"container:{container}", "-v", f"{tmp_path}:/v"]
    assert inside(pycontain, busybox, "touch /v/new; stat -c %u /v/new", *options) == "0\n"
    assert (tmp_path / "new").stat().st_uid == os.geteuid()


def test_another_user_namespace_contradicts(pycontain: Cli, busybox: Path, container: str) -> None:
    options = ["--pid", f"container:{container}", "--userns", "auto"]
    message = pycontain.fails("run", "--rm", *options, busybox, "--", "/bin/true")
    assert "--userns" in message


def test_range_is_kept_while_the_group_lives(pycontain: Cli, busybox: Path, container: str) -> None:
    """Who joins a container must not lose its users when that container is removed first."""
    pycontain.ok(
        "run", "-d", "--name", "second", "--ipc", f"container:{container}", busybox, "--", "/bin/sleep", "1000"
    )
    base = pycontain.ok("exec", "second", "cat", "/proc/self/uid_map").split()[1]
    pycontain.ok("rm", "-f", container)
    claims = Path("/run/pycontain/userns")
    assert list(claims.glob(f"{base}*"))
    pycontain.ok("rm", "-f", "second")
    assert not list(claims.glob(f"{base}*"))


@pytest.mark.parametrize("option", FILES)
def test_container_that_is_not_there(pycontain: Cli, busybox: Path, option: str) -> None:
    message = pycontain.fails("run", "--rm", f"--{option}", "container:nobody", busybox, "--", "/bin/true")
    assert "nobody" in message


def test_container_that_does_not_run(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("create", "--name", "waiting", busybox, "--", "/bin/true")
    pycontain.ok("start", "-a", "waiting")
    message = pycontain.fails("run", "--rm", "--pid", "container:waiting", busybox, "--", "/bin/true")
    assert "waiting" in message


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_joined_namespaces_are_joined_again(pycontain: Cli, busybox: Path, container: str, verb: str) -> None:
    """A container of a group starts again in the namespaces that the other one has now."""
    options = [word for option in FILES for word in (f"--{option}", f"container:{container}")]
    pycontain.ok("run", "-d", "--name", "second", *options, busybox, "--", "/bin/sleep", "1000")
    for change in ((), ("restart", "--timeout", "0", container)):
        if change:
            pycontain.ok(*change)  # its namespaces are new ones, and its process ids
            pycontain.ok("exec", container, "sh", "-c", "echo fresh > /dev/shm/other")
        if verb == "start":
            pycontain.run("stop", "--timeout", "0", "second")
        pycontain.ok(verb, *(("--timeout", "0") if verb == "restart" else ()), "second")
        for name in (*FILES.values(), "user"):
            assert namespace(pycontain, "second", name) == namespace(pycontain, container, name)
    assert pycontain.ok("exec", "second", "cat", "/dev/shm/other") == "fresh\n"
    pycontain.run("rm", "-f", "second")


def test_what_is_joined_must_run(pycontain: Cli, busybox: Path, container: str) -> None:
    """The other one is named, whatever became of it, and nothing changes."""
    pycontain.ok("run", "--name", "second", "--ipc", f"container:{container}", busybox, "--", "/bin/true")
    pycontain.ok("rename", container, "elsewhere")
    pycontain.ok("stop", "--timeout", "0", "elsewhere")
    message = pycontain.fails("start", "second")
    assert "shares the ipc namespace of container elsewhere, which is not running" in message
    assert "hint: start that: pycontain start elsewhere" in message
    pycontain.ok("rm", "-f", "elsewhere")
    assert "which has been removed" in pycontain.fails("start", "second")
    pycontain.ok("rm", "second")
