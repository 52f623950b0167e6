"""The configuration of a training: validates the `task.train` mapping of a study file and holds it frozen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.training.callbacks import CALLBACKS
from worker.training.components.augment import AUGMENTATIONS
from worker.training.components.losses import LOSSES
from worker.training.components.metrics import METRICS, MetricSettings
from worker.training.components.optimizers import OPTIMIZERS
from worker.training.components.precision import PRECISIONS
from worker.training.components.schedules import SCHEDULES
from worker.training.data import DATA
from worker.training.errors import ConfigError, did_you_mean
from worker.training.models import MODELS
from worker.training.models.finetune import FINETUNING
from worker.training.parameters import Parameter, check_all
from worker.training.registry import Registry

REGISTRIES: Mapping[str, Registry[Any]] = {
    "data": DATA,
    "augment": AUGMENTATIONS,
    "model": MODELS,
    "finetune": FINETUNING,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}
LISTS: Mapping[str, Registry[Any]] = {"metrics": METRICS, "callbacks": CALLBACKS}
"""Sections that are lists: a configuration names any number of these entries, in its own order."""
SETTINGS: Mapping[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "batch_size",
            "int",
            default=64,
            low=1,
            description="examples per optimizer step; a study file may write auto",
        ),
        Parameter(
            "epochs",
            "int",
            default=20,
            low=1,
            high=1_000_000,
            description="passes over the training examples: the horizon",
        ),
        Parameter(
            "clip_norm",
            "float",
            default=None,
            low=0.0,
            exclusive_low=True,
            description="longest gradient over all weights; a longer one is shortened to it",
        ),
        Parameter(
            "clip_value",
            "float",
            default=None,
            low=0.0,
            exclusive_low=True,
            description="largest magnitude of each weight's gradient",
        ),
        Parameter(
            "grad_accumulation",
            "int",
            default=1,
            low=1,
            description="parts into which each batch is split; their gradients are summed: less memory, the same step",
        ),
        Parameter(
            "precision",
            "str",
            default="fp32",
            choices=PRECISIONS,
            description="number format of the computation (mixed precision); weights stay fp32; fp16 needs a GPU",
        ),
        Parameter(
            "compile", "bool", default=False, description="compile the model (torch.compile): slow start, fast steps"
        ),
        Parameter(
            "activation_checkpointing",
            "bool",
            default=False,
            description="compute a model's inner activations again in the backward pass: less memory, more time",
        ),
        Parameter(
            "ema_decay",
            "float",
            default=None,
            low=0.0,
            high=0.99999,
            description="evaluate and keep a running mean of the weights that keeps this share of itself in each step, "
            "and less in the first steps (warm-up)",
        ),
        Parameter(
            "patience",
            "int",
            default=None,
            low=1,
            description="epochs without a better objective (val/loss without one) after which training is finished",
        ),
        Parameter(
            "min_delta",
            "float",
            default=0.0,
            low=0.0,
            description="by how much the objective must be better for patience to count anew, in the metric's unit",
        ),
        Parameter(
            "snapshots",
            "int",
            default=0,
            low=0,
            description="equal parts of the training at whose ends the weights are kept; what they answer together is "
            "measured at the end, as snapshots/val/accuracy and so on",
        ),
        Parameter(
            "folds",
            "int",
            default=None,
            low=2,
            description="cross-validate: so many models side by side, each validated by another fold of what does not "
            "test; metrics are their means, with their standard deviations as …/std",
        ),
        Parameter(
            "repeats",
            "int",
            default=1,
            low=1,
            description="train so many models side by side, of each fold too, from different seeds; metrics are their "
            "means, as of folds",
        ),
        Parameter("l1", "float", default=0.0, low=0.0, description="L1 penalty of the weights that decay"),
    )
}
# Used for a section that is left out; an optimizer's entry may name another default schedule (fact `schedule`).
DEFAULT_SECTIONS: Mapping[str, Mapping[str, Any]] = {
    "augment": {"name": "none"},
    "finetune": {"name": "full"},
    "schedule": {"name": "constant"},
}


@dataclass(frozen=True)
class Section:
    """One registry entry selected by name, with all of its settings."""

    name: str
    settings: Mapping[str, Any]

    def to_mapping(self) -> dict[str, Any]:
        """Return the section as a configuration writes it: `{"name": …, **settings}`."""
        return {"name": self.name, **self.settings}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A complete and valid configuration. Create it by `from_mapping`, which validates; other code relies on that.

    The sections (`data` to `callbacks`) are registry entries; the other attributes are the plain settings, whose units
    and bounds are declared in `SETTINGS`.
    """

    data: Section
    augment: Section
    model: Section
    finetune: Section
    loss: Section
    optimizer: Section
    schedule: Section
    metrics: Sequence[Section]
    callbacks: Sequence[Section]
    batch_size: int
    epochs: int
    clip_norm: float | None
    clip_value: float | None
    l1: float
    grad_accumulation: int
    precision: str
    compile: bool
    activation_checkpointing: bool
    ema_decay: float | None
    patience: int | None
    min_delta: float
    snapshots: int
    folds: int | None
    repeats: int

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "TrainingConfig":
        """Read and validate `{"data": {"name": …}, "model": {…}, …, "batch_size": 64, "epochs": 20}`.

        Raises:
            ConfigError: a setting is unknown, missing or not valid; the error names its dotted path.
        """
        if not isinstance(mapping, Mapping):
            raise ConfigError("task.train", f"must be a mapping of settings, got {mapping!r}")
        valid_names = [*REGISTRIES, *LISTS, *SETTINGS]
        for name in mapping:
            if name not in valid_names:
                raise ConfigError(str(name), f"there is no such setting; {did_you_mean(name, valid_names)}")
        sections: dict[str, Any] = {}
        for name, registry in REGISTRIES.items():
            default = DEFAULT_SECTIONS.get(name)
            if name == "schedule" and (schedule := OPTIMIZERS.entry(sections["optimizer"].name).facts.get("schedule")):
                default = {"name": schedule}
            sections[name] = parse_section(registry, default if mapping.get(name) is None else mapping[name])
        lists: dict[str, Any] = {
            name: parse_list(name, registry, mapping.get(name)) for name, registry in LISTS.items()
        }
        given = {name: value for name, value in mapping.items() if name in SETTINGS}
        plain = check_all("", "training", SETTINGS, given)
        # Only the whole training is checked: a stage or a rung of a search may end at an earlier epoch.
        if plain["snapshots"] > plain["epochs"]:
            raise ConfigError(
                "snapshots",
                f"{plain['snapshots']} snapshots need as many epochs, one for each, but there are {plain['epochs']}; "
                "use fewer snapshots, or more epochs",
            )
        return cls(**sections, **lists, **plain)

    @property
    def metric_settings(self) -> MetricSettings:
        """The metrics to report beyond the kind's defaults, by name with their settings."""
        return {section.name: section.settings for section in self.metrics}

    def to_mapping(self) -> dict[str, Any]:
        """Return the complete mapping with all defaults; `from_mapping` reads it back as an equal configuration."""
        sections = {name: getattr(self, name).to_mapping() for name in REGISTRIES}
        lists = {name: [section.to_mapping() for section in getattr(self, name)] for name in LISTS}
        return sections | lists | {name: getattr(self, name) for name in SETTINGS}


def parse_section(registry: Registry[Any], value: Any) -> Section:
    """Return the entry and the settings that a section of a configuration chooses; raises ConfigError."""
    if value is None:
        raise ConfigError(registry.section, f"missing; write {registry.section}: {{name: …}}")
    return _parse_entry(registry, value, registry.section)


def parse_list(name: str, registry: Registry[Any], value: Any) -> list[Section]:
    """Return the entries that a list of a configuration names, in its order; raises ConfigError."""
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise ConfigError(name, f"must be a list, like [{{name: …}}], got {value!r}")
    # A text stands for an entry without settings: `metrics: [auroc]`.
    mappings = [{"name": each} if isinstance(each, str) else each for each in value]
    sections = [_parse_entry(registry, each, f"{name}[{index}]") for index, each in enumerate(mappings)]
    if name == "metrics":
        names = [section.name for section in sections]
        for index, each in enumerate(names):
            if each in names[:index]:
                raise ConfigError(f"metrics[{index}].name", f"{each} is listed twice; leave one of the two out")
    return sections


def _parse_entry(registry: Registry[Any], value: Any, path: str) -> Section:
    if not isinstance(value, Mapping) or "name" not in value:
        raise ConfigError(path, f"must be a mapping with a name, like {{name: …}}, got {value!r}")
    settings = {name: setting for name, setting in value.items() if name != "name"}
    return Section(value["name"], registry.check(value["name"], settings, path))
