"""Starts the interpreter sealed: ``launcher.c`` finds and seals it, ``_start.py`` enters the package."""

from __future__ import annotations

import sys


def again(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return argv and additional environment with which ``execve("/proc/self/exe", …)`` starts this program over.

    The new process runs from the same sealed file with the same options and ``arguments`` behind ``_start.py``.

    Raises:
        RuntimeError: this process was not started by the launcher, so its interpreter is not sealed.
    """
    start = __file__[: -len("__init__.py")] + "_start.py"
    if start not in sys.orig_argv:
        raise RuntimeError("not started by the launcher")
    command = sys.orig_argv[: sys.orig_argv.index(start) + 1]
    libraries = sys._xoptions.get("pycontain.libraries")
    return command + arguments, {"LD_LIBRARY_PATH": libraries} if isinstance(libraries, str) else {}
