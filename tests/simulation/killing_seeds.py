"""`python -m tests.simulation.killing_seeds`: hunts every mutant and stores the first seeds that catch it."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

from tests.simulation.hunt import WITNESSES, Caught, hunt, read_witnesses
from tests.simulation.mutants import MUTANTS

MAX_SEEDS = 50
NUM_WITNESSES = 3
"""How many worlds are written down: a change of the service moves what a seed leads to."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.killing_seeds", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MUTANT", help="the mutants to hunt (default: all)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one per core")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - {mutant.name for mutant in MUTANTS}):
        sys.exit(f"there is no mutant {unknown[0]!r}")
    hunted = [mutant for mutant in MUTANTS if not given.names or mutant.name in given.names]
    # Imported once, for what it imports of other packages: the forked processes have that then.
    importlib.import_module("tests.simulation.scenario")
    found = read_witnesses() if given.names else {}
    with ThreadPoolExecutor(given.processes) as pool:
        hunts = {pool.submit(hunt, mutant, range(1, MAX_SEEDS + 1), NUM_WITNESSES): mutant.name for mutant in hunted}
        for done in as_completed(hunts):
            name, caught = hunts[done], done.result()
            found[name] = [each.seed for each in caught]
            sys.stdout.write(f"{name}: {_told(caught)}\n")
            sys.stdout.flush()
    witnesses = {mutant.name: found[mutant.name] for mutant in MUTANTS if found.get(mutant.name)}
    lines = [f"  {json.dumps(name)}: {json.dumps(seeds)}" for name, seeds in witnesses.items()]
    WITNESSES.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return int(any(not found[mutant.name] for mutant in hunted))


def _told(caught: list[Caught]) -> str:
    """Say which worlds caught a mutant, and how the first did."""
    if not caught:
        return f"SURVIVED {MAX_SEEDS} worlds"
    seeds = ", ".join(str(each.seed) for each in caught)
    return f"caught by {seeds} of the first {MAX_SEEDS} worlds; {caught[0].violation}"


if __name__ == "__main__":
    raise SystemExit(main())
