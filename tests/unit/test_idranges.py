"""Claims on ranges of user ids: one owner or one group, never lost, never left behind."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from pycontain.runtime import idranges
from pycontain.runtime.journal import Journal

IDS = [f"{number:064x}" for number in range(1, 9)]


@pytest.fixture
def claims(tmp_path: Path) -> str:
    return str(tmp_path / "claims")


@pytest.fixture
def owners(tmp_path: Path) -> list[str]:
    """Return the state directories of some containers."""
    made = [tmp_path / "containers" / container for container in IDS]
    for directory in made:
        directory.mkdir(parents=True)
    return list(map(str, made))


def claim(claims: str, owner: str, seed: str = "00000000") -> int:
    return idranges.claim(claims, owner, seed + os.path.basename(owner)[8:], Journal(owner))


def test_ranges_do_not_overlap(claims: str, owners: list[str]) -> None:
    """Though every id asks for the same one first."""
    bases = sorted(claim(claims, owner) for owner in owners)
    assert all(second - first >= idranges.SIZE for first, second in itertools.pairwise(bases))
    assert bases[0] >= idranges.FIRST
    assert bases[-1] + idranges.SIZE <= idranges.LAST + idranges.SIZE


def test_claim_is_journaled_and_released(claims: str, owners: list[str]) -> None:
    base = claim(claims, owners[0])
    assert Journal(owners[0]).load() == [("userns", str(base))]
    idranges.release(claims, base, owners[1])
    assert os.path.exists(f"{claims}/{base}")  # that was somebody else's
    idranges.release(claims, base, owners[0])
    assert claim(claims, owners[1]) == base
    idranges.release(claims, base, owners[0])
    assert os.path.exists(f"{claims}/{base}")


def test_range_of_a_group_is_free_after_the_last_of_it(claims: str, owners: list[str]) -> None:
    first, second, third, *_ = owners
    base = claim(claims, first)
    idranges.share(claims, base, second, Journal(second))
    idranges.release(claims, base, first)
    assert claim(claims, third) != base
    idranges.release(claims, base, second)
    assert claim(claims, owners[3]) == base


def test_range_that_nobody_claimed_is_not_shared(claims: str, owners: list[str]) -> None:
    idranges.share(claims, 700000, owners[0], Journal(owners[0]))
    assert Journal(owners[0]).load() == []
    assert os.listdir(claims) == ["lock"]


def test_claim_of_a_killed_writer_is_nobody_s(claims: str, owners: list[str]) -> None:
    """Killed between making the file and writing to it."""
    base = claim(claims, owners[0])
    Path(claims, str(base)).write_text("")
    assert claim(claims, owners[1]) == base


def test_stale_claims_are_given_up(claims: str, owners: list[str]) -> None:
    bases = [claim(claims, owner) for owner in owners[:3]]
    idranges.share(claims, bases[0], owners[3], Journal(owners[3]))
    for gone in (owners[1], owners[3]):
        os.unlink(f"{gone}/journal")
        os.rmdir(gone)
    assert sorted(idranges.release_stale(claims)) == sorted([bases[0], bases[1]])
    assert sorted(os.listdir(claims)) == sorted([str(bases[0]), str(bases[2]), "lock"])


def test_subordinate_ids_of_users_are_skipped(claims: str, owners: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    base = claim(claims, owners[0])
    monkeypatch.setattr(idranges, "_used_ranges", lambda: [(base + idranges.SIZE - 1, base + idranges.SIZE - 1)])
    idranges.release(claims, base, owners[0])
    assert claim(claims, owners[1]) != base


def test_nothing_to_release_is_no_error(claims: str) -> None:
    idranges.release(claims, 1, "/nowhere")
    assert idranges.release_stale(claims) == []
