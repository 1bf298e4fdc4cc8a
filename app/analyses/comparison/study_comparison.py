"""Comparison of two studies by the same definitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import Field

from app.analyses.answer import (
    Answer,
    Basis,
    By,
    Caveat,
    Context,
    Findings,
    Options,
    Populations,
    check_grouping,
    populations,
    shared_part,
)
from app.analyses.answer_document import Header
from app.analyses.comparison.two_groups import (
    ADJUSTED_OVER,
    Arm,
    ChangeComparison,
    ComparisonSettings,
    ForestRow,
    GroupPair,
    ResponseComparison,
    compare,
    comparison_caveats,
    left_out,
    record_flags,
)
from app.analyses.sensitivity.caveat_findings import caveats_of
from app.analyses.undecided_facts import undecided_codes
from app.analyses.weekly_change import change_definition
from app.derive.study import DerivedStudy
from app.estimate.results import Result
from app.protocol.conventions import Multiplicity, ProportionInterval
from app.protocol.model import Protocol
from app.protocol.parts import Part
from app.timeline.cohort import Cohort

NAME = "study-comparison"


class BetweenStudies(Part):
    """The options of a comparison of two studies; for a convention that is left out the first study's applies."""

    level: float = Field(
        default=0.95, ge=0.5, le=0.9999, description="Confidence level of the intervals.", examples=[0.95]
    )
    stratify: By | None = Field(
        default=None, description="Also compare the rates within strata of this attribute.", examples=["diagnosis"]
    )
    proportion: ProportionInterval | None = Field(
        default=None, description="First interval of a proportion.", examples=["clopper-pearson"]
    )
    multiplicity: Multiplicity | None = Field(default=None, description="Adjustment over weeks.", examples=["holm"])

    def options(self) -> Options:
        """The common options of all questions."""
        return Options(level=self.level, proportion=self.proportion, multiplicity=self.multiplicity)


@dataclass(frozen=True, slots=True)
class NamedCohort:
    """The patients of a study, with its name."""

    name: str
    cohort: Cohort


class OtherStudy(Header):
    """The other study: its revision, its provenance and its own protocol."""

    declared_protocol: str = Field(
        description="Digest of the other study's own protocol, which is not used here.",
        examples=["sha256:6f29e5f4..."],
    )


class StudyComparison(Answer):
    """The comparison of the first study with the other, both by the first study's protocol."""

    other_populations: Populations = Field(description="The populations of the other study.")
    stratified_by: str | None = Field(
        description="The attribute by which strata were formed; null for none.", examples=[None, "sex"]
    )
    results: tuple[ResponseComparison, ...] = Field(
        description="One entry for each primary response definition.", examples=[[]]
    )
    changes: tuple[ChangeComparison, ...] = Field(
        description="One entry for each measure, scale and week.", examples=[[]]
    )
    forest: tuple[ForestRow, ...] = Field(description="The comparisons as lines of a forest plot.", examples=[[]])


def study_comparison(
    first: NamedCohort, other: NamedCohort, protocol: Protocol, options: BetweenStudies, *, same_protocol: bool
) -> StudyComparison:
    """Compare the first study with the other; `same_protocol`: whether the other declares the same definitions."""
    check_grouping("stratify", options.stratify, protocol)
    contexts = [
        Context.of(DerivedStudy(named.cohort, protocol), options.options(), {"study": named.name})
        for named in (first, other)
    ]
    arms = [
        Arm(named.name, context.study, np.ones(len(named.cohort), dtype=np.bool_))
        for named, context in zip((first, other), contexts, strict=True)
    ]
    whole = contexts[0]
    compared = compare([GroupPair(*arms)], ComparisonSettings(whole.level, whole.conventions, options.stratify))
    tested: dict[str, Sequence[Result]] = {"results": compared.responses, "changes": compared.changes}
    findings = [Findings(tested, claims=compared.claims(protocol.weekly_change.alpha))]
    findings += [
        Findings(excluded=left_out(context, arm.members), flags=record_flags(context))
        for context, arm in zip(contexts, arms, strict=True)
    ]
    caveats = [*comparison_caveats(protocol), *compared.caveats, "patients_may_overlap"]
    basis = Basis([*caveats, *([] if same_protocol else ["other_protocol"])], change_definition(protocol))
    return StudyComparison(
        other_populations=populations(contexts[1].study),
        stratified_by=options.stratify,
        results=tuple(compared.responses),
        changes=tuple(compared.changes),
        forest=compared.forest(),
        **shared_part(NAME, whole, findings, basis, partial(_of_both, contexts[1]), ADJUSTED_OVER) | {"by": "study"},
    )


def _of_both(other: Context, first: Context, codes: Sequence[str]) -> tuple[Caveat, ...]:
    """The caveats of the first study, and beside them what bounds the other study has, and what waits there."""
    others = caveats_of(other, ["bounds_as_values", *undecided_codes(other.study)])
    told = (each.model_copy(update={"text": f"The other study: {each.text}"}) for each in others)
    return (*caveats_of(first, codes), *told)
