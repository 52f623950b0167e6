"""Maximises an acquisition function over a space: random and nearby candidates, then local rounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from service.search.gaussian_process.encoding import Encoding, Floats, Points, join

Acquisition = Callable[[Points], Floats]
"""Returns the score of each point, shape (points,); larger is better."""

_NUM_RANDOM = 384
_NUM_NEAR = 384
_NEAR_SCALE = 0.3

_ROUNDS = (0.2, 0.1, 0.05, 0.02)
"""Standard deviation of the steps in each local round, in units of the cube."""

_NUM_PARENTS = 5
_NUM_CHILDREN = 80


def ranked_candidates(acquisition: Acquisition, encoding: Encoding, best: Points, rng: np.random.Generator) -> Points:
    """Return the candidates of the last round, the one with the highest acquisition first.

    Half of the first candidates are uniform, half lie near the best observed points. Each local round then varies the
    best candidates with a smaller step.

    Args:
        acquisition: the function to maximise.
        encoding: the encoding of the points.
        best: some of the best observed points.
        rng: the source of randomness.
    """
    uniform = encoding.nearest(rng.random((_NUM_RANDOM, len(encoding))))
    points = join(uniform, encoding.nearest(_varied(best, _NUM_NEAR, _NEAR_SCALE, encoding, rng)))
    scores = acquisition(points)
    for scale in _ROUNDS:
        leading = np.argsort(-scores, kind="stable")[:_NUM_PARENTS]
        parents = points.take(leading)
        children = encoding.nearest(_varied(parents, _NUM_CHILDREN, scale, encoding, rng))
        points = join(parents, children)
        scores = np.concatenate([scores[leading], acquisition(children)])
    return points.take(np.argsort(-scores, kind="stable"))


def _varied(parents: Points, num: int, scale: float, encoding: Encoding, rng: np.random.Generator) -> Floats:
    """Return coordinates of `num` variants of the parents, shape (num, parameters).

    Each variant changes about a third of the parameters, at least one: numbers by a step whose size varies over one and
    a half decades below `scale`, choices by a new draw.
    """
    units = parents.units[rng.integers(len(parents), size=num)]
    changes = rng.random(units.shape) < max(0.35, 1.5 / len(encoding))
    changes[np.arange(num), rng.integers(len(encoding), size=num)] = True
    steps = rng.normal(size=units.shape) * scale * 10.0 ** (-1.5 * rng.random((num, 1)))
    # A step beyond 0 is reflected, and one beyond 1 ends there.
    moved = np.clip(np.abs(units + steps), 0.0, 1.0)
    redrawn = rng.random(units.shape)
    varied: Floats = np.where(encoding.is_choice, redrawn, moved)
    return np.where(changes, varied, units)
