"""The syntax of interface files: cgroupspy's descriptors, and those it lacks. Not for the start path.

cgroupspy's own cannot read ``max``, find an empty table an error, and name two blkio files with a blank at the end.

Source: cgroup-v2.rst "Format"; cgroup-v1/*.rst; cgroupspy.readthedocs.io
"""

from __future__ import annotations

from pycontain.cgroups.cgroupspy_types import BaseFileInterface, DictFile, IntegerFile

# What cgroup v1's memory files say for "no limit": the largest whole number of pages.
_NO_LIMIT_V1 = (1 << 63) - (1 << 16)


class LimitFile(IntegerFile):
    """A number, or None for no limit: ``max`` (v2), -1 or the largest number of pages (v1)."""

    def __init__(self, filename: str, word: str = "max") -> None:
        super().__init__(filename)
        self.word = word

    def sanitize_get(self, value: str) -> int | None:
        if value.strip() in ("max", "-1"):
            return None
        number = int(value)
        return None if number >= _NO_LIMIT_V1 else number

    def sanitize_set(self, value: int | None) -> str:
        return self.word if value is None else str(int(value))


class Counter(IntegerFile):
    """A number that only the kernel writes."""

    readonly = True


class Table(DictFile):
    """Lines of a word and a number; other lines (there are some) are left out."""

    readonly = True

    def sanitize_get(self, value: str) -> dict[str, int]:
        found = {}
        for line in value.splitlines():
            key, _, number = line.strip().rpartition(" ")
            if key and number.isdecimal():
                found[key] = int(number)
        return found


class WeightTable(Table):
    """``default 100`` and ``8:0 200``; a bare number is the default."""

    readonly = False

    def sanitize_get(self, value: str) -> dict[str, int]:
        return {"default": int(value)} if value.strip().isdecimal() else super().sanitize_get(value)

    def sanitize_set(self, value: dict[str, int]) -> str:
        return "\n".join(f"{key} {number}" for key, number in value.items())


class DeviceWeights(WeightTable):
    """cgroup v1's ``8:0 200``; the default has a file of its own."""


class NestedTable(BaseFileInterface):
    """Lines of a key and ``word=number`` pairs; ``max`` is None. Numbers with a point are floats."""

    def sanitize_get(self, value: str) -> dict[str, dict[str, int | float | None]]:
        return {
            key: {name: _number(text) for name, _, text in (pair.partition("=") for pair in pairs)}
            for key, *pairs in (line.split() for line in value.splitlines() if line.strip())
        }

    def sanitize_set(self, value: dict[str, dict[str, int | None]]) -> str:
        return "\n".join(
            " ".join([key, *(f"{name}={'max' if number is None else number}" for name, number in pairs.items())])
            for key, pairs in value.items()
        )


def _number(text: str) -> int | float | None:
    if text == "max":
        return None
    return float(text) if "." in text else int(text)


class BandwidthFile(BaseFileInterface):
    """``cpu.max``: quota and period in microseconds, None for no quota and for "leave the period as it is"."""

    def sanitize_get(self, value: str) -> tuple[int | None, int | None]:
        quota, _, period = value.partition(" ")
        return (None if quota == "max" else int(quota)), (int(period) if period else None)

    def sanitize_set(self, value: tuple[int | None, int | None]) -> str:
        quota, period = value
        return ("max" if quota is None else str(quota)) + ("" if period is None else f" {period}")


class Words(BaseFileInterface):
    """Words between blanks."""

    readonly = True

    def sanitize_get(self, value: str) -> tuple[str, ...]:
        return tuple(value.split())


class Text(BaseFileInterface):
    """One word, such as FROZEN."""

    def sanitize_get(self, value: str) -> str:
        return value.strip()

    def sanitize_set(self, value: str) -> str:
        return value


class DeviceOperations(BaseFileInterface):
    """blkio's ``8:0 Read 4096`` lines as {device: {operation: number}}."""

    readonly = True

    def sanitize_get(self, value: str) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for line in value.splitlines():
            words = line.split()
            if len(words) == 3:
                found.setdefault(words[0], {})[words[1]] = int(words[2])
        return found
