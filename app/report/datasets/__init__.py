"""Datasets for statisticians: what analyses read and found, as tables with names of CDISC, each row with its source.

A dataset is described (`variables.py`) and then made from the derived study, never from the answers; only `ard` is made
from the answers. What is computed from the files by other means must therefore agree with the answers, and a test does
so.
"""

from collections.abc import Iterator, Sequence
from datetime import date

from app.analyses import Options
from app.analyses import report as whole_report
from app.derive.study import DerivedStudy
from app.protocol.model import Protocol
from app.report.datasets import events, results, subjects, times, visits
from app.report.datasets.parameters import Origin
from app.report.datasets.variables import Column, Dataset, DatasetDescription
from app.report.document import Header
from app.report.table import Cell, lines_of_columns
from app.timeline.columns import Cohort
from app.timeline.sources import Sources

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


def dataset(name: str, header: Header, cohort: Cohort, protocol: Protocol, sources: Sources) -> Dataset:
    """One dataset; raises `KeyError` for a name that is not in `NAMES`."""
    if name == "ard":
        return results.ard(header, whole_report(cohort, protocol, Options()))
    make = {"adsl": subjects.adsl, "adeff": visits.adeff, "adtte": times.adtte, "adae": events.adae}[name]
    return make(Origin(header.study or "", DerivedStudy(cohort, protocol), sources))


def as_csv(made: Dataset) -> Iterator[str]:
    """A dataset as the lines of a CSV table: dates in ISO 8601, a missing value as an empty cell."""
    names = [variable.name for variable in made.description.variables]
    return lines_of_columns(names, map(_cells, made.columns))


def _cells(column: Column) -> Sequence[Cell]:
    return [each.isoformat() if isinstance(each, date) else each for each in column]


__all__ = ["NAMES", "Dataset", "DatasetDescription", "as_csv", "dataset", "describe"]
