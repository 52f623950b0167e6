"""Teachers: finds the trials that a new study distills from, and pins their names so that they stay the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from service.contract.attempt import BLOB
from service.contract.base import TaskKind
from service.contract.problem import ErrorCode, FieldError
from service.contract.study import StudySpec
from service.contract.validation_errors import nearest, quote
from service.domain.errors import DamagedRowError, DomainError
from service.domain.states import OPEN_TRIALS
from service.domain.teachers import teachers_of, with_teachers
from service.storage.queries import checkpoints, studies, trials
from service.storage.tables import Connection, Row
from service.usecases.blobs import is_stored
from service.usecases.context import Context

_BEST = "best"


class TeacherUnavailable(Exception):
    """A name does not refer to a usable teacher; the message says why and what to do."""


def pin_teachers(context: Context, connection: Connection, spec: StudySpec, known: Collection[str] = ()) -> StudySpec:
    """Return the spec with each teacher named by its trial, so that STUDY/best stays the trial that is the best now.

    `known` are the study's present teachers: they are not searched again, and STUDY/best of their studies stays pinned
    to them.

    Raises:
        DomainError: A teacher does not exist, or its checkpoint is not kept; all errors are listed.
    """
    of_known = {name.rpartition("/")[0]: name for name in known}
    names: dict[str, str] = {}
    errors = []
    for path, given in teachers_of(spec):
        study, _, trial = given.rpartition("/")
        try:
            if given not in known:
                kept = of_known.get(study) if trial == _BEST else None
                names[given] = kept or find_teacher(context, connection, spec.project, given)
        except TeacherUnavailable as error:
            errors.append(FieldError(path=path, message=str(error)))
        except DamagedRowError as error:
            errors.append(FieldError(path=path, message=f"{error}; or name a trial of another study"))
    errors += _repeated(spec, names)
    if errors:
        raise DomainError(ErrorCode.INVALID_SPEC, f"{errors[0].path}: {errors[0].message}", errors)
    return with_teachers(spec, names) if names else spec


def find_teacher(context: Context, connection: Connection, project: str, given: str) -> str:
    """Return the pinned name STUDY/TRIAL of the trial that `given` names for a study of `project`.

    `best` is replaced by the trial's number. The trial's checkpoint is touched, so that it is kept until the study
    exists.

    Raises:
        TeacherUnavailable: The trial does not exist, has not ended, trained no model of the core, or its checkpoint is
            not kept.
    """
    name, slash, key = given.rpartition("/")
    if not slash:
        raise TeacherUnavailable(
            f"{quote(given)} is neither a trial, as STUDY/TRIAL (digits-mlp/best), nor a path, which begins with / "
            "or ., or ends with .pt"
        )
    trial = _trial(connection, project, name, key)
    if trial.state in OPEN_TRIALS:
        raise TeacherUnavailable(
            f"{trials.title(trial)} of {quote(name)} has not ended yet; wait for it, or name another"
        )
    saved = checkpoints.whole(checkpoints.canonical(connection, trial.id))
    if not saved or not saved[0].uri.startswith(BLOB) or not is_stored(context, saved[0]):
        raise TeacherUnavailable(
            f"{trials.title(trial)} of {quote(name)} {_lacks(saved)}; name the best one ({name}/{_BEST})"
        )
    if context.blobs is not None:
        context.blobs.touch(saved[0].sha256)
    return f"{name}/{trial.id if trial.number is None else trial.number}"


def _trial(connection: Connection, project: str, name: str, key: str) -> Row:
    """Return the trial `key`, or the best one, of a study that trains models of the training core."""
    study = studies.find_named(connection, project, name)
    if study is None:
        raise TeacherUnavailable(f"there is no study {quote(name)}; {nearest(name, studies.names(connection))}")
    spec = studies.spec(connection, study.id, study.spec_version)
    if spec.task_kind is not TaskKind.TRAIN:
        raise TeacherUnavailable(
            f"trials of {quote(name)} train no model of the training core; name a study with task.train"
        )
    shown = quote(key).strip("'")
    if key != _BEST:
        trial, otherwise = trials.find(connection, study.id, key), f"has no trial {shown}; it has {study.next_number}"
    elif len(spec.objectives) > 1:
        trial, otherwise = None, f"has {len(spec.objectives)} objectives and no best trial; name one by its number"
    else:
        trial = trials.best(connection, study.id, spec)
        otherwise = "has no completed trial yet; wait for one"
    if trial is None:
        raise TeacherUnavailable(f"{quote(name)} {otherwise}")
    return trial


def _lacks(saved: Sequence[Row]) -> str:
    if not saved:
        return "has saved no checkpoint"
    if not saved[0].uri.startswith(BLOB):
        return "saved its checkpoints in a directory that workers share, where those of ended trials are deleted"
    return "has no checkpoint any more: of ended trials, only the checkpoint of each study's best one is kept"


def _repeated(spec: StudySpec, names: Mapping[str, str]) -> Iterator[FieldError]:
    """Yield an error for each choice in the space that names the same trial as another one."""
    seen: dict[str, str] = {}
    for path, given in teachers_of(spec):
        if not path.startswith("space."):
            continue
        first = seen.setdefault(names.get(given, given), given)
        if first != given:
            yield FieldError(path=path, message=f"{given} and {first} are one trial; drop one of them")
