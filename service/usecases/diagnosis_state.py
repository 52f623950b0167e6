"""What a replica remembers between the rounds of the diagnosis: facts of studies, damaged rows, and what it logged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from service.analysis.diagnosis.facts import AttemptFacts
from service.storage.diagnosis_rows import StoredTrialDiagnosis
from service.usecases.recently_used import RecentlyUsed

SIZE = 16
"""Number of studies whose facts are remembered."""

_MAX_LOGGED = 1_000


@dataclass(frozen=True)
class KnownFacts:
    """The facts of a study that are not in its history, as of a revision; updated by what changed since.

    Attributes:
        epoch: the epoch of the database that `revision` belongs to.
        revision: the study's revision.
        metrics: trial number -> the final metrics of a completed trial.
        attempts: trial number -> its attempts.
        measured_trial: the id of the trial that `num_examples` is taken from.
        num_examples: split -> how many examples it has, where it is known.
        diagnoses: trial number -> its stored diagnosis.
    """

    epoch: int = 0
    revision: int = 0
    metrics: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    attempts: Mapping[int, tuple[AttemptFacts, ...]] = field(default_factory=dict)
    measured_trial: str | None = None
    num_examples: Mapping[str, int] = field(default_factory=dict)
    diagnoses: Mapping[int, StoredTrialDiagnosis] = field(default_factory=dict)


class DiagnosisState:
    """What this replica remembers about diagnoses; reading threads and the event loop use it."""

    def __init__(self) -> None:
        self._facts: RecentlyUsed[KnownFacts] = RecentlyUsed(SIZE)
        self._damaged: set[str] = set()
        self._rest_until: dict[str, float] = {}
        self._logged: set[tuple[str, str]] = set()
        self._lock = Lock()

    def facts(self, study_id: str) -> KnownFacts:
        """Return the known facts of a study, however old they are."""
        return self._facts.get(study_id) or KnownFacts()

    def keep(self, study_id: str, facts: KnownFacts) -> None:
        """Remember the facts of a study."""
        self._facts.keep(study_id, facts, lambda one, other: (one.epoch, one.revision) >= (other.epoch, other.revision))

    def forget(self, study_id: str) -> None:
        """Drop the facts of a study."""
        self._facts.forget(study_id)

    def note_damaged(self, study_id: str) -> None:
        """Note that a stored diagnosis of the study or of a trial of it cannot be read, so that it is made again."""
        with self._lock:
            self._damaged.add(study_id)

    def take_damaged(self) -> set[str]:
        """Return the studies with a damaged diagnosis that were noted since the last call."""
        with self._lock:
            damaged, self._damaged = self._damaged, set()
            return damaged

    def rest(self, study_id: str, until: float) -> None:
        """Leave a study alone until an instant of the monotonic clock."""
        self._rest_until[study_id] = until

    def is_resting(self, study_id: str, now: float) -> bool:
        """Return whether a study is to be left alone for now."""
        self._rest_until = {each: until for each, until in self._rest_until.items() if until > now}
        return study_id in self._rest_until

    def is_news(self, study_id: str, message: str) -> bool:
        """Return whether a message about a study is new, so that the caller logs it once."""
        if (study_id, message) in self._logged:
            return False
        if len(self._logged) >= _MAX_LOGGED:
            self._logged.clear()
        self._logged.add((study_id, message))
        return True
