"""What listings say: durations, sizes, status texts, columns, filters, statistics, top's columns."""

from __future__ import annotations

import pytest

from pycontain.cgroups.stats import CgroupStats, CpuStats, IoStats, MemoryStats, PidsStats
from pycontain.engine import listing, quantities, statistics
from pycontain.engine.rendering import Columns, aligned
from pycontain.engine.statistics import Sample
from pycontain.errors import UsageError
from pycontain.runtime import psargs
from pycontain.runtime.state import CREATED, PAUSED, RUNNING, STOPPED, State

NOW = 10**18
S = 10**9


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (179, "2 minutes"),
        (3600, "About an hour"),
        (2 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (49 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (15 * 86400, "2 weeks"),
        (61 * 86400, "2 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert quantities.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "decimal", "binary"),
    [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1000, "1kB", "1000B"),
        (1536, "1.54kB", "1.5KiB"),
        (3 << 30, "3.22GB", "3GiB"),
    ],
)
def test_sizes(count: int, decimal: str, binary: str) -> None:
    assert (quantities.size_decimal(count), quantities.size_binary(count)) == (decimal, binary)


def container(status: str, **fields: object) -> State:
    return State(id="a" * 64, name="one", created_ns=NOW - 300 * S, boot_id="", status=status, **fields)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (container(CREATED), "Created"),
        (container(RUNNING, started_ns=NOW - 180 * S), "Up 3 minutes"),
        (container(PAUSED, started_ns=NOW - 180 * S), "Up 3 minutes (Paused)"),
        (container(STOPPED, exit_code=0, finished_ns=NOW - 5 * S), "Exited (0) 5 seconds ago"),
        (
            container(STOPPED, exit_code=137, oom_killed=True, finished_ns=NOW - 7200 * S),
            "Exited (137) 2 hours ago, out of memory",
        ),
        (container(STOPPED, exit_code=0, oom_killed=True, finished_ns=NOW), "Exited (0) Less than a second ago"),
    ],
)
def test_status_texts(state: State, text: str) -> None:
    assert listing.status_text(state, state.status, NOW) == text


def test_a_container_that_is_just_ending() -> None:
    assert listing.status_text(container(RUNNING), STOPPED, NOW) == "Ending"


def test_a_row_has_a_value_for_every_column() -> None:
    for found in (
        listing.Found("a" * 64, RUNNING, container(RUNNING, command=("sh", "-c", "sleep 1000; echo done"))),
        listing.Found("a" * 64, "damaged", None),
    ):
        row = listing.describe(found, NOW)
        assert set(listing.COLUMNS.titles) <= set(row)
        assert listing.COLUMNS.render([row])
    odd = container(RUNNING, command=("sh", "-c", "a\nb\x1b\udcff"))
    assert listing.describe(found.replace(state=odd), NOW)["Command"] == '"sh -c a\\nb\\x1b\\udcff"'
    assert listing.describe(found.replace(state=container(RUNNING, command=("x" * 30,))), NOW)["Command"] == (
        '"' + "x" * 19 + '…"'
    )


def test_columns_are_aligned() -> None:
    assert aligned([["A", "BB", "C"], ["aaaaaaaaaaaaa", "b", "c"]]) == (
        "A               BB        C\naaaaaaaaaaaaa   b         c\n"
    )


def test_forms() -> None:
    columns = Columns((("ID", "CONTAINER ID"), ("Name", "NAME")), {"More": "MORE THINGS"})
    objects = [{"ID": "1", "Name": "one", "More": "x"}, {"ID": "2", "Name": "two", "More": "y"}]
    assert columns.render(objects) == "CONTAINER ID   NAME\n1              one\n2              two\n"
    assert columns.render([], "table") == "CONTAINER ID   NAME\n"
    assert columns.render(objects, "json").splitlines()[1] == '{"ID":"2","Name":"two","More":"y"}'
    assert columns.render(objects, "{{.Name}}={{.More}}") == "one=x\ntwo=y\n"
    assert columns.render(objects, r"table {{.Name}}\t{{.More}}") == "NAME      MORE THINGS\none       x\ntwo       y\n"
    with pytest.raises(UsageError, match="is unknown"):
        columns.render(objects, "yaml")


@pytest.mark.parametrize("text", ["", "name", "colour=red", "status=flying", "exited=x", "=x"])
def test_no_filters(text: str) -> None:
    with pytest.raises(UsageError, match="--filter"):
        listing.parse_filters([text])


def test_filters() -> None:
    assert listing.parse_filters(["name=a", "name=b", "label=x=y"]) == {"name": ("a", "b"), "label": ("x=y",)}


def used(cpu_ns: int) -> CgroupStats:
    memory = MemoryStats(
        usage=5 << 20, limit=64 << 20, peak=None, failures=0, oom_kills=0, cache=0, anonymous=0,
        inactive_file=1 << 20, kernel=0, swap_usage=None, swap_limit=None,
    )  # fmt: skip
    return CgroupStats(
        cpu=CpuStats(cpu_ns, 0, 0),
        memory=memory,
        pids=PidsStats(3, None),
        io=(IoStats(8, 0, 1000, 2000), IoStats(8, 16, 500, 0)),
    )


def test_statistics() -> None:
    row = statistics.describe(
        container(RUNNING), Sample(0, used(0), (0, 0)), Sample(2 * S, used(3 * S), (2000, 1_500_000))
    )
    assert row == {
        "Container": "a" * 12, "ID": "a" * 12, "Name": "one", "CPUPerc": "150.00%", "MemUsage": "4MiB / 64MiB",
        "MemPerc": "6.25%", "NetIO": "2kB / 1.5MB", "BlockIO": "1.5kB / 2kB", "PIDs": "3",
    }  # fmt: skip


def test_statistics_of_what_is_not_known() -> None:
    row = statistics.describe(container(STOPPED), None, None)
    assert (row["Name"], row["CPUPerc"], row["PIDs"]) == ("one", "--", "--")
    row = statistics.describe(container(RUNNING), None, Sample(0, CgroupStats(), None))
    assert set(row.values()) == {"a" * 12, "one", "--"}


def test_text_of_a_container_cannot_steer_the_terminal() -> None:
    assert psargs.printable("a\x1b[2Jb\nc") == "a?[2Jb?c"
