"""Do two studies respond differently, judged by the same definitions?"""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from app.analyses.comparison.compared import (
    ChangeComparison,
    ForestRow,
    Manner,
    Pair,
    ResponseComparison,
    Side,
    compare,
    left_out,
    noticed,
)
from app.analyses.comparison.comparisons import caveats_of, change_definition
from app.analyses.frame import Answer, By, Context, Findings, Options, Populations, populations, shared
from app.derive.study import DerivedStudy
from app.protocol.conventions import Multiplicity, ProportionInterval
from app.protocol.model import Protocol
from app.protocol.parts import Part
from app.timeline.cohort import Cohort

NAME = "study-comparison"


class BetweenStudies(Part):
    """What a comparison of two studies may be asked with; a convention that is left out is the first study's."""

    level: float = Field(
        default=0.95, ge=0.5, le=0.9999, description="Confidence level of the intervals.", examples=[0.95]
    )
    stratify: By | None = Field(
        default=None, description="Compare the rates within strata of this attribute, too.", examples=["diagnosis"]
    )
    proportion: ProportionInterval | None = Field(
        default=None, description="First interval of a proportion.", examples=["clopper-pearson"]
    )
    multiplicity: Multiplicity | None = Field(default=None, description="Adjustment over weeks.", examples=["holm"])

    def options(self) -> Options:
        """The ones that every question has."""
        return Options(level=self.level, proportion=self.proportion, multiplicity=self.multiplicity)


@dataclass(frozen=True, slots=True)
class NamedCohort:
    """A study by its name."""

    name: str
    cohort: Cohort


class StudyComparison(Answer):
    """Two studies side by side, the first against the other, both by the first study's protocol."""

    other_populations: Populations = Field(description="The populations of the other study.")
    stratified_by: str | None = Field(description="What strata were formed by; null for none.", examples=[None, "sex"])
    results: tuple[ResponseComparison, ...] = Field(
        description="One entry a primary response definition.", examples=[[]]
    )
    changes: tuple[ChangeComparison, ...] = Field(description="One entry a measure, scale and week.", examples=[[]])
    forest: tuple[ForestRow, ...] = Field(description="The comparisons as lines to draw.", examples=[[]])


def study_comparison(
    first: NamedCohort, other: NamedCohort, protocol: Protocol, asked: BetweenStudies, *, same_protocol: bool
) -> StudyComparison:
    """The first study against the other; `same_protocol` says whether the other declares the same definitions."""
    options = asked.options()
    conventions = options.conventions(protocol.conventions)
    studies = [(named.name, DerivedStudy(named.cohort, protocol)) for named in (first, other)]
    sides = [Side(name, study, np.ones(len(study.cohort), dtype=np.bool_)) for name, study in studies]
    compared = compare([Pair(*sides)], Manner(options.level, conventions, asked.stratify))
    found = Findings()
    for side in sides:
        context = Context(side.study, {"study": side.label}, options.level, conventions)
        found.excluded += left_out(context, side.members)
        found.flags += noticed(context)
    caveats = (*caveats_of(studies[0][1], compared), "patients_may_overlap")
    if not same_protocol:
        caveats = (*caveats, "other_protocol")
    common = shared(NAME, studies[0][1], options, found, caveats, change_definition(protocol))
    return StudyComparison(
        other_populations=populations(studies[1][1]),
        stratified_by=asked.stratify,
        results=tuple(compared.responses),
        changes=tuple(compared.changes),
        forest=compared.forest(),
        **common | {"by": "study"},
    )
