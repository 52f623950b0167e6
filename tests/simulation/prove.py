"""`python -m tests.simulation.prove`: hunt every mutant, and write down the first seed that catches each."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.simulation.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
WITNESSES = Path(__file__).with_name("witnesses.json")
MAX_SEEDS = 50


class StaleMutantError(Exception):
    """A mutant does not fit the code any more; says which, and where."""


def plant(mutant: Mutant, folder: Path) -> None:
    """Make a copy of what the simulation runs in `folder`, with the mutant's edits.

    Raises:
        StaleMutantError: what an edit replaces is not there exactly once.
    """
    ignored = shutil.ignore_patterns("__pycache__", "dashboard")
    shutil.copytree(ROOT / "service", folder / "service", ignore=ignored)
    shutil.copytree(ROOT / "alembic", folder / "alembic", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "simulation", folder / "tests" / "simulation", ignore=ignored)
    for edit in mutant.edits:
        path = folder / edit.path
        text = path.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            raise StaleMutantError(
                f"mutant {mutant.name!r} no longer applies: {edit.path} has what it replaces {text.count(edit.old)} "
                "times; write it anew for the code as it is"
            )
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def hunt(mutant: Mutant, first: int, num_seeds: int) -> tuple[int | None, str]:
    """The first seed whose world catches the mutant, if any does, and what the simulation said."""
    with tempfile.TemporaryDirectory() as name:
        plant(mutant, Path(name))
        seeds = ["--first", str(first), "--seeds", str(num_seeds), "--processes", "1", "--fail-fast"]
        command = [sys.executable, "-m", "tests.simulation", *seeds]
        done = subprocess.run(command, cwd=name, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    caught = re.search(r"^seed (\d+) breaks a promise", said, flags=re.MULTILINE)
    if done.returncode not in {0, 1} or (done.returncode == 1 and caught is None):
        raise RuntimeError(f"the simulation of {mutant.name!r} broke down:\n{said[-4000:]}")
    return (int(caught[1]) if caught else None), said


def main() -> int:
    wanted = sys.argv[1:]
    if unknown := sorted(set(wanted) - {mutant.name for mutant in MUTANTS}):
        sys.exit(f"there is no mutant {unknown[0]!r}")
    known: dict[str, int] = json.loads(WITNESSES.read_text(encoding="utf-8")) if WITNESSES.exists() else {}
    hunted = [mutant for mutant in MUTANTS if not wanted or mutant.name in wanted]
    found: dict[str, int | None] = {name: seed for name, seed in known.items() if wanted}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hunts = {pool.submit(hunt, mutant, 1, MAX_SEEDS): mutant.name for mutant in hunted}
        for done in as_completed(hunts):
            name, (seed, said) = hunts[done], done.result()
            found[name] = seed
            reason = next(line.strip() for line in said.splitlines() if line.startswith("  ")) if seed else ""
            caught = f"seed {seed} {reason}" if seed else f"SURVIVED {MAX_SEEDS} worlds"
            sys.stdout.write(f"{name}: {caught}\n")
            sys.stdout.flush()
    witnesses = {mutant.name: found[mutant.name] for mutant in MUTANTS if found.get(mutant.name)}
    WITNESSES.write_text(json.dumps(witnesses, indent=2) + "\n", encoding="utf-8")
    return int(any(found[mutant.name] is None for mutant in hunted))


if __name__ == "__main__":
    raise SystemExit(main())
