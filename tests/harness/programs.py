"""Programs in C that tests run inside containers, where there is no library for them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def build(source: Path, target: Path, *flags: str) -> Path:
    """Compile a source file to a static program, and return where that is."""
    subprocess.run(["gcc", *(flags or ("-static", "-pthread", "-O1")), "-o", str(target), str(source)], check=True)
    return target
