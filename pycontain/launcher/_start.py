"""Runs the command line, the monitor of one container, or the launcher of a program that uses the library.

The native launcher starts the interpreter with this file. ``-I -S`` left only the standard library on ``sys.path``.
Exactly one directory is added: the one that holds this package and its dependencies. The interpreter compiles this
file at every start, so it is short.
"""

import _imp
import _signal
import gc
import marshal
import posix
import sys

# until main() can handle it, Ctrl-C ends the program without a word: a traceback of half an import helps nobody
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
_signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGINT,))  # held by the launcher while the interpreter booted

top = __file__[: -len("/pycontain/launcher/_start.py")]
packed = False

if "pycontain.libraries" in sys._xoptions:
    import os

    # the launcher set it for this interpreter's own libraries; nothing that we start may inherit it
    del os.environ["LD_LIBRARY_PATH"]

# the package's modules in one file, where there is one for this interpreter: pycontain/modulepack.py
try:
    pack = posix.open(f"{top}/pycontain/modules.pack", posix.O_RDONLY | posix.O_CLOEXEC)
    head = posix.read(pack, 56)
    if head[:24] == b"pycontain modules 1\0" + sys.modules["_frozen_importlib_external"].MAGIC_NUMBER:
        data = posix.read(pack, int.from_bytes(head[24:28], "little"))
        if _imp.source_hash(1, data) == head[40:48]:
            importer = vars(type(sys)("pycontain.modulepack"))
            exec(marshal.loads(data), importer)  # noqa: S102, S302  (as trusted as this file, and checked for damage)
            packed = importer["install"](top, pack, head, data)
            del data  # 40 KB, which every monitor would keep
    posix.close(pack)
except OSError:
    pass  # then they come from their files

# without a pack ours comes first: its listing is small, and nothing of the standard library is looked up before it
sys.path.insert(len(sys.path) if packed else 0, top)

# none of them returns: each ends the process without taking the interpreter apart, which would cost 0.4 ms of every run
try:
    if sys.argv[1:2] == ["--internal-monitor"]:
        from pycontain.engine.monitor import main as monitor

        monitor(sys.argv[2:])
    elif sys.argv[1:2] == ["--internal-launcher"]:
        gc.set_threshold(100_000)
        from pycontain.engine.launcher import main as launcher

        launcher(sys.argv[2:])
    elif sys._xoptions.get("pycontain.program") == "pycontain-oci":
        gc.set_threshold(100_000)
        from pycontain.oci.main import main

        main()
    else:
        # importing makes many objects and no garbage: the default of 700 looks through them a hundred times
        gc.set_threshold(100_000)
        from pycontain.cli.main import main

        main()
except Exception as error:  # what main() lets through is only what kept it from being imported
    name = sys._xoptions.get("pycontain.program", "pycontain")
    posix.write(2, f"{name}: cannot start: {str(error) or type(error).__name__}\n".encode(errors="replace"))
    posix._exit(1 if name == "pycontain-oci" else 125)
