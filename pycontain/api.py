r"""The library: containers from a Python program, without a daemon and without forking it.

::

    import pycontain

    result = pycontain.run("@host", ["sort"], stdin=b"b\na\n", memory="64m", timeout_s=5)
    assert (result.exit_code, result.stdout) == (0, b"a\nb\n")

Errors are those of :mod:`pycontain.errors`, with hints. What a program inside does is never an error: see
:class:`Result`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pycontain.engine.exchange import Exchange
from pycontain.engine.keywords import in_keywords, texts
from pycontain.engine.owner import OWNER
from pycontain.engine.requests import DIRECTORY, OPTIONS, STORE, TIMEOUT
from pycontain.errors import PycontainError, UsageError
from pycontain.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Unpack

    from pycontain.engine.keywords import ContainerOptions, Path
    from pycontain.engine.requests import Ended

OUTPUT_LIMIT = 16 << 20
_MOST_SECONDS = float(2**31)
_KEYWORDS = ("stdin", "timeout_s", "output_limit", "store")


class Usage(Record):
    """What a container has used: None where this host does not count it.

    ``wall_s`` is from the program's start to the end of its container. The others are the cgroup's figures, so what the
    making of the container took inside of it is in them.
    """

    wall_s: float
    cpu_s: float | None
    memory_peak_bytes: int | None


class Result(Record):
    """How a container has ended.

    ``exit_code`` is 128 + ``signal`` where a signal (else 0) has ended the program. ``oom_killed``: the kernel has
    killed one of its processes because its memory was used up. ``timed_out``: it was killed after ``timeout_s``.
    ``output_cut``: there was more output than ``output_limit``. ``notes`` are lines that the command line would have
    shown as warnings.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    signal: int
    oom_killed: bool
    timed_out: bool
    output_cut: bool
    usage: Usage
    notes: tuple[str, ...] = ()


def run(
    root: Path,
    command: Sequence[str],
    *,
    stdin: bytes | None = None,
    timeout_s: float | None = None,
    output_limit: int = OUTPUT_LIMIT,
    store: Path | None = None,
    **options: Unpack[ContainerOptions],
) -> Result:
    """Run a command in a new container, wait for its end, remove it, and return what came of it.

    ``root`` is a directory, ``@host`` or ``@host:public``. ``stdin`` is its standard input, None an empty one.
    ``timeout_s`` counts from the program's start. Of standard output and of standard error ``output_limit`` bytes each
    are kept. ``store`` is the command line's ``--root``. Safe to call from several threads; an exception in the caller,
    KeyboardInterrupt too, ends the container.

    Raises:
        UsageError: an option is wrong; names it.
        ExecError: there is no such program in the container, or it cannot be executed.
        HostError: this host cannot do what was asked.
        PycontainError: the container could not be made.
    """
    _check(stdin, timeout_s, output_limit)
    try:
        document = _request(texts(root, command, options, _KEYWORDS), timeout_s, store)
        call = OWNER.call(document, stdin=stdin is not None)
        try:
            exchange = Exchange(call, stdin or b"", output_limit)
            ended = exchange.finish()
        except BaseException:
            call.give_up()
            raise
        finally:
            call.close()
    except PycontainError as error:
        raise in_keywords(error) from None
    return _result(ended, exchange)


def _check(stdin: object, timeout_s: object, output_limit: object) -> None:
    """Judge what is not an option of the container.

    Raises:
        UsageError: names the keyword.
    """
    if stdin is not None and not isinstance(stdin, (bytes, bytearray, memoryview)):
        raise UsageError(f"stdin: a {type(stdin).__name__} is not bytes", hint='encode it: text.encode("utf-8")')
    number = isinstance(timeout_s, (int, float)) and not isinstance(timeout_s, bool)
    if timeout_s is not None and not (number and 0 < float(str(timeout_s)) < _MOST_SECONDS):
        raise UsageError(f"timeout_s: {timeout_s!r} is not a number of seconds", hint="more than 0, for example 2.5")
    if isinstance(output_limit, bool) or not isinstance(output_limit, int) or output_limit < 0:
        raise UsageError(
            f"output_limit: {output_limit!r} is not a number of bytes", hint="0 or more, for example 1 << 20"
        )


def _request(options: dict[str, Any], timeout_s: float | None, store: Path | None) -> dict[str, Any]:
    try:
        directory = os.getcwd()
    except FileNotFoundError:
        directory = "/"  # it was removed, so nothing relative to it is there
    return {
        OPTIONS: options,
        STORE: None if store is None else os.path.join(directory, os.fspath(store)),
        DIRECTORY: directory,
        TIMEOUT: 0.0 if timeout_s is None else float(timeout_s),
    }


def _result(ended: Ended, exchange: Exchange) -> Result:
    return Result(
        exit_code=ended.exit_code,
        stdout=exchange.stdout.data,
        stderr=exchange.stderr.data,
        signal=ended.signal,
        oom_killed=ended.oom_killed,
        timed_out=ended.timed_out,
        output_cut=exchange.stdout.cut or exchange.stderr.cut,
        usage=Usage(
            wall_s=ended.wall_ns / 1e9,
            cpu_s=None if ended.cpu_ns is None else ended.cpu_ns / 1e9,
            memory_peak_bytes=ended.memory_peak,
        ),
        notes=ended.notes,
    )
