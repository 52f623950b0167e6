"""Distillation: a loss by which a model learns what another, trained before, answers; reads that one's checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.checkpoint import load_checkpoint
from worker.training.data import Dataset
from worker.training.errors import ConfigError
from worker.training.finetune import FINETUNING
from worker.training.models import MODELS
from worker.training.parameters import Setting
from worker.training.state import require_same


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
    teacher: Annotated[str, Setting("checkpoint directory, or one checkpoint file, of a training on the same data")],
    temperature: Annotated[
        float, Setting("what both models' outputs are divided by before their softmax", low=0.0, exclusive_low=True)
    ] = 4.0,
    weight: Annotated[float, Setting("the teacher's share of the loss", low=0.0, high=1.0)] = 0.5,
    label_smoothing: Annotated[
        float, Setting("of the targets' share: probability spread evenly over all classes", low=0.0, high=1.0)
    ] = 0.0,
) -> nn.Module:
    """Cross entropy blended with what a trained teacher answers, softened (Hinton, Vinyals & Dean 2015)."""
    content = _content(Path(teacher))
    return Distillation(_teachers(content, dataset), content["origin"], temperature, weight, label_smoothing)


def _teachers(content: dict[str, Any], dataset: Dataset) -> list[nn.Module]:
    """The models that a checkpoint holds, with their best weights where those were kept; of repeats, all."""
    best, teachers = content["best"], []
    for index, member in enumerate(content["members"]):
        weights = member["model"]
        if best is not None and best["weights"] is not None:
            weights = best["weights"][index]
        elif member["average"] is not None:
            # Beside the average stands how many weights are in it.
            average = {name: each for name, each in member["average"].items() if name != "n_averaged"}
            weights = {name.removeprefix("module."): each for name, each in average.items()}
        teacher = _untrained(content["origin"], dataset)
        try:
            teacher.load_state_dict(weights)
        except RuntimeError as error:
            raise ConfigError("loss.teacher", "its weights are for other data; use one of the same inputs") from error
        teachers.append(teacher)
    return teachers


def _split(mapping: dict[str, Any]) -> dict[str, Any]:
    """What decides which examples are held out; how many of the others train is free."""
    data = {name: value for name, value in mapping["data"].items() if name not in ("limit", "bootstrap")}
    return {"data": data, "folds": mapping["folds"]}


def _untrained(origin: dict[str, Any], dataset: Dataset) -> nn.Module:
    """The model of a configuration, for this data."""

    def created(section: str, registry: Any, *context: object) -> Any:
        settings = {name: value for name, value in origin[section].items() if name != "name"}
        return registry.create(origin[section]["name"], settings, *context)

    model: nn.Module = created("model", MODELS, dataset)
    created("finetune", FINETUNING, model)  # which may add to it
    return model


def _content(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, as `Members.content` wrote it."""
    if not path.exists():
        raise ConfigError("loss.teacher", f"there is no {str(path)!r} (looked for {path.absolute()})")
    try:
        content = load_checkpoint(path) if path.is_dir() else torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise ConfigError("loss.teacher", f"{str(path)!r} can't be read as a checkpoint ({error})") from error
    if not isinstance(content, dict) or "origin" not in content:
        raise ConfigError("loss.teacher", f"{str(path)!r} holds no checkpoint of a training")
    return content
