"""What a remedy is about: one trial of a study, its configuration, and the options that it can change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from service.contract.base import TaskKind, Value
from service.contract.catalogue import Catalogue, Entry, Setting
from service.contract.study import StudySpec
from service.domain.history import History, TrialRecord
from service.domain.other_data import stages_on_other_data
from service.domain.task_config import apply_parameters

RATE_NAMES = ("optimizer.lr", "lr", "learning_rate", "model.learning_rate", "eta", "rate")
"""Names of the learning rate: of the training core, and what scripts and estimators usually call it."""

EPOCH_NAMES = ("epochs", "num_epochs", "n_epochs", "max_epochs")
"""Names of the number of epochs."""


@dataclass(frozen=True)
class StudyForRemedies:
    """What the actions of a study's remedies depend on.

    Attributes:
        spec: its present spec.
        catalogue: the options of the training core, with custom entries.
        history: its trials.
        enqueued: the configurations that wait in its queue.
        follow_up_name: a name that no study of the project has.
        has_checkpoint: whether a trial, by its number, has a checkpoint that a fork can begin with.
    """

    spec: StudySpec
    catalogue: Catalogue
    history: History
    enqueued: Sequence[Mapping[str, Value]]
    follow_up_name: str
    has_checkpoint: Callable[[int], bool]


@dataclass(frozen=True)
class Subject:
    """One trial of a study (for a finding about the study: its best trial) and its configuration.

    Attributes:
        study: the study.
        trial: the trial. None: the study has no completed trial.
        is_about_study: whether the finding is about the whole study.
    """

    study: StudyForRemedies
    trial: TrialRecord | None
    is_about_study: bool

    @classmethod
    def of(cls, study: StudyForRemedies, number: int | None) -> Subject | None:
        """Return the subject of a finding about a trial, or about the study (None); None: there is no such trial."""
        if number is None:
            without = stages_on_other_data(study.spec)
            return cls(study, study.history.best(study.spec.primary_objective.direction, without), True)
        trials = study.history.trials
        return cls(study, trials[number], False) if 0 <= number < len(trials) else None

    @property
    def spec(self) -> StudySpec:
        """The study's spec."""
        return self.study.spec

    @property
    def parameters(self) -> Mapping[str, Value]:
        """The trial's parameters; empty without a trial."""
        return {} if self.trial is None else self.trial.parameters

    @property
    def is_train(self) -> bool:
        """Whether the training core executes the trials."""
        return self.spec.task_kind is TaskKind.TRAIN

    @cached_property
    def catalogue(self) -> Catalogue:
        """The options of this kind of task."""
        return self.study.catalogue.for_kind(self.spec.task_kind)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The task's configuration with the trial's parameters set; empty for tasks without a catalogue."""
        base = self.spec.task.configuration if self.spec.task is not None else None
        if base is None:
            return {}
        known = {key: value for key, value in self.parameters.items() if self._is_settable(base, key)}
        return apply_parameters(base, known, self.catalogue)[0]

    def entry_name(self, section: str) -> str | None:
        """Return the name of the trial's entry of a section, such as its model; None: there is none."""
        given = self.config.get(section) or self.catalogue.defaults.get(section)
        name = given.get("name") if isinstance(given, Mapping) else None
        return name if isinstance(name, str) else None

    def entry(self, section: str) -> Entry | None:
        """Return what the catalogue knows about the trial's entry of a section."""
        return self.catalogue.registries.get(section, {}).get(self.entry_name(section) or "")

    def setting(self, path: str) -> Setting | None:
        """Return what the catalogue knows about an option of the trial's configuration; None: there is no such option.

        The option `name` of a section is not among them.
        """
        section, _, option = path.partition(".")
        if not option:
            return self.catalogue.settings.get(path)
        entry = self.entry(section)
        return None if entry is None else entry.parameters.get(option)

    def value(self, path: str) -> Any:
        """Return the value of an option in the trial's configuration, or its default; None: it has no value."""
        if path in self.parameters:
            return self.parameters[path]
        section, _, option = path.partition(".")
        if option == "name":
            return self.entry_name(section)
        given = self.config.get(section) if option else self.config
        found = given.get(option or section) if isinstance(given, Mapping) else None
        if found is not None:
            return found
        setting = self.setting(path)
        return None if setting is None else setting.default

    def number(self, path: str) -> float | None:
        """Return the value of a numeric option, or None if it has none."""
        value = self.value(path)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def find(self, names: Iterable[str]) -> str | None:
        """Return the first of these paths that is a parameter of the space or an option of the configuration."""
        return next((name for name in names if name in self.spec.space or self.setting(name) is not None), None)

    def _is_settable(self, base: Mapping[str, Any], key: str) -> bool:
        """Return whether a parameter of an older spec still leads to a mapping of the task."""
        section, _, option = key.partition(".")
        return "." not in option and (not option or isinstance(base.get(section, {}), Mapping))
