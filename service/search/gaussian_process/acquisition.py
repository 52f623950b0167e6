"""Expected improvement in logarithms, which still ranks points where the improvement itself rounds to zero."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, ndtr

from service.search.gaussian_process.encoding import Floats

_SQRT_TWO_PI = math.sqrt(2.0 * math.pi)


def log_expected_improvement(mean: Floats, deviation: Floats, incumbent: float) -> Floats:
    """Return the logarithm of the expected improvement below `incumbent` at each point (Ament et al. 2023, eq. 9).

    Args:
        mean: shape (points,): predicted mean, where smaller is better.
        deviation: shape (points,): predicted standard deviation, positive.
        incumbent: the value to improve on.
    """
    scaled = (incumbent - mean) / deviation
    return np.log(deviation) + _log_improvement(scaled)


def _log_improvement(scaled: Floats) -> Floats:
    """Return log(φ(z) + z Φ(z)).

    For z below -1 the sum cancels; there it is φ(z) (1 + z √(π/2) erfcx(-z/√2)).
    """
    result = np.empty_like(scaled)
    near = scaled > -1.0
    z = scaled[near]
    result[near] = np.log(np.exp(-0.5 * z * z) / _SQRT_TWO_PI + z * ndtr(z))
    z = scaled[~near]
    share = 1.0 + z * math.sqrt(math.pi / 2.0) * erfcx(-z / math.sqrt(2.0))
    result[~near] = -0.5 * z * z - math.log(_SQRT_TWO_PI) + np.log(np.maximum(share, 1e-300))
    return result
