"""Texts with classes: their tokens, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from worker.training import ConfigError
from worker.training.data import DATA, Dataset


def load(file: Path, **given: Any) -> Dataset:
    return DATA.create("texts", DATA.check("texts", {"path": str(file), "text": "says", "target": "mood", **given}))


@pytest.fixture
def moods(tmp_path: Path) -> Path:
    """Forty sentences; those of training are glad or sad, and each has a number."""
    rows = [f'"I am {("glad", "Sad")[row % 2]}, {row}!",{("good", "bad")[row % 2]}' for row in range(40)]
    path = tmp_path / "moods.csv"
    path.write_text("\n".join(["says,mood", *rows]) + "\n")
    return path


def test_bytes_fill_the_end_of_a_row(moods: Path):
    dataset = load(moods, length=20)
    assert (dataset.kind, dataset.inputs, dataset.shape, dataset.vocabulary) == ("classification", "tokens", (20,), 258)
    assert dataset.class_names == ("bad", "good")
    ids = dataset.train.ids
    assert ids is not None
    for row, index in zip(dataset.train.features.tolist(), ids.tolist(), strict=True):
        text = f"I am {('glad', 'Sad')[index % 2]}, {index}!".encode()
        assert row == [0] * (20 - len(text)) + [2 + byte for byte in text]


def test_a_long_text_loses_its_end(moods: Path):
    assert all(bytes(token - 2 for token in row) == b"I am" for row in load(moods, length=4).train.features.tolist())


def test_words_are_those_of_training_the_most_frequent_first(moods: Path):
    dataset = load(moods, tokens="words", length=7, words=6)
    # Of 24 training texts each has these four; glad and sad are in 12; numbers in one each.
    everywhere = {2, 3, 4, 5}
    assert dataset.vocabulary == 2 + 6
    for part in dataset.splits.values():
        for row in part.features.tolist():
            assert row[0] == 0, "six tokens at the end of seven"
            assert everywhere <= set(row)
            assert row[5] == 1, "a number, which is not among the six"
    assert torch.equal(
        dataset.train.features[:, 3] == dataset.train.features[0, 3],
        dataset.train.targets == dataset.train.targets[0],
    )


def test_words_that_training_never_saw_are_unknown(moods: Path):
    # Its 24 texts have six words and signs in common, and a number each.
    assert load(moods, tokens="words").vocabulary == 2 + 6 + 24


def test_other_alphabets_are_words_too(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("says,mood\n" + "하늘이 파랗다,good\n땅이 검다,bad\n" * 20)
    assert load(path, tokens="words", length=3).vocabulary == 2 + 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": "say"}, r"data\.text: there is no column 'say'; did you mean 'says'\?"),
        ({"target": "moot"}, r"data\.target: there is no column 'moot'; did you mean 'mood'\?"),
        ({"path": "no.csv"}, r"data\.path: there is no file 'no\.csv'"),
        ({"tokens": "letters"}, r"data\.tokens: unknown choice 'letters'"),
    ],
)
def test_a_fault_names_its_setting(moods: Path, given: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        load(moods, **given)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,a\n2,b\n" * 9, r"data\.text: column 'says' holds int64, not texts"),
        (",a\nx,b\n" * 9, r"data\.text: column 'says' lacks a value in 9 rows"),
        ("x,\ny,b\n" * 9, r"data\.target: column 'mood' lacks a value in 9 rows"),
        ("x,b\ny,b\n" * 9, r"data\.target: the training examples have only the class b"),
    ],
)
def test_contents_that_cannot_be_learned_from(tmp_path: Path, rows: str, message: str):
    path = tmp_path / "t.csv"
    path.write_text("says,mood\n" + rows)
    with pytest.raises(ConfigError, match=message):
        load(path)
