"""Each attack succeeds against a runtime that takes no care: so a test in which it fails shows something.

The careless runtime is a few lines of Python that enters the root and goes on. It runs from a copy of the interpreter,
in a private mount namespace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import hostile_roots
from harness.probe import requires

pytestmark = requires("root")

CARELESS = """
import os, sys, textwrap
os.chroot(sys.argv[1])
os.chdir("/")
{then}
"""


@pytest.fixture
def interpreter(tmp_path: Path) -> Path:
    """Return a copy of the interpreter that may come to harm."""
    return Path(shutil.copy(os.path.realpath("/usr/bin/python3"), tmp_path / "python3"))


def _careless(
    interpreter: Path, root: Path, then: str, *leaked: int, timeout: float = 20
) -> subprocess.CompletedProcess[str]:
    script = 'mount -t proc proc "$3/proc" && exec "$1" -I -S -c "$2" "$3"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(interpreter), CARELESS.format(then=then), str(root)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, pass_fds=leaked
    )


def test_planted_codec_runs_in_a_careless_runtime(root: Path, interpreter: Path) -> None:
    planted = hostile_roots.plant_modules(root)
    assert {"json", "encodings.punycode", "pycontain.errors", "root.os"} <= set(planted)
    done = _careless(interpreter, root, '"x".encode("punycode")')
    assert "encodings.punycode" in hostile_roots.hits(root), done


def test_planted_module_runs_in_a_careless_runtime(root: Path, interpreter: Path) -> None:
    hostile_roots.plant_modules(root)
    _careless(interpreter, root, "import json")
    assert "json" in hostile_roots.hits(root)


def test_fifo_at_a_source_path_stops_a_careless_runtime(root: Path, interpreter: Path) -> None:
    assert hostile_roots.plant_fifos(root) > 200
    with pytest.raises(subprocess.TimeoutExpired):
        # the traceback of an uncaught error shows the line of textwrap.py, from where the container has one
        _careless(interpreter, root, "textwrap.dedent(None)", timeout=3)


@pytest.mark.parametrize("name", ["/dev", "/proc", "/sys", "/etc/passwd"])
def test_link_leads_a_careless_runtime_to_the_host(root: Path, tmp_path: Path, name: str) -> None:
    canary = hostile_roots.canary_directory(tmp_path / "canary")
    hostile_roots.replace_by_link(root, name, canary / "passwd" if name == "/etc/passwd" else canary)
    before = hostile_roots.tree_state(canary)
    assert hostile_roots.tree_state(canary) == before
    path = root / name.lstrip("/")
    if path.is_dir():
        # what runc 1.1 and crun up to 1.27 do with /dev (CVE-2026-41579)
        (path / "ptmx").unlink()
        (path / "ptmx").symlink_to("pts/ptmx")
    else:
        path.write_text("written through\n")
    assert hostile_roots.tree_state(canary) != before


def test_self_exe_overwrites_a_careless_runtime(root: Path, interpreter: Path, tmp_path: Path) -> None:
    entry = hostile_roots.plant_self_exe(root, hostile_roots.evil_loader(tmp_path))
    size = interpreter.stat().st_size
    done = _careless(interpreter, root, f"os.execv({entry!r}, [{entry!r}])")
    assert done.stdout.splitlines() == ["open", "wrote", "loader-ran"], done
    assert interpreter.read_bytes()[size:] == b"overwritten\n"


def test_leaked_directory_leads_a_careless_runtime_outside(root: Path, interpreter: Path, tmp_path: Path) -> None:
    """The way of CVE-2024-21626: a descriptor that somebody left open is the working directory."""
    (tmp_path / "canary").write_text("of the host")
    leaked = os.open("/", os.O_RDONLY)
    try:
        # the careless one inherits it, as it would its own
        done = _careless(
            interpreter, root, f'os.chdir("/proc/self/fd/{leaked}"); print(open(".{tmp_path}/canary").read())', leaked
        )
    finally:
        os.close(leaked)
    assert done.stdout == "of the host\n", done


def test_product_hashes_notice_a_changed_file(interpreter: Path) -> None:
    hashes = hostile_roots.product_hashes()
    assert any(path.endswith("/encodings/punycode.py") for path in hashes)
    assert any("libc.so" in path for path in hashes)
    assert os.path.realpath("/usr/bin/python3") in hashes
    before = hostile_roots.tree_state(interpreter.parent)
    with interpreter.open("ab") as file:
        file.write(b"x")
    assert hostile_roots.tree_state(interpreter.parent) != before
