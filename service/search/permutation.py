"""A seeded permutation of range(size) in constant memory."""

from __future__ import annotations

from service.search.seeds import derive

_ROUNDS = 4


def permuted(index: int, size: int, seed: int) -> int:
    """Return the image of `index` under a seeded bijection on range(size).

    A Feistel network permutes the smallest range of an even number of bits that contains range(size). It is applied
    again until the result lies in range(size) (cycle walking; Black & Rogaway 2002, "Ciphers with arbitrary finite
    domains"), less than four times on average.
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
    """Return pseudo-random bits. A half wider than the 31 bits of one derived seed combines several."""
    return sum(derive(seed, turn, value, part) << (31 * part) for part in range(half // 31 + 1))
