"""Classic BPF programs, written from their last instruction to their first. [lean]

Classic BPF jumps only forward, so whoever writes backwards knows every target already. A *position* counts
instructions from the end of the program and stays valid while the program grows. A conditional jump reaches 255
instructions; what lies farther is reached through a copy of the return or through an unconditional jump, both written
just behind the jump that needs them.

Source: bpf(4), linux/filter.h, linux/bpf_common.h
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BPF_MAXINSNS = 4096
LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K
JUMP = 0x05  # BPF_JMP | BPF_JA
JEQ = 0x15
JGT = 0x25
JGE = 0x35
# how far a jump may go so that two more instructions still fit between it and its target
_REACH = 253


class Program:
    """A growing program. Instructions are kept as the 64 bits of a little-endian struct sock_filter."""

    __slots__ = ("_code", "_near")

    def __init__(self) -> None:
        self._code: list[int] = []
        # latest copy of a return (key: its instruction) or of a jump (key: -1 - its target)
        self._near: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._code)

    def bytes(self) -> bytes:
        """Return the program as an array of struct sock_filter."""
        return struct.pack(f"<{len(self._code)}Q", *reversed(self._code))

    def ret(self, value: int) -> int:
        """Return the position of an instruction that ends the filter with ``value``."""
        instruction = RETURN | value << 32
        position = self._near.get(instruction)
        if position is None:
            position = self._near[instruction] = self._add(instruction)
        return position

    def load(self, offset: int, mask: int = 0xFFFFFFFF) -> int:
        """Load a word of struct seccomp_data, masked, and go on with what was written before."""
        if mask != 0xFFFFFFFF:
            self._add(AND | mask << 32)
        return self._add(LOAD | offset << 32)

    def branch(self, test: int, value: int, yes: int, no: int) -> int:
        """Compare the accumulator with ``value`` (JEQ, JGT or JGE) and go to position ``yes`` or ``no``."""
        if yes == no:
            return yes
        here = len(self._code)
        if here - yes > _REACH:
            yes = self._nearer(yes)
        if here - no > _REACH:
            no = self._nearer(no)
        here = len(self._code) - 1
        return self._add(test | (here - yes) << 16 | (here - no) << 24 | value << 32)

    def entry(self, position: int) -> None:
        """Make ``position`` what the program goes on with: what is written next falls through to it."""
        if position != len(self._code) - 1:
            self._add(JUMP | (len(self._code) - 1 - position) << 32)

    def _add(self, instruction: int) -> int:
        self._code.append(instruction)
        return len(self._code) - 1

    def _nearer(self, target: int) -> int:
        """Return the position of a stand-in for ``target`` within reach."""
        instruction = self._code[target]
        is_return = instruction & 0xFFFF == RETURN
        key = instruction if is_return else -1 - target
        position = self._near.get(key, -1)
        if position < 0 or len(self._code) - position > _REACH:
            if not is_return:
                instruction = JUMP | (len(self._code) - 1 - target) << 32
            position = self._near[key] = self._add(instruction)
        return position


def write_tree(
    program: Program, starts: Sequence[int], verdicts: Sequence[int], weights: Sequence[int], leaf: Callable[[int], int]
) -> int:
    """Write a search tree over the ranges that begin at ``starts`` and return the position of its root.

    The accumulator holds the number looked for; ``leaf(verdict)`` returns the position for a range's verdict. Ranges
    are split where the sums of ``weights`` on both sides are closest, so that heavy ranges lie near the root.
    """
    sums = [0]
    for weight in weights:
        sums.append(sums[-1] + weight)
    branch = program.branch

    def node(first: int, end: int) -> int:
        size = end - first
        if size == 1:
            return leaf(verdicts[first])
        if size == 3 and verdicts[first] == verdicts[first + 2] and starts[first + 2] - starts[first + 1] == 1:
            # a single number with the same verdict on both sides
            return branch(JEQ, starts[first + 1], leaf(verdicts[first + 1]), leaf(verdicts[first]))
        twice_middle = sums[first] + sums[end]
        split = first + 1
        while split < end - 1 and 2 * sums[split] < twice_middle:
            split += 1
        if split > first + 1 and twice_middle - 2 * sums[split - 1] < 2 * sums[split] - twice_middle:
            split -= 1
        right = node(split, end)
        left = node(first, split)
        return branch(JGE, starts[split], right, left)

    return node(0, len(starts))
