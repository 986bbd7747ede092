"""``top``: a container's processes in the columns of ``ps -ef``, read from the host's /proc, or in those of ps(1)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from pycontain.engine import lifecycle, waiting
from pycontain.engine.rendering import Columns
from pycontain.errors import WrongState
from pycontain.runtime.psargs import printable, run_ps
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import PAUSED, RUNNING, State

_TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
COLUMNS = Columns(tuple((title, title) for title in _TITLES), {})
_TICKS = os.sysconf("SC_CLK_TCK")
_PTS_FIRST, _PTS_LAST = 136, 143  # major numbers of pseudo-terminals: devices.txt


def top(settings: Settings, reference: str, arguments: Sequence[str] = (), form: str = "table") -> str:
    """Return the listing of a container's processes; with ``arguments`` as ps(1) of the host lists them with these.

    Raises:
        WrongState: it does not run.
        UsageError, HostError: see :func:`pycontain.runtime.psargs.run_ps`.
    """
    pids = _pids(settings, reference)
    if not arguments:
        now, boot = time.time(), _boot_time()
        rows = (_describe(pid, now, boot) for pid in sorted(pids))
        return COLUMNS.render([row for row in rows if row is not None], form)
    head, lines = run_ps(arguments, set(pids))
    titles = head.split()
    keys = [title if title not in titles[:at] else f"{title}_{at}" for at, title in enumerate(titles)]
    columns = Columns(tuple(zip(keys, titles, strict=True)), {})
    # the last column takes the rest of a line
    fields = (line.split(None, len(titles) - 1) for line in lines)
    return columns.render([{**dict.fromkeys(keys, ""), **dict(zip(keys, row, strict=False))} for row in fields], form)


def _pids(settings: Settings, reference: str) -> list[int]:
    """Return the ids of a container's processes as the host sees them.

    Raises:
        WrongState: it does not run.
    """
    entry, state, status = lifecycle.look(settings, reference)
    if status not in (RUNNING, PAUSED):
        raise WrongState(f"container {reference} is not running", hint=f"start it: pycontain start {reference}")
    cgroup = waiting.cgroup_of(entry)
    return list(cgroup.procs()) if cgroup is not None else _of_namespace(state)


def _of_namespace(state: State) -> list[int]:
    """Return the processes in init's pid namespace; only init itself where that is the host's."""
    wanted = _link(f"/proc/{state.pid}/ns/pid")
    if not wanted or wanted == _link("/proc/self/ns/pid"):
        return [state.pid]
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if _link(f"/proc/{pid}/ns/pid") == wanted]


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _boot_time() -> int:
    with open("/proc/stat", encoding="ascii") as file:
        for line in file:
            if line.startswith("btime "):
                return int(line.split()[1])
    return 0


def _describe(pid: int, now: float, boot: int) -> dict[str, str] | None:
    """Return one process, None when it has gone. Source: proc_pid_stat(5), ps(1) "STANDARD FORMAT SPECIFIERS"."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            head, _, tail = file.read().rpartition(")")
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            command = file.read().rstrip("\0").replace("\0", " ")
        owner = os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = tail.split()
    used_s = (int(fields[11]) + int(fields[12])) // _TICKS
    started = boot + int(fields[19]) / _TICKS
    elapsed = max(now - started, 1)
    return {
        "UID": _user(owner),
        "PID": str(pid),
        "PPID": fields[1],
        "C": str(min(int(100 * used_s / elapsed), 99)),
        "STIME": _start(started, now),
        "TTY": _terminal(int(fields[4])),
        "TIME": f"{used_s // 3600:02}:{used_s // 60 % 60:02}:{used_s % 60:02}",
        "CMD": printable(command or f"[{head.partition('(')[2]}]"),
    }


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _start(started: float, now: float) -> str:
    """Return the time of a process that began today, else the day, and from another year the year."""
    then, today = time.localtime(started), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    return time.strftime("%b%d" if then.tm_year == today.tm_year else "%Y", then)


def _terminal(device: int) -> str:
    major, minor = os.major(device), os.minor(device)
    if _PTS_FIRST <= major <= _PTS_LAST:
        return f"pts/{minor + (major - _PTS_FIRST) * 256}"
    return "?" if not device else f"{major}:{minor}"
