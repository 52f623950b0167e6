"""Plays many scenarios, in this process or in several."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.simulation.scenario import Result, play


@dataclass(frozen=True)
class Played:
    """A world and the processor's seconds that it took."""

    result: Result
    seconds: float


def many(seeds: Sequence[int], num_processes: int) -> Iterator[Played]:
    """Play the worlds of these seeds, in their order."""
    if num_processes == 1 or len(seeds) == 1:
        yield from map(timed, seeds)
        return
    with ProcessPoolExecutor(num_processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(timed, seeds, chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


def timed(seed: int) -> Played:
    """Play one world."""
    began_at = time.process_time()
    result = play(seed)
    return Played(result, time.process_time() - began_at)
