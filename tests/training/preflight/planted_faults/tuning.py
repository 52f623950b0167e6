"""The planted faults that thresholds may be tuned on."""

from __future__ import annotations

from tests.training.preflight.planted_faults.fault import Fault

FAULTS = [
    Fault(1, "one output too many", {"model": {"name": "one_output_too_many"}}),
    Fault(1, "wrong input width", {"model": {"name": "wrong_input_width"}}),
    Fault(1, "softmax before the loss", {"model": {"name": "softmax_outputs"}}),
    Fault(2, "last layer a hundred times too large", {"model": {"name": "huge_head"}}),
    Fault(2, "loss summed over the batch", {"loss": {"name": "summed"}}),
    Fault(3, "optimizer that ascends", {"optimizer": {"name": "ascends"}}),
    Fault(3, "input ignored", {"model": {"name": "ignores_its_input"}}),
    Fault(4, "rates searched far above the useful ones", space={"optimizer.lr": [30.0, 3000.0]}),
    Fault(4, "rates searched far below the useful ones", space={"optimizer.lr": [1e-11, 1e-8]}),
    Fault(5, "dead ReLUs by initialisation", {"model": {"name": "dead_relus"}}),
    Fault(5, "gradient vanishes in sigmoids", {"model": {"name": "deep_sigmoids"}}),
    Fault(5, "tanh saturated by its first layer", {"model": {"name": "saturated_tanh"}}),
    Fault(6, "widest model fits no memory", space={"model.width": [16, 10_000_000]}, changes={
        "model": {"name": "mlp", "depth": 2, "width": 64}}),
    Fault(6, "activations of the widest model fit no memory", {"model": {"name": "pairs"}},
          {"model.width": [16, 1_000_000]}),
    Fault(7, "running mean lost by the checkpoint", {"model": {"name": "lost_running_mean"}}),
    Fault(7, "noise without a seed", {"model": {"name": "unseeded_noise"}}),
    Fault(7, "dropout in evaluation", {"model": {"name": "dropout_in_evaluation"}}),
    Fault(8, "a third of validation leaked", {"data": {"name": "leaked_duplicates"}}),
    Fault(8, "validation shifted", {"data": {"name": "shifted_validation"}, "batch_size": 32}),
    Fault(8, "features not standardised", {"data": {"name": "raw_features"}, "batch_size": 32}),
    Fault(9, "width ignored", {"model": {"name": "ignores_width"}}, {"model.width": [16, 64]}),
    Fault(9, "smoothing ignored", {"loss": {"name": "ignores_smoothing"}}, {"loss.smoothing": [0.0, 0.3]}),
]  # fmt: skip
