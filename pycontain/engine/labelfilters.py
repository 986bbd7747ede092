"""``--filter`` of the commands that remove what nobody uses: until=, label= and label!=, as docker's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pycontain.errors import UsageError
from pycontain.record import Record

_LABEL, _NO_LABEL, _UNTIL = "label", "label!", "until"


class Wanted(Record):
    """What may be removed: made before ``until_ns`` (0: at any time), with all of ``labels``, with none of ``without``.

    A label is KEY or KEY=VALUE.
    """

    until_ns: int = 0
    labels: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def allows(self, labels: Mapping[str, str], created_ns: int) -> bool:
        """Tell whether something with these labels may be removed."""
        return (
            (not self.until_ns or created_ns < self.until_ns)
            and all(has_label(labels, one) for one in self.labels)
            and not any(has_label(labels, one) for one in self.without)
        )


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """Tell whether KEY or KEY=VALUE is among the labels."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def parse(texts: Iterable[str], now_ns: int, *, until: bool) -> Wanted:
    """Return what the filters ask for; ``until`` tells whether until= is one of them.

    Raises:
        UsageError: an unknown key, no value, two moments, or one that is no time.
    """
    labels: list[str] = []
    without: list[str] = []
    moment = 0
    keys = "label=KEY[=VALUE], label!=KEY[=VALUE]" + (", until=10m, until=2026-01-31T12:00:00" if until else "")
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value or key not in (_LABEL, _NO_LABEL, *((_UNTIL,) if until else ())):
            raise UsageError(f"--filter: {text!r} is not a filter", hint=keys)
        if key == _UNTIL:
            if moment:
                raise UsageError("--filter: until is given twice", hint="leave one out")
            moment = parse_moment("--filter: until", value, now_ns)
        else:
            (labels if key == _LABEL else without).append(value)
    return Wanted(moment, tuple(labels), tuple(without))


def parse_moment(option: str, text: str, now_ns: int) -> int:
    """Return a time as nanoseconds since 1970.

    Raises:
        UsageError: it is none.
    """
    from datetime import datetime

    from pycontain.engine.logs import parse_time

    stamp = parse_time(option, text, now_ns)
    head, _, fraction = stamp.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{head}+00:00").timestamp())
    return seconds * 10**9 + int((fraction + "0" * 9)[:9])
