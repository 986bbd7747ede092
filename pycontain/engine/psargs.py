"""``top CONTAINER [ps OPTIONS]``: what ps(1) of the host says of a container's processes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Sequence

from pycontain.errors import HostError, UsageError

_PID = "PID"
# `-o pid=` and `-o other=PID`: a column of process ids without its title, or something else under it
_RENAMED = re.compile(r"(?:^|[\s,])(\w+)=\s*\S*PID|(?:^|[\s,o])(pid)=", re.IGNORECASE)
_TIMEOUT_S = 30


def run_ps(arguments: Sequence[str], pids: Collection[int]) -> tuple[list[str], list[list[str]]]:
    """Return titles and rows of ``ps ARGUMENTS``, of these processes only.

    The last column takes the rest of a line. Rows of threads, which have a hyphen for their process id, stay with the
    process before them.

    Raises:
        UsageError: ps refuses the arguments, or shows no process ids to choose by.
        HostError: there is no ps.
    """
    renamed = _RENAMED.search(" ".join(arguments))
    if renamed is not None:
        raise UsageError(
            f"ps {' '.join(arguments)}: the title of column PID cannot be changed", hint="for example -o pid,comm"
        )
    titles, *lines = _output(arguments)
    names = titles.split()
    if _PID not in names:
        raise UsageError(
            f"ps {' '.join(arguments)}: couldn't find PID field in ps output", hint="ask for it: -o pid,comm"
        )
    column, rows, wanted = names.index(_PID), [], False
    for line in lines:
        fields = line.split(None, len(names) - 1)
        if len(fields) <= column:
            continue
        if fields[column] != "-":
            wanted = fields[column].isdigit() and int(fields[column]) in pids
        if wanted:
            rows.append([*fields, *[""] * (len(names) - len(fields))])
    return names, rows


def _output(arguments: Sequence[str]) -> list[str]:
    try:
        done = subprocess.run(
            ["ps", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise HostError("ps: not found on this host", requirement="ps", hint="apt install procps") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"ps {' '.join(arguments)}: no end after {_TIMEOUT_S} s") from error
    lines = done.stdout.splitlines()
    # without a matching process ps fails, but says nothing
    if done.returncode and (done.stderr or not lines):
        complaint = next((line for line in done.stderr.splitlines() if line.strip()), "no output")
        message = complaint.strip().removeprefix("error: ")
        raise UsageError(f"ps {' '.join(arguments)}: {message}", hint="its options are in ps(1)")
    return lines or [""]
