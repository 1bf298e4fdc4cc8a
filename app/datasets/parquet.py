"""Datasets as Parquet files, and the columns of a dataset: lists of cells from NumPy arrays, `None` for missing.

`as_parquet` writes the file; the extra `parquet` installs pyarrow, which only this module imports. The same dataset
gives the same bytes: the file does not hold the time or the place of writing. `texts`, `numbers`, `integers`, `dates`,
`yes` and `yes_no` make columns; `days_since` and `adam_days` count days from day 0.
"""

import io
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.util import find_spec
from itertools import chain
from typing import Any

import numpy as np

from app.analyses.answer_document import Header
from app.datasets.variables import CodedColumn, Column, Dataset, DatasetDescription, NumberColumn
from app.errors import NotInstalled
from app.timeline.cohort import NO_TIME, Bools, Floats, Ints
from app.timeline.times import EPOCH_DAY


def check_installed() -> None:
    """Raise `NotInstalled` if pyarrow is missing, before anything is computed."""
    if find_spec("pyarrow") is None:
        raise NotInstalled("Parquet needs pyarrow, which is not installed: pip install 'myoresponse[parquet]'")


def as_parquet(pieces: Iterable[Dataset], header: Header) -> bytes:
    """A dataset as Parquet; each of its pieces (at least one) is a row group.

    The metadata of a field are the label and the unit of its variable; those of the file name the study, the revision,
    the protocol and the software.
    """
    import pyarrow
    from pyarrow import parquet

    types: dict[str, Any] = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "date": pyarrow.date32(),
    }
    remaining = iter(pieces)
    first = next(remaining)
    variables = first.description.variables
    fields = [
        pyarrow.field(each.name, types[each.type], metadata=_metadata(label=each.label, unit=each.unit))
        for each in variables
    ]
    schema = pyarrow.schema(fields, metadata=_file_metadata(first.description, header))
    file = io.BytesIO()
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for piece in chain([first], remaining):
            typed = zip(variables, piece.columns, strict=True)
            arrays = [_array(column, types[each.type]) for each, column in typed]
            writer.write_table(pyarrow.table(arrays, schema=schema))
    return file.getvalue()


def _array(column: Column, type: Any) -> Any:  # noqa: ANN401 - pyarrow publishes no types
    import pyarrow

    match column:
        case CodedColumn(words, place):
            return pyarrow.array(words, type).take(pyarrow.array(place))
        case NumberColumn(values):
            return pyarrow.array(values, type, mask=~np.isfinite(values))
        case _:
            return pyarrow.array(column, type)


def _file_metadata(description: DatasetDescription, header: Header) -> dict[str, str]:
    provenance = header.provenance
    return _metadata(
        dataset=description.name,
        label=description.label,
        structure=description.structure,
        study=header.study,
        revision=None if header.revision is None else str(header.revision),
        as_of=header.as_of,
        protocol_id=provenance.protocol_id,
        protocol=provenance.protocol,
        data=provenance.data,
        software=provenance.software,
    )


def _metadata(**texts: str | None) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text is not None}


def texts(words: Iterable[str | None]) -> list[str | None]:
    """Words; the empty word is missing."""
    return [word or None for word in words]


def numbers(values: Floats) -> list[float | None]:
    """Numbers; NaN and infinite ones are missing."""
    return [value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]


def integers(values: Ints) -> list[int | None]:
    """Whole numbers; `NO_TIME` is missing."""
    return [None if value == NO_TIME else value for value in values.tolist()]


def dates(days: Ints) -> list[date | None]:
    """Calendar dates from days since 1970-01-01; `NO_TIME` is missing."""
    by_day: dict[int, date | None] = {
        day: None if day == NO_TIME else date.fromordinal(day + EPOCH_DAY) for day in np.unique(days).tolist()
    }
    return [by_day[day] for day in days.tolist()]


def yes(flags: Bools) -> list[str | None]:
    """`Y` or missing."""
    return ["Y" if flag else None for flag in flags.tolist()]


def yes_no(flags: Sequence[bool | None]) -> list[str | None]:
    """`Y`, `N`, or missing."""
    return [None if flag is None else "Y" if flag else "N" for flag in flags]


def adam_days(days: Ints) -> Ints:
    """CDISC study days from days since day 0: the day of the first infusion is 1, the day before it is -1."""
    return np.where(days == NO_TIME, NO_TIME, np.where(days >= 0, days + 1, days))


def days_since(days: Ints, day0: Ints) -> Ints:
    """Days since day 0; `NO_TIME` if one of the two is `NO_TIME`."""
    return np.where((days == NO_TIME) | (day0 == NO_TIME), NO_TIME, days - day0)
