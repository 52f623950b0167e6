"""Paths outside the allowed folders are refused by their real location, each by name."""

from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from torch import nn

from tests.training.conftest import Configure
from worker.training import ConfigError, OutsideFolders, TrainingConfig, load_models, train
from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.checkpoints.checkpoint import save_checkpoint
from worker.training.config import LISTS, REGISTRIES
from worker.training.parameters import Setting
from worker.training.registry import Registry

PASSWORDS = "root:SECRET-1:0:0\ndaemon:SECRET-2:1:1\n"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An allowed folder, with a link in it that leads out, and one that is not allowed."""
    allowed, outside = tmp_path / "project", tmp_path / "etc"
    for folder in (allowed, outside, outside / "train" / "cats"):
        folder.mkdir(parents=True)
    (outside / "shadow").write_text(PASSWORDS)
    (outside / "train" / "cats" / "1.png").write_text(PASSWORDS)
    (allowed / "linked.csv").symlink_to(outside / "shadow")
    (allowed / "linked").symlink_to(outside)
    return allowed, outside


def data(name: str, path: object, **settings: object) -> dict[str, Any]:
    required = {"csv": {"target": "y"}, "parquet": {"target": "y"}, "texts": {"text": "x", "target": "y"}}
    return {"data": {"name": name, "path": str(path), **required.get(name, {}), **settings}}


def refused(mapping: dict[str, Any], changes: dict[str, Any], allowed: Path) -> OutsideFolders:
    with pytest.raises(OutsideFolders) as caught:
        train(TrainingConfig.from_mapping(mapping | changes), readable=[allowed])
    assert "SECRET" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["csv", "parquet", "npz", "images", "text", "texts"])
def test_every_kind_of_data_is_read_in_the_folders_alone(
    name: str, mapping: dict[str, Any], folders: tuple[Path, Path]
) -> None:
    allowed, outside = folders
    place = outside if name == "images" else outside / "shadow"
    error = refused(mapping, data(name, place), allowed)
    assert str(error) == (
        f"data.path: {place} is outside the folders this worker may read ({allowed}); "
        f"start the worker with --data {place.parent}"
    )


def test_the_real_place_of_a_path_counts(
    mapping: dict[str, Any], folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed, outside = folders
    monkeypatch.chdir(allowed)
    for path in (
        "../etc/shadow",
        "linked.csv",
        "linked/shadow",
        f"/proc/self/cwd/../{outside.name}/shadow",
        f"/proc/self/root{outside}/shadow",
        "/proc/self/environ",
        "/dev/stdin",
        f"{allowed}/../{outside.name}/shadow",
        f"{allowed}-other/x.csv",
        "/absent/x.csv",
    ):
        assert path in str(refused(mapping, data("csv", path), allowed))


def test_a_path_that_the_system_cannot_follow_is_refused(mapping: dict[str, Any], folders: tuple[Path, Path]) -> None:
    allowed, _ = folders
    (allowed / "circle").symlink_to(allowed / "circle")
    for path in (allowed / "circle" / "x.csv", f"{allowed}/a\0b"):
        with pytest.raises(ConfigError):
            train(TrainingConfig.from_mapping(mapping | data("csv", path)), readable=[allowed])


def test_a_link_below_a_folder_of_images_may_not_lead_out(mapping: dict[str, Any], folders: tuple[Path, Path]) -> None:
    allowed, outside = folders
    (allowed / "images" / "cats").mkdir(parents=True)
    (allowed / "images" / "cats" / "1.png").symlink_to(outside / "shadow")
    error = refused(mapping, data("images", allowed / "images"), allowed)
    assert str(error).startswith(f"data.path: {allowed}/images/cats/1.png is outside")
    (allowed / "images" / "cats" / "1.png").unlink()
    (allowed / "more" / "dogs").mkdir(parents=True)
    (allowed / "more" / "dogs" / "1.png").symlink_to(outside / "shadow")
    (allowed / "images" / "dogs").symlink_to(allowed / "more" / "dogs")  # this one stays inside, what it holds not
    assert "dogs/1.png" in str(refused(mapping, data("images", allowed / "images"), allowed))


@pytest.mark.parametrize("setting", ["val", "test", "test_val"])
def test_files_of_other_parts_are_checked_too(
    setting: str, mapping: dict[str, Any], folders: tuple[Path, Path]
) -> None:
    allowed, outside = folders
    (allowed / "x.csv").write_text("x,y\n1,a\n2,b\n")
    changes = data("csv", allowed / "x.csv", **{setting: str(outside / "shadow")})
    assert refused(mapping, changes, allowed).path == f"data.{setting}"


def test_tables_of_images_tokenizers_models_and_callbacks_are_checked_too(
    mapping: dict[str, Any], folders: tuple[Path, Path]
) -> None:
    allowed, outside = folders
    (allowed / "x.txt").write_text("abc" * 100)
    elsewhere = str(outside / "shadow")
    text = data("text", allowed / "x.txt", length=4)
    for changes, path in (
        (data("images", allowed, table=elsewhere, group="g"), "data.table"),
        (data("text", allowed / "x.txt", tokenizer=elsewhere), "data.tokenizer"),
        (text | {"model": {"name": "transformers", "source": elsewhere}}, "model.source"),
        ({"callbacks": [{"name": "tensorboard", "directory": elsewhere}]}, "callbacks[0].directory"),
        ({"loss": {"name": "distill", "teacher": elsewhere}}, "loss.teacher"),
    ):
        (allowed / "linked").unlink(missing_ok=True)
        (allowed / "linked.csv").unlink(missing_ok=True)
        assert refused(mapping, changes, allowed).path == path


def test_a_teacher_s_own_configuration_reads_in_the_folders_alone(
    configure: Configure, folders: tuple[Path, Path]
) -> None:
    allowed, outside = folders
    train(configure(epochs=1), checkpoint_dir=allowed / "teacher")
    [file] = (allowed / "teacher").glob("*.pt")
    content = torch.load(file, weights_only=True)
    content["origin"]["model"] = {"name": "transformers", "source": str(outside / "shadow"), "pretrained": False}
    save_checkpoint(allowed / "planted", 1, content)
    config = configure(loss={"name": "distill", "teacher": str(allowed / "planted")})
    with pytest.raises(OutsideFolders, match=r"model\.source: .*shadow is outside"):
        train(config, readable=[allowed])
    with pytest.raises(OutsideFolders, match=r"model\.source"):  # also one that the service has brought
        train(config, readable=[allowed], teacher=next((allowed / "planted").glob("*.pt")))


def test_a_teacher_that_the_service_brought_may_lie_anywhere(configure: Configure, folders: tuple[Path, Path]) -> None:
    allowed, outside = folders
    train(configure(epochs=1), checkpoint_dir=outside / "brought")
    [file] = (outside / "brought").glob("*.pt")
    config = configure(loss={"name": "distill", "teacher": "study/3"}, epochs=1)
    assert train(config, readable=[allowed], teacher=file).step == 1


def test_a_manifest_leads_to_no_file_elsewhere(configure: Configure, folders: tuple[Path, Path]) -> None:
    allowed, outside = folders
    train(configure(epochs=1), checkpoint_dir=outside / "other")
    (allowed / "teacher").mkdir()
    [manifest] = (outside / "other").glob("*.json")
    file = manifest.with_suffix(".pt")
    (allowed / "teacher" / manifest.name).write_text(manifest.read_text().replace(file.name, str(file)))
    with pytest.raises(ConfigError, match="is not a checkpoint"):
        load_models(allowed / "teacher")


def test_inside_the_folders_and_without_a_limit_all_is_read(
    mapping: dict[str, Any], folders: tuple[Path, Path]
) -> None:
    allowed, outside = folders
    rows = "x,y\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(60))
    (allowed / "x.csv").write_text(rows)
    (outside / "x.csv").write_text(rows)
    (allowed / "inner.csv").symlink_to(allowed / "x.csv")
    changes = {"epochs": 1}
    assert train(
        TrainingConfig.from_mapping(mapping | data("csv", allowed / "inner.csv") | changes), readable=[allowed]
    )
    assert train(
        TrainingConfig.from_mapping(mapping | data("csv", outside / "x.csv") | changes), readable=[allowed, outside]
    )
    assert train(TrainingConfig.from_mapping(mapping | data("csv", outside / "x.csv") | changes))


def test_a_hub_s_id_is_no_path_but_a_folder_of_that_name_is(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed, outside = folders

    def pretrained(*, source: Annotated[str, Setting("", names="path or id")]) -> nn.Module:
        return nn.Identity()

    registry: Registry[nn.Module] = Registry("model")
    registry.add(pretrained)
    limit = AllowedFolders.of([allowed])
    assert registry.create("pretrained", {"source": "distilbert/base"}, folders=limit)
    monkeypatch.chdir(outside)
    (outside / "distilbert").mkdir()
    for source in ("distilbert", "~/secret", ".", str(outside)):
        with pytest.raises(OutsideFolders):
            registry.create("pretrained", {"source": source}, folders=limit)
        assert registry.create("pretrained", {"source": source}, folders=ANYWHERE)


def test_every_text_that_is_described_as_a_file_or_folder_is_declared_as_a_path() -> None:
    words = ("file", "folder", "directory", "path", "where ")
    for section, registry in {**REGISTRIES, **LISTS}.items():
        for entry in registry:
            for name, parameter in entry.parameters.items():
                if parameter.type != "str" or not any(word in parameter.description for word in words):
                    continue
                if name in ("encoding", "tokens"):  # of the files, not their place
                    continue
                assert parameter.names is not None, f"{section} {entry.name}.{name}: {parameter.description}"


def test_a_limit_is_a_value_and_its_folders_are_real_paths(folders: tuple[Path, Path]) -> None:
    allowed, outside = folders
    assert AllowedFolders.of([allowed / "linked"]).folders == (outside,)
    assert AllowedFolders.of(None) == ANYWHERE
