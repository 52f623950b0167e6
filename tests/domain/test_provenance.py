"""Provenance: attempts are compared with the study's first one; unknown values are not compared."""

from __future__ import annotations

import pytest

from service.contract.capabilities import Capabilities
from service.contract.catalogue import load_catalogue
from service.domain.provenance import code_for, code_mismatch, code_warning, data_warning
from tests.usecases.replica import spec_of

OURS, THEIRS = "a" * 64, "b" * 64
SAME = spec_of(code_policy="same")


def test_different_code_is_reported_with_both_workers() -> None:
    assert code_warning(OURS, THEIRS) == "trained with code bbbbbbbbbbbb; the study began with aaaaaaaaaaaa"


@pytest.mark.parametrize(("expected", "found"), [(OURS, OURS), (None, OURS), (OURS, None), (None, None)])
def test_equal_and_unknown_values_are_no_difference(expected: str | None, found: str | None) -> None:
    assert code_warning(expected, found) is None
    assert code_mismatch(SAME, expected, found) is None
    assert data_warning(SAME, expected, found) is None


def test_only_a_study_of_one_code_refuses_another() -> None:
    assert code_mismatch(spec_of(), OURS, THEIRS) is None
    reason = code_mismatch(SAME, OURS, THEIRS) or ""
    assert "began with code aaaaaaaaaaaa, this worker has bbbbbbbbbbbb; install here" in reason


def test_modules_of_a_worker_are_part_of_its_code_where_a_study_chooses_what_they_add() -> None:
    train = {"data": {"name": "digits"}, "loss": {"name": "mse"}, "optimizer": {"name": "sgd"}}
    offered = Capabilities(code=OURS, custom_code=THEIRS)
    for model, code in (("mlp", OURS), ("mine", THEIRS)):
        spec = spec_of(task={"train": train | {"model": {"name": model}}})
        assert code_for(spec, offered, load_catalogue()) == code


def test_code_of_the_user_s_own_is_not_the_worker_s() -> None:
    own = spec_of(code_policy="same", task={"function": "mine:train"})
    assert code_for(own, Capabilities(code=OURS, custom_code=THEIRS), load_catalogue()) is None


def test_where_the_space_chooses_the_data_it_may_differ() -> None:
    chooses = spec_of(space={"data.path": {"type": "categorical", "choices": ["a.csv", "b.csv"]}})
    assert data_warning(chooses, OURS, THEIRS) is None
    assert data_warning(spec_of(), OURS, THEIRS) == "trained on data bbbbbbbbbbbb; the study began with aaaaaaaaaaaa"
