"""Exports of a bundle for other programs: they compute what the bundle predicts, for any number of examples."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from sklearn.datasets import load_diabetes, load_digits, load_wine

from worker.training import ConfigError, MissingLibrary, TrainingConfig, train
from worker.training.bundle import Bundle, bundle_of_checkpoint, load_bundle, write_bundle
from worker.training.bundle.card import card_of, interval
from worker.training.bundle.formats import write_onnx, write_safetensors, write_torch_export

BASE = {"optimizer": {"name": "adamw"}, "batch_size": 32, "epochs": 1}
TASKS: dict[str, dict[str, Any]] = {
    "rows": {"data": {"name": "wine"}, "model": {"name": "mlp", "norm": "batch"}, "loss": {"name": "cross_entropy"}},
    "folds": {"data": {"name": "wine"}, "model": {"name": "linear"}, "loss": {"name": "cross_entropy"}, "folds": 2},
    "values": {"data": {"name": "diabetes"}, "model": {"name": "mlp"}, "loss": {"name": "huber"}},
    "images": {"data": {"name": "digits"}, "model": {"name": "lenet"}, "loss": {"name": "cross_entropy"}},
}


def examples_of(task: str) -> Any:
    if task == "images":
        return load_digits().images[:7]
    return (load_diabetes() if task == "values" else load_wine()).data[:7]


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def bundle_of(task: str, folder: Path) -> Bundle:
    train(TrainingConfig.from_mapping(BASE | TASKS[task]), checkpoint_dir=folder / "c")
    return bundle_of_checkpoint(folder / "c")


@pytest.mark.prove
@pytest.mark.full
def test_torch_export_computes_what_the_bundle_predicts(task: str, tmp_path: Path):
    bundle = bundle_of(task, tmp_path)
    write_torch_export(tmp_path / "model.pt2", bundle)
    module = torch.export.load(tmp_path / "model.pt2").module()
    for count in (7, 1, 2):
        frame = examples_of(task)[:count]
        np.testing.assert_allclose(
            module(*bundle.encode(frame)).detach().numpy(), bundle.predict(frame).outputs, atol=1e-6
        )


@pytest.mark.prove
@pytest.mark.full
def test_onnx_computes_what_the_bundle_predicts(task: str, tmp_path: Path):
    import onnxruntime  # noqa: PLC0415 - slow to load

    bundle = bundle_of(task, tmp_path)
    write_onnx(tmp_path / "model.onnx", bundle)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [each.name for each in session.get_inputs()]
    assert names == (["features_0", "features_1"] if task == "folds" else ["features"])
    for count in (7, 1, 2):
        frame = examples_of(task)[:count]
        inputs = {name: each.numpy() for name, each in zip(names, bundle.encode(frame), strict=True)}
        [outputs] = session.run(["predictions"], inputs)
        expected = bundle.predict(frame).outputs
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


def test_onnx_without_its_packages_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worker.training.bundle.formats.find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match=r"format: onnx needs onnx and onnxscript, .*assayer\[export\]"):
        write_onnx(tmp_path / "model.onnx", bundle_of("rows", tmp_path))


def test_safetensors_hold_the_weights_and_the_bundles_facts(tmp_path: Path):
    bundle = bundle_of("rows", tmp_path)
    write_safetensors(tmp_path / "model.safetensors", bundle)
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    state = bundle.models[0].state_dict()
    assert {name.removeprefix("0/") for name in weights} == set(state)
    assert all(torch.equal(weights[f"0/{name}"], each) for name, each in state.items())
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        document = json.loads(file.metadata()["bundle"])
    assert (document["config"]["model"]["name"], document["datasets"]) == ("mlp", list(bundle.described))


def test_a_model_that_cannot_be_traced_names_the_format_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bundle = bundle_of("rows", tmp_path)
    monkeypatch.setattr(type(bundle.models[0]), "forward", lambda _, x: x if bool(x.sum() > 0) else -x)
    with pytest.raises(
        ConfigError, match=r"format: torch\.export can't convert the model 'mlp' .*use the format bundle"
    ):
        write_torch_export(tmp_path / "model.pt2", bundle)
    assert list(tmp_path.glob("model*")) == []


def test_the_card_shows_data_metrics_with_intervals_and_the_searchs_evidence(tmp_path: Path):
    bundle = bundle_of("rows", tmp_path)
    evidence = {
        "study": "wines", "trial": 7, "objective": "val/accuracy (maximize)", "value": "0.97",
        "num_trials": {"completed": 20, "failed": 1, "waiting": 0}, "parameters": {"optimizer.lr": 0.01},
        "metrics": {"test/accuracy": 0.9, "test/loss": 0.3}, "code": "abc", "environment": {"gpu": "none"},
    }  # fmt: skip
    card = card_of(bundle, evidence)
    size = bundle.described[0]["facts"]["sizes"]["test"]
    low, high = interval(0.9, size)
    for words in (
        "# wines, trial 7", bundle.described[0]["facts"]["fingerprint"], "class_0, class_1, class_2", f"test {size}",
        f"| test/accuracy | 0.9 | {low:.4g} to {high:.4g} (n = {size}) |", "| test/loss | 0.3 |  |",
        "20 completed, 1 failed", "`optimizer.lr`: 0.01", "optimistic", "`abc`", "gpu: none", "load_bundle",
    ):  # fmt: skip
        assert words in card
    write_bundle(tmp_path / "m.zip", bundle, card, {"evidence": evidence})
    assert load_bundle(tmp_path / "m.zip").facts["evidence"] == evidence


def test_the_interval_is_wilsons():
    # Newcombe (1998), 81 of 263: 0.2553 to 0.3662
    assert interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=5e-5)
