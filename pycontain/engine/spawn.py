"""``run`` and ``create``: which shape a container takes, and its start. [lean]

Direct: in the foreground with ``--rm`` and without a terminal, this process is the container's parent. Everything
else has a monitor that outlives us.
"""

from __future__ import annotations

import os

from pycontain.engine import direct
from pycontain.engine.messages import of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.engine.options import RunOptions
    from pycontain.runtime.settings import Settings

# After this a container whose command was killed between making and starting it is ended by its monitor.
START_WITHIN_S = 60.0


def run(settings: Settings, options: RunOptions) -> int:
    """Run a container and return its exit code; detached, print its id and return 0.

    Raises:
        PycontainError: it could not be started.
    """
    if options.explain:
        return explain(settings, options)
    if options.remove and not options.detach and not options.tty and not options.attach:
        return direct.run(settings, options, of(settings).warning)
    from pycontain.engine import attach, monitored

    if options.tty and options.interactive and not options.detach:
        from pycontain.engine.terminal import require_terminal

        require_terminal()
    entry, notes = monitored.make(settings, options, start_within_s=START_WITHIN_S)
    for note in notes:
        of(settings).warning(note)
    if options.detach:
        attach.start_detached(entry)
        os.write(1, f"{entry.id}\n".encode())
        return 0
    return attach.start_attached(entry, options)


def create(settings: Settings, options: RunOptions) -> str:
    """Make a container that waits to be started, and return its id.

    Raises:
        PycontainError: it could not be made.
    """
    from pycontain.engine import monitored

    if options.explain:
        explain(settings, options)
        return ""
    entry, notes = monitored.make(settings, options)
    for note in notes:
        of(settings).warning(note)
    return entry.id


def explain(settings: Settings, options: RunOptions) -> int:
    """Print the plan of a container and do nothing.

    Raises:
        PycontainError: this host could not make it.
    """
    from pycontain.engine import assembly, generate, names
    from pycontain.plan.explain import text

    container_id = names.new_id()
    prepared = generate.prepare(settings, options, container_id, options.name or names.random_name(0))
    plan, note = assembly.preview(settings, prepared)
    for line in (*prepared.notes, note):
        if line:
            of(settings).warning(line)
    os.write(1, text(plan).encode("utf-8", "surrogateescape"))
    return 0
