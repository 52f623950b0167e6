"""The study file of a drafted follow-up study: every change below its reason, and valid as it is."""

from __future__ import annotations

from pathlib import Path

from service.cli.draft_file import draft_file
from service.client import study_file
from service.contract.finding import Confidence
from service.contract.remedy import DraftedChange, FollowUpDraft
from service.contract.study import StudySpec

SPEC = StudySpec.model_validate(
    {
        "name": "digits-2",
        "description": "Follow-up of digits: best_at_border",
        "objective": {"metric": "val/accuracy", "direction": "maximize"},
        "task": {
            "train": {
                "data": {"name": "digits"},
                "model": {"name": "mlp"},
                "loss": {"name": "cross_entropy"},
                "optimizer": {"name": "sgd"},
                "epochs": 40,
            }
        },
        "space": {
            "optimizer.lr": {"type": "float", "low": 1e-3, "high": 10.0, "log": True},
            "model.dropout": {"type": "float", "low": 0.0, "high": 0.6},
        },
        "budget": {"trials": 20},
    }
)


def change(path: str, reason: str, trial: int | None = None) -> DraftedChange:
    return DraftedChange(path=path, reason=reason, rule="r", trial=trial, confidence=Confidence.HIGH)


def test_each_change_stands_below_its_reason(tmp_path: Path) -> None:
    changes = [
        change("space.optimizer.lr.high", "Widen\nthe range."),
        change("space.model.dropout", "Add dropout.", trial=3),
        change("task.train.epochs", "Train longer. " * 12),
    ]
    draft = FollowUpDraft(study="digits", spec=SPEC, changes=changes, notes=["left out: Lower the rate."])
    text = draft_file(draft, "digits-2.yaml")
    lines = text.splitlines()
    assert lines[0] == "# Drafted from the findings about digits. Read it, then: study create digits-2.yaml"
    assert lines[1] == "# left out: Lower the rate."
    at = lines.index("    # space.optimizer.lr.high: Widen the range. (finding r, high confidence)")
    assert lines[at + 1] == "    high: 10.0"
    at = lines.index("  # space.model.dropout: Add dropout. (finding r about trial 3, high confidence)")
    assert lines[at + 1] == "  model.dropout:"
    at = lines.index("    epochs: 40")
    assert lines[at - 1].startswith("    # ")
    assert max(map(len, lines)) <= 114
    path = tmp_path / "digits-2.yaml"
    path.write_text(text, encoding="utf-8")
    assert study_file.load(path) == SPEC


def test_a_change_to_a_default_stands_at_the_nearest_written_setting() -> None:
    draft = FollowUpDraft(study="digits", spec=SPEC, changes=[change("pruner.warmup_steps", "Prune later.")])
    assert "Prune later" not in draft_file(draft, "x.yaml").partition("\nname")[0]
