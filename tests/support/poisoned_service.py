"""`assayer serve` with a clock that a test moves, and samplers that misbehave by the seed of their study.

python -m tests.support.poisoned_service CLOCK serve …      CLOCK: a file with the seconds that the clock is ahead
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.__main__ import main
from service.domain.history import History, Suggestion
from service.search.samplers.random import RandomSampler
from service.storage.dialect import Postgres, Sqlite

RAISES, HANGS, SPINS, NO_NUMBER, NO_JSON, EXITS, STOPS, HUNGRY = range(1001, 1009)
"""Seeds of hostile studies."""


def _misbehave(seed: int) -> dict[str, Any] | None:
    match seed:
        case 1001:
            raise KeyError("weights")
        case 1002:
            time.sleep(3600)
        case 1003:
            while True:  # keeps the interpreter's lock as busy as Python code can
                pass
        case 1004:
            return {"x": float("nan")}
        case 1005:
            return {"x": object()}
        case 1006:
            sys.exit("a sampler that leaves")
        case 1007:
            next(iter(()))
        case 1008:
            bytearray(1 << 62)
    return None


def poison() -> None:
    suggest: Callable[[RandomSampler, History, int, int], Suggestion] = RandomSampler.suggest

    def suggesting(sampler: RandomSampler, history: History, number: int, seed: int) -> Suggestion:
        parameters = _misbehave(seed)
        return suggest(sampler, history, number, seed) if parameters is None else Suggestion(parameters, "hostile")

    RandomSampler.suggest = suggesting  # type: ignore[method-assign]


def move_clock(ahead: Path) -> None:
    def moved(now: Callable[[Any, sa.Connection], int]) -> Callable[[Any, sa.Connection], int]:
        return lambda dialect, connection: now(dialect, connection) + int(ahead.read_text()) * 1_000_000

    for dialect in (Sqlite, Postgres):
        dialect.now = moved(dialect.now)  # type: ignore[method-assign]


if __name__ == "__main__":
    poison()
    move_clock(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
