"""A program that is sound, or broken in the place that its first argument names, as a command of a preflight."""

from __future__ import annotations

import random
import sys


def main(fault: str, options: dict[str, float]) -> None:
    if fault == "raises":
        raise SystemExit("no such dataset")
    rate = 0.05 if fault == "ignores" else options["rate"]
    noise = random.random() if fault == "unseeded" else 0.0
    x = options["start"]
    for step in range(1, 6):
        x -= rate * 2 * x
        sys.stdout.write(f"step {step} {'score' if fault == 'other name' else 'loss'} {x * x + noise}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    pairs = [word.removeprefix("--").split("=") for word in sys.argv[2:]]
    main(sys.argv[1], {name: float(value) for name, value in pairs})
