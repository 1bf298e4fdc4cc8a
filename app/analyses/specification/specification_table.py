"""The definitions of one measure and kind, collapsed where they are one: the rows of the table, and their order."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from app.derive.specifications import SpecificationVerdicts, Verdicts
from app.protocol.specification import (
    AnalysisSet,
    BaselineRule,
    Criterion,
    Kind,
    MeasureGrid,
    Missing,
    Specification,
    Window,
)
from app.timeline.cohort import Ints

Indices = tuple[int, int, int, int, int]
Choice = TypeVar("Choice")


class Choices(NamedTuple):
    """The choices of each dimension of a definition."""

    criterion: tuple[Criterion, ...]
    window: tuple[Window, ...]
    baseline: tuple[BaselineRule, ...]
    analysis_set: tuple[AnalysisSet, ...]
    missing: tuple[Missing, ...]


DIMENSIONS = Choices._fields


@dataclass(slots=True)
class Alike:
    """Definitions that count the same patients and say the same of each: one row of the table."""

    responders: int
    evaluable: int
    declared: bool = False
    specifications: list[Specification] = field(default_factory=list)

    @property
    def rate(self) -> float | None:
        """responders / evaluable."""
        return self.responders / self.evaluable if self.evaluable else None

    def join(self, specification: Specification, *, declared: bool) -> None:
        """One more definition; the declared one stands for all."""
        self.specifications.insert(0 if declared else len(self.specifications), specification)
        self.declared |= declared


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The rows in ascending order of their rate, those without a rate last, and the choices that they are made of.

    `counted` and `responded` say in how many definitions each patient is counted and responds. `in_grid` tells whether
    the grid itself holds the declared definition, and is None where none is declared.
    """

    kind: Kind
    rows: tuple[Alike, ...]
    choices: Choices
    in_grid: bool | None
    counted: Ints
    responded: Ints

    @property
    def rates(self) -> list[float]:
        """The rate of every definition that has one, ascending; as often as there are definitions with it."""
        return [row.rate for row in self.rows if row.rate is not None for _ in row.specifications]

    @property
    def declared(self) -> int | None:
        """The place of the declared row."""
        return next((place for place, row in enumerate(self.rows) if row.declared), None)

    def indices(self, specification: Specification) -> Indices:
        """The place of each choice of a definition among the choices of its dimension."""
        return (
            self.choices.criterion.index(specification.criterion),
            self.choices.window.index(specification.window),
            self.choices.baseline.index(specification.baseline),
            self.choices.analysis_set.index(specification.analysis_set),
            self.choices.missing.index(specification.missing),
        )

    def used(self) -> Iterator[tuple[str, int, list[int]]]:
        """Each dimension and choice with the places of the rows in which some definition makes it."""
        found: dict[tuple[int, int], list[int]] = {}
        for place, row in enumerate(self.rows):
            made = {pair for each in row.specifications for pair in enumerate(self.indices(each))}
            for pair in sorted(made):
                found.setdefault(pair, []).append(place)
        yield from ((DIMENSIONS[of], choice, found[of, choice]) for of, choice in sorted(found))


def table(verdicts: SpecificationVerdicts, kind: Kind, declared: Specification | None) -> Table:
    """Every definition of one kind; a declared one that the grid does not hold is added to it.

    Definitions are one where they count the same patients and call the same ones responders. Rows of equal rate stand
    in the order in which the grid first makes them.
    """
    found: dict[bytes, Alike] = {}
    size = len(verdicts.study.cohort)
    counted, responded = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for specification, verdict in _all(verdicts, kind, declared):
        key = hashlib.sha256(np.packbits([verdict.evaluable, verdict.responder]).tobytes()).digest()
        k, n = int(verdict.responder.sum()), int(verdict.evaluable.sum())
        is_declared = specification == declared
        found.setdefault(key, Alike(k, n)).join(specification, declared=is_declared)
        counted += verdict.evaluable
        responded += verdict.responder
    in_grid = declared in set(verdicts.grid.specifications(kind))
    rows = sorted(found.values(), key=lambda row: (row.rate is None, row.rate or 0.0))
    choices = _choices(verdicts.grid, kind, None if in_grid else declared)
    return Table(kind, tuple(rows), choices, None if declared is None else in_grid, counted, responded)


def _all(
    verdicts: SpecificationVerdicts, kind: Kind, declared: Specification | None
) -> Iterator[tuple[Specification, Verdicts]]:
    missed = declared is not None
    for specification, verdict in verdicts.each(kind):
        missed &= specification != declared
        yield specification, verdict
    if missed and declared is not None:
        yield declared, verdicts.verdicts(declared)


def _choices(grid: MeasureGrid, kind: Kind, added: Specification | None) -> Choices:
    of_grid = Choices(grid.criteria(kind), grid.windows, grid.baselines, grid.analysis_sets, grid.missing)
    if added is None:
        return of_grid
    return Choices(
        _with(added.criterion, of_grid.criterion),
        _with(added.window, of_grid.window),
        _with(added.baseline, of_grid.baseline),
        _with(added.analysis_set, of_grid.analysis_set),
        _with(added.missing, of_grid.missing),
    )


def _with(own: Choice, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    return choices if own in choices else (*choices, own)
