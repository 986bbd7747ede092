"""What attacks on an OCI runtime are made of: roots that the attacker has made, and configurations that use them."""

from __future__ import annotations

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
