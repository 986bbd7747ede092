"""The word that a mistyped one was meant to be. [lean]"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def distance(left: str, right: str) -> int:
    """Return how many letters must be put in, left out, exchanged, or swapped with their neighbour.

    Source: optimal string alignment, a restricted form of Damerau and Levenshtein's distance.
    """
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        row, former, before = [i], before, row
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, former[j - 2] + 1)
            row.append(cost)
    return row[-1]


def closest(word: str, words: Iterable[str]) -> str:
    """Return the word nearest to ``word``, or "" when none is near enough to be what was meant."""
    best, least = "", max(1, len(word) // 3) + 1
    for candidate in words:
        if abs(len(candidate) - len(word)) < least:
            found = distance(word, candidate)
            if found < least:
                best, least = candidate, found
    return best
