"""@host: the machine's own root as a container's, without its secrets, and nothing of it changed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness.cli import Cli, describe
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root")]

#: "path<tab>reason" of files that the view may show although not everybody on the host may read them.
ALLOWED = Path(__file__).parents[1] / "data" / "host-view-allowed.txt"
KINDS = ("@host", "@host:public")
#: Shown empty or not at all, whatever is in them on the host.
LEFT_OUT_DIRECTORIES = (
    "/home", "/root", "/tmp", "/var/tmp", "/mnt", "/media", "/srv", "/var/log", "/var/backups", "/var/spool",
    "/var/mail", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/pycontain", "/var/lib/lxc",
    "/var/lib/machines", "/var/lib/libvirt", "/etc/ssl/private", "/etc/sudoers.d",
)  # fmt: skip
LEFT_OUT_FILES = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/krb5.keytab",
)  # fmt: skip
NOT_THE_HOST_S = ("/proc", "/sys", "/dev", "/run", *LEFT_OUT_DIRECTORIES)

#: Reads paths, separated by NUL, and prints those of which a byte, an entry, or an attribute can be had.
READER = r"""
import json, os, sys
readable = []
for path in sys.stdin.buffer.read().split(b"\0"):
    try:
        if os.path.isdir(path):
            for name in os.listdir(path):
                readable.append(os.fsdecode(os.path.join(path, name)))
        else:
            with open(path, "rb") as file:
                file.read(1)
            readable.append(os.fsdecode(path))
    except OSError:
        pass
print(json.dumps(readable))
"""


def allowed() -> set[str]:
    """Return the paths of the published list."""
    lines = ALLOWED.read_text().splitlines()
    return {line.partition("\t")[0] for line in lines if line and not line.startswith("#")}


@pytest.fixture(scope="module")
def closed() -> bytes:
    """Return every file and directory of the host's view that not everybody may read or enter, separated by NUL.

    Of a closed directory only its name: what is below is as closed.
    """
    prune = [word for path in NOT_THE_HOST_S for word in ("-path", path, "-o")][:-1]
    expression = [
        "(", *prune, ")", "-prune", "-o",
        "(", "-type", "d", "(", "!", "-perm", "-o=x", "-o", "!", "-perm", "-o=r", ")", "-print0", "-prune", ")", "-o",
        "(", "!", "-type", "d", "!", "-type", "l", "!", "-perm", "-o=r", "-print0", ")",
    ]  # fmt: skip
    disks = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " / / " in line]
    command = ["find", "/", "-xdev", *expression]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.stdout, (disks, done.stderr)
    return done.stdout


def readable(pycontain: Cli, kind: str, paths: bytes, *options: str) -> list[str]:
    """Return which of the paths root can read in the view."""
    argv = pycontain.argv("run", "--rm", "-i", *options, kind, "--", "/usr/bin/python3", "-c", READER)
    done = subprocess.run(argv, input=paths, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr.decode()
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_closed_on_the_host_can_be_read(pycontain: Cli, kind: str, closed: bytes) -> None:
    paths = [*closed.split(b"\0")[:-1], *map(os.fsencode, LEFT_OUT_FILES)]
    found = readable(pycontain, kind, b"\0".join(paths))
    assert sorted(set(found) - allowed()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_reader_can_read(pycontain: Cli, kind: str) -> None:
    """The control of the test above: what is open on the host is found readable by the same means."""
    assert set(readable(pycontain, kind, b"/etc/passwd\0/etc/shadow\0/usr/bin/env")) == {"/etc/passwd", "/usr/bin/env"}


def test_there_is_something_to_hide(closed: bytes) -> None:
    assert b"/etc/shadow" in closed.split(b"\0")


def test_the_allowed_are_really_closed() -> None:
    """A file that everybody may read needs no permission."""
    for path in allowed():
        if os.path.exists(path):
            assert not os.stat(path).st_mode & 0o004, path


def test_engines_and_people_s_places_are_left_out(pycontain: Cli) -> None:
    script = 'for d in $@; do [ -e $d ] && ls -A $d | sed "s,^,$d/,"; done; true'
    done = pycontain.run("run", "--rm", "@host", "--", "/bin/sh", "-c", script, "sh", *LEFT_OUT_DIRECTORIES)
    assert (done.returncode, done.stdout) == (0, ""), describe(done)
    script = "for f in $@; do [ -e $f ] && echo $f; done; true"
    assert pycontain.ok("run", "--rm", "@host", "--", "/bin/sh", "-c", script, "sh", *LEFT_OUT_FILES) == ""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a file below /tmp that only the host's root may read, in a directory that only root may enter."""
    directory = tmp_path / "closed"
    directory.mkdir(mode=0o700)
    (directory / "secret").write_text("secret\n")
    (directory / "secret").chmod(0o600)
    return directory / "secret"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["file", "directory"])
def test_included_path_comes_back_read_only(pycontain: Cli, secret: Path, kind: str, what: str) -> None:
    path = secret if what == "file" else secret.parent
    script = f"cat {secret}; (echo x >>{secret}) 2>&1 | grep -o 'Read-only file system'; ls -A /tmp /root"
    hidden = pycontain.run("run", "--rm", kind, "--", "/bin/cat", str(secret))
    assert hidden.returncode == 1
    done = pycontain.run("run", "--rm", "--host-include", path, kind, "--", "/bin/sh", "-c", script)
    first, second, *rest = done.stdout.splitlines()
    assert (first, second) == ("secret", "Read-only file system"), describe(done)
    # the way to it, and nothing else that lies there
    assert rest == ["/root:", "", "/tmp:", str(path).split("/")[2]]
    assert secret.read_text() == "secret\n"


def test_included_path_that_is_not_there(pycontain: Cli) -> None:
    message = pycontain.fails("run", "--rm", "--host-include", "/no/such", "@host", "--", "/bin/true")
    assert "/no/such" in message


@pytest.mark.parametrize("kind", KINDS)
def test_programs_of_the_host_run(pycontain: Cli, kind: str) -> None:
    out = pycontain.ok(
        "run", "--rm", kind, "--", "/bin/sh", "-c", "id -u; python3 -c 'print(6 * 7)'; cat /etc/hostname"
    )
    assert out.split()[:2] == ["0", "42"]
    assert os.uname().nodename not in out


def test_users_are_a_range_of_their_own(pycontain: Cli) -> None:
    inner, outer, size = pycontain.ok("run", "--rm", "@host", "--", "/bin/cat", "/proc/self/uid_map").split()
    assert (inner, size) == ("0", "65536")
    assert int(outer) >= 0x80000


@requires("shifted-host")
def test_host_s_owners_are_seen(pycontain: Cli) -> None:
    out = pycontain.ok("run", "--rm", "@host", "--", "/usr/bin/stat", "-c", "%u %g %a", "/etc/passwd", "/etc", "/usr")
    host = ["/etc/passwd", "/etc", "/usr"]
    statuses = [os.stat(path) for path in host]
    assert out.splitlines() == [f"{one.st_uid} {one.st_gid} {one.st_mode & 0o7777:o}" for one in statuses]


def test_public_view_has_nobody_s_owners(pycontain: Cli) -> None:
    """Not shifted: plain ownership keeps what is not public."""
    out = pycontain.ok("run", "--rm", "@host:public", "--", "/usr/bin/stat", "-c", "%u", "/etc/passwd", "/usr/bin/env")
    assert out.split() == ["65534", "65534"]


@pytest.mark.parametrize("kind", KINDS)
def test_places_to_write_are_there(pycontain: Cli, kind: str) -> None:
    script = (
        "for d in /tmp /var/tmp /run /root /home; do echo x >$d/file && cat $d/file; done; stat -c %a /tmp /var/tmp"
    )
    assert pycontain.ok("run", "--rm", kind, "--", "/bin/sh", "-c", script).split() == ["x"] * 5 + ["1777"] * 2


@requires("shifted-host")
def test_system_can_be_changed_for_the_container(pycontain: Cli) -> None:
    script = "echo new >/usr/bin/new && echo more >>/etc/passwd && rm /usr/bin/env; ls /usr/bin/env"
    done = pycontain.run("run", "--rm", "@host", "--", "/bin/sh", "-c", script)
    assert "No such file" in done.stderr, describe(done)
    assert not Path("/usr/bin/new").exists()
    assert Path("/usr/bin/env").exists()


def test_sockets_and_devices_of_the_host_are_not_reached(pycontain: Cli) -> None:
    """What lies in /run and /dev is the host's own life."""
    script = "find / -xdev -type s; find / -xdev \\( -type b -o -type c \\) ! -path '/dev/*' | head; ls /run"
    done = pycontain.run("run", "--rm", "@host", "--", "/bin/sh", "-c", f"({script}) 2>/dev/null", timeout=100)
    assert done.stdout == "", describe(done)


@requires("root", "shifted-host")
def test_system_on_disks_of_their_own(pycontain: Cli, tmp_path: Path) -> None:
    """An overlay does not cross mounts: a further disk that carries the system gets one of its own."""
    image = tmp_path / "disk"
    script = f"""
        truncate -s 16M {image}; mkfs.ext4 -q -F {image} >/dev/null
        mount -o loop {image} /opt
        mkdir /opt/package; echo open >/opt/package/file; echo secret >/opt/secret; chmod 600 /opt/secret
        "$@" run --rm @host -- /bin/sh -c 'cat /opt/package/file; cat /opt/secret; echo x >/opt/package/file; cat /opt/package/file; stat -c %u /opt/package'
        cat /opt/package/file
        umount /opt
    """  # noqa: E501
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *pycontain.argv()]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "open\nx\n0\nopen\n"), describe(done)
    assert "secret" in done.stderr


def test_state_tells_the_root(pycontain: Cli) -> None:
    pycontain.ok("run", "-d", "--name", "hosted", "@host", "--", "/bin/sleep", "1000")
    container: Any = pycontain.json("inspect", "hosted")[0]
    assert "@host" in json.dumps(container)
