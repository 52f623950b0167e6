"""The first losses of one small training per kind of task, written down: no refactoring may change the maths unseen.

Where a change is meant to alter them, `python -m tests.training.test_golden` prints the new ones, and the commit says
why they moved. Processors and numbers of threads differ in digits that are not told here.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from worker.training import Report, TrainingConfig, Verdict, train

DATA = Path(__file__).parents[2] / "examples" / "data"
ADAMW = {"name": "adamw", "lr": 0.003}
TABLE = {"name": "csv", "path": str(DATA / "diabetes.csv"), "target": "progression"}
NUMBERS = {"name": "texts", "path": str(DATA / "numbers.csv"), "text": "number", "target": "language", "length": 24}
WARDS = {"name": "csv", "path": str(DATA / "wards.csv"), "target": "urgency", "query": "ward"}
IMAGES = {"name": "digits", "limit": 200}
CROSS_ENTROPY = {"name": "cross_entropy"}
MLP = {"name": "mlp", "hidden": [16]}

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "rows to classify": {"data": {"name": "wine"}, "model": MLP | {"dropout": 0.2}, "loss": CROSS_ENTROPY},
    "rows to measure": {"data": TABLE, "model": MLP, "loss": {"name": "huber"}, "ema_decay": 0.9},
    "images": {
        "data": IMAGES, "model": {"name": "resnet", "width": 8}, "loss": {"name": "focal", "balance": 0.5},
        "augment": {"name": "images", "crop": 1, "mixup": 0.2}, "optimizer": {"name": "sgd", "lr": 0.05},
        "schedule": {"name": "constant"},
    },
    "texts": {
        "data": NUMBERS, "model": {"name": "gpt", "depth": 1, "width": 16}, "loss": {"name": "cross_entropy"},
        "clip_norm": 1.0, "schedule": {"name": "cosine", "warmup": 0.2},
    },
    "language": {
        "data": {"name": "text", "length": 16}, "model": {"name": "gpt", "depth": 1, "width": 16},
        "loss": CROSS_ENTROPY,
    },
    "queries": {"data": WARDS, "model": MLP, "loss": {"name": "ranknet"}, "batch_size": 8},
    "folds": {"data": {"name": "wine"}, "model": MLP, "loss": CROSS_ENTROPY, "folds": 3, "l1": 1e-4},
}  # fmt: skip
GOLDEN: dict[str, list[tuple[float, float]]] = {
    "rows to classify": [(1.16518, 1.16328), (1.09859, 1.09394), (1.03743, 1.03153)],
    "rows to measure": [(0.355704, 0.370818), (0.309349, 0.322369), (0.273646, 0.28652)],
    "images": [(1.85307, 1.97474), (1.73951, 1.83501), (1.59988, 1.68094)],
    "texts": [(0.790058, 0.865652), (0.536584, 0.569867), (0.473417, 0.508259)],
    "language": [(5.01754, 5.12928), (4.66193, 4.7664), (4.38243, 4.49865)],
    "queries": [(0.558992, 0.528781), (0.52889, 0.494902), (0.501989, 0.464191)],
    "folds": [(1.07713, 1.05836), (1.02089, 1.00421), (0.968215, 0.953508)],
}


def losses(name: str, directory: Path) -> list[tuple[float, float]]:
    """train/loss and val/loss of the first three epochs."""
    mapping = {"optimizer": ADAMW, "batch_size": 32, "epochs": 3} | CONFIGURATIONS[name]
    if name == "language":
        text = directory / "sums.txt"
        text.write_text("".join(f"{a}+{b}={a + b};" for a in range(12) for b in range(20)))
        mapping["data"] = mapping["data"] | {"path": str(text)}
    told: list[tuple[float, float]] = []

    def note(report: Report) -> Verdict:
        told.append((report.metrics["train/loss"], report.metrics["val/loss"]))
        return Verdict.CONTINUE

    train(TrainingConfig.from_mapping(mapping), seed=1, on_report=note)
    return told


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_losses_are_those_written_down(name: str, tmp_path: Path):
    measured = [value for both in losses(name, tmp_path) for value in both]
    assert measured == pytest.approx([value for both in GOLDEN[name] for value in both], rel=2e-5)


def main() -> None:
    """Print what GOLDEN should be."""
    with TemporaryDirectory() as directory:
        for name in CONFIGURATIONS:
            pairs = ", ".join(f"({one:.6g}, {other:.6g})" for one, other in losses(name, Path(directory)))
            sys.stdout.write(f'    "{name}": [{pairs}],\n')


if __name__ == "__main__":
    main()
