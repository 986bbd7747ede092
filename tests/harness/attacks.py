"""What attacks on an OCI runtime are made of: roots that the attacker has made, and configurations that use them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import images
from harness.cli import describe
from harness.oci import Oci

#: Where the programs in C lie that grasp at things.
HOSTILE = Path(__file__).parents[1] / "hostile"

#: Returns a runtime by its name and the version in which it was mended.
Old = Callable[[str, tuple[int, ...]], Oci]

#: A version for what was never mended.
NEVER = (99,)

DOCKERS = [
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
]

#: Tries what root of a container could do to cgroups, and tells what it could: wrote, made, remounted, mounted; done.
ON_CGROUPS = """
    cd /sys/fs/cgroup
    for file in $(find . -name cgroup.procs -o -name tasks -o -name release_agent -o -name '*_on_release'); do
        (echo 0 > $file) 2>/dev/null && echo wrote
    done
    for place in $(find . -type d); do (mkdir $place/new) 2>/dev/null && rmdir $place/new && echo made; done
    mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted
    mkdir /tmp/new
    mount -t cgroup -o memory none /tmp/new 2>/dev/null && echo mounted
    mount -t cgroup2 none /tmp/new 2>/dev/null && echo mounted
    echo done
"""


def leave_open(directory: str) -> int:
    """Return 50, a descriptor of a directory of the host that programs inherit."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        return os.dup2(opened, 50, inheritable=True)
    finally:
        os.close(opened)


def own_root(oci: Oci) -> Path:
    """Return a copy of the root that the attacker has made."""
    root = oci.place / "hostile"
    if root.is_dir():
        shutil.rmtree(root)
    return images.copy(oci.rootfs, root)


def hostile(oci: Oci, root: Path, *args: str) -> dict[str, Any]:
    document = oci.config(*args)
    document["root"] = {"path": str(root)}
    document["process"]["capabilities"] = {kind: list(DOCKERS) for kind in ("bounding", "permitted", "effective")}
    return document


def without(document: dict[str, Any], *places: str) -> dict[str, Any]:
    document["mounts"] = [one for one in document["mounts"] if one["destination"] not in places]
    return document


def bind(source: Path, destination: str, *options: str) -> dict[str, Any]:
    return {"type": "bind", "source": str(source), "destination": destination, "options": ["bind", *options]}


def attempt(oci: Oci, document: dict[str, Any], **options: Any) -> subprocess.CompletedProcess[str]:
    done = oci.run("run", "-b", oci.bundle(document), "attack", **options)
    assert "Traceback" not in done.stderr, describe(done)
    return done
