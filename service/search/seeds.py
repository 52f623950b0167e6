"""Random seeds and generators as pure functions of a study's seed and a path, such as a trial's number."""

from __future__ import annotations

import hashlib
import random


def derive(seed: int, *path: int | str) -> int:
    """Derive a seed in [0, 2^31) from `seed` and a path. The result is the same on every machine and Python version."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) >> 1


def make_rng(seed: int, *path: int | str) -> random.Random:
    """Return a random generator seeded by `derive(seed, *path)`."""
    return random.Random(derive(seed, *path))  # noqa: S311 - not used for security


def trial_seed(seed: int, number: int) -> int:
    """Return the training seed of trial `number`, which is the same for every attempt on every worker."""
    return derive(seed, "training", number)
