"""Make the interpreter deaf to the file system before it enters a container's root.

After pivot_root an import, a codec look-up or a traceback's source line would be read from the *container's* files,
with the runtime's privileges. :func:`preload` loads what is still needed; :func:`seal` then takes away every way to
load more. It cannot be undone: the process ends in finish().
"""

from __future__ import annotations

import os
import sys

_REFUSED = frozenset(("import", "compile", "exec", "ctypes.dlopen", "subprocess.Popen", "os.system", "os.posix_spawn"))


def preload() -> None:
    """Load what the sealed process will use: the file system's codec and the names of errors."""
    "ä".encode(sys.getfilesystemencoding(), "surrogateescape").decode("utf-8", "surrogateescape")
    os.strerror(1)


def seal() -> None:
    """Take away importers, source look-ups and hooks; from now on only calls already bound work."""
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path[:] = []
    sys.path_importer_cache.clear()
    sys.excepthook = _report
    sys.unraisablehook = _ignore
    sys.addaudithook(_refuse)


def _refuse(event: str, args: tuple[object, ...]) -> None:
    # os.open gives mode None and is ours, by descriptor; open() gives a string and nothing sealed may use it
    if event in _REFUSED or (event == "open" and args[1] is not None):
        raise RuntimeError(f"sealed: {event}")


def _report(kind: type[BaseException], error: BaseException, _traceback: object) -> None:
    os.write(2, f"pycontain: internal error: {kind.__name__}: {error}\n".encode("utf-8", "backslashreplace"))


def _ignore(_unraisable: object) -> None:
    """Say nothing: the default hook would open source files to show the line."""
