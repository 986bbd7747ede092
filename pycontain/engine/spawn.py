"""``run`` and ``create``: which shape a container takes, and its start. [lean]

Direct: in the foreground with ``--rm`` and without a terminal, this process is the container's parent. Everything
else has a monitor that outlives us.
"""

from __future__ import annotations

import os

from pycontain.engine import direct
from pycontain.engine.messages import of
from pycontain.engine.protocol import STDERR, STDIN, STDOUT
from pycontain.runtime.deadline import timeout_error, timeout_note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.engine.attach import Connection
    from pycontain.engine.options import RunOptions
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Entry

LETTERS = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR}


def run(settings: Settings, options: RunOptions) -> int:
    """Run a container and return its exit code; detached, print its id and return 0.

    Raises:
        PycontainError: it could not be started.
    """
    if options.explain:
        return explain(settings, options)
    # without signals passed on, the container outlives a command that is ended by one
    if options.remove and options.sig_proxy and not (options.detach or options.tty or options.attach):
        return direct.run(settings, options, of(settings).warning)
    from pycontain.engine.attach import Connection
    from pycontain.engine.monitored import START_WITHIN_S
    from pycontain.runtime.terminal import require_terminal

    if options.tty and options.interactive and not options.detach:
        require_terminal()
    entry = _make(settings, options, start_within_s=START_WITHIN_S)
    with Connection(entry.directory) as connection:
        if not options.detach:
            return _run_attached(settings, entry, connection, options)
        connection.start(entry)
    os.write(1, f"{entry.id}\n".encode())
    return 0


def _run_attached(settings: Settings, entry: Entry, connection: Connection, options: RunOptions) -> int:
    from pycontain.engine.attach import Session

    chosen = options.attach or ("stdout", "stderr", "stdin")
    streams = "".join(letter for name, letter in LETTERS.items() if name in chosen)
    if not options.interactive:
        streams = streams.replace(STDIN, "")
    session = Session(entry, connection, streams=streams, detach_keys=options.detach_keys, proxy=options.sig_proxy)
    end = session.run(start=True)
    if end is None:
        return 0
    if end.oom_killed:
        of(settings).warning(direct.OOM_NOTE)
    elif end.error == timeout_error(options.timeout_s):
        of(settings).warning(timeout_note(options.timeout_s))
    return end.exit_code


def create(settings: Settings, options: RunOptions) -> str:
    """Make a container that waits to be started, and return its id; "" when it was only to be explained.

    Raises:
        PycontainError: it could not be made.
    """
    if options.explain:
        explain(settings, options)
        return ""
    return _make(settings, options).id


def _make(settings: Settings, options: RunOptions, *, start_within_s: float = 0) -> Entry:
    from pycontain.engine import monitored

    entry, notes = monitored.make(settings, options, start_within_s=start_within_s)
    for note in notes:
        of(settings).warning(note)
    return entry


def recreate(settings: Settings, entry: Entry) -> None:
    """Give a stopped container new processes on its own layer; they wait to be started, as after :func:`create`.

    Raises:
        WrongState: it is not stopped, or shares namespaces with a container that does not run.
    """
    from pycontain.engine import monitored

    for note in monitored.make_again(settings, entry):
        of(settings).warning(note)


def explain(settings: Settings, options: RunOptions) -> int:
    """Print the plan of a container and do nothing.

    Raises:
        PycontainError: this host could not make it.
    """
    from pycontain import lean_json
    from pycontain.engine import assembly, generate, names
    from pycontain.plan.explain import document, text
    from pycontain.runtime.abilities import Abilities

    container_id = names.new_id()
    prepared = generate.prepare(settings, options, container_id, options.name or names.random_name(0))
    plan, note = assembly.preview(settings, prepared)
    notes = [line for line in (*prepared.notes, note) if line]
    for line in notes:
        of(settings).warning(line)
    lack = Abilities((settings.state, settings.data)).lack
    if options.explain_format == "json":
        found = {"id": prepared.id, "name": prepared.name, "root": prepared.root.asdict(), "notes": notes}
        data = (lean_json.dumps({**found, **document(plan, lack)}, indent=4, surrogates=True) + "\n").encode()
    else:
        data = text(plan, lack).encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(1, data) :]
    return 0
