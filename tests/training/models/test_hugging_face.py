"""Models and tokenizers of the transformers library: what is used of them, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training import pretrained
from worker.training import ConfigError, MissingLibrary, train
from worker.training.data import DATA, Dataset, Split
from worker.training.models import MODELS
from worker.training.seeding import forked_rng

TOKENS = torch.randint(1, 9, (4, 12), generator=torch.Generator().manual_seed(0))
TEXTS = Dataset(
    "classification", {"train": Split(TOKENS, torch.arange(4) % 3)}, class_names=tuple("abc"), vocabulary=9, padding=0
)
LANGUAGE = Dataset("language", {"train": Split(TOKENS, TOKENS)}, class_names=tuple("abcdefghi"), vocabulary=9)


def create(dataset: Dataset, **settings: Any) -> torch.nn.Module:
    with forked_rng(0, torch.device("cpu")):
        return MODELS.create("transformers", MODELS.check("transformers", settings), dataset).eval()


def blocks(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in model.state_dict().items() if ".h.0." in name or "layer.0." in name}


@pytest.mark.parametrize("source", ["gpt2", "bert"])
def test_a_saved_directory_gives_its_weights_or_its_architecture(source: str, request):
    directory = request.getfixturevalue(source)
    saved = load_file(Path(directory) / "model.safetensors")
    kept, drawn = blocks(create(TEXTS, source=directory)), blocks(create(TEXTS, source=directory, pretrained=False))
    assert kept.keys() == drawn.keys()
    assert len(kept) > 10
    for name, weight in kept.items():
        assert torch.equal(weight, saved[name.removeprefix("network.")]), name
    assert not all(torch.equal(weight, drawn[name]) for name, weight in kept.items())


@pytest.mark.parametrize("source", ["gpt2", "bert"])
def test_answers_have_the_shape_of_the_data_and_see_no_padding(source: str, request):
    model = create(TEXTS, source=request.getfixturevalue(source))
    text, nothing = TOKENS[:, :6], torch.zeros(4, 6, dtype=torch.long)
    behind, before_it = torch.cat([text, nothing], 1), torch.cat([nothing, text], 1)
    # An encoder answers from where the first token stands, which in texts filled up at their beginning is nothing.
    for padded in [behind] if source == "bert" else [behind, before_it]:
        before = model(padded)
        assert before.shape == (4, 3)
        with torch.no_grad():
            model.network.get_input_embeddings().weight[0] += torch.arange(32.0)
        torch.testing.assert_close(model(padded), before)
    assert model(torch.zeros(2, 12, dtype=torch.long)).isfinite().all()


@pytest.mark.parametrize("source", ["gpt2", "bert"])
def test_no_token_of_a_language_sees_those_after_it(source: str, request):
    model = create(LANGUAGE, source=request.getfixturevalue(source))
    changed = TOKENS.clone()
    changed[:, 6] = changed[:, 6] % 8 + 1
    before, after = model(TOKENS), model(changed)
    assert before.shape == (4, 12, 9)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_tokens_of_its_own_keep_their_vectors_and_others_get_new_ones(gpt2: str):
    saved = load_file(Path(gpt2) / "model.safetensors")["transformer.wte.weight"]
    own = Dataset("language", LANGUAGE.splits, LANGUAGE.class_names, vocabulary=9, tokenizer=gpt2)
    assert torch.equal(create(own, source=gpt2).network.get_input_embeddings().weight, saved)
    new = create(LANGUAGE, source=gpt2).network.get_input_embeddings().weight
    assert new.shape == (9, 32)
    assert not torch.isclose(new, saved[:9]).any(1).all()


def reviews(tmp_path: Path) -> Path:
    """Four kinds of reviews, often; bad is what is not good."""
    lines = ["a good film,yes", "a bad film,no", "the very good book,yes", "not a good book,no", "bad,no", "good,yes"]
    path = tmp_path / "reviews.csv"
    path.write_text("text,liked\n" + "\n".join(lines * 12) + "\n")
    return path


def texts(tmp_path: Path, tokenizer: str) -> dict[str, Any]:
    path = str(reviews(tmp_path))
    return {"path": path, "text": "text", "target": "liked", "tokenizer": tokenizer, "length": 8}


def test_a_tokenizer_reads_texts_as_its_model_did(tmp_path: Path):
    for classifies, expected in ((True, [2, 10, 4, 6, 3, 0, 0, 0]), (False, [0, 0, 0, 0, 0, 8, 2, 4])):
        tokenizer = pretrained.tokenizer(tmp_path / f"{classifies}", classifies=classifies)
        dataset = DATA.create("texts", DATA.check("texts", texts(tmp_path, tokenizer)))
        split = dataset.train
        assert split.ids is not None
        assert expected in split.features[split.ids % 6 == 0].tolist()
        assert (dataset.padding, dataset.vocabulary) == (0, 12 if classifies else 10)


def test_a_tokenizer_reads_a_long_text(tmp_path: Path):
    (tmp_path / "t.txt").write_text("a good film " * 40)
    settings = {"path": str(tmp_path / "t.txt"), "length": 4}
    settings["tokenizer"] = pretrained.tokenizer(tmp_path / "t", classifies=False)
    dataset = DATA.create("text", DATA.check("text", settings))
    assert dataset.train.features[0].tolist() == [8, 2, 4, 8]
    assert dataset.train.targets[0].tolist() == [2, 4, 8, 2]
    assert dataset.class_names[8] == "a"


def test_a_pretrained_encoder_learns_reviews(bert: str, tmp_path: Path, configure):
    tokenizer = pretrained.tokenizer(tmp_path / "t", classifies=True)
    config = configure(
        data={"name": "texts", **texts(tmp_path, tokenizer)}, model={"name": "transformers", "source": bert},
        optimizer={"name": "adamw", "lr": 3e-3}, epochs=20, batch_size=8,
    )  # fmt: skip
    assert train(config).metrics["val/accuracy"] == 1.0


def test_an_incomplete_upload_is_refused(bert: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"model\.source: can't load a model for classification from '.*/gone'"):
        create(TEXTS, source=str(tmp_path / "gone"))
    long = Dataset(
        "classification", {"train": Split(torch.ones(2, 40).long(), torch.arange(2))}, ("a", "b"), vocabulary=9
    )
    with pytest.raises(ConfigError, match=r"data\.length: the model takes at most 32 tokens, not 40"):
        create(long, source=bert)
    with pytest.raises(ConfigError, match=r"data\.tokenizer: can't load a tokenizer from '.*/gone'"):
        DATA.create("texts", DATA.check("texts", texts(tmp_path, str(tmp_path / "gone"))))


@pytest.mark.parametrize(("name", "settings"), [("timm", {"arch": "resnet18"}), ("transformers", {"source": "gpt2"})])
def test_a_library_that_is_not_there_is_named_with_its_extra(name: str, settings: dict[str, Any], monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingLibrary, match=rf"model\.name: needs {name}.*pip install 'assayer\[{name}\]'"):
        MODELS.create(name, MODELS.check(name, settings), TEXTS)
