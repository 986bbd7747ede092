"""Rules of ``linux.seccomp``. Source: config-linux.md#seccomp.

[lean]
"""

from __future__ import annotations

from pycontain.spec.rules.rule import below, require
from pycontain.spec.seccomp import MAX_ARGUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.rules.rule import Rule
    from pycontain.spec.seccomp import LinuxSeccomp

# what the action does with its number, and the most it can hold: MAX_ERRNO of the kernel, SECCOMP_RET_DATA
_MOST = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 0xFFFF}
_NOTIFY = "SCMP_ACT_NOTIFY"


def _errno(seccomp: LinuxSeccomp, path: str, warnings: list[str]) -> None:
    _check_errno(seccomp.default_action, seccomp.default_errno_ret, below(path, "defaultErrnoRet"))
    for index, rule in enumerate(seccomp.syscalls):
        if rule.errno_ret is not None:
            _check_errno(rule.action, rule.errno_ret, below(path, f"syscalls[{index}].errnoRet"))


def _check_errno(action: str, errno: int | None, path: str) -> None:
    if errno is not None:
        most = _MOST.get(action)
        require(most is not None, path, f"{action} has no errno")
        require(errno <= (most or 0), path, f"{errno} is more than {most}")


def _names(seccomp: LinuxSeccomp, path: str, warnings: list[str]) -> None:
    for index, rule in enumerate(seccomp.syscalls):
        at = f"syscalls[{index}].names"
        require(rule.names, below(path, at), "needs at least one entry")
        require("" not in rule.names, below(path, at), "has an empty entry")


def _args(seccomp: LinuxSeccomp, path: str, warnings: list[str]) -> None:
    for index, rule in enumerate(seccomp.syscalls):
        for position, arg in enumerate(rule.args):
            at = f"syscalls[{index}].args[{position}].index"
            require(arg.index <= MAX_ARGUMENT, below(path, at), f"{arg.index} is not from 0 to {MAX_ARGUMENT}")


def _notify(seccomp: LinuxSeccomp, path: str, warnings: list[str]) -> None:
    listener = seccomp.listener_path
    require(listener or not seccomp.listener_metadata, below(path, "listenerMetadata"), "needs listenerPath")
    at = below(path, "defaultAction")
    require(seccomp.default_action != _NOTIFY, at, f"{_NOTIFY} cannot be for every system call")
    for index, rule in enumerate(seccomp.syscalls):
        if rule.action == _NOTIFY:
            # the descriptor is handed over with it, after the filter is in force
            at = below(path, f"syscalls[{index}]")
            require("write" not in rule.names, f"{at}.names", f"{_NOTIFY} cannot be for write")
            require(listener, f"{at}.action", f"{_NOTIFY} needs linux.seccomp.listenerPath")


SECCOMP_RULES: tuple[Rule, ...] = (
    ("S2", "an errno for an action that has none MUST be an error", _errno),
    ("S3", "names MUST have at least one entry", _names),
    ("S4", "an argument is one of six", _args),
    ("S5", "listenerMetadata MUST NOT be set without listenerPath; notify needs a listener that can get it", _notify),
)
