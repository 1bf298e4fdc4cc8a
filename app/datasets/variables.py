"""The model of a dataset: the description of each variable, and one column of values for each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
from pydantic import Field

from app.estimate.results import Result
from app.timeline.cohort import NO_TIME, Floats, Ints

Datum = str | int | float | date | None
"""The value of one cell of a dataset; `None` is a missing value."""
Column = Sequence[Datum]
NEAR = 4
"""So many whole numbers for each value may lie between the least and the greatest one."""


@dataclass(frozen=True, slots=True, eq=False)
class CodedColumn(Sequence[Datum]):
    """A column in which few data stand many times: cell `i` is `words[place[i]]`."""

    words: Sequence[Datum]
    place: Ints

    def __len__(self) -> int:
        return len(self.place)

    def __iter__(self) -> Iterator[Datum]:
        return map(self.words.__getitem__, self.place.tolist())

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - a cell, or some of them
        return list(self)[at]


@dataclass(frozen=True, slots=True, eq=False)
class NumberColumn(Sequence[Datum]):
    """A column of numbers; NaN and infinite ones are missing."""

    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Datum]:
        finite = np.isfinite(self.values).tolist()
        return iter([number if there else None for number, there in zip(self.values.tolist(), finite, strict=True)])

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - a cell, or some of them
        return list(self)[at]


def distinct(values: Ints) -> tuple[Ints, Ints]:
    """The different values in ascending order, and the place of each value among them, as `np.unique` finds them.

    Nothing is sorted where they lie near each other, apart from `NO_TIME`.
    """
    there = values[values != NO_TIME]
    low, high = (int(there.min()), int(there.max())) if len(there) else (0, 0)
    if high - low > NEAR * len(values):
        return np.unique(values, return_inverse=True)
    shifted = np.maximum(values, low - 1) - (low - 1)
    seen = np.zeros(high - low + 2, dtype=np.bool_)
    seen[shifted] = True
    found = np.flatnonzero(seen) + low - 1
    place = (np.cumsum(seen) - 1)[shifted]
    if seen[0]:
        found[0] = NO_TIME
    return found, place


VariableType = Literal["text", "integer", "number", "date"]


class Variable(Result):
    """One variable of a dataset."""

    name: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,31}$",
        description="Its name; in the datasets with names of CDISC ADaM at most eight characters.",
        examples=["AVAL"],
    )
    label: str = Field(max_length=40, description="Its label, at most 40 characters.", examples=["Analysis Value"])
    type: VariableType = Field(
        description="`text`, `integer`, `number` or `date`. In CSV a date is written as ISO 8601 and a missing value "
        "is an empty cell; in Parquet they are `string`, `int64`, `double`, `date32` and null; in SAS transport a "
        "number, or a date with the format DATE9, is missing as `.`, and a text is blank.",
        examples=["number"],
    )
    unit: str | None = Field(default=None, description="Its unit; null if it has none.", examples=["d", None])
    codelist: tuple[str, ...] | None = Field(
        default=None, description="All values that it can have; null if they are not listed.", examples=[["Y", "N"]]
    )
    standard: Literal["adam", "ours"] = Field(
        description="`adam`: name and meaning are those of the CDISC ADaM Implementation Guide. `ours`: the variable "
        "is defined here.",
        examples=["adam"],
    )
    meaning: str = Field(
        description="What it says.", examples=["The value that analyses calculate with, in the unit of PARAM."]
    )
    derivation: str = Field(description="How it is made.", examples=["The value as sent, in the canonical unit."])
    transport: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]{0,7}$",
        description="Its name in SAS transport files, which have at most eight characters. A text of more than 200 "
        "bytes goes on in variables with this name and a number, such as AETERM1; they follow it.",
        examples=["AVAL"],
    )


class DatasetDescription(Result):
    """A dataset and its variables."""

    name: str = Field(description="Its name in the address.", examples=["adsl"])
    label: str = Field(max_length=40, description="Its label.", examples=["Subject-Level Analysis Dataset"])
    structure: str = Field(description="What one row is.", examples=["One row a patient."])
    standard: str = Field(
        description="The class of CDISC ADaM, or the other standard, that it follows.",
        examples=["ADaM subject-level analysis dataset (ADSL)"],
    )
    key: tuple[str, ...] = Field(
        description="Variables whose values together identify a row.", examples=[["STUDYID", "USUBJID"]]
    )
    variables: tuple[Variable, ...] = Field(description="Its variables in the order of the columns.", examples=[[]])


@dataclass(frozen=True, slots=True)
class Dataset:
    """A described dataset with its columns, in the order of the variables and all of one length."""

    description: DatasetDescription
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, description: DatasetDescription, columns: Mapping[str, Column]) -> "Dataset":
        """The dataset of columns by name. Raises `ValueError` if they are not the described ones."""
        names = [variable.name for variable in description.variables]
        if sorted(names) != sorted(columns) or len({len(column) for column in columns.values()}) > 1:
            raise ValueError(f"{description.name}: the columns are not those that are described")
        return cls(description, tuple(columns[name] for name in names))

    def __len__(self) -> int:
        return len(self.columns[0])


def adam(
    name: str,
    label: str,
    type: VariableType,
    meaning: str,
    derivation: str,
    *,
    unit: str | None = None,
    codelist: Sequence[str] | None = None,
) -> Variable:
    """A variable whose name and meaning are those of CDISC ADaM."""
    listed = None if codelist is None else tuple(codelist)
    return Variable(name=name, label=label, type=type, unit=unit, codelist=listed, standard="adam", meaning=meaning,
                    derivation=derivation, transport=name)  # fmt: skip


def ours(
    name: str,
    label: str,
    type: VariableType,
    meaning: str,
    derivation: str,
    *,
    unit: str | None = None,
    codelist: Sequence[str] | None = None,
    transport: str | None = None,
) -> Variable:
    """A variable that is defined here. `transport` is its name in transport files, if its own name is too long."""
    listed = None if codelist is None else tuple(codelist)
    return Variable(name=name, label=label, type=type, unit=unit, codelist=listed, standard="ours", meaning=meaning,
                    derivation=derivation, transport=transport or name.upper())  # fmt: skip
