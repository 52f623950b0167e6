"""`python -m tests.simulation`: many worlds, or one again by its seed: what was wrong, and how fast it went."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.world import Result, play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many worlds (default: 300)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--seed", type=int, help="run this world only and tell its digest")
    given = parser.parse_args()
    began_at = time.perf_counter()
    seeds = [given.seed] if given.seed is not None else range(given.first, given.first + given.seeds)
    results: list[Result] = []
    for seed in seeds:
        result = play(seed)
        results.append(result)
        if result.violations:
            _say(f"seed {seed} breaks a promise:")
            for violation in result.violations[:20]:
                _say(f"  {violation}")
            _say(f"replay: python -m tests.simulation --seed {seed}")
            break
    seconds = time.perf_counter() - began_at
    num_trials = sum(result.num_trials for result in results)
    _say(
        f"{len(results)} worlds, {num_trials} trials, {sum(result.num_attempts for result in results)} attempts, "
        f"{sum(result.num_answers for result in results)} answers in {seconds:.1f} s: "
        f"{num_trials / seconds:.0f} trials per second, simulated {sum(r.seconds for r in results) / 3600:.1f} hours"
    )
    if given.seed is not None:
        _say(f"digest {results[0].digest}")
    return int(any(result.violations for result in results))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    raise SystemExit(main())
