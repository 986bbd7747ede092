"""Filters kept on disk: found when nothing changed, compiled again when anything is odd."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontain.plan.seccomp import compile_filter
from pycontain.plan.seccomp_filter import FILTER_VERSION
from pycontain.plan.seccomp_profile import default_profile
from pycontain.plan.seccomp_tables import RUNS_ON, X86, X86_64
from pycontain.runtime.seccomp_cache import cached_default_filter, cached_filter
from pycontain.spec.seccomp import LinuxSeccomp, LinuxSeccompArg, LinuxSyscall

ARGUMENT = LinuxSeccompArg(0, 1)
PROFILE = LinuxSeccomp(
    "SCMP_ACT_ERRNO", syscalls=(LinuxSyscall(("read", "chown32"), "SCMP_ACT_LOG", None, (ARGUMENT,)),)
)
COMPILED = compile_filter(PROFILE, X86_64)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "seccomp"


def only_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def test_a_filter_is_written_and_found(directory: Path) -> None:
    assert cached_filter(str(directory), PROFILE, "x86_64") == COMPILED
    path = only_file(directory)
    assert (path.stat().st_mode & 0o777, directory.stat().st_mode & 0o777) == (0o600, 0o700)
    before = path.stat()
    assert cached_filter(str(directory), PROFILE, "x86_64") == COMPILED
    assert only_file(directory).stat().st_ino == before.st_ino, "found, not written again"


def test_the_default_filter(directory: Path) -> None:
    caps = frozenset(["CAP_SYS_CHROOT"])
    expected = compile_filter(default_profile(caps, X86_64, (6, 18)), X86_64)
    for _ in range(2):
        assert cached_default_filter(str(directory), caps, "x86_64", (6, 18)) == expected
    only_file(directory)


@pytest.mark.parametrize(
    "other",
    [
        PROFILE.replace(default_action="SCMP_ACT_KILL"),
        PROFILE.replace(default_errno_ret=38),
        PROFILE.replace(architectures=(X86,)),
        PROFILE.replace(flags=()),
        PROFILE.replace(syscalls=()),
        PROFILE.replace(syscalls=(PROFILE.syscalls[0].replace(names=("read",)),)),
        PROFILE.replace(syscalls=(PROFILE.syscalls[0].replace(args=(ARGUMENT.replace(value_two=1),)),)),
    ],
)
def test_every_part_of_a_profile_counts(directory: Path, other: LinuxSeccomp) -> None:
    for profile in (PROFILE, other):
        assert cached_filter(str(directory), profile, "x86_64") == compile_filter(profile, X86_64)
    assert len(list(directory.iterdir())) == 2


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def to_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def to_other(path: Path) -> None:
    """Put a filter under another one's name."""
    name = path.name
    path.unlink()
    cached_filter(str(path.parent), PROFILE.replace(default_action="SCMP_ACT_ALLOW"), "x86_64")
    only_file(path.parent).rename(path.parent / name)


@pytest.mark.parametrize(
    "harm",
    [
        flip,
        to_fifo,
        to_link,
        to_other,
        lambda path: path.chmod(0o620),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: os.truncate(path, 1 << 20),
        lambda path: path.parent.chmod(0o777),
    ],
)
def test_what_is_odd_is_compiled_again(directory: Path, harm: Callable[[Path], None]) -> None:
    cached_filter(str(directory), PROFILE, "x86_64")
    harm(only_file(directory))
    assert cached_filter(str(directory), PROFILE, "x86_64") == COMPILED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_of_others_do_not_count(directory: Path) -> None:
    cached_filter(str(directory), PROFILE, "x86_64")
    path = only_file(directory)
    os.chown(path, 1, 1)
    assert cached_filter(str(directory), PROFILE, "x86_64") == COMPILED
    assert path.stat().st_uid == 0, "written again"


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    assert cached_filter(str(tmp_path / "a" / "b"), PROFILE, "x86_64") == COMPILED
    (tmp_path / "file").write_text("")
    assert cached_filter(str(tmp_path / "file"), PROFILE, "x86_64") == COMPILED


def test_the_cache_stays_small(directory: Path) -> None:
    cached_filter(str(directory), PROFILE, "x86_64")
    for i in range(300):
        (directory / str(i)).write_bytes(b"")
    cached_filter(str(directory), PROFILE.replace(flags=()), "x86_64")
    only_file(directory)


def test_the_version_is_that_of_the_programs() -> None:
    """A change of the compiler, of the tables or of the default profile needs a new FILTER_VERSION and digest."""
    digest = hashlib.sha256(str(FILTER_VERSION).encode())
    for arch in RUNS_ON:
        for caps in (frozenset[str](), frozenset(["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"])):
            compiled = compile_filter(default_profile(caps, arch, (6, 18)), arch)
            digest.update(repr((compiled.program, compiled.flags, compiled.unresolved)).encode())
    assert digest.hexdigest()[:16] == "605c539cf214895f"
