"""Volumes, tmpfs and /dev/shm: what is in them, whose it is, with which flags."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from harness import programs
from harness.cli import Cli, describe
from harness.images import memory_directory, remove
from harness.probe import requires

pytestmark = [pytest.mark.runtime, requires("root")]


def inside(pycontain: Cli, root: Path, script: str, *options: str | Path) -> str:
    """Return what a shell script says in a container; nothing may come on standard error."""
    done = pycontain.run("run", "--rm", *options, root, "--", "/bin/sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, ""), describe(done)
    return done.stdout


def flags_at(path: str) -> str:
    """Return a script that prints the per-mount flags of a mount point but its times of access."""
    flags = f"awk '$5 == \"{path}\" {{print $6}}' /proc/self/mountinfo | tr ',' '\\n'"
    return f"{flags} | grep -v 'atime\\|idmapped' | sort | tr '\\n' ' '"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return a directory with a file of the host's root and one of its user 1234."""
    directory = tmp_path / "volume"
    directory.mkdir()
    (directory / "root").write_text("root\n")
    (directory / "other").write_text("other\n")
    os.chown(directory / "other", 1234, 4321)
    return directory


@pytest.mark.guest("uml")
def test_volume_is_shared_with_the_right_owners(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    disk = os.environ.get("PYCONTAIN_TEST_DISK")
    directory = Path(disk, "volume") if disk else tmp_path / "volume"
    directory.mkdir()
    (directory / "other").write_text("other\n")
    os.chown(directory / "other", 1234, 4321)
    script = "stat -c '%u %g' /v /v/other; cat /v/other; echo new >/v/new; mkdir /v/sub; chown 7:8 /v/sub; chmod 777 /v"
    assert inside(pycontain, busybox, script, "-v", f"{directory}:/v") == "0 0\n1234 4321\nother\n"
    status = (directory / "new").stat()
    assert (status.st_uid, status.st_gid) == (0, 0)
    assert ((directory / "sub").stat().st_uid, (directory / "sub").stat().st_gid) == (7, 8)
    inside(pycontain, busybox, "echo x >/v/mine", "-v", f"{directory}:/v", "-u", "app")
    assert (directory / "mine").stat().st_uid == 1000
    assert (directory / "new").read_text() == "new\n"


def test_volume_without_idmap_shows_strangers(pycontain: Cli, busybox: Path, volume: Path) -> None:
    script = "stat -c %u /v/root /v/other; echo x 2>/dev/null >>/v/root || echo refused"
    assert inside(pycontain, busybox, script, "-v", f"{volume}:/v:noidmap") == "65534\n65534\nrefused\n"


def test_host_s_users_need_no_shift(pycontain: Cli, busybox: Path, volume: Path) -> None:
    script = "stat -c %u /v/root /v/other; echo more >>/v/other"
    assert inside(pycontain, busybox, script, "--userns", "host", "-v", f"{volume}:/v") == "0\n1234\n"
    assert (volume / "other").read_text() == "other\nmore\n"


@pytest.mark.parametrize("form", ["-v {}:/v:ro", "--mount type=bind,src={},dst=/v,ro"])
def test_read_only_volume(pycontain: Cli, busybox: Path, volume: Path, form: str) -> None:
    script = "cat /v/root; for f in root new; do (echo x >>/v/$f) 2>&1 | grep -o 'Read-only file system'; done"
    refused = "Read-only file system\n" * 2
    assert inside(pycontain, busybox, script, *form.format(volume).split()) == f"root\n{refused}"
    assert sorted(os.listdir(volume)) == ["other", "root"]


def test_single_file(pycontain: Cli, busybox: Path, volume: Path) -> None:
    options = ["-v", f"{volume}/root:/etc/motd", "-v", f"{volume}/other:/new/place/file:ro"]
    assert inside(pycontain, busybox, "cat /etc/motd /new/place/file; echo x >>/etc/motd", *options) == "root\nother\n"
    assert (volume / "root").read_text() == "root\nx\n"


def test_mounts_in_mounts_whatever_their_order(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "outer" / "below").mkdir()
    outer, inner = f"{tmp_path}/outer:/v", f"{tmp_path}/inner:/v/below"
    for order in ([outer, inner], [inner, outer]):
        options = [word for one in order for word in ("-v", one)]
        assert inside(pycontain, busybox, "cat /v/file /v/below/file", *options) == "outerinner"
    assert os.listdir(tmp_path / "outer" / "below") == []


def test_source_may_be_a_link(pycontain: Cli, busybox: Path, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(volume)
    assert inside(pycontain, busybox, "cat /v/root", "-v", f"{tmp_path}/link:/v") == "root\n"


def private(pycontain: Cli, setup: str) -> Cli:
    """Return the program in a mount namespace of its own in which ``setup`` has been done first."""
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", f'set -e; {setup}\nexec "$@"', "sh")
    return Cli(pycontain.root, prefix=prefix)


@requires("root")
@pytest.mark.parametrize(
    ("options", "expected"),
    [("", "nodev noexec nosuid rw"), (":ro", "nodev noexec nosuid ro")],
    ids=["writable", "read-only"],
)
def test_flags_of_the_source_stay(pycontain: Cli, busybox: Path, tmp_path: Path, options: str, expected: str) -> None:
    """What the host's administrator has forbidden on a file system is not allowed by mounting it into a container."""
    cli = private(pycontain, f"mount -t tmpfs -o nosuid,nodev,noexec tmpfs {tmp_path}")
    assert inside(cli, busybox, flags_at("/v"), "-v", f"{tmp_path}:/v{options}").split() == expected.split()


@requires("root")
def test_source_that_is_read_only_stays_so(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    cli = private(pycontain, f"mount -t tmpfs -o ro tmpfs {tmp_path}")
    assert inside(cli, busybox, flags_at("/v"), "-v", f"{tmp_path}:/v").split() == ["ro"]


@requires("root")
def test_read_only_holds_for_what_is_mounted_below(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    setup = f"mount -t tmpfs tmpfs {tmp_path}; mkdir {tmp_path}/below; mount -t tmpfs tmpfs {tmp_path}/below"
    script = "(echo x >/v/below/file) 2>&1 | grep -o 'Read-only file system'"
    cli = private(pycontain, setup)
    assert inside(cli, busybox, script, "-v", f"{tmp_path}:/v:ro") == "Read-only file system\n"
    assert inside(cli, busybox, "echo x >/v/below/file; cat /v/below/file", "-v", f"{tmp_path}:/v") == "x\n"


PROPAGATION = """
mount -t tmpfs tmpfs {here}; mount --make-shared {here}; mkdir {here}/sub
"$@" run -d --name {mode} -v {here}:/v:{mode} {root} -- sleep 100 >/dev/null
mount -t tmpfs tmpfs {here}/sub; touch {here}/sub/late
"$@" exec {mode} ls /v/sub
"$@" rm -f {mode} >/dev/null
"""


@requires("root")
@pytest.mark.parametrize(("mode", "seen"), [("rslave", "late\n"), ("rshared", "late\n"), ("rprivate", "")])
def test_propagation(pycontain: Cli, busybox: Path, tmp_path: Path, mode: str, seen: str) -> None:
    script = PROPAGATION.format(here=tmp_path, mode=mode, root=busybox)
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *pycontain.argv()]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, seen), describe(done)


@requires("root", "fs:overlay")
def test_volume_that_cannot_be_shifted_names_its_file_system(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    layers = memory_directory("pycontain-layers-")
    for name in ("lower", "upper", "work"):
        (layers / name).mkdir()
    options = f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work"
    cli = private(pycontain, f"mount -t overlay overlay -o {options} {tmp_path}")
    try:
        message = cli.fails("run", "--rm", "-v", f"{tmp_path}:/v", busybox, "--", "/bin/true")
        assert "overlay" in message
        assert str(tmp_path) in message
        assert "hint: " in message
        assert inside(cli, busybox, "ls /v", "-v", f"{tmp_path}:/v:noidmap") == ""
    finally:
        remove(layers)


def test_named_volume_stays(pycontain: Cli, busybox: Path) -> None:
    assert inside(pycontain, busybox, "echo kept >/data/file; stat -c %u /data", "-v", "cache:/data") == "0\n"
    assert inside(pycontain, busybox, "cat /data/file", "-v", "cache:/data:ro", "-u", "app") == "kept\n"
    assert pycontain.ok("volume", "ls", "-q").split() == ["cache"]
    pycontain.ok("volume", "rm", "cache")
    assert pycontain.ok("volume", "ls", "-q") == ""


def test_new_volume_is_filled_from_the_root(pycontain: Cli, busybox: Path) -> None:
    assert "passwd\n" in inside(pycontain, busybox, "ls /etc", "-v", "config:/etc")
    pycontain.ok("volume", "rm", "config")


@pytest.mark.parametrize("kind", ["direct", "monitored"])
def test_anonymous_volume_goes_with_its_container(pycontain: Cli, busybox: Path, kind: str) -> None:
    attach = [] if kind == "direct" else ["-a", "stdout"]
    pycontain.ok("run", "--rm", *attach, "-v", "/data", busybox, "--", "/bin/touch", "/data/file")
    assert pycontain.ok("volume", "ls", "-q") == ""


def test_tmpfs(pycontain: Cli, busybox: Path) -> None:
    script = f"{flags_at('/t')}; stat -f -c %T /t; stat -c %a /t; df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2"
    options = ["--tmpfs", "/t:size=1m,mode=0750"]
    assert inside(pycontain, busybox, script, *options).split() == [
        "nodev",
        "noexec",
        "nosuid",
        "rw",
        "tmpfs",
        "750",
        "1024",
    ]
    script = "dd if=/dev/zero of=/t/file bs=64k count=32 2>&1 | grep -o 'No space left on device'"
    assert inside(pycontain, busybox, script, *options) == "No space left on device\n"
    assert inside(pycontain, busybox, "cp /bin/busybox /t/true && /t/true && echo ran", "--tmpfs", "/t:exec") == "ran\n"


def test_tmpfs_hides_what_was_there(pycontain: Cli, busybox: Path) -> None:
    assert inside(pycontain, busybox, "ls -A /etc/ | head -1; ls -A /opt", "--mount", "type=tmpfs,dst=/opt") != ""
    assert inside(pycontain, busybox, "ls -A /home; mkdir /home/x", "--tmpfs", "/home") == ""


@pytest.mark.guest("uml")
def test_shared_memory_size(pycontain: Cli, busybox: Path) -> None:
    script = "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"
    assert inside(pycontain, busybox, script) == "65536\n"
    assert inside(pycontain, busybox, script, "--shm-size", "2m") == "2048\n"


def test_volume_in_a_read_only_root(pycontain: Cli, busybox: Path, volume: Path) -> None:
    options = ["--read-only", "-v", f"{volume}:/v"]
    assert inside(pycontain, busybox, "echo x >/v/new; cat /v/new", *options) == "x\n"


def test_volume_in_the_host_s_root(pycontain: Cli, volume: Path) -> None:
    done = pycontain.run(
        "run", "--rm", "-v", f"{volume}:/srv", "@host", "--", "/bin/sh", "-c", "cat /srv/root /srv/other"
    )
    assert done.stdout == "root\nother\n", describe(done)


def test_own_mount_in_place_of_ours(pycontain: Cli, busybox: Path, volume: Path) -> None:
    assert inside(pycontain, busybox, "cat /etc/hosts", "-v", f"{volume}/root:/etc/hosts") == "root\n"


EFFECTIVE = 'int printf(const char *, ...); unsigned geteuid(void); int main(void) { printf("%u\\n", geteuid()); }'


@requires("program:gcc")
@pytest.mark.parametrize(
    ("options", "flags", "uid"),
    [
        ([], "", "1000"),
        (["--security-opt", "no-new-privileges=false"], "", "0"),
        (["--security-opt", "no-new-privileges=false"], ":nosuid", "1000"),
    ],
    ids=["default", "new privileges", "nosuid"],
)
def test_setuid_program_in_a_volume(
    pycontain: Cli, busybox: Path, tmp_path: Path, options: list[str], flags: str, uid: str
) -> None:
    (tmp_path / "effective.c").write_text(EFFECTIVE)
    programs.build(tmp_path / "effective.c", tmp_path / "effective").chmod(0o4755)
    words = ["run", "--rm", "-u", "1000", *options, "-v", f"{tmp_path}:/b{flags}", busybox, "--", "/b/effective"]
    assert pycontain.ok(*words) == f"{uid}\n"


def test_mountinfo_does_not_name_the_layers(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    def said(*options: str) -> str:
        return pycontain.ok("run", "--rm", *options, busybox, "--", "/bin/cat", "/proc/self/mountinfo")

    (overlay,) = (line for line in said().splitlines() if " - overlay " in line)
    assert "upperdir=/proc/self/fd/" in overlay
    for path in (pycontain.root, busybox):
        assert str(path) not in overlay
    # what the manual says it does name
    assert str(tmp_path).rpartition("/")[2] in said("-v", f"{tmp_path}:/b")
