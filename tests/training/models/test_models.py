"""Models: the effect of their settings, and what they refuse."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn

from worker.training import ConfigError, train
from worker.training.data import DATA, Dataset, Split
from worker.training.models import MODELS
from worker.training.models.blocks import Blocks
from worker.training.seeding import forked_rng

DIGITS = DATA.create("digits", DATA.check("digits", {}))
WINE = DATA.create("wine", DATA.check("wine", {}))
TEXT = Dataset(
    "language", {"train": Split(torch.zeros(4, 10).long(), torch.zeros(4, 10).long())}, tuple("abc"), vocabulary=3
)


def create(name: str, dataset: Dataset, **settings: Any) -> nn.Module:
    with forked_rng(0, torch.device("cpu")):
        return MODELS.create(name, MODELS.check(name, settings), dataset)


def size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    "name", [entry.name for entry in MODELS if "images" in entry.facts["inputs"] and entry.name != "timm"]
)
def test_models_of_images_take_any_shape_of_them(name: str):
    pixels = Dataset("regression", {"train": Split(torch.randn(3, 2, 12, 8), torch.zeros(3, 1))})
    assert create(name, pixels)(pixels.train.features).shape == (3, 1)


@pytest.mark.parametrize("name", ["gpt", "lstm", "gru"])
def test_no_token_sees_those_after_it(name: str):
    model = create(name, TEXT).eval()
    tokens = torch.randint(0, 3, (1, 10), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 6] = (changed[0, 6] + 1) % 3
    before, after = model(tokens)[0], model(changed)[0]
    torch.testing.assert_close(before[:6], after[:6])
    assert not torch.allclose(before[6:], after[6:])


def test_depth_and_width_make_the_hidden_layers():
    assert size(create("mlp", WINE, depth=2, width=16)) == size(create("mlp", WINE, hidden=[16, 16]))
    assert size(create("mlp", WINE)) == size(create("mlp", WINE, hidden=[128]))
    assert size(create("mlp", WINE, depth=0)) == size(create("linear", WINE))


def test_hidden_layers_said_twice_are_refused():
    with pytest.raises(ConfigError, match=r"model\.hidden: can't be combined with depth or width"):
        create("mlp", WINE, hidden=[16], depth=2)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_norm_standardises_what_a_hidden_layer_gives(norm: str):
    hidden = create("mlp", WINE, norm=norm, width=64)[1][0][:2]
    values = hidden(WINE.train.features)
    dim = 0 if norm == "batch" else 1
    torch.testing.assert_close(values.mean(dim), torch.zeros_like(values.mean(dim)), atol=1e-5, rtol=0)
    assert (values.std(dim) - 1).abs().mean() < 0.02


def test_categories_are_embedded_beside_the_numbers():
    features = torch.tensor([[0.5, 0.0, 2.0], [0.5, 3.0, 1.0]])
    rows = Dataset("regression", {"train": Split(features, torch.zeros(2, 1))}, categories=(4, 3))
    model = create("linear", rows)
    assert [each.weight.shape for each in model[0].embeddings] == [(4, 2), (3, 2)]
    first, second = model[0](features)
    assert first[0] == second[0] == 0.5
    assert torch.equal(first[1:3], model[0].embeddings[0].weight[0])
    assert torch.equal(second[3:], model[0].embeddings[1].weight[1])


@pytest.mark.parametrize("name", ["mlp", "resnet", "vit"])
def test_recomputed_activations_give_the_same_gradients(name: str):
    model = create(name, DIGITS, depth=2, dropout=0.3)
    gradients = []
    for recompute in (False, True):
        for blocks in model.modules():
            if isinstance(blocks, Blocks):
                blocks.activation_checkpointing = recompute
        model.zero_grad()
        with forked_rng(1, torch.device("cpu")):
            model(DIGITS.train.features[:16]).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("name", "dataset", "settings", "message"),
    [
        ("vit", DIGITS, {"patch": 3}, r"model\.patch: images of 8 by 8 pixels can't be divided into patches of 3"),
        ("vit", DIGITS, {"heads": 5}, r"model\.heads: the width 64 is not a multiple of 5 heads"),
        ("gpt", TEXT, {"heads": 3}, r"model\.heads: the width 128 is not a multiple of 3 heads"),
    ],
)
def test_settings_that_do_not_go_together(name: str, dataset: Dataset, settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        create(name, dataset, **settings)


def test_a_model_for_other_inputs_is_refused(configure):
    with pytest.raises(
        ConfigError, match=r"model\.name: lenet is for images, but the data is for rows; use linear or mlp"
    ):
        train(configure(model={"name": "lenet"}))


@pytest.mark.parametrize(
    ("name", "at_least"),
    [
        ("lenet", 0.96),
        pytest.param("resnet", 0.96, marks=pytest.mark.prove),
        ("vit", 0.93),
        ("lstm", 0.93),
        pytest.param("gru", 0.93, marks=pytest.mark.prove),
    ],
)
def test_models_of_images_learn_the_digits(name: str, at_least: float, configure):
    settings = {"width": 64} if name in ("lstm", "gru") else {"depth": 2} if name == "vit" else {}
    config = configure(
        data={"name": "digits"}, model={"name": name, **settings}, batch_size=64, epochs=12,
        optimizer={"name": "adamw", "lr": 0.005},
    )  # fmt: skip
    assert train(config).metrics["val/accuracy"] >= at_least


@pytest.mark.parametrize("name", ["gpt", "lstm", pytest.param("gru", marks=pytest.mark.prove)])
def test_models_of_tokens_learn_a_language(name: str, configure, tmp_path):
    sums = "".join(f"{a}+{b}={a + b};" for a in range(40) for b in range(40))
    (tmp_path / "sums.txt").write_text(sums)
    settings = {"depth": 2, "width": 64} if name == "gpt" else {"width": 64}
    config = configure(
        data={"name": "text", "path": str(tmp_path / "sums.txt"), "tokens": "characters", "length": 32},
        model={"name": name, **settings}, batch_size=16, epochs=10, optimizer={"name": "adamw", "lr": 0.01},
    )  # fmt: skip
    counts = np.array([sums.count(each) for each in set(sums)])
    of_frequencies = np.exp(entropy(counts))
    assert train(config).metrics["val/perplexity"] < 0.6 * of_frequencies
