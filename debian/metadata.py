#!/usr/bin/env python3
"""Write the directory that tells Python of the installed package: metadata.py PYPROJECT DIRECTORY.

A wheel brings it; the Debian package is built by meson alone. dh_python3 reads the dependencies from it.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any


def metadata(project: dict[str, Any]) -> str:
    """Return the file METADATA. Source: packaging.python.org, core metadata."""
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Classifier: {classifier}" for classifier in project["classifiers"]),
        *(f"Requires-Dist: {requirement}" for requirement in project["dependencies"]),
    ]
    return "\n".join([*lines, ""])


def entry_points(project: dict[str, Any]) -> str:
    """Return the file entry_points.txt; empty when there are none. The programs are none: they are no Python."""
    lines = []
    for group, entries in project.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()), ""]
    return "\n".join(lines)


def write(pyproject: Path, directory: Path) -> None:
    """Write NAME-VERSION.dist-info below a directory."""
    project = tomllib.loads(pyproject.read_text())["project"]
    target = directory / f"{project['name']}-{project['version']}.dist-info"
    target.mkdir(parents=True)
    (target / "METADATA").write_text(metadata(project))
    (target / "INSTALLER").write_text("dpkg\n")
    points = entry_points(project)
    if points:
        (target / "entry_points.txt").write_text(points)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
