"""The conversation between maker and init: which message may come when, and what each side makes of the other's end."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.errors import (
    ExecError,
    Exists,
    HostError,
    LifecycleError,
    NotFound,
    PycontainError,
    SpecError,
    StageError,
    StoreError,
    UsageError,
    WrongState,
    from_fields,
)
from pycontain.kernel import _sys
from pycontain.runtime import channel
from pycontain.runtime.channel import (
    END,
    FAILED,
    MAPPED,
    READY,
    START,
    TERMINAL,
    TREES,
    Channel,
    Sequence,
)

SOCK_SEQPACKET = 5
KINDS = (MAPPED, TREES, TERMINAL, READY, START, END)
Step = tuple[bytes, str]

#: (mapped, trees, terminal) -> what must be said, in order.
WHOLE: dict[tuple[bool, bool, bool], list[Step]] = {
    (mapped, trees, terminal): [
        *([(MAPPED, "init")] if mapped else []),
        *([(TREES, "init")] if trees else []),
        *([(TERMINAL, "maker")] if terminal else []),
        (READY, "maker"),
        (START, "init"),
        (END, "maker"),
    ]
    for mapped, trees, terminal in itertools.product((False, True), repeat=3)
}


def sequence(options: tuple[bool, bool, bool]) -> Sequence:
    mapped, trees, terminal = options
    return Sequence(mapped=mapped, trees=trees, terminal=terminal)


@pytest.mark.parametrize("options", WHOLE)
def test_the_whole_conversation_is_accepted(options: tuple[bool, bool, bool]) -> None:
    due = sequence(options)
    for step in WHOLE[options]:
        assert due.due() == step
        due.accept(*step)


@pytest.mark.parametrize("options", WHOLE)
def test_at_every_point_anything_else_is_refused(options: tuple[bool, bool, bool]) -> None:
    steps = WHOLE[options]
    for position, right in enumerate(steps):
        for wrong in itertools.product((*KINDS, b"?"), ("init", "maker")):
            if wrong == right:
                continue
            due = sequence(options)
            for step in steps[:position]:
                due.accept(*step)
            with pytest.raises(StageError):
                due.accept(*wrong)
            due.accept(*right)  # the refused one has changed nothing


@pytest.mark.parametrize("options", WHOLE)
def test_end_before_ready_is_death_never_success(options: tuple[bool, bool, bool]) -> None:
    steps = WHOLE[options]
    for position in range(len(steps) - 1):
        due = sequence(options)
        for step in steps[:position]:
            due.accept(*step)
        with pytest.raises(StageError, match="has gone before it was complete"):
            due.accept(END, "maker")


def test_nothing_is_due_after_the_end() -> None:
    due = sequence((False, False, False))
    for step in WHOLE[False, False, False]:
        due.accept(*step)
    with pytest.raises(StageError, match="out of turn"):
        due.accept(READY, "maker")


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """Yield the maker's and init's end of a channel with ids, trees and a terminal."""
    ours, theirs = _sys.socketpair(SOCK_SEQPACKET)
    maker, init = Channel(ours, sequence((True, True, True)), "maker"), Channel(theirs, sequence((True,) * 3), "init")
    yield maker, init
    maker.close()
    init.close()


def test_fields_and_descriptors_arrive(ends: tuple[Channel, Channel]) -> None:
    maker, init = ends
    reading, writing = os.pipe()
    maker.send(MAPPED)
    maker.send(TREES, ("root", "name with \udcff"), (reading, writing))
    assert init.receive(MAPPED) == ([], ())
    fields, fds = init.receive(TREES)
    assert fields == ["root", "name with \udcff"]
    assert [os.fstat(fd).st_ino for fd in fds] == [os.fstat(fd).st_ino for fd in (reading, writing)]
    assert not any(os.get_inheritable(fd) for fd in fds)
    for fd in (*fds, reading, writing):
        os.close(fd)


def test_sender_is_held_to_the_sequence_too(ends: tuple[Channel, Channel]) -> None:
    maker, _ = ends
    with pytest.raises(StageError, match="out of turn"):
        maker.send(START)


def test_receiver_refuses_a_message_of_the_other_direction(ends: tuple[Channel, Channel]) -> None:
    maker, init = ends
    _sys.sendmsg(maker.fd, READY, ())
    with pytest.raises(StageError, match="out of turn"):
        init.receive(READY)


def test_receiver_refuses_what_the_caller_does_not_expect(ends: tuple[Channel, Channel]) -> None:
    maker, init = ends
    maker.send(MAPPED)
    with pytest.raises(StageError, match="was expected"):
        init.receive(TREES)


def test_end_of_file_before_ready_raises(ends: tuple[Channel, Channel]) -> None:
    maker, init = ends
    init.close()
    maker._sequence.accept(MAPPED, "init")
    with pytest.raises(StageError, match="has gone"):
        maker.receive(TERMINAL)


def test_a_failure_is_heard_at_any_time(ends: tuple[Channel, Channel]) -> None:
    maker, init = ends
    init.fail(HostError("no such thing", requirement="thing", hint="get one"))
    with pytest.raises(HostError, match="no such thing") as caught:
        maker.receive(TERMINAL)
    assert (caught.value.hint, caught.value.requirement) == ("get one", "thing")


def test_failing_to_a_dead_side_is_no_further_error(ends: tuple[Channel, Channel]) -> None:
    maker, init = ends
    maker.close()
    init.fail(HostError("nobody hears this"))


def test_close_is_idempotent(ends: tuple[Channel, Channel]) -> None:
    maker, _ = ends
    maker.close()
    maker.close()
    assert maker.fd == -1


# what may stand in a message: no NUL, which separates fields; bytes that are no UTF-8 travel as surrogates
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0") | st.just("\udc80"), max_size=20)
ERRORS = st.one_of(
    st.builds(
        lambda kind, text, hint: kind(text, hint=hint),
        st.sampled_from([PycontainError, UsageError, LifecycleError, NotFound, Exists, WrongState, StoreError]),
        TEXT,
        TEXT,
    ),
    st.builds(lambda *a: SpecError(a[0], a[1], hint=a[2], source=a[3]), TEXT, TEXT, TEXT, TEXT),
    st.builds(lambda *a: HostError(a[0], requirement=a[1], hint=a[2]), TEXT, TEXT, TEXT),
    st.builds(
        lambda *a: StageError(a[0], hint=a[1], stage=a[2], op=a[3], spec_path=a[4], errno=a[5]),
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        st.integers(0, 200),
    ),
    st.builds(lambda *a: ExecError(a[0], hint=a[1], exit_code=a[2]), TEXT, TEXT, st.sampled_from([126, 127])),
)


@given(ERRORS)
def test_every_error_crosses_the_channel_whole(error: PycontainError) -> None:
    data = FAILED + "\0".join(error.to_fields()).encode("utf-8", "surrogateescape")
    back = from_fields(channel.decode(data))
    assert type(back) is type(error)
    assert (str(back), back.hint, back.exit_code, vars(back)) == (
        str(error),
        error.hint,
        error.exit_code,
        vars(error),
    )
