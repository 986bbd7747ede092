#!/usr/bin/env python3
"""Write pycontain/plan/data/seccomp_default.py from a profile in Docker's JSON format.

tools/seccomp_default.py PROFILE.json SOURCE DATE
"""

from __future__ import annotations

import json
import pathlib
import sys
import textwrap

TARGET = pathlib.Path(__file__).parent.parent / "pycontain/plan/data/seccomp_default.py"


def condition(entry: dict[str, object]) -> str:
    """Return ``(capabilities, architectures, minimum kernel or None)`` as source text."""
    caps = tuple(entry.pop("caps", ()))
    arches = tuple(entry.pop("arches", ()))
    kernel = entry.pop("minKernel", None)
    if entry:
        sys.exit(f"unknown conditions: {entry}")
    version = tuple(int(part) for part in kernel.split(".")) if isinstance(kernel, str) else None
    return "None" if not (caps or arches or version) else repr((caps, arches, version)).replace("'", '"')


def rule(entry: dict[str, object]) -> str:
    """Return one rule as source text: names, action, errno, arguments, includes, excludes."""
    lines = textwrap.wrap(" ".join(entry.pop("names")), 100)
    names = "\n".join(f'            "{line}{" " if i < len(lines) - 1 else ""}"' for i, line in enumerate(lines))
    args = tuple((a["index"], a["value"], a.get("valueTwo", 0), a["op"]) for a in entry.pop("args", ()))
    fields = [
        names.strip() if len(lines) == 1 else f"(\n{names}\n        )",
        f'"{entry.pop("action")}"',
        repr(entry.pop("errnoRet", None)),
        repr(args).replace("'", '"'),
        condition(entry.pop("includes", {})),
        condition(entry.pop("excludes", {})),
    ]
    entry.pop("comment", None)
    if entry:
        sys.exit(f"unknown members of a rule: {entry}")
    return "    (\n" + "".join(f"        {field},\n" for field in fields) + "    ),\n"


def main(profile: dict[str, object], source: str, date: str) -> None:
    """Write the data module."""
    arches = "".join(
        f'    "{entry["architecture"]}": {tuple(entry["subArchitectures"] or ())!r},\n'.replace("'", '"')
        for entry in profile.pop("archMap")
    )
    text = f'''"""The default profile: what Docker lets containers do, with its conditions. Data only. [lean]

Source: {source}, {date}
Written by tools/seccomp_default.py; do not edit. tests/unit/test_seccomp_profile.py compares it with its source.
"""

DEFAULT_ACTION = "{profile.pop("defaultAction")}"
DEFAULT_ERRNO_RET = {profile.pop("defaultErrnoRet")}
# native architecture -> those that its kernel runs as well
ARCH_MAP = {{
{arches}}}
# names, action, errno, (argument, value, second value, operator) …, includes, excludes;
# the last two are (capabilities, architectures, minimum kernel)
RULES = (
{"".join(rule(entry) for entry in profile.pop("syscalls"))})
'''
    if profile:
        sys.exit(f"unknown members: {profile}")
    TARGET.write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(json.loads(pathlib.Path(sys.argv[1]).read_text()), *sys.argv[2:])
