"""Where chance comes from: generators and seeds as pure functions of a study's seed and a trial's number."""

from __future__ import annotations

import hashlib
import random


def derive(seed: int, *path: int | str) -> int:
    """A seed in [0, 2^31) of its own for every path below `seed`; the same on every machine and Python."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) >> 1


def generator(seed: int, *path: int | str) -> random.Random:
    """A generator of its own for every path below `seed`."""
    return random.Random(derive(seed, *path))  # noqa: S311 - a search needs chance, not secrecy


def trial_seed(seed: int, number: int) -> int:
    """The seed that trial `number` trains with, whoever executes it and however often."""
    return derive(seed, "training", number)
