"""Runs the command line, or the monitor of one container; the launcher starts the interpreter with this file.

``-I -S`` left only the standard library on ``sys.path``. Exactly one directory is added: the one that holds this
package and its dependencies.
"""

import sys

# ours comes first: its listing is small, and nothing of the standard library is looked up before it
sys.path.insert(0, __file__[: -len("/pycontain/launcher/_start.py")])

if "pycontain.libraries" in sys._xoptions:
    import os

    # the launcher set it for this interpreter's own libraries; nothing that we start may inherit it
    del os.environ["LD_LIBRARY_PATH"]

# neither returns: both end the process without taking the interpreter apart, which would cost 0.4 ms of every command
if sys.argv[1:2] == ["--internal-monitor"]:
    from pycontain.engine.monitor import main as monitor

    monitor(sys.argv[2:])
else:
    from pycontain.cli.main import main

    main()
