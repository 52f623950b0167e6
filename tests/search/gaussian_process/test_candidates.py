"""Maximisation of an acquisition function: it comes near the maximum, inside the space."""

from __future__ import annotations

import numpy as np

from service.search.gaussian_process.candidates import ranked_candidates
from service.search.gaussian_process.encoding import Encoding, Floats, Points
from tests.search.studies import EVERY_KIND, study

CUBE = study({f"x{at}": {"type": "float", "low": 0, "high": 1} for at in range(4)}).space


def test_the_first_candidate_is_near_the_maximum() -> None:
    encoding, target = Encoding(CUBE), np.array([0.2, 0.9, 0.0, 0.61])

    def nearness(points: Points) -> Floats:
        return -((points.units - target) ** 2).sum(axis=1)

    start = encoding.nearest(np.full((1, 4), 0.5))
    ranked = ranked_candidates(nearness, encoding, start, np.random.default_rng(0))
    scores = nearness(ranked)
    assert (np.diff(scores) <= 0).all()
    assert scores[0] > -0.02


def test_candidates_are_configurations() -> None:
    encoding = Encoding(study(EVERY_KIND).space)
    start = encoding.nearest(np.full((2, len(encoding)), 0.5))
    ranked = ranked_candidates(lambda points: points.units.sum(axis=1), encoding, start, np.random.default_rng(0))
    again = encoding.nearest(ranked.units)
    assert np.allclose(again.units, ranked.units)
    assert (again.active == ranked.active).all()
