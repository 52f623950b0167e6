"""Distillation: a loss by which a model learns what another, trained before, answers; reads that one's checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.data import Dataset
from worker.training.parameters import Setting
from worker.training.state import require_same
from worker.training.trained import models_of, read_content


class Distillation(nn.Module):
    """The cross entropy of the targets, blended in training with that of the teachers' softened probabilities.

    Called as any loss it is the cross entropy alone: what held-out examples are measured by, with or without teachers.
    """

    def __init__(
        self,
        teachers: Sequence[nn.Module],
        origin: dict[str, Any],
        temperature: float,
        weight: float,
        label_smoothing: float,
    ) -> None:
        super().__init__()
        self.origin: dict[str, Any] = origin
        self.teachers = nn.ModuleList(teachers).requires_grad_(False).eval()
        self.temperature, self.weight, self.label_smoothing = temperature, weight, label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten(), label_smoothing=self.label_smoothing)

    def require_data_of(self, now: dict[str, Any]) -> None:
        """ConfigError where the teachers' configuration may have shown them what is held out in this one."""
        require_same("loss.teacher", _split(self.origin), _split(now))

    def answers(self, features: Tensor) -> Tensor:
        """What the teachers say of a batch: their probabilities, softened, the mean over them, [..., num_classes]."""
        with torch.no_grad():
            each = [functional.softmax(teacher(features).float() / self.temperature, -1) for teacher in self.teachers]
            return torch.stack(each).mean(0)

    def blend(self, loss: Tensor, outputs: Tensor, answers: Tensor) -> Tensor:
        """A batch's loss with the teachers' share in it, a mean over examples, or tokens.

        (1 - weight) · loss + weight · T² · KL(teachers ‖ student), both softened by T: the square keeps the share's
        gradient as large whatever T is (Hinton, Vinyals & Dean 2015, section 2.1).
        """
        given = functional.log_softmax(outputs / self.temperature, -1)
        taught = functional.kl_div(given.flatten(0, -2), answers.flatten(0, -2), reduction="batchmean")
        return (1 - self.weight) * loss + self.weight * self.temperature**2 * taught


def distill(
    dataset: Dataset,
    *,
    teacher: Annotated[
        str, Setting("STUDY/TRIAL of a training on the same data, or the path of its checkpoint", names="path")
    ],
    temperature: Annotated[
        float, Setting("what both models' outputs are divided by before their softmax", low=0.0, exclusive_low=True)
    ] = 4.0,
    weight: Annotated[float, Setting("the teacher's share of the loss", low=0.0, high=1.0)] = 0.5,
    label_smoothing: Annotated[
        float, Setting("of the targets' share: probability spread evenly over all classes", low=0.0, high=1.0)
    ] = 0.0,
    folders: AllowedFolders = ANYWHERE,
) -> nn.Module:
    """Cross entropy blended with what a trained teacher answers, softened (Hinton, Vinyals & Dean 2015)."""
    content = read_content("loss.teacher", Path(teacher))
    teachers = models_of("loss.teacher", content, dataset, folders)
    return Distillation(teachers, content["origin"], temperature, weight, label_smoothing)


def _split(mapping: dict[str, Any]) -> dict[str, Any]:
    """What decides which examples are held out; how many of the others train is free."""
    data = {name: value for name, value in mapping["data"].items() if name not in ("limit", "bootstrap")}
    return {"data": data, "folds": mapping["folds"]}
