"""Groups of examples: the tests are SciPy's, noise is silent, a real difference is told, and gains are exact."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from service.cli.errors.group_comparison import compare, wilson
from service.cli.errors.groups import by_range, by_value, category, columns_beyond_noise, compared, groups_of_columns
from service.cli.errors.model_errors import ModelErrors, errors_of, errors_of_queries
from service.cli.errors.predictions import SplitPredictions

CLASSES = ("no", "yes")


def mistakes(wrong: np.ndarray, metric: str = "accuracy") -> ModelErrors:
    """The errors of a model of two classes that is wrong where `wrong` says so."""
    targets = np.arange(len(wrong)) % 2
    outputs = np.eye(2)[np.where(wrong, 1 - targets, targets)]
    return errors_of(SplitPredictions(np.arange(len(wrong)), CLASSES, targets, outputs), metric)


def test_the_tests_are_scipys() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        num = int(draw.integers(20, 200))
        group, wrong = draw.random(num) < 0.3, draw.random(num) < 0.15
        if not group.any():
            continue
        found = compare(wrong.astype(float), group, are_mistakes=True)
        assert found is not None
        table = [[int((wrong & each).sum()), int((~wrong & each).sum())] for each in (group, ~group)]
        tails = [stats.fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
        assert found.p_value == pytest.approx(min(1, 2 * min(tails)))
        interval = stats.binomtest(table[0][0], int(group.sum())).proportion_ci(method="wilson")
        assert wilson(found.error, int(group.sum())) == pytest.approx((interval.low, interval.high))
    errors = draw.exponential(size=100).round(1)  # with ties
    group = np.arange(100) < 40
    errors[group] += 1.0
    of_values = compare(errors, group, are_mistakes=False)
    assert of_values is not None
    assert of_values.p_value == pytest.approx(stats.mannwhitneyu(errors[group], errors[~group]).pvalue)
    assert of_values.low < errors[group].mean() - errors[~group].mean() < of_values.high
    assert compare(errors, np.zeros(100, dtype=bool), are_mistakes=False) is None


@pytest.mark.parametrize("are_mistakes", [True, False])
def test_noise_is_silent(are_mistakes: bool) -> None:
    """In tables of 10 columns without any relation a false alarm comes up in 5 % of the tables at most."""
    alarms = 0
    for seed in range(24):
        draw = np.random.default_rng(seed)
        if are_mistakes:
            errors = mistakes(draw.random(300) < 0.1)
        else:
            values = SplitPredictions(np.arange(300), (), np.zeros(300), draw.standard_t(3, size=300))
            errors = errors_of(values, "mae")
        columns = {f"c{at}": draw.normal(size=300) for at in range(8)}
        columns |= {f"k{at}": draw.choice(list("abcd"), 300).tolist() for at in range(2)}
        alarms += bool(columns_beyond_noise(errors, groups_of_columns(columns)))
    assert alarms <= 3  # of a binomial with 0.05, more than 3 of 24 happen in 3 % of all draws


def test_a_column_with_a_real_difference_is_told_with_its_interval_and_ceiling() -> None:
    draw = np.random.default_rng(0)
    size, kind = draw.random(600), draw.choice(list("abc"), 600)
    wrong = draw.random(600) < np.where((size < 0.2) | (kind == "b"), 0.3, 0.03)
    errors = mistakes(wrong)
    columns = {"size": size, "kind": kind.tolist(), "other": draw.random(600)}
    told = columns_beyond_noise(errors, groups_of_columns(columns))
    worse = {(each.column, each.name.split()[0]) for each in told if each.error > (each.error_of_rest or 0)}
    assert worse == {("size", "below"), ("kind", "b")}
    of_kind = next(each for each in told if each.name == "b")
    in_group = kind == "b"
    assert of_kind.num_mistakes == wrong[in_group].sum()
    assert of_kind.gain == pytest.approx(wrong[in_group].sum() / 600)
    assert of_kind.value_if_fixed == pytest.approx(1 - wrong[~in_group].sum() / 600)
    assert of_kind.low is not None
    assert 0 < of_kind.low < 0.27


def test_bins_have_equal_counts_and_cover_all_examples() -> None:
    draw = np.random.default_rng(0)
    numbers = np.append(draw.normal(size=200), np.nan)
    groups = list(by_range(numbers))
    assert [int(each.mask.sum()) for each in groups] == [40] * 5 + [1]
    assert np.sum([each.mask for each in groups], axis=0).tolist() == [1] * 201
    assert groups[-1].name == "(missing)"
    mostly_zero = np.append(np.zeros(150), draw.random(50))
    assert np.sum([each.mask for each in by_range(mostly_zero)], axis=0).tolist() == [1] * 200
    assert {each.name: int(each.mask.sum()) for each in by_value(["x", None, "x", ""])} == {"(missing)": 2, "x": 2}


def test_ids_and_names_are_no_groups_and_small_groups_are_not_compared() -> None:
    columns = {"name": [f"person {at}" for at in range(100)], "rare": ["a"] * 95 + ["b"] * 5, "flag": [0, 1] * 50}
    assert {(each.column, each.name) for each in groups_of_columns(columns)} == {("flag", "0"), ("flag", "1")}


def test_a_category_lists_every_group_and_counts_examples_without_one() -> None:
    errors = mistakes(np.array([True, False, False, True, False, False]))
    found = category(errors, "cause", ["blurred", "blurred", None, "dark", "", "dark"])
    assert found.num_without == 2
    assert [(each.name, each.num_examples, each.num_mistakes) for each in found.groups] == [
        ("blurred", 2, 1), ("dark", 2, 1),
    ]  # fmt: skip
    assert [each.gain for each in found.groups] == pytest.approx([1 / 6, 1 / 6])


def test_a_ranking_is_judged_by_its_queries() -> None:
    relevance = np.array([2.0, 0, 1, 1, 0, 0])
    scores = np.array([0.1, 0.9, 0.5, 0.9, 0.1, 0.3])
    predictions = SplitPredictions(np.arange(6), (), relevance, scores)
    errors = errors_of_queries(predictions, np.array(["a", "a", "a", "b", "b", "c"]), "accuracy")
    assert errors.ids.tolist() == ["a", "b"]  # c has no relevant row
    ideal = 2 / np.log2(2) + 1 / np.log2(3)
    assert errors.errors == pytest.approx([1 - (1 / np.log2(3) + 2 / np.log2(4)) / ideal, 0])
    value, gain = errors.fixed(np.array([True, False]))
    assert (value, gain) == pytest.approx((1, errors.errors[0] / 2))
    reciprocal = errors_of_queries(predictions, np.array(["a", "a", "a", "b", "b", "c"]), "mrr")
    assert (reciprocal.metric, reciprocal.value) == ("mrr", pytest.approx(0.75))


def test_all_groups_of_a_class_are_compared_and_ordered_by_gain() -> None:
    wrong = np.zeros(200, dtype=bool)
    wrong[:80:2] = True  # only examples of the class "no"
    errors = mistakes(wrong)
    targets = np.arange(200) % 2
    groups = compared(errors, list(by_value(np.array(CLASSES)[targets])))
    assert [(each.name, each.is_beyond_noise, each.share_of_error) for each in groups] == [
        ("no", True, 1.0), ("yes", True, 0.0),
    ]  # fmt: skip
    assert errors_of(SplitPredictions(np.arange(2), (), np.zeros(2), np.ones(2)), "loss").metric == "mae"
