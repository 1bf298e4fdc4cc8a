"""Puts the patients of several cohorts into the order of their identifiers, and with them all that belongs to them.

The cohorts may divide the patients in any way and may come in any order; no patient is in two of them.
"""

from collections.abc import Sequence
from dataclasses import fields
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from app.timeline.cohort import DIGEST, TABLES, Cohort, Ints

One = TypeVar("One")


class PatientOrder:
    """The order of the patients of some cohorts. Raises `ValueError` if a patient is in two of them."""

    def __init__(self, cohorts: Sequence[Cohort]) -> None:
        self._cohorts = cohorts
        patients = list(chain.from_iterable(cohort.patients for cohort in cohorts))
        if len({row.id for row in patients}) < len(patients):
            raise ValueError("a patient is there twice")
        self._order: Ints = np.array(sorted(range(len(patients)), key=lambda place: patients[place].id), dtype=np.int64)
        self._number = np.empty(len(patients), dtype=np.int64)
        self._number[self._order] = np.arange(len(patients))
        self._starts = np.cumsum([0, *(len(cohort) for cohort in cohorts)])[:-1].tolist()
        self.patients = self.words([cohort.patients for cohort in cohorts])

    def column(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        """An entry for each patient of each cohort, in the order of all patients."""
        return np.concatenate(columns)[self._order]

    def words(self, entries: Sequence[Sequence[One]]) -> tuple[One, ...]:
        """The same of tuples."""
        every = list(chain.from_iterable(entries))
        return tuple(every[place] for place in self._order.tolist())

    def rows(self, tables: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
        """Columns with any number of rows of each patient; the rows of one patient keep their order."""
        owners = [self._number[table.patient + start] for table, start in zip(tables, self._starts, strict=True)]
        owner: Ints = np.concatenate(owners)
        order = np.argsort(owner, kind="stable")
        columns = {name: np.concatenate([getattr(table, name) for table in tables])[order] for name in names}
        return columns | {"patient": owner[order]}

    def cohort(self) -> Cohort:
        """The cohort of all patients. It knows their digests if the cohorts do."""
        tables: dict[str, Any] = {}
        for kind, table in TABLES.items():
            names = [part.name for part in fields(table)]
            tables[kind] = table(**self.rows([getattr(cohort, kind) for cohort in self._cohorts], names))
        whole = Cohort(self.patients, **tables, zoned=any(cohort.zoned for cohort in self._cohorts))
        if all(cohort.knows_digests for cohort in self._cohorts):
            whole.know_digests(
                np.concatenate([np.empty(0, DIGEST), *(each.digests for each in self._cohorts)])[self._order]
            )
        return whole
