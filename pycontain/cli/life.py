"""start, attach, stop, restart, kill, pause, unpause, wait, rm, rename, update. [lean]"""

from __future__ import annotations

import os

from pycontain.cli.runoptions import LIMIT_OPTIONS
from pycontain.cli.table import flag, value
from pycontain.cli.verbs import Verb
from pycontain.engine import lifecycle
from pycontain.engine.limits import Limits, parse_limit_options
from pycontain.engine.messages import of
from pycontain.engine.signals import DEFAULT_DETACH_KEYS, parse_detach_keys, parse_signal
from pycontain.errors import NotFound, PycontainError, UsageError, last_of
from pycontain.sizes import parse_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pycontain.cli.table import Parsed
    from pycontain.runtime.settings import Settings

_MANY = "CONTAINER..."
_KEYS = value("--detach-keys", "KEYS", "leave the container with these keys [ctrl-p,ctrl-q]")
_PROXY = flag("--sig-proxy", "pass signals on [true]")


def each(
    settings: Settings, references: Iterable[str], action: Callable[[str], object], *, missing_is_fine: bool = False
) -> int:
    """Do something to each container and print what it was called by; go on where one fails.

    Raises:
        PycontainError: the last failure, with those before it.
    """
    failures: list[PycontainError] = []
    for reference in references:
        try:
            action(reference)
        except PycontainError as error:
            if missing_is_fine and isinstance(error, NotFound):
                of(settings).warning(str(error))
            else:
                failures.append(error)
        else:
            say(reference)
    if failures:
        raise last_of(failures)
    return 0


def say(text: str) -> None:
    """Write a line of output."""
    os.write(1, f"{text}\n".encode("utf-8", "surrogateescape"))


def _keys(parsed: Parsed) -> bytes:
    text = parsed.values.get("detach_keys")
    return DEFAULT_DETACH_KEYS if text is None else parse_detach_keys("--detach-keys", text)


def _start(settings: Settings, parsed: Parsed) -> int:
    values = parsed.values
    attached = bool(values.get("attach") or values.get("interactive"))
    if not attached:
        return each(settings, parsed.rest, lambda reference: lifecycle.start(settings, reference))
    if len(parsed.rest) > 1:
        raise UsageError("--attach: is for one container", hint="pycontain start --attach CONTAINER")
    return lifecycle.start(
        settings,
        parsed.rest[0],
        attached=True,
        interactive=bool(values.get("interactive")),
        detach_keys=_keys(parsed),
        sig_proxy=values.get("sig_proxy", True),
    )


def _attach(settings: Settings, parsed: Parsed) -> int:
    return lifecycle.attach_to(
        settings,
        parsed.rest[0],
        stdin=not parsed.values.get("no_stdin"),
        detach_keys=_keys(parsed),
        sig_proxy=parsed.values.get("sig_proxy", True),
    )


def _stop(settings: Settings, parsed: Parsed) -> int:
    timeout, signal = parsed.values.get("timeout"), parsed.values.get("signal")
    timeout_s = None if timeout is None else parse_integer("--timeout", timeout, -1, 2**31 - 1)
    number = None if signal is None else parse_signal("--signal", signal)
    return each(
        settings,
        parsed.rest,
        lambda reference: lifecycle.stop(settings, reference, timeout_s=timeout_s, signal=number),
    )


def _restart(settings: Settings, parsed: Parsed) -> int:
    timeout = parsed.values.get("timeout")
    timeout_s = None if timeout is None else parse_integer("--timeout", timeout, -1, 2**31 - 1)
    return each(settings, parsed.rest, lambda reference: lifecycle.restart(settings, reference, timeout_s=timeout_s))


def _kill(settings: Settings, parsed: Parsed) -> int:
    number = parse_signal("--signal", parsed.values.get("signal", "KILL"))
    return each(settings, parsed.rest, lambda reference: lifecycle.kill(settings, reference, number))


def _pause(settings: Settings, parsed: Parsed) -> int:
    return each(settings, parsed.rest, lambda reference: lifecycle.pause(settings, reference))


def _unpause(settings: Settings, parsed: Parsed) -> int:
    return each(settings, parsed.rest, lambda reference: lifecycle.unpause(settings, reference))


def _wait(settings: Settings, parsed: Parsed) -> int:
    for reference in parsed.rest:
        say(str(lifecycle.wait(settings, reference)))
    return 0


def _remove(settings: Settings, parsed: Parsed) -> int:
    force, volumes = bool(parsed.values.get("force")), bool(parsed.values.get("volumes"))

    return each(
        settings,
        parsed.rest,
        lambda reference: lifecycle.delete(settings, reference, force=force, volumes=volumes),
        missing_is_fine=force,
    )


def _rename(settings: Settings, parsed: Parsed) -> int:
    reference, name = parsed.rest
    lifecycle.rename(settings, reference, name)
    return 0


def _update(settings: Settings, parsed: Parsed) -> int:
    limits = parse_limit_options(parsed.values)
    if limits == Limits():
        raise UsageError("no limit is given", hint="for example --memory 64m; see --help")
    from pycontain.cli.running import in_options
    from pycontain.engine import updating

    return each(
        settings,
        parsed.rest,
        lambda reference: in_options(lambda: updating.update(settings, reference, limits), parsed),
    )


VERBS = {
    "start": Verb(
        (
            flag("--attach -a", "attach standard output and error, and pass signals on"),
            flag("--interactive -i", "attach standard input, too"),
            _KEYS,
            _PROXY,
        ),
        _MANY,
        _start,
    ),
    "attach": Verb((flag("--no-stdin", "do not attach standard input"), _KEYS, _PROXY), "CONTAINER", _attach, most=1),
    "stop": Verb(
        (
            value("--timeout --time -t", "SECONDS", "how long to wait before killing, -1 for ever [10]"),
            value("--signal -s", "SIGNAL", "the first signal [its stop signal]"),
        ),
        _MANY,
        _stop,
    ),
    "restart": Verb(
        (value("--timeout --time -t", "SECONDS", "how long to wait before killing, -1 for ever [10]"),),
        _MANY,
        _restart,
    ),
    "kill": Verb((value("--signal -s", "SIGNAL", "the signal [KILL]"),), _MANY, _kill),
    "pause": Verb((), _MANY, _pause),
    "unpause": Verb((), _MANY, _unpause),
    "wait": Verb((), _MANY, _wait),
    "rm": Verb(
        (
            flag("--force -f", "end it first if it runs; no error if it does not exist"),
            flag("--volumes -v", "remove its anonymous volumes, too"),
        ),
        _MANY,
        _remove,
    ),
    "rename": Verb((), "CONTAINER NAME", _rename, least=2, most=2),
    "update": Verb(LIMIT_OPTIONS, _MANY, _update),
}
