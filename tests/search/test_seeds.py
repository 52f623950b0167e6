"""Random numbers are a function of seed and number; a shuffle is a bijection."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.search.seeds import derive, make_rng, trial_seed
from service.search.space.sampling import permuted


def test_seeds_are_the_same_everywhere() -> None:
    assert [trial_seed(7, number) for number in range(3)] == [219854656, 241170431, 265582271]


def test_seeds_differ_by_seed_number_and_purpose() -> None:
    seeds = {derive(seed, number) for seed in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert trial_seed(0, 1) != derive(0, 1)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert make_rng(0, 1).random() != make_rng(1, 0).random()


@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 300), seed=st.integers())
def test_a_shuffle_meets_every_index_once(size: int, seed: int) -> None:
    assert sorted(permuted(index, size, seed) for index in range(size)) == list(range(size))


@pytest.mark.parametrize("size", [10**9, 10**30])
def test_a_shuffle_of_a_huge_range_stays_inside(size: int) -> None:
    places = {permuted(index, size, 3) for index in range(100)}
    assert len(places) == 100
    assert all(0 <= place < size for place in places)
    assert max(places) > size // 2 > min(places)
