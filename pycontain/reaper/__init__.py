"""Holds ``pycontain-init``, the process 1 of containers started with ``--init`` (``reaper.c``)."""
