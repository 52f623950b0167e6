"""Sobol's sequence: equals the published one, and keeps its properties when scrambled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import qmc

from service.search.space.sampling import sobol_sample
from service.search.space.sobol import NUM_TABULATED, scrambled, sobol
from tests.search.studies import EVERY_KIND, study


def test_the_unscrambled_sequence_is_the_known_one() -> None:
    known = qmc.Sobol(NUM_TABULATED, scramble=False, bits=32).random_base2(8)
    ours = [[sobol(index, dimension) / 2**32 for dimension in range(NUM_TABULATED)] for index in range(256)]
    assert ours == known.tolist()


@pytest.mark.parametrize("num_dimensions", [1, 3, NUM_TABULATED + 2])
@pytest.mark.parametrize("start", [0, 256])
def test_each_block_of_scrambled_points_fills_every_dimension_evenly(num_dimensions: int, start: int) -> None:
    points = [scrambled(start + at, num_dimensions, 7) for at in range(256)]
    for dimension in range(num_dimensions):
        assert sorted(int(point[dimension] * 256) for point in points) == list(range(256))


def test_the_first_two_dimensions_fill_every_shape_of_box() -> None:
    points = [scrambled(at, 2, 7) for at in range(256)]
    for bits in range(9):
        wide, high = 2**bits, 2 ** (8 - bits)
        assert {(int(x * wide), int(y * high)) for x, y in points} == set(itertools.product(range(wide), range(high)))


def test_it_fills_the_cube_more_evenly_than_chance_and_differently_for_each_seed() -> None:
    chance = qmc.discrepancy(np.random.default_rng(0).random((128, 6)))
    for seed in range(5):
        points = [scrambled(at, 6, seed) for at in range(128)]
        assert qmc.discrepancy(points) < 0.5 * chance
    assert len({tuple(scrambled(3, 6, seed)) for seed in range(50)}) == 50


def test_a_conditional_parameter_has_a_dimension_of_its_own() -> None:
    space = study(EVERY_KIND).space
    drawn = [sobol_sample(space, index, 1) for index in range(64)]
    assert [each["optimizer.name"] for each in drawn].count("sgd") == 32
    momenta = sorted(each["optimizer.momentum"] for each in drawn if "optimizer.momentum" in each)  # type: ignore[type-var]
    assert len(momenta) == 32
    assert momenta[0] < 0.1 < 0.8 < momenta[-1]  # type: ignore[operator]
