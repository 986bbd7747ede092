"""What a container may change of its root: its own layer, and with --writable the directory; nothing of the host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness import hostile_roots
from harness.cli import Cli, describe


def inside(pycontain: Cli, root: str | Path, script: str, *options: str | Path) -> str:
    """Return what a shell script says in a container; nothing may come on standard error."""
    done = pycontain.run("run", "--rm", *options, root, "--", "/bin/sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, ""), describe(done)
    return done.stdout


WRITE_EVERYWHERE = """
    find / -xdev -type f ! -path '/proc/*' ! -path '/sys/*' 2>/dev/null | while read f; do
        echo changed >>"$f"; chmod 777 "$f"; chown 1:1 "$f"; touch -d 2001-01-01 "$f"
    done 2>/dev/null
    for d in /bin /etc /sbin /usr /usr/bin /lib /opt /srv /var; do
        mkdir -p $d/new; echo x >$d/new/file; mv $d/new $d/moved; chown 2:2 $d; chmod 700 $d
    done 2>/dev/null
    rm -rf /home /root /etc/passwd /var/lib 2>/dev/null
    ln -sf /x /etc/group
    cat /etc/moved/file
"""


def test_root_directory_is_never_changed(pycontain: Cli, busybox: Path) -> None:
    before = lower_state(busybox)
    done = pycontain.run("run", "--rm", busybox, "--", "/bin/sh", "-c", WRITE_EVERYWHERE)
    assert done.stdout == "x\n", describe(done)
    assert lower_state(busybox) == before


def test_host_s_root_is_never_changed(pycontain: Cli) -> None:
    places = ["/etc", "/usr/bin", "/usr/sbin", "/opt", "/srv"]
    before = {place: metadata(Path(place)) for place in places}
    # not all of them: each file that is written is copied first
    script = WRITE_EVERYWHERE.replace("find / ", "find /etc /usr/sbin ").replace("| while", "| head -300 | while")
    done = pycontain.run("run", "--rm", "@host", "--", "/bin/sh", "-c", script)
    assert done.stdout == "x\n", describe(done)
    assert {place: metadata(Path(place)) for place in places} == before


def test_the_comparison_notices_a_change(tmp_path: Path, busybox: Path) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(busybox), str(root)], check=True)
    before = lower_state(root)
    os.utime(root / "etc")
    assert lower_state(root) != before


def lower_state(root: Path) -> object:
    """Return content and metadata of every file below ``root``."""
    return hostile_roots.tree_state(root), metadata(root)


def metadata(root: Path) -> dict[str, tuple[int, ...]]:
    """Return what changes with any change but an access, of every file of one file system below ``root``."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in (".", *names, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            times = (status.st_mtime_ns, status.st_ctime_ns)
            found[path] = (status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_size, *times)
    return found


def test_writes_stay_in_the_container(pycontain: Cli, busybox: Path) -> None:
    assert inside(pycontain, busybox, "echo x >/etc/new; cat /etc/new") == "x\n"
    assert inside(pycontain, busybox, "ls /etc/new 2>&1 | grep -o 'No such file.*'") == "No such file or directory\n"


def test_owners_inside_are_those_of_the_root_directory(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    """Idmapped: a file of the host's user 1234 is one of 1234 inside; what is made inside is of that user too."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(busybox), str(root)], check=True)
    (root / "theirs").write_text("x")
    os.chown(root / "theirs", 1234, 4321)
    script = (
        "stat -c '%u %g' /theirs /etc/passwd; echo more >>/theirs; stat -c '%u %g' /theirs; touch /n; stat -c %u /n"
    )
    assert inside(pycontain, root, script) == "1234 4321\n0 0\n1234 4321\n0\n"


def test_read_only_root(pycontain: Cli, busybox: Path) -> None:
    script = """
        for d in / /etc /tmp /usr /var; do touch $d/x 2>&1 | grep -o 'Read-only file system'; done
        echo x >/dev/shm/x && cat /dev/shm/x
        for f in hosts hostname resolv.conf; do echo x 2>/dev/null >>/etc/$f && echo wrote $f; done
        echo x >/tmpfs/x && cat /tmpfs/x
    """
    out = inside(pycontain, busybox, script, "--read-only", "--tmpfs", "/tmpfs")
    assert out == "Read-only file system\n" * 5 + "x\nx\n"


def test_writable_root_is_written(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(busybox), str(root)], check=True)
    inside(pycontain, root, "echo x >/new", "--writable")
    assert (root / "new").read_text() == "x\n"
    assert (root / "new").stat().st_uid == os.geteuid()
