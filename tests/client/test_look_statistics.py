"""The statistics of `study look` agree with NumPy, SciPy and scikit-learn, on any data."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from sklearn.feature_selection import f_classif

from service.cli.look import statistics
from service.cli.look.identical_columns import equal_codes, linear_copies
from service.cli.look.one_column_rule import prediction_score
from service.cli.look.row_sample import DistinctCounter, sample_rows

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 3))
COLUMN = arrays.arrays(np.float64, st.integers(4, 60), elements=NUMBERS)
PAIR = st.integers(4, 60).flatmap(
    lambda num: st.tuples(*(arrays.arrays(np.float64, num, elements=NUMBERS) for _ in range(2)))
)
CODES = st.integers(8, 60).flatmap(
    lambda num: st.tuples(*(arrays.arrays(np.int64, num, elements=st.integers(0, 4)) for _ in range(2)))
)


@given(COLUMN)
def test_the_summary_is_numpys(values: np.ndarray) -> None:
    summary = statistics.summarise(np.concatenate([values, [np.nan, np.inf]]))
    assert summary is not None
    assert (summary.low, summary.high) == (values.min(), values.max())
    quartiles = np.quantile(values, [0.25, 0.5, 0.75])
    assert [summary.q1, summary.median, summary.q3] == pytest.approx(quartiles.tolist())
    assert summary.mean == pytest.approx(values.mean(), abs=1e-9, rel=1e-9)
    assert summary.std == pytest.approx(values.std(), abs=1e-6, rel=1e-6)
    assert sum(summary.histogram.counts) == len(values)
    assert len(summary.histogram.edges) == len(summary.histogram.counts) + 1


@pytest.mark.parametrize("values", [[1e308, -1e308, 3.0], [5e-324, 0.0, 1.0], [1.0, 1.0 + 2**-52], [7.0] * 3])
def test_numbers_at_the_edges_of_floats_have_a_summary(values: list[float]) -> None:
    summary = statistics.summarise(np.array(values))
    assert summary is not None
    assert sum(summary.histogram.counts) == len(values)
    assert np.isfinite([summary.mean, summary.std]).all()


@given(PAIR)
def test_pearson_and_spearman_are_scipys(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    assume(x.std() > 1e-3 and y.std() > 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert statistics.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-6)
        assert statistics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    assert statistics.ranks(x).tolist() == stats.rankdata(x).tolist()


@given(CODES)
def test_cramers_v_rests_on_scipys_chi_square(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    table = statistics.contingency(x, y)
    rows, columns = table.shape
    assume(min(rows, columns) > 1)
    phi2 = stats.chi2_contingency(table, correction=False).statistic / len(x)
    corrected = max(0, phi2 - (rows - 1) * (columns - 1) / (len(x) - 1))
    width = min(rows - (rows - 1) ** 2 / (len(x) - 1), columns - (columns - 1) ** 2 / (len(x) - 1)) - 1
    assert statistics.cramers_v(x, y) == pytest.approx(min(1, np.sqrt(corrected / width)))


@given(PAIR, st.integers(2, 4))
def test_the_correlation_ratio_follows_from_scikit_learns_f(
    pair: tuple[np.ndarray, np.ndarray], num_groups: int
) -> None:
    y = pair[0]
    groups = np.arange(len(y)) % num_groups
    assume(len(y) > 2 * num_groups and y.std() > 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = f_classif(y[:, None], groups)[0][0]
    assume(np.isfinite(f) and f < 1e9)
    between, within = num_groups - 1, len(y) - num_groups
    share = f * between / (f * between + within)
    adjusted = 1 - (1 - share) * (len(y) - 1) / within
    assert statistics.correlation_ratio(groups, y) == pytest.approx(np.sqrt(max(0, adjusted)), abs=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(200, 600))
def test_the_score_of_noise_is_low_and_that_of_a_copy_is_high(seed: int, num: int) -> None:
    numbers = np.random.default_rng(seed)
    target, noise = numbers.normal(size=num), numbers.normal(size=num)
    classes = numbers.integers(0, 3, num)
    for feature, of, low, high in (
        (noise, target, -1, 0.25),
        (noise, classes, -1, 0.45),
        (numbers.integers(0, 5, num), classes, -1, 0.45),
        (np.exp(3 * target), target, 0.98, 1),
        (-target + numbers.normal(size=num) * 0.01, target, 0.98, 1),
        (target, (target > 0.3).astype(np.int64), 0.9, 1),
        ((classes + 3) % 7, classes, 1, 1),
        (classes.astype(np.float64), classes, 1, 1),
    ):
        score = prediction_score(feature, of, seed)
        assert score is not None
        assert low <= score <= high, (feature.dtype, of.dtype)


def test_a_missing_value_predicts_as_a_value_of_its_own_does() -> None:
    target = np.arange(200) % 2
    feature = np.where(target == 1, np.nan, np.random.default_rng(0).normal(size=200))
    assert prediction_score(feature, target) == 1
    assert prediction_score(feature[:30], target[:30]) is None, "too few rows to say"
    assert prediction_score(feature, np.r_[np.ones(3, int), np.zeros(197, int)]) is None, "too few errors to say"


def test_copies_of_columns_are_found_whatever_their_unit_or_code() -> None:
    numbers = np.random.default_rng(0)
    x, other = numbers.normal(size=300), numbers.normal(size=300)
    gappy = np.where(numbers.random(300) < 0.1, np.nan, x)
    copies = linear_copies({"x": x, "other": other, "inches": x / 2.54 + 1e-6, "gappy": gappy}, 0)
    assert [pair[:2] for pair in copies] == [("x", "inches")]
    assert linear_copies({"x": np.full(300, 5.0), "y": np.full(300, 5.0)}, 0) == []
    codes = numbers.integers(0, 5, 300)
    assert equal_codes({"a": codes, "b": 10 - codes, "c": np.roll(codes, 1)}) == [("a", "b")]
    assert equal_codes({"id": np.arange(300), "other": np.arange(300)[::-1]}) == []


class Rows:
    """A table of whole numbers, as `sample_rows` reads it."""

    def __init__(self, rows: list[list[object]]) -> None:
        self.names = ["row", "value"]
        self.rows = iter(rows)
        self.settings: dict[str, str] = {}
        self.num_rows = len(rows)

    def progress(self) -> float:
        return 0.25


def test_a_large_table_is_sampled_evenly_and_counted_whole() -> None:
    rows: list[list[object]] = [[row % 5000, None if row % 4 == 0 else "x"] for row in range(10_000)]
    samples = [sample_rows(Rows(rows), seed, lambda share: None, max_rows=500) for seed in range(20)]  # type: ignore[arg-type]
    for sample in samples:
        assert (sample.num_rows, sample.num_distinct, sample.is_distinct_exact) == (10_000, 5000, True)
        assert sample.num_missing == {"row": 0, "value": 2500}
        assert len(sample.indices) == 500 == len(set(sample.indices))
        assert sample.indices == sorted(sample.indices)
        assert [row % 5000 for row in sample.indices] == list(sample.columns["row"])
        assert sample.read_share == 1
    middle = np.mean([np.mean(sample.indices) for sample in samples])
    assert abs(middle - 5000) < 150, "the sample prefers some rows"
    assert samples[0].indices != samples[1].indices
    again = sample_rows(Rows(rows), 0, lambda share: None, max_rows=500)  # type: ignore[arg-type]
    assert again.indices == samples[0].indices


def test_reading_stops_at_the_limit_and_says_how_far_it_came() -> None:
    rows: list[list[object]] = [[row, "x"] for row in range(100)]
    cut = sample_rows(Rows(rows), 0, lambda share: None, max_cells_read=20)  # type: ignore[arg-type]
    assert (cut.num_rows, cut.read_share) == (10, 0.25)
    whole = sample_rows(Rows(rows), 0, lambda share: None, max_cells_read=200)  # type: ignore[arg-type]
    assert (whole.num_rows, whole.read_share) == (100, 1)


def test_the_number_of_different_rows_is_estimated_beyond_the_limit() -> None:
    counter = DistinctCounter(max_hashes=1000)
    for row in range(40_000):
        counter.add([row % 20_000])
    assert not counter.is_exact
    assert counter.count == pytest.approx(20_000, rel=0.15)
