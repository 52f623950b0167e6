"""Knowledge distillation: a loss by which a model learns from a trained teacher, which is read from a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.checkpoints.load import models_of, read_content, require_same
from worker.training.data import Dataset
from worker.training.parameters import Setting

_OF_TRAINING = {"limit", "bootstrap", "train_fraction", "train_fraction_seed"}
"""The settings of `data` that choose training examples."""


class Distillation(nn.Module):
    """Cross entropy of the targets, blended in training with that of the teachers' softened probabilities.

    Calling the module returns the cross entropy alone, so that held-out examples are measured alike with and without
    teachers. Source: Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network".

    Attributes:
        origin: the configuration of the teachers' training.
        teachers: the trained models, frozen and in evaluation mode.
        temperature: T > 0, by which logits are divided before the softmax.
        weight: the teachers' share of the loss, in [0, 1].
        label_smoothing: the probability spread evenly over all classes, in [0, 1).
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
        """Return the mean cross entropy of logits [..., num_classes] and class indices [...]."""
        return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten(), label_smoothing=self.label_smoothing)

    def require_data_of(self, config: dict[str, Any]) -> None:
        """Raise ConfigError if the teachers may have trained on examples that `config` holds out."""
        require_same("loss.teacher", _split(self.origin), _split(config))

    def teacher_probabilities(self, features: Tensor) -> Tensor:
        """Return the teachers' softened probabilities for a batch, averaged over the teachers, [..., num_classes]."""
        with torch.no_grad():
            probabilities = [
                functional.softmax(teacher(features).float() / self.temperature, -1) for teacher in self.teachers
            ]
            return torch.stack(probabilities).mean(0)

    def blend(self, loss: Tensor, outputs: Tensor, probabilities: Tensor) -> Tensor:
        """Return a batch's loss with the teachers' share: a mean over examples, or over tokens.

        It is (1 - weight) · loss + weight · T² · KL(teachers ‖ student), with both distributions softened by T. The
        factor T² keeps the size of the share's gradient independent of T (Hinton, Vinyals & Dean 2015, section 2.1).

        Args:
            loss: the batch's loss on its targets, a scalar.
            outputs: the student's logits, [..., num_classes].
            probabilities: the teachers' probabilities as `teacher_probabilities` returns them, [..., num_classes].
        """
        log_probabilities = functional.log_softmax(outputs / self.temperature, -1)
        divergence = functional.kl_div(
            log_probabilities.flatten(0, -2), probabilities.flatten(0, -2), reduction="batchmean"
        )
        return (1 - self.weight) * loss + self.weight * self.temperature**2 * divergence


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
        float,
        Setting("of the targets' share: probability spread evenly; with 1 no label is left", low=0.0, high=0.99),
    ] = 0.0,
    folders: AllowedFolders = ANYWHERE,
) -> nn.Module:
    """Knowledge distillation: cross entropy blended with a trained teacher's softened outputs (Hinton et al. 2015)."""
    content = read_content("loss.teacher", Path(teacher))
    teachers = models_of("loss.teacher", content, [dataset], folders)
    return Distillation(teachers, content["origin"], temperature, weight, label_smoothing)


def _split(mapping: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide which examples are held out; the number of training examples may differ."""
    data = {name: value for name, value in mapping["data"].items() if name not in _OF_TRAINING}
    return {"data": data, "folds": mapping["folds"]}
