"""`study data-curve`: the power law is found, intervals cover, and the sentence follows from the measured errors."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console

from service.cli.data_curve.fit import fit_power_law
from service.cli.data_curve.report import DataCurveReport, Trained, data_curve_report
from service.cli.main import main
from service.cli.render.data_curve_pages import data_curve_html, data_curve_page
from service.client.errors import ClientError
from tests.client.test_local_checks import here, study  # noqa: F401 - a fixture
from tests.client.test_look_html import Tags

SIZES = (100, 300, 1000)


def trained(error: Callable[[int], float], *, noise: float, train: float | None = 0.0, seed: int = 0) -> list[Trained]:
    """Three trainings on each part, whose accuracy is 1 - error(n) up to noise."""
    draw = np.random.default_rng(seed)
    return [
        Trained(
            fraction=num / SIZES[-1],
            seed=at,
            num_examples=num,
            value=1 - error(num) + draw.normal() * noise,
            train_value=None if train is None else 1 - train,
            num_done=1,
            num_total=9,
        )
        for at in range(3)
        for num in SIZES
    ]


def report(error: Callable[[int], float], **changes: float | None) -> DataCurveReport:
    return data_curve_report("study.yaml", "val/accuracy", trained(error, **changes), is_maximized=True)  # type: ignore[arg-type]


def test_the_power_law_is_found() -> None:
    errors = [[0.05 + 2 * num**-0.5] * 2 for num in SIZES]
    fit = fit_power_law(SIZES, errors, [2000, 4000], lowest=0.0)
    assert (fit.law.a, fit.law.b, fit.law.c) == pytest.approx((0.05, 2, 0.5), rel=1e-6)
    assert [each.error for each in fit.predictions] == pytest.approx([0.05 + 2 * num**-0.5 for num in (2000, 4000)])
    assert fit.noise == 0
    at_bound = fit_power_law(SIZES, [[3 / num] for num in SIZES], [2000], lowest=0.0)
    assert at_bound.law.a >= 0
    rising = fit_power_law(SIZES, [[0.1], [0.2], [0.3]], [4000], lowest=0.0)
    assert rising.law.b == 0


def test_the_interval_covers_what_more_data_gives() -> None:
    """Of 60 curves with noise at least 75 % of the intervals of 90 % hold the truth; three seeds give no more."""
    covered = 0
    for seed in range(60):
        found = data_curve_report(
            "", "val/accuracy", trained(lambda n: 0.05 + n**-0.5, noise=0.006, seed=seed), is_maximized=True
        )
        covered += found.expected[0].low <= 1 - (0.05 + 2000**-0.5) <= found.expected[0].high
    assert covered >= 45


def test_a_falling_error_says_what_twice_and_four_times_the_data_give() -> None:
    found = report(lambda num: 0.02 + num**-0.5, noise=0.001)
    assert found.verdict == "more_data_helps"
    assert [each.num_examples for each in found.expected] == [2000, 4000]
    assert found.expected[1].value == pytest.approx(1 - 0.02 - 4000**-0.5, abs=0.01)
    assert found.sentence.startswith("More data would help: val/accuracy is 0.94")
    assert "twice the data about 0.9" in found.sentence
    assert [point.num_examples for point in found.points] == list(SIZES)


def test_a_flat_error_says_that_nothing_is_gained_and_a_high_training_error_says_why() -> None:
    flat = report(lambda _: 0.2, noise=0.01, train=0.02)
    assert flat.verdict == "no_gain_beyond_noise"
    assert flat.sentence.startswith("More data would gain nothing beyond noise: val/accuracy is ")
    biased = report(lambda _: 0.2, noise=0.01, train=0.19)
    assert biased.verdict == "training_error_is_high"
    assert "a larger model, longer training, less regularisation or better features help" in biased.sentence
    assert report(lambda _: 0.2, noise=0.01, train=None).verdict == "no_gain_beyond_noise"


def test_losses_are_extrapolated_downwards() -> None:
    losses = [each.model_copy(update={"value": 2 - (each.value or 0)}) for each in trained(lambda n: n**-0.5, noise=0)]
    found = data_curve_report("", "val/loss", losses, is_maximized=False)
    assert found.expected[1].value == pytest.approx(1 + 4000**-0.5, abs=1e-3)
    assert found.expected[1].value < found.expected[0].value < found.points[-1].mean


def test_a_training_without_a_value_has_no_curve() -> None:
    broken = trained(lambda _: 0.2, noise=0)
    broken[4] = broken[4].model_copy(update={"value": None})
    with pytest.raises(ClientError, match="a training has no finite val/accuracy, so there is no curve"):
        data_curve_report("study.yaml", "val/accuracy", broken, is_maximized=True)


def test_the_pages_show_the_curve_and_load_nothing() -> None:
    found = report(lambda num: 0.02 + num**-0.5, noise=0.001)
    console = Console(width=120, file=io.StringIO())
    with console.capture() as capture:
        console.print(data_curve_page(found))
    page = capture.get()
    for words in ("10 %", "× 4", "4,000", "a  measured on validation examples", "b  expected of more data"):  # noqa: RUF001
        assert words in page
    tags = Tags(data_curve_html(found))
    assert tags.open == []
    assert {"script", "link", "iframe", "img"}.isdisjoint(tag for tag, _ in tags.seen)
    assert found.sentence in tags.text
    assert len([tag for tag, _ in tags.seen if tag == "polyline"]) == 3


@pytest.mark.usefixtures("here")
def test_a_study_that_trains_nothing_here_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data-curve", study(task=None)]) == 1
    assert "study data-curve trains the model of a train task, and the study has no task" in capsys.readouterr().err
    assert main(["data-curve", study(), "--html", "curve.svg"]) == 1
    assert "--html: the file's name must end with .html" in capsys.readouterr().err
