"""The scrambled Sobol sequence: low-discrepancy points in the unit cube, each computed from its index."""

from __future__ import annotations

from functools import cache

from service.search.seeds import derive

_BITS = 32
_MASK = 2**_BITS - 1

# Primitive polynomials and initial direction numbers of dimensions 2 ... 32 (Joe & Kuo 2008, new-joe-kuo-6).
_POLYNOMIALS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (3, (1,)),
    (7, (1, 3)),
    (11, (1, 3, 1)),
    (13, (1, 1, 1)),
    (19, (1, 1, 3, 3)),
    (25, (1, 3, 5, 13)),
    (37, (1, 1, 5, 5, 17)),
    (41, (1, 1, 5, 5, 5)),
    (47, (1, 1, 7, 11, 19)),
    (55, (1, 1, 5, 1, 1)),
    (59, (1, 1, 1, 3, 11)),
    (61, (1, 3, 5, 5, 31)),
    (67, (1, 3, 3, 9, 7, 49)),
    (91, (1, 1, 1, 15, 21, 21)),
    (97, (1, 3, 1, 13, 27, 49)),
    (103, (1, 1, 1, 15, 7, 5)),
    (109, (1, 3, 1, 15, 13, 25)),
    (115, (1, 1, 5, 5, 19, 61)),
    (131, (1, 3, 7, 11, 23, 15, 103)),
    (137, (1, 3, 7, 13, 13, 15, 69)),
    (143, (1, 1, 3, 13, 7, 35, 63)),
    (145, (1, 3, 5, 9, 1, 25, 53)),
    (157, (1, 3, 1, 13, 9, 35, 107)),
    (167, (1, 3, 1, 5, 27, 61, 31)),
    (171, (1, 1, 5, 11, 19, 41, 61)),
    (185, (1, 3, 5, 3, 3, 13, 69)),
    (191, (1, 1, 7, 13, 1, 19, 1)),
    (193, (1, 3, 7, 5, 13, 19, 59)),
    (203, (1, 1, 3, 9, 25, 29, 41)),
    (211, (1, 3, 5, 13, 23, 1, 55)),
    (213, (1, 3, 7, 3, 13, 59, 17)),
)
NUM_TABULATED = len(_POLYNOMIALS) + 1


def scrambled(index: int, num_dimensions: int, seed: int) -> list[float]:
    """Return point `index` of the scrambled sequence, in (0, 1) in each dimension.

    Uses hash-based Owen scrambling (Burley 2020): every seed gives a low-discrepancy sequence without a regular
    pattern. Dimensions beyond the `NUM_TABULATED` tabulated ones reuse the table with the points in another order.
    """
    point = []
    for dimension in range(num_dimensions):
        block, row = divmod(dimension, NUM_TABULATED)
        at = _scramble(index, derive(seed, "sobol order", block)) if block else index
        number = _scramble(sobol(at, row), derive(seed, "sobol", dimension))
        point.append((number + 0.5) / 2**_BITS)
    return point


def sobol(index: int, dimension: int) -> int:
    """Return one coordinate of an unscrambled point in units of 2^-32; points are in Gray code order."""
    number = 0
    code = index ^ (index >> 1)
    for direction in _directions(dimension):
        if code & 1:
            number ^= direction
        code >>= 1
    return number


@cache
def _directions(dimension: int) -> list[int]:
    """Return the direction numbers of a dimension by the recurrence of its polynomial (Bratley & Fox 1988, eq. 2)."""
    if dimension == 0:
        return [1 << (_BITS - 1 - at) for at in range(_BITS)]
    polynomial, initial = _POLYNOMIALS[dimension - 1]
    degree = len(initial)
    numbers = list(initial)
    for at in range(degree, _BITS):
        number = numbers[at - degree] ^ (numbers[at - degree] << degree)
        for power in range(1, degree):
            if polynomial >> (degree - power) & 1:
                number ^= numbers[at - power] << power
        numbers.append(number)
    return [number << (_BITS - 1 - at) for at, number in enumerate(numbers)]


def _scramble(number: int, seed: int) -> int:
    """Apply a random nested permutation: whether a bit is flipped depends only on the bits above it."""
    number = _reversed(number)
    # A hash in which no bit depends on a higher one (Laine & Karras 2011; constants of Vegdahl 2021).
    number ^= number * 0x3D20ADEA & _MASK
    number = number + seed & _MASK
    number = number * ((seed >> 16) | 1) & _MASK
    number ^= number * 0x05526C56 & _MASK
    number ^= number * 0x53A22864 & _MASK
    return _reversed(number)


def _reversed(number: int) -> int:
    return int(f"{number:0{_BITS}b}"[::-1], 2)
