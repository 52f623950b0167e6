"""Augmentation: its effect on a batch, that training with it learns, and what it refuses."""

from typing import Any

import pytest
import torch

from worker.training import ConfigError, train
from worker.training.components.augment import AUGMENTATIONS, Augment
from worker.training.data import DATA
from worker.training.seeding import forked_rng

DIGITS = DATA.create("digits", DATA.check("digits", {}))
FEATURES, TARGETS = DIGITS.train.features[:64], DIGITS.train.targets[:64]


def create(name: str, **settings: Any) -> Augment:
    return AUGMENTATIONS.create(name, AUGMENTATIONS.check(name, settings), DIGITS)


def applied(name: str, **settings: Any) -> tuple[torch.Tensor, Any]:
    with forked_rng(0, torch.device("cpu")):
        return create(name, **settings)(FEATURES, TARGETS)


@pytest.mark.parametrize("name", ["none", "images"])
def test_by_default_nothing_changes(name: str):
    features, wanted = applied(name)
    assert torch.equal(features, FEATURES)
    assert [(share, torch.equal(each, TARGETS)) for share, each in wanted] == [(1.0, True)]


@pytest.mark.parametrize(("setting", "dim"), [("flip", 3), ("vertical_flip", 2)])
def test_flips_mirror_some_images(setting: str, dim: int):
    features, _ = applied("images", **{setting: 0.5})
    mirrored = FEATURES.flip(dim)
    flipped = [torch.equal(one, other) for one, other in zip(features, mirrored, strict=True)]
    kept = [torch.equal(one, other) for one, other in zip(features, FEATURES, strict=True)]
    assert all(a or b for a, b in zip(flipped, kept, strict=True))
    assert 16 < sum(flipped) < 48


def test_a_crop_shifts_an_image_within_its_border():
    padded = torch.nn.functional.pad(FEATURES, (2, 2, 2, 2))
    windows = padded.unfold(2, 8, 1).unfold(3, 8, 1).reshape(64, 25, 8, 8)
    features, _ = applied("images", crop=2)
    fits = (windows - features).abs().amax((2, 3)) < 1e-5
    assert fits.any(1).all()
    assert len(fits.float().argmax(1).unique()) > 10


@pytest.mark.parametrize("settings", [{"rotate": 20}, {"translate": 0.2}, {"zoom": 0.2}, {"shear": 20}])
def test_affine_changes_keep_the_size_and_draw_for_each_image(settings: dict[str, float]):
    twice = torch.cat([FEATURES[:1]] * 8)
    with forked_rng(0, torch.device("cpu")):
        features, _ = create("images", **settings)(twice, TARGETS[:8])
    assert features.shape == twice.shape
    assert len(torch.unique(features.flatten(1), dim=0)) == 8
    assert torch.isfinite(features).all()


@pytest.mark.parametrize(("name", "settings"), [("mixup", {"alpha": 1.0}), ("images", {"mixup": 1.0})])
def test_mixup_blends_examples_and_their_targets(name: str, settings: dict[str, float]):
    features, ((share, own), (rest, others)) = applied(name, **settings)
    assert share + rest == pytest.approx(1)
    assert torch.equal(own, TARGETS)
    partners = (features - share * FEATURES) / rest
    distances = torch.cdist(partners.flatten(1), FEATURES.flatten(1))
    nearest = distances.argmin(1)
    assert distances.min(1)[0].max() < 0.05
    assert torch.equal(TARGETS[nearest], others)


def test_cutmix_counts_the_pixels_that_it_pastes():
    for seed in range(20):
        with forked_rng(seed, torch.device("cpu")):
            features, ((share, own), (rest, _)) = create("images", cutmix=1.0)(FEATURES, TARGETS)
        assert torch.equal(own, TARGETS)
        assert share + rest == pytest.approx(1)
        changed = (features != FEATURES).any(0).float().mean().item()
        assert changed <= rest + 1e-6
    assert torch.equal(FEATURES, DIGITS.train.features[:64]), "the data itself stays"


def test_mixup_and_cutmix_take_turns():
    with forked_rng(0, torch.device("cpu")):
        augment = create("images", mixup=1.0, cutmix=1.0)
        in_between = []
        for _ in range(20):
            features, _ = augment(FEATURES, TARGETS)
            in_between.append(torch.isin(features.unique(), FEATURES.unique()).all().item())
    assert {True, False} == set(in_between), "cutmix makes no new values, mixup does"


@pytest.mark.parametrize(
    ("data", "model", "augment"),
    [
        ("digits", "lenet", {"name": "images", "rotate": 8}),
        ("wine", "mlp", {"name": "mixup"}),
    ],
)
def test_it_still_learns(configure, data: str, model: str, augment: dict[str, Any]):
    result = train(configure(data={"name": data}, model={"name": model}, augment=augment, epochs=8))
    assert result.metrics["val/accuracy"] > 0.85


def test_a_regression_can_be_mixed(configure):
    config = configure(data={"name": "diabetes"}, loss={"name": "mse"}, augment={"name": "mixup"}, epochs=20)
    assert train(config).metrics["val/r2"] > 0.3


def test_images_alone_are_cropped(configure):
    with pytest.raises(
        ConfigError, match=r"augment\.name: images is for images, but the data is for rows; use none or mixup"
    ):
        train(configure(augment={"name": "images"}))


def test_categories_are_not_mixed(configure, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("c,y\n" + "".join(f"{'rgb'[i % 3]},{i % 2}\n" for i in range(60)))
    data = {"name": "csv", "path": str(path), "target": "y", "categories": "embedded"}
    with pytest.raises(ConfigError, match=r"augment\.name: mixup can't mix category indices"):
        train(configure(data=data, augment={"name": "mixup"}))
