"""Fine-tuning: which weights learn, how fast and from when on; equal after an interruption."""

from pathlib import Path
from typing import Any

import pytest
import torch

from worker.training import ConfigError, Report, Verdict, train
from worker.training.build import Components, build, load
from worker.training.loop.step import set_learning_rates
from worker.training.models.finetune import FINETUNING
from worker.training.models.layers import layers_of
from worker.training.seeding import forked_rng
from worker.training.state import TrainState

DEEP = {"name": "mlp", "depth": 3, "width": 8}
CPU = torch.device("cpu")


def assembled(config) -> tuple[Components, TrainState]:
    with forked_rng(0, CPU):
        return build(config, 0, load(config, CPU)[0], {})


def moved(config, **how: Any) -> set[str]:
    """Names of the weights and statistics that a training changed."""
    with forked_rng(0, CPU):
        _, state = build(config, 0, load(config, CPU)[0], {})
    before = {name: weight.clone() for name, weight in state.model.state_dict().items()}
    after = train(config, **how).model.state_dict()
    return {name for name, weight in before.items() if not torch.equal(weight, after[name])}


@pytest.mark.parametrize(
    ("model", "num_layers", "head"),
    [
        ({"name": "linear"}, 1, [(3, 13), (3,)]),
        (DEEP, 4, [(3, 8), (3,)]),
    ],
)
def test_layers_go_from_the_input_to_the_head(model: dict[str, Any], num_layers: int, head: list[Any], configure):
    layers = layers_of(assembled(configure(model=model))[1].model)
    assert len(layers) == num_layers
    assert [tuple(weight.shape) for weight in layers[-1]] == head


@pytest.mark.parametrize(("name", "num_layers"), [("lenet", 5), ("resnet", 5), ("vit", 6), ("lstm", 2), ("gru", 2)])
def test_layers_of_models_of_images_hold_every_weight_once(name: str, num_layers: int, configure):
    model = assembled(configure(data={"name": "digits"}, model={"name": name}))[1].model
    layers = layers_of(model)
    assert len(layers) == num_layers
    held = [id(weight) for weights in layers for weight in weights]
    assert sorted(held) == sorted(id(weight) for weight in model.parameters())
    assert layers[-1][-1].shape == (10,)


def test_frozen_layers_stay_and_the_others_learn(configure):
    names = moved(configure(model=DEEP, finetune={"name": "full", "frozen": 2}))
    assert names == {"1.2.0.weight", "1.2.0.bias", "2.weight", "2.bias"}


def test_a_head_alone_learns_and_frozen_norms_keep_their_statistics(configure):
    config = configure(data={"name": "digits"}, model={"name": "resnet"}, finetune={"name": "head"}, epochs=1)
    assert moved(config) == {"7.weight", "7.bias"}
    assert train(config).metrics["num_parameters"] == 64 * 10 + 10


def test_each_layer_has_its_share_of_the_rate_whatever_the_schedule_says(configure):
    tuned = {"name": "full", "frozen": 1, "layer_decay": 0.5}
    _, state = assembled(configure(model=DEEP, optimizer={"name": "sgd", "lr": 0.8}, finetune=tuned))
    set_learning_rates(state.optimizer, 0.25)
    rates = {id(weight): group["lr"] for group in state.optimizer.param_groups for weight in group["params"]}
    by_layer = [{rates.get(id(weight)) for weight in weights} for weights in layers_of(state.model)]
    assert by_layer == [{None}, {0.05}, {0.1}, {0.2}]


def test_layers_are_unfrozen_from_the_top_down(configure):
    tuned = {"name": "full", "unfreeze_by": 0.5}
    config = configure(model=DEEP, finetune=tuned, epochs=12)
    by_epoch = [len({name.rpartition(".")[0] for name in moved(config, until_epoch=epoch)}) for epoch in (1, 3, 5, 7)]
    assert by_epoch == [1, 2, 3, 4]


def test_more_frozen_layers_than_there_are_below_the_head_are_refused(configure):
    with pytest.raises(ConfigError, match=r"finetune\.frozen: the model has 4 layers; freeze 3 at most"):
        train(configure(model=DEEP, finetune={"name": "full", "frozen": 4}))


def test_lora_adds_thin_matrices_and_changes_nothing_at_first(configure):
    config = configure(model=DEEP, finetune={"name": "lora", "rank": 2})
    components, state = assembled(config)
    _, plain = assembled(configure(model=DEEP))
    features = components.dataset.train.features
    torch.testing.assert_close(state.model.eval()(features), plain.model.eval()(features))
    assert components.trainable.num_parameters == 2 * (13 + 8) + 2 * 2 * (8 + 8) + (8 * 3 + 3)
    names = moved(config)
    assert {name for name in names if "lora" not in name} == {"2.weight", "2.bias"}
    assert len(names) == 2 * 3 + 2


def test_lora_takes_layers_by_name_and_refuses_names_of_none(configure):
    config = configure(model=DEEP, finetune={"name": "lora", "targets": ["1.2.0"], "head": False})
    assert all(name.startswith("1.2.0.lora") for name in moved(config))
    with pytest.raises(ConfigError, match=r"finetune\.targets: .*attention"):
        train(configure(model=DEEP, finetune={"name": "lora", "targets": ["attention"]}))


@pytest.mark.parametrize("name", ["prefix", "prompt"])
def test_a_text_prefix_is_for_texts(name: str, configure):
    with pytest.raises(ConfigError, match=r"finetune\.name: prefix and prompt tuning need the model transformers"):
        train(configure(finetune={"name": name}))


def test_a_text_prefix_must_fit_the_model(gpt2: str, configure, tmp_path: Path):
    config = configure(
        data=sums(tmp_path), model={"name": "transformers", "source": gpt2}, finetune={"name": "prompt", "vectors": 17}
    )
    with pytest.raises(
        ConfigError, match=r"finetune\.vectors: 17 vectors and 16 tokens exceed the model's limit of 32"
    ):
        train(config)


def sums(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "sums.txt"
    path.write_text("".join(f"{a}+{b}={a + b};" for a in range(12) for b in range(12)))
    return {"name": "text", "path": str(path), "tokens": "characters", "length": 16}


def labelled(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "texts.csv"
    path.write_text("text,sort\n" + "".join(f"{'ab'[i % 2] * (i % 5 + 3)},{i % 2}\n" for i in range(60)))
    return {"name": "texts", "path": str(path), "text": "text", "target": "sort", "length": 12}


# peft asks a model of transformers by a name that has become an alias.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(
    ("source", "data", "name"),
    [
        pytest.param(source, data, entry.name, marks=() if (at + offset) % 3 == 0 else pytest.mark.prove)
        for at, (source, data) in enumerate([("gpt2", sums), ("gpt2", labelled), ("bert", labelled)])
        # Each fine-tuning with one of the pretrained models here, and with the others in `make prove`.
        for offset, entry in enumerate(FINETUNING)
    ],
)
def test_every_fine_tuning_of_a_pretrained_model_learns_and_resumes_bit_for_bit(
    name: str, source: str, data: Any, configure, request, tmp_path: Path
):
    settings: dict[str, Any] = {"unfreeze_by": 0.5, "layer_decay": 0.8} if name == "full" else {}
    # A head alone, on features of random weights, learns little at the usual rate.
    rate = {"optimizer": {"name": "adamw", "lr": 0.03}} if name == "head" else {}
    config = configure(
        data=data(tmp_path), model={"name": "transformers", "source": request.getfixturevalue(source)},
        finetune={"name": name, **settings}, epochs=3, batch_size=8, ema_decay=0.5, **rate,
    )  # fmt: skip
    losses: list[float] = []

    def keep(report: Report) -> Verdict:
        losses.append(report.metrics["train/loss"])
        return Verdict.CONTINUE

    straight = train(config, on_report=keep)
    assert losses[-1] < losses[0]
    train(config, checkpoint_dir=tmp_path / "saved", until_epoch=1)
    resumed = train(config, checkpoint_dir=tmp_path / "saved")
    pairs = zip(straight.model.state_dict().items(), resumed.model.state_dict().values(), strict=True)
    for (key, expected), weights in pairs:
        assert torch.equal(expected, weights), key


def test_a_fork_that_tunes_otherwise_takes_the_weights_and_no_moments(configure, tmp_path: Path):
    config = configure(model=DEEP)
    train(config, checkpoint_dir=tmp_path, until_epoch=2)
    tuned = configure(model=DEEP, finetune={"name": "full", "layer_decay": 0.5})
    forked = train(tuned, checkpoint_dir=tmp_path, fork_at=2)
    assert forked.step == 6
