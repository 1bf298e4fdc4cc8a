"""A dataset as a Parquet file, typed and described; the only module that knows pyarrow, which an extra brings.

The same dataset gives the same bytes: nothing in the file tells when or where it was written.
"""

import io
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.util import find_spec
from itertools import chain
from typing import Any

import numpy as np

from app.analyses.answer_document import Header
from app.datasets.variables import Dataset, DatasetDescription
from app.errors import NotInstalled
from app.timeline.cohort import NO_TIME, Bools, Floats, Ints
from app.timeline.times import EPOCH_DAY


def check_installed() -> None:
    """Refuse to write Parquet where pyarrow is not installed, before anything is computed for it."""
    if find_spec("pyarrow") is None:
        raise NotInstalled("Parquet needs pyarrow, which is not installed: pip install 'myoresponse[parquet]'")


def as_parquet(pieces: Iterable[Dataset], header: Header) -> bytes:
    """A dataset as Parquet, each of its pieces (at least one) a row group.

    Each field has the label of its variable (and its unit) as metadata; the metadata of the file say what the dataset
    was computed from.
    """
    import pyarrow  # noqa: PLC0415 - it takes a third of a second, which a start need not wait for
    from pyarrow import parquet  # noqa: PLC0415

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
        pyarrow.field(each.name, types[each.type], metadata=_given(label=each.label, unit=each.unit))
        for each in variables
    ]
    schema = pyarrow.schema(fields, metadata=_about(first.description, header))
    file = io.BytesIO()
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for piece in chain([first], remaining):
            typed = zip(variables, piece.columns, strict=True)
            arrays = [pyarrow.array(column, types[each.type]) for each, column in typed]
            writer.write_table(pyarrow.table(arrays, schema=schema))
    return file.getvalue()


def _about(description: DatasetDescription, header: Header) -> dict[str, str]:
    provenance = header.provenance
    return _given(
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


def _given(**texts: str | None) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text is not None}


def texts(words: Iterable[str | None]) -> list[str | None]:
    """Words, the empty one missing."""
    return [word or None for word in words]


def numbers(values: Floats) -> list[float | None]:
    """Numbers, those missing that are none or too large to be written."""
    return [value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]


def integers(values: Ints, known: Bools | None = None) -> list[int | None]:
    """Whole numbers; missing are those that are not known, or else `NO_TIME`."""
    present = values != NO_TIME if known is None else known
    return [value if there else None for value, there in zip(values.tolist(), present, strict=True)]


def dates(days: Ints) -> list[date | None]:
    """Calendar dates from days since 1970-01-01, `NO_TIME` missing."""
    made: dict[int, date | None] = {
        day: None if day == NO_TIME else date.fromordinal(day + EPOCH_DAY) for day in np.unique(days).tolist()
    }
    return [made[day] for day in days.tolist()]


def yes(flags: Bools) -> list[str | None]:
    """`Y` or missing."""
    return ["Y" if flag else None for flag in flags.tolist()]


def yes_no(flags: Sequence[bool | None]) -> list[str | None]:
    """`Y`, `N`, or missing."""
    return [None if flag is None else "Y" if flag else "N" for flag in flags]


def adam_days(days: Ints) -> Ints:
    """Days counted from day 0 as CDISC counts them: the day of the first infusion is 1, the day before it is -1."""
    return np.where(days == NO_TIME, NO_TIME, np.where(days >= 0, days + 1, days))


def since(days: Ints, day0: Ints) -> Ints:
    """Days from day 0, `NO_TIME` where either is."""
    return np.where((days == NO_TIME) | (day0 == NO_TIME), NO_TIME, days - day0)
