"""ps, logs, inspect, top, stats, events, prune: what there is, and what may go."""

from __future__ import annotations

import sys
import time

from pycontain.cli.life import say
from pycontain.cli.table import flag, many, value
from pycontain.cli.verbs import NOTHING, Verb
from pycontain.errors import PycontainError, StoreError, UsageError, last_of
from pycontain.sizes import parse_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.cli.table import Parsed
    from pycontain.runtime.settings import Settings

_FORMAT = value(
    "--format", "FORMAT", "table, json, or a template such as {{.Names}} [table]", choices=("table", "json")
)
_MANY = "CONTAINER..."


def _ps(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import listing

    values = parsed.values
    last = 1 if values.get("latest") else parse_integer("--last", values.get("last", "0"), 0, 2**31 - 1)
    text = listing.ps(
        settings,
        everything=bool(values.get("all")),
        filters=values.get("filter", ()),
        last=last,
        quiet=bool(values.get("quiet")),
        whole=bool(values.get("no_trunc")),
        form=values.get("format", "table"),
    )
    sys.stdout.write(text)
    return 0


def _logs(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import logs

    values, now = parsed.values, time.time_ns()
    options = logs.LogOptions(
        follow=bool(values.get("follow")),
        tail=logs.parse_tail(values.get("tail", "all")),
        since=logs.parse_time("--since", values.get("since", ""), now),
        until=logs.parse_time("--until", values.get("until", ""), now),
        timestamps=bool(values.get("timestamps")),
    )
    logs.show(settings, parsed.rest[0], options)
    return 0


def _inspect(settings: Settings, parsed: Parsed) -> int:
    from pycontain.cli.output import print_document
    from pycontain.engine import inspection, templates
    from pycontain.engine.templatewords import to_json

    form = parsed.values.get("format", "")
    template = templates.Template(form) if form not in ("", "json") else None
    documents: list[dict[str, Any]] = []
    failures: list[PycontainError] = []
    for reference in parsed.rest:
        try:
            documents.append(inspection.inspect(settings, reference))
        except PycontainError as error:
            failures.append(error)
    if template is not None:
        sys.stdout.writelines(f"{template.render(one)}\n" for one in documents)
    elif form == "json":
        sys.stdout.write(to_json(documents) + "\n")
    elif documents or not failures:
        print_document(documents)
    return _fail(failures)


def _top(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import top

    reference, *arguments = parsed.rest
    sys.stdout.write(top.top(settings, reference, arguments, parsed.values.get("format", "table")))
    return 0


def _stats(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import statistics

    form, everything = parsed.values.get("format", "table"), bool(parsed.values.get("all"))
    if parsed.values.get("no_stream"):
        sys.stdout.write(statistics.COLUMNS.render(statistics.once(settings, parsed.rest, everything=everything), form))
        return 0

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        statistics.watch(
            settings, parsed.rest, everything=everything, form=form, write=write, terminal=sys.stdout.isatty()
        )
    except KeyboardInterrupt:
        return 0  # the only way to end it
    return 0


def _events(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import eventlog
    from pycontain.engine.labelfilters import parse_moment

    values, now = parsed.values, time.time_ns()
    since, until = (parse_moment(f"--{key}", values[key], now) if values.get(key) else 0 for key in ("since", "until"))
    filters = eventlog.parse_filters(values.get("filter", ()))
    writer = eventlog.Writer(values.get("format", ""))
    try:
        for event in eventlog.read(settings, filters, since_ns=since or now, until_ns=until):
            sys.stdout.write(writer.line(event) + "\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 0  # the way to end it
    return 0


def _prune(settings: Settings, parsed: Parsed) -> int:
    from pycontain.engine import labelfilters, pruning
    from pycontain.engine.quantities import size_decimal

    texts = parsed.values.get("filter", ())
    wanted = labelfilters.parse(texts, time.time_ns(), until=True)
    if not parsed.values.get("force") and not agreed("This removes all containers that have ended. Go on?"):
        return 0
    want = (lambda state: wanted.allows(state.labels, state.created_ns)) if texts else None
    done = pruning.prune(settings, want=want)
    for container_id in done.containers:
        say(container_id)
    for what in done.leftovers:
        say(f"left behind by something that was killed: {what}")
    say(f"reclaimed {size_decimal(done.reclaimed_bytes)}")
    return _fail([StoreError(text) for text in done.failures])


def agreed(question: str) -> bool:
    """Ask on the terminal; without one the answer must be given as an option.

    Raises:
        UsageError: standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError("standard input is no terminal to ask on", hint="say yes beforehand: --force")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _fail(failures: list[PycontainError]) -> int:
    """Raise the last of the failures, with the others, once the output is written.

    Raises:
        PycontainError: there is one.
    """
    if failures:
        sys.stdout.flush()
        raise last_of(failures)
    return 0


VERBS = {
    "ps": Verb(
        (
            flag("--all -a", "those that do not run, too"),
            flag("--quiet -q", "print ids only"),
            flag("--latest -l", "the newest one"),
            value("--last -n", "COUNT", "the newest ones"),
            flag("--no-trunc", "whole ids and commands"),
            many(
                "--filter -f", "KEY=VALUE", "id, name, label, status, exited, ancestor, volume, network, before, since"
            ),
            _FORMAT,
        ),
        "",
        _ps,
        least=0,
        most=0,
        offer=NOTHING,
    ),
    "logs": Verb(
        (
            flag("--follow -f", "go on until the container ends"),
            value("--tail -n", "COUNT", "the last lines, or all [all]"),
            value("--since", "TIME", "not older: 2026-01-31T23:59:59Z, or 10m ago"),
            value("--until", "TIME", "not newer"),
            flag("--timestamps -t", "the time before each line"),
        ),
        "CONTAINER",
        _logs,
        most=1,
    ),
    "inspect": Verb(
        (value("--format -f", "FORMAT", "json, or a template such as {{.State.Status}}", choices=("json",)),),
        _MANY,
        _inspect,
    ),
    "top": Verb((_FORMAT,), "CONTAINER [PS-OPTION]...", _top, command=True),
    "stats": Verb(
        (
            flag("--all -a", "those that do not run, too"),
            flag("--no-stream", "measure once"),
            _FORMAT,
        ),
        "[CONTAINER]...",
        _stats,
        least=0,
    ),
    "events": Verb(
        (
            value("--since", "TIME", "from a moment on: 2026-01-31T23:59:59Z, or 10m ago [now]"),
            value("--until", "TIME", "up to a moment, and end"),
            many("--filter -f", "KEY=VALUE", "container, event, image, label, type"),
            value("--format", "FORMAT", "json, or a template such as {{.Action}}", choices=("json",)),
        ),
        "",
        _events,
        least=0,
        most=0,
        offer=NOTHING,
    ),
    "prune": Verb(
        (
            flag("--force -f", "do not ask"),
            many("--filter", "KEY=VALUE", "only those with until=TIME, label=, label!="),
        ),
        "",
        _prune,
        least=0,
        most=0,
        offer=NOTHING,
    ),
}
