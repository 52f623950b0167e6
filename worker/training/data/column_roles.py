"""Columns that are not features: those that decide the split, and the ids of the examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from worker.training.data.splits import SplitConstraint
from worker.training.data.table_file import require_columns, require_values
from worker.training.errors import ConfigError
from worker.training.parameters import Setting

_OptionalText: TypeAlias = str | None


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The columns that have a role. Only one of them may decide the split.

    Raises:
        ConfigError: two columns would decide the split.
    """

    group: Annotated[
        _OptionalText, Setting("column (of an archive: array) whose equal values stay in one part (a patient, a site)")
    ] = None
    time: Annotated[
        _OptionalText, Setting("column (or array) to split by: the oldest examples train, the newest test")
    ] = None
    fold: Annotated[_OptionalText, Setting("column (or array) that says which part an example is in")] = None
    val_folds: Annotated[
        Sequence[str], Setting("values of the fold column that validate; with folds, each in turn")
    ] = ("val",)
    test_folds: Annotated[Sequence[str], Setting("values of the fold column that test; all others train")] = ("test",)
    query: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        deciding = [setting for setting in self.columns if setting != "id"]
        if len(deciding) > 1:
            raise ConfigError(f"data.{deciding[1]}", f"only one of {' and '.join(deciding)} can decide the split")

    @property
    def columns(self) -> Mapping[str, str]:
        """The named columns by setting."""
        named = {"group": self.group, "time": self.time, "fold": self.fold, "query": self.query, "id": self.id}
        return {setting: column for setting, column in named.items() if column is not None}

    def require(self, table: pa.Table) -> None:
        """Raise ConfigError if one of the columns does not exist, or lacks values."""
        for setting, column in self.columns.items():
            require_columns(f"data.{setting}", [column], table)
            require_values(f"data.{setting}", column, table)

    def split_constraint(self, table: pa.Table) -> SplitConstraint:
        """Return the constraint on the split of the table's rows."""
        for setting, name in self.columns.items():
            match setting:
                case "group" | "query":
                    return SplitConstraint(groups=integer_codes(table, name))
                case "time":
                    column = table.column(name).combine_chunks()
                    return SplitConstraint(times=pc.rank(column, tiebreaker="min").to_numpy(zero_copy_only=False))
                case "fold":
                    folds = np.array([str(value) for value in table.column(name).to_pylist()])
                    return SplitConstraint(folds=folds, val_folds=self.val_folds, test_folds=self.test_folds)
        return SplitConstraint()

    def names(self, setting: str, table: pa.Table) -> NDArray[Any] | None:
        """Return the user's ids [n] of the rows of the file at `data.SETTING`; None: no column holds ids.

        Raises:
            ConfigError: the column does not exist, lacks values, repeats one, or holds neither whole numbers nor texts.
        """
        if self.id is None:
            return None
        require_columns(f"data.{setting}", [self.id], table)
        require_values("data.id", self.id, table)
        column = table.column(self.id)
        if not (pa.types.is_integer(column.type) or pa.types.is_string(column.type)):
            raise ConfigError("data.id", f"column {self.id!r} holds {column.type}, not whole numbers or texts")
        counts = column.value_counts()
        most = int(np.argmax(counts.field("counts").to_numpy()))
        if counts.field("counts")[most].as_py() > 1:
            repeated = counts.field("values")[most].as_py()
            raise ConfigError(
                "data.id", f"column {self.id!r} of data.{setting} holds {repeated!r} more than once; ids must differ"
            )
        return np.array(column.to_pylist())


@dataclass(frozen=True, kw_only=True)
class NamingRoles(Roles):
    """Roles where a column may hold the ids of the examples."""

    id: Annotated[
        _OptionalText,
        Setting("column (or array) of whole numbers or texts that names each example in predictions; null: its place"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class RankingRoles(NamingRoles):
    """Roles where rows may belong to queries and be ranked."""

    query: Annotated[
        _OptionalText, Setting("column whose equal values are one query: a model ranks its rows by the target")
    ] = None


def integer_codes(table: pa.Table, name: str) -> NDArray[np.int64]:
    """Return an integer for each row of a column, equal where the values are equal, [n]."""
    column = table.column(name).combine_chunks().dictionary_encode()
    integers: NDArray[np.int64] = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return integers
