"""Rules of ``process``. Source: config.md#process.

[lean]
"""

from __future__ import annotations

from pycontain.lean_json import quoted
from pycontain.spec.number_list import parse_number_list
from pycontain.spec.process import CAPABILITIES
from pycontain.spec.rules.rule import below, require

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.process import Process, Scheduler
    from pycontain.spec.rules.rule import Rule

_NO_ID = 0xFFFFFFFF  # (uid_t) -1: setuid(2) and chown(2) read it as "leave as it is"


def _cwd(process: Process, path: str, warnings: list[str]) -> None:
    require(process.cwd.startswith("/"), below(path, "cwd"), f"{quoted(process.cwd)} is not an absolute path")


def _args(process: Process, path: str, warnings: list[str]) -> None:
    require(process.args, below(path, "args"), "needs at least one entry, the program")
    require(process.args[0], below(path, "args[0]"), "is empty")


def _env(process: Process, path: str, warnings: list[str]) -> None:
    for index, entry in enumerate(process.env):
        # never shown: values of the environment are secrets
        require(entry.find("=") > 0, below(path, f"env[{index}]"), "is not of the form NAME=value")


def _user(process: Process, path: str, warnings: list[str]) -> None:
    user, path = process.user, below(path, "user")
    require(user.uid != _NO_ID, below(path, "uid"), f"{_NO_ID} is no user id")
    require(user.gid != _NO_ID, below(path, "gid"), f"{_NO_ID} is no group id")
    for index, gid in enumerate(user.additional_gids):
        require(gid != _NO_ID, below(path, f"additionalGids[{index}]"), f"{_NO_ID} is no group id")
    if user.umask is not None:
        require(user.umask <= 0o777, below(path, "umask"), f"{user.umask} is more than 511 (octal 777)")


def _rlimits(process: Process, path: str, warnings: list[str]) -> None:
    seen: set[str] = set()
    for index, rlimit in enumerate(process.rlimits):
        at = below(path, f"rlimits[{index}]")
        require(rlimit.type not in seen, f"{at}.type", f"{rlimit.type} is given twice")
        require(rlimit.soft <= rlimit.hard, f"{at}.soft", f"{rlimit.soft} is above the hard limit {rlimit.hard}")
        seen.add(rlimit.type)


def _capabilities(process: Process, path: str, warnings: list[str]) -> None:
    sets = process.capabilities
    if sets is None:
        return
    path = below(path, "capabilities")
    for name in ("bounding", "effective", "inheritable", "permitted", "ambient"):
        for index, capability in enumerate(getattr(sets, name)):
            if capability not in CAPABILITIES:
                warnings.append(f"{path}.{name}[{index}]: {quoted(capability)} is no known capability, ignored")
    permitted, inheritable = set(sets.permitted), set(sets.inheritable)
    _warn_ungrantable(sets.effective, permitted, f"{path}.effective", "permitted", warnings)
    _warn_ungrantable(sets.ambient, permitted & inheritable, f"{path}.ambient", "permitted and inheritable", warnings)


def _warn_ungrantable(names: tuple[str, ...], allowed: set[str], path: str, where: str, warnings: list[str]) -> None:
    for index, name in enumerate(names):
        if name not in allowed and name in CAPABILITIES:
            warnings.append(f"{path}[{index}]: {name} is not in {where}, cannot be granted")


def _oom_score(process: Process, path: str, warnings: list[str]) -> None:
    score = process.oom_score_adj
    if score is not None:
        require(-1000 <= score <= 1000, below(path, "oomScoreAdj"), f"{score} is not from -1000 to 1000")


def _scheduler(process: Process, path: str, warnings: list[str]) -> None:
    scheduler, path = process.scheduler, below(path, "scheduler")
    if scheduler is None:
        return
    policy = scheduler.policy
    require(policy != "SCHED_ISO", f"{path}.policy", "SCHED_ISO is reserved, no kernel implements it")
    require(-20 <= scheduler.nice <= 19, f"{path}.nice", f"{scheduler.nice} is not from -20 to 19")
    if policy in ("SCHED_FIFO", "SCHED_RR"):
        require(1 <= scheduler.priority <= 99, f"{path}.priority", f"{policy} needs a priority from 1 to 99")
    else:
        require(scheduler.priority == 0, f"{path}.priority", f"{policy} has no priority", hint="use nice")
    _deadline(scheduler, path)


def _deadline(scheduler: Scheduler, path: str) -> None:
    times = (("runtime", scheduler.runtime), ("deadline", scheduler.deadline), ("period", scheduler.period))
    if scheduler.policy != "SCHED_DEADLINE":
        for name, value in times:
            require(value == 0, f"{path}.{name}", f"{scheduler.policy} has none, only SCHED_DEADLINE")
        return
    period = scheduler.period or scheduler.deadline
    require(
        0 < scheduler.runtime <= scheduler.deadline <= period,
        path,
        "SCHED_DEADLINE needs 0 < runtime <= deadline <= period",
    )


def _io_priority(process: Process, path: str, warnings: list[str]) -> None:
    priority = process.io_priority
    if priority is not None:
        where = below(path, "ioPriority.priority")
        require(0 <= priority.priority <= 7, where, f"{priority.priority} is not from 0 to 7")


def _cpu_affinity(process: Process, path: str, warnings: list[str]) -> None:
    affinity, path = process.exec_cpu_affinity, below(path, "execCPUAffinity")
    if affinity is not None:
        for name, text in (("initial", affinity.initial), ("final", affinity.final)):
            if text is not None:
                require(parse_number_list(text, f"{path}.{name}"), f"{path}.{name}", "names no CPU")


def _console(process: Process, path: str, warnings: list[str]) -> None:
    size = process.console_size
    if process.terminal and size is not None:
        for name, value in (("height", size.height), ("width", size.width)):
            # struct winsize of ioctl_tty(2) has 16 bits
            require(value <= 0xFFFF, below(path, f"consoleSize.{name}"), f"{value} is more than 65535")


PROCESS_RULES: tuple[Rule, ...] = (
    ("P1", "cwd MUST be an absolute path", _cwd),
    ("P2", "args MUST have at least one entry", _args),
    ("P3", "env has the semantics of environ: NAME=value", _env),
    ("P4", "ids and umask are values that the kernel can take", _user),
    ("P5", "rlimits MUST NOT name a type twice", _rlimits),
    ("P6", "capabilities that cannot be granted MUST be logged as a warning and SHOULD NOT be an error", _capabilities),
    ("P8", "oomScoreAdj is a value that the kernel can take", _oom_score),
    ("P9", "scheduler's values fit its policy", _scheduler),
    ("P10", "ioPriority.priority is from 0 to 7", _io_priority),
    ("P11", "execCPUAffinity holds lists of CPUs", _cpu_affinity),
    ("D7", "consoleSize MUST be ignored without terminal, and fits the terminal with one", _console),
)
