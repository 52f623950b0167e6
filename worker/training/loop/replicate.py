"""One model of a training, for one fold and repeat: its evaluation and its predictions."""

import copy
from dataclasses import dataclass

from torch import nn

from worker.training.build import Components
from worker.training.components.ensemble import MeanOf
from worker.training.data import SplitName
from worker.training.evaluate import evaluate
from worker.training.predictions import Predictions, predict
from worker.training.state import TrainState


@dataclass(frozen=True)
class Replicate:
    """The model of one fold and repeat, with its data, its seed and its training state."""

    components: Components
    state: TrainState

    def evaluate(self, *names: SplitName) -> dict[str, float]:
        """Return the loss and metrics of the model on those splits of `names` that its dataset has."""
        return self._evaluate(self.state.eval_model, names)

    def evaluate_snapshots(self, *names: SplitName) -> dict[str, float]:
        """Return `snapshots/…` metrics of the snapshots, as one model that averages their predictions.

        That is a snapshot ensemble (Huang et al. 2017).
        """
        models = [copy.deepcopy(self.state.eval_model) for _ in self.state.snapshots]
        for model, weights in zip(models, self.state.snapshots, strict=True):
            model.load_state_dict(weights)
        values = self._evaluate(MeanOf(models, self.components.link), names)
        return {f"snapshots/{name}": value for name, value in values.items()}

    def predict(self, name: SplitName) -> Predictions:
        """Return the model's predictions on a split."""
        components = self.components
        return predict(
            self.state.eval_model,
            components.dataset,
            name,
            components.link,
            components.autocast,
            group=components.group,
        )

    def _evaluate(self, model: nn.Module, names: tuple[SplitName, ...]) -> dict[str, float]:
        components = self.components
        return evaluate(
            model,
            components.loss,
            components.metrics,
            components.dataset,
            names,
            autocast=components.autocast,
            group=components.group,
        )
