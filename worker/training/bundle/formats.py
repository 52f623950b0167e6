"""Exports of a bundle's models for other programs: safetensors, ONNX and torch.export."""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from worker.training.bundle.bundle import Bundle
from worker.training.bundle.bundle_file import document_of, weights_of
from worker.training.components.link import LINKS
from worker.training.data import Dataset
from worker.training.errors import ConfigError, MissingLibrary

_NUM_EXAMPLES = 3
"""The size of the batch that an export is traced with; the exported model takes any size."""


class ExportedModel(nn.Module):
    """All models of a bundle as one: from encoded features to the mean of their probabilities or values.

    For cross-validation there is an input for each fold, because each fold has a preprocessing of its own.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.models = nn.ModuleList(bundle.models)
        self._datasets: Sequence[Dataset] = bundle.datasets
        self._link = LINKS[bundle.link]
        for index, dataset in enumerate(bundle.datasets):
            if dataset.pixel_mean is not None and dataset.pixel_std is not None:
                self.register_buffer(f"pixel_mean_{index}", dataset.pixel_mean)
                self.register_buffer(f"pixel_std_{index}", dataset.pixel_std)

    def forward(self, *features: Tensor) -> Tensor:
        """Map the encoded features of each fold to probabilities [n, num_classes], values [n] or scores [n, rows]."""
        total: Tensor | None = None
        for index, model in enumerate(self.models):
            fold = index % len(self._datasets)
            dataset, inputs = self._datasets[fold], features[fold]
            if dataset.pixel_mean is not None:
                inputs = (inputs - getattr(self, f"pixel_mean_{fold}")) / getattr(self, f"pixel_std_{fold}")
            outputs = model(inputs).float()
            if dataset.kind in ("classification", "language"):
                outputs = self._link.inverse(outputs)
            elif dataset.kind == "regression":
                outputs = outputs.squeeze(1) * dataset.target_std + dataset.target_mean
            total = outputs if total is None else total + outputs
        assert total is not None
        return total / len(self.models)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs: `features`, or `features_0` and so on for the folds."""
        count = len(self._datasets)
        return ["features"] if count == 1 else [f"features_{index}" for index in range(count)]

    @property
    def examples(self) -> tuple[Tensor, ...]:
        """A small batch of zeros for each input."""
        splits = [dataset.train.features for dataset in self._datasets]
        return tuple(torch.zeros(_NUM_EXAMPLES, *each.shape[1:], dtype=each.dtype) for each in splits)


def write_safetensors(path: Path, bundle: Bundle, extra: dict[str, Any] | None = None) -> None:
    """Write the weights of all models; the metadata `bundle` holds the rest of the bundle as JSON."""
    metadata = {"bundle": json.dumps(document_of(bundle, extra), ensure_ascii=False)}
    _write(path, lambda partial: safetensors.torch.save_file(weights_of(bundle.models), partial, metadata))


def write_torch_export(path: Path, bundle: Bundle) -> None:
    """Write the models as one program, which `torch.export.load(path).module()` runs without Assayer.

    Raises:
        ConfigError: torch can't trace the model.
    """
    model = ExportedModel(bundle).eval()
    try:
        program = torch.export.export(model, model.examples, dynamic_shapes=(_dynamic(model),))
    except Exception as error:
        raise _untraceable(bundle, "torch.export", error) from error
    _write(path, lambda partial: torch.export.save(program, partial), suffix=".pt2")


def write_onnx(path: Path, bundle: Bundle) -> None:
    """Write the models as one ONNX graph from encoded features to probabilities or values.

    Raises:
        MissingLibrary: onnx or onnxscript is not installed.
        ConfigError: torch can't convert the model.
    """
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise MissingLibrary(
            "format", f"onnx needs {' and '.join(missing)}, which is not installed; pip install 'assayer[export]'"
        )
    model = ExportedModel(bundle).eval()
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                model.examples,
                input_names=model.input_names,
                output_names=["predictions"],
                dynamic_shapes=(_dynamic(model),),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        raise _untraceable(bundle, "torch.onnx", error) from error
    assert program is not None
    _write(path, program.save)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings about its own code and about torchvision from a user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _dynamic(model: ExportedModel) -> tuple[dict[int, Any], ...]:
    batch = torch.export.Dim("batch", min=1)
    return tuple({0: batch} for _ in model.examples)


def _untraceable(bundle: Bundle, tool: str, error: Exception) -> ConfigError:
    name = bundle.config["model"]["name"]
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ConfigError("format", f"{tool} can't convert the model {name!r} ({reason}); use the format bundle")


def _write(path: Path, save: Any, suffix: str = ".partial") -> None:
    partial = path.with_name(f"{path.name}.partial{'' if suffix == '.partial' else suffix}")
    try:
        save(str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
