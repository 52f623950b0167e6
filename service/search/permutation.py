"""A seeded shuffle of range(size) that holds nothing in memory."""

from __future__ import annotations

from service.search.seeds import derive

_ROUNDS = 4


def permuted(index: int, size: int, seed: int) -> int:
    """Where `index` of range(size) goes: a bijection on range(size).

    A Feistel network permutes the smallest even-bit range that holds `size`; results outside are walked on until one
    lies inside (Black & Rogaway 2002, "Ciphers with arbitrary finite domains"), less than four steps on average.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_mix(right, half, seed, turn) & mask)
        index = left << half | right
        if index < size:
            return index


def _mix(value: int, half: int, seed: int, turn: int) -> int:
    """Pseudo-random bits; halves wider than one derived seed take several."""
    return sum(derive(seed, turn, value, part) << (31 * part) for part in range(half // 31 + 1))
