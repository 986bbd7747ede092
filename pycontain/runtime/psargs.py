"""What ps(1) of the host says of a container's processes, for ``top`` and ``pycontain-oci ps``."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Sequence

from pycontain.errors import HostError, UsageError

_PID = "PID"
# `-o pid=` and `-o other=PID`: a column of process ids without its title, or something else under it
_RENAMED = re.compile(r"(?:^|[\s,])(\w+)=\s*\S*PID|(?:^|[\s,o])(pid)=", re.IGNORECASE)
_TIMEOUT_S = 30


def run_ps(arguments: Sequence[str], pids: Collection[int]) -> tuple[str, list[str]]:
    """Return the line of titles and the other lines of ``ps ARGUMENTS``, of these processes only.

    Lines of threads, which have a hyphen for their process id, stay with the process before them. What could be a
    command to a terminal is replaced by question marks: a container chooses its processes' names.

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
    column, chosen, wanted = names.index(_PID), [], False
    for line in lines:
        fields = line.split(None, len(names) - 1)
        if len(fields) <= column:
            continue
        if fields[column] != "-":
            wanted = fields[column].isdigit() and int(fields[column]) in pids
        if wanted:
            chosen.append(printable(line))
    return titles, chosen


def printable(text: str) -> str:
    """Return a container's text without control characters: they are for its terminal, not for ours."""
    return "".join(char if char.isprintable() else "?" for char in text)


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
