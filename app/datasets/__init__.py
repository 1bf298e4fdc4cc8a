"""Datasets for statisticians: values and results of the analyses as CDISC tables, with the source of each row.

A dataset is described (`variables.py`) and then made from the derived study, never from the answers; only `ard` is made
from the answers. A test computes figures from the files by other means: they must agree with the answers.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

import numpy as np

from app.analyses import Options
from app.analyses import report as whole_report
from app.analyses.answer_document import Header
from app.datasets import arrow_lines, events, results, subjects, times, visits
from app.datasets.parameters import Origin
from app.datasets.variables import Column, Dataset, DatasetDescription
from app.derive.chunks import neighbours
from app.derive.study import DerivedStudy
from app.protocol.model import Protocol
from app.readers.csv_lines import Cell, lines_of_columns
from app.timeline.cohort import Cohort
from app.timeline.source_facts import Sources

ROWS_AT_ONCE = 30_000
"""Number of values and patients in one piece of a dataset: about 20 megabytes of columns, and the lines of them."""
NAMES = ("adsl", "adeff", "adtte", "adae", "ard")


def describe(protocol: Protocol) -> tuple[DatasetDescription, ...]:
    """Every dataset under a protocol, in the order of `NAMES`."""
    return (
        subjects.describe(protocol),
        visits.DESCRIPTION,
        times.DESCRIPTION,
        events.DESCRIPTION,
        results.DESCRIPTION,
    )


def dataset(name: str, header: Header, cohort: Cohort, protocol: Protocol, sources: Sources) -> Iterator[Dataset]:
    """One dataset in pieces of some patients each, so that not all rows are in memory at once; at least one piece.

    Raises `KeyError` for a name that is not in `NAMES`.
    """
    if name == "ard":
        yield results.ard(header, whole_report(cohort, protocol, Options()))
    else:
        yield from rows_of_patients(name, header.study or "", cohort, protocol, sources)


def rows_of_patients(
    name: str, study_name: str, cohort: Cohort, protocol: Protocol, sources: Sources
) -> Iterator[Dataset]:
    """A dataset other than `ard` in pieces. The rows of a patient depend on that patient only."""
    make = {"adsl": subjects.adsl, "adeff": visits.adeff, "adtte": times.adtte, "adae": events.adae}[name]
    numbers = np.arange(1, len(cohort) + 1)
    values = sum(np.searchsorted(table.patient, numbers) for table in (cohort.labs, cohort.assessments))
    for first, stop in neighbours(values + numbers, ROWS_AT_ONCE):
        study = DerivedStudy(cohort.between(first, stop), protocol)
        yield make(Origin(study_name, study, sources.between(cohort, first, stop)))


def as_csv(pieces: Iterable[Dataset]) -> Iterator[str]:
    """A dataset as the lines of a CSV table: dates in ISO 8601, a missing value as an empty cell."""
    for number, piece in enumerate(pieces):
        names = [variable.name for variable in piece.description.variables]
        lines = lines_of_columns(names, map(_cells, piece.columns))
        yield from itertools.islice(lines, 1 if number else 0, None)


def csv_parts(description: DatasetDescription, pieces: Iterable[Dataset]) -> Iterator[bytes]:
    """The same bytes in parts: the names of the columns at once, then the lines of each piece."""
    yield b"".join(map(str.encode, as_csv([Dataset(description, ((),) * len(description.variables))])))
    for piece in pieces:
        if arrow_lines.is_installed():
            yield from arrow_lines.lines(piece)
        else:
            yield "".join(itertools.islice(as_csv([piece]), 1, None)).encode()


def _cells(column: Column) -> Sequence[Cell]:
    return [datum.isoformat() if isinstance(datum, date) else datum for datum in column]


__all__ = ["NAMES", "Dataset", "DatasetDescription", "as_csv", "csv_parts", "dataset", "describe", "rows_of_patients"]
