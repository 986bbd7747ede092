"""Whether a cgroup's processes are stopped: all that a look at a container needs of its cgroups. [lean]

Source: cgroup-v2.rst "cgroup.events"; cgroup-v1/freezer-subsystem.rst
"""

from __future__ import annotations

import errno

from pycontain.kernel.reading import read_file


def is_frozen(unified: str, freezer: str) -> bool:
    """Return whether the processes are stopped; not where there is no such cgroup (any more).

    ``unified`` is its directory of cgroup v2, ``freezer`` that of v1's controller, which counts where v2 is missing.
    """
    if not unified and not freezer:
        return False
    try:
        text = read_file(f"{unified}/cgroup.events" if unified else f"{freezer}/freezer.state")
    except OSError as error:
        # ENODEV: it was removed while the file was open
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENODEV):
            return False
        raise
    return b"frozen 1" in text.splitlines() if unified else text.strip() in (b"FREEZING", b"FROZEN")
