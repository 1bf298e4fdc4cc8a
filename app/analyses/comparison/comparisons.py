"""Do two groups of one study respond differently, and two endpoints in the same patients?

Groups are the values of the attribute that `by` names. Two groups are compared with each other, in code-point order;
of more, each with all others. With `reference` each other group is compared with the one it names. Patients without
the attribute, or with `unknown`, are compared with nobody and counted.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from app.analyses.comparison.compared import (
    ChangeComparison,
    Compared,
    ForestRow,
    Manner,
    Pair,
    ResponseComparison,
    Side,
    compare,
    definition_of,
    left_out,
    noticed,
)
from app.analyses.frame import Answer, By, Context, Definition, Excluded, Findings, Options, Question, shared
from app.derive.study import DerivedStudy
from app.estimate.effect import EffectEstimate
from app.estimate.rates.contingency import mcnemar_exact
from app.estimate.results import Reason, Result, TestResult, WhyNull
from app.protocol.model import Protocol
from app.protocol.parts import contradiction
from app.protocol.response import Response
from app.timeline.cohort import Bools

NAME = "comparisons"
UNKNOWN = (None, "unknown")


class ComparisonOptions(Options):
    """Which groups are compared, and within which strata."""

    reference: str | None = Field(
        default=None,
        max_length=64,
        description="The group that every other one is compared with.",
        examples=["polymyositis"],
    )
    stratify: By | None = Field(
        default=None, description="Compare the rates within strata of this attribute, too.", examples=["sex"]
    )

    @model_validator(mode="after")
    def _groups_must_be_formed(self) -> Self:
        if self.by is None and (self.reference is not None or self.stratify is not None):
            raise contradiction("by: a reference or strata need groups, which by= forms.")
        if self.stratify is not None and self.stratify == self.by:
            raise contradiction("stratify: groups cannot be compared within what forms them.")
        return self


class Endpoint(Result):
    """One of two endpoints of the same patients."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The rule.")


class PairedEndpoints(Result):
    """Two primary response endpoints in the patients whom both rules could judge."""

    first: Endpoint = Field(description="The first endpoint.")
    second: Endpoint = Field(description="The second endpoint.")
    n: int = Field(description="Patients whom both rules could judge.", examples=[15])
    both: int = Field(description="Responders by both.", examples=[12])
    first_only: int = Field(description="Responders by the first only.", examples=[2])
    second_only: int = Field(description="Responders by the second only.", examples=[0])
    neither: int = Field(description="Responders by neither.", examples=[1])
    odds_ratio: EffectEstimate = Field(description="`first_only` over `second_only`.")
    test: TestResult = Field(
        description="McNemar's exact test; the statistic is `first_only`, `n_used` counts the patients who respond by "
        "one only, `n_zero` the others."
    )


class GroupComparisons(Answer):
    """Two groups of one study, or more against one, side by side; and endpoints against each other."""

    reason: WhyNull = None
    groups: tuple[str, ...] = Field(
        description="The groups that have patients, in code-point order.",
        examples=[["dermatomyositis", "polymyositis"]],
    )
    unassigned: int = Field(description="Patients of no known group; they are compared with nobody.", examples=[0])
    stratified_by: str | None = Field(description="What strata were formed by; null for none.", examples=[None, "sex"])
    results: tuple[ResponseComparison, ...] = Field(
        description="One entry a pair of groups and primary response definition.", examples=[[]]
    )
    changes: tuple[ChangeComparison, ...] = Field(
        description="One entry a pair of groups, measure, scale and week.", examples=[[]]
    )
    paired_endpoints: tuple[PairedEndpoints, ...] = Field(
        description="One entry a pair of primary response definitions, over all patients.", examples=[[]]
    )
    forest: tuple[ForestRow, ...] = Field(description="The comparisons as lines to draw.", examples=[[]])


def comparisons(study: DerivedStudy, options: ComparisonOptions) -> GroupComparisons:
    """Every pair of groups, and every pair of primary endpoints."""
    values = [None] * len(study.cohort) if options.by is None else _values(study, options.by)
    groups = sorted({value for value in values if value not in UNKNOWN})
    pairs, reason = _pairs(study, values, groups, options)
    manner = Manner(options.level, options.conventions(study.protocol.conventions), options.stratify)
    compared = compare(pairs, manner)
    whole = Context(study, None, options.level, manner.conventions)
    found = Findings(excluded=_excluded(whole, values, options.by), flags=noticed(whole))
    return GroupComparisons(
        reason=reason,
        groups=tuple(groups),
        unassigned=0 if options.by is None else sum(value in UNKNOWN for value in values),
        stratified_by=options.stratify,
        results=tuple(compared.responses),
        changes=tuple(compared.changes),
        paired_endpoints=_paired(study, options.level),
        forest=compared.forest(),
        **shared(NAME, study, options, found, caveats_of(study, compared), change_definition(study.protocol)),
    )


def change_definition(protocol: Protocol) -> Definition:
    """What the changes that are compared are."""
    return Definition(id="change_from_baseline", parameters=protocol.weekly_change.model_dump(mode="json"))


def caveats_of(study: DerivedStudy, compared: Compared) -> tuple[str, ...]:
    """What to be careful about in any comparison of groups."""
    best = any(getattr(declared.rule, "value", None) == "best" for declared in study.protocol.responses)
    found = ["definitions_are_ours", *(["best_of_many"] if best else [])]
    if compared.responses or compared.changes:
        found += ["not_randomised", "many_comparisons", *(["small_counts"] if compared.small else [])]
    return tuple(found)


def _values(study: DerivedStudy, by: By) -> list[str | None]:
    return [getattr(row, by) for row in study.cohort.patients]


def _pairs(
    study: DerivedStudy, values: Sequence[str | None], groups: Sequence[str], options: ComparisonOptions
) -> tuple[list[Pair], Reason | None]:
    """Which groups are compared, and why none are."""
    if options.by is None:
        return [], Reason.NO_GROUPS
    if len(groups) < 2:
        return [], Reason.ONE_GROUP
    known = np.array([value not in UNKNOWN for value in values], dtype=np.bool_)
    sides = {label: Side(label, study, np.array([value == label for value in values])) for label in groups}
    reference = options.reference
    if reference is not None:
        against = sides.get(reference)
        others = [side for label, side in sides.items() if label != reference]
        return ([Pair(side, against) for side in others], None) if against else ([], Reason.NO_SUCH_GROUP)
    if len(groups) == 2:
        return [Pair(sides[groups[0]], sides[groups[1]])], None
    return [Pair(side, Side(None, study, known & ~side.members)) for side in sides.values()], None


def _excluded(whole: Context, values: Sequence[str | None], by: By | None) -> list[Excluded]:
    """Who is in no comparison, by group where there are groups."""
    everybody: Bools = np.ones(len(values), dtype=np.bool_)
    if by is None:
        return left_out(whole, everybody)
    found: list[Excluded] = []
    for value in sorted({value for value in values if value is not None}) + ([None] if None in values else []):
        part = Context(whole.study, {by: value}, whole.level, whole.conventions)
        found += left_out(part, np.array([each == value for each in values], dtype=np.bool_))
    return found


def _paired(study: DerivedStudy, level: float) -> tuple[PairedEndpoints, ...]:
    primary = [declared for declared in study.protocol.responses if declared.primary]
    return tuple(_endpoints(study, first, second, level) for first, second in combinations(primary, 2))


def _endpoints(study: DerivedStudy, first: Response, second: Response, level: float) -> PairedEndpoints:
    one, other = study.response(first.rule), study.response(second.rule)
    judged = one.evaluable & other.evaluable
    both = int((judged & one.responder & other.responder).sum())
    first_only = int((judged & one.responder & ~other.responder).sum())
    second_only = int((judged & ~one.responder & other.responder).sum())
    n = int(judged.sum())
    table = mcnemar_exact(first_only, second_only, n - first_only - second_only, level=level)
    return PairedEndpoints(
        first=Endpoint(measure=first.rule.measure, definition=definition_of(first)),
        second=Endpoint(measure=second.rule.measure, definition=definition_of(second)),
        n=n,
        both=both,
        first_only=first_only,
        second_only=second_only,
        neither=n - both - first_only - second_only,
        odds_ratio=table.odds_ratio,
        test=table.test,
    )


QUESTION = Question(
    NAME, "Do groups of patients, or endpoints, differ?", GroupComparisons, comparisons, ComparisonOptions
)
