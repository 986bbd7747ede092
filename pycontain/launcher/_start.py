"""Runs the command line, or the monitor of one container; the launcher starts the interpreter with this file.

``-I -S`` left only the standard library on ``sys.path``. Exactly one directory is added: the one that holds this
package and its dependencies.
"""

import posix
import sys

# ours comes first: its listing is small, and nothing of the standard library is looked up before it
sys.path.insert(0, __file__[: -len("/pycontain/launcher/_start.py")])

if "pycontain.libraries" in sys._xoptions:
    import os

    # the launcher set it for this interpreter's own libraries; nothing that we start may inherit it
    del os.environ["LD_LIBRARY_PATH"]

if sys.argv[1:2] == ["--internal-monitor"]:
    from pycontain.engine.monitor import main

    code = main(sys.argv[2:])
else:
    from pycontain.cli.main import main

    code = main()

# taking the interpreter apart again costs 0.4 ms of every command and does nothing that the kernel does not
sys.stdout.flush()
sys.stderr.flush()
posix._exit(code or 0)
