"""Remove what was made for a container, from its journal: also for those who know nothing of how it is made. [lean]"""

from __future__ import annotations

import os

from pycontain.runtime import journal, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.oci.store import Container

#: The cgroup above those of containers whose configuration names no place.
PARENT = "pycontain-oci"


def undo(container: Container) -> None:
    """Remove everything that the journal names, then the container's directory; the lock is held. Idempotent.

    Raises:
        HostError: a process does not die, or a cgroup does not go; the rest is done, and a second call goes on.
    """
    intents = container.journal.load()
    remove.kill(container, intents)
    cgroups = [words[0] for kind, *words in reversed(intents) if kind == journal.CGROUP]
    remove.remove_cgroups(cgroups)
    classes = [words[0] for kind, *words in intents if kind == journal.RDT]
    if classes:
        from pycontain.oci import rdt

        rdt.remove(classes)
    for parent in {os.path.dirname(path) for path in cgroups}:
        if os.path.basename(parent) == PARENT:
            remove.remove_shared(parent)
    for kind, *words in reversed(intents):
        if kind == journal.PARENT:
            try:
                os.rmdir(words[0])
            except OSError:
                pass  # gone, or somebody else's by now
        elif kind == journal.SCOPE:
            from pycontain.oci.scope import stop

            stop(words[0], words[1])
        elif kind == journal.MOUNTS:
            from pycontain.oci import hostmounts

            hostmounts.remove(words[0], words[1])
    remove.remove_tree(container.directory)
