"""Comparison of the groups of one study, and of the primary endpoints in the same patients.

The groups are the values of the attribute `by`. Two groups are compared with each other, in code-point order. Of three
or more groups, each is compared with all other patients of known group. With `reference`, each group is compared with
that group. Patients without the attribute, or with the value `unknown`, are not compared but counted.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from app.analyses.answer import (
    Answer,
    Basis,
    By,
    Context,
    Definition,
    Excluded,
    Findings,
    Options,
    Question,
    groups_by,
    values_of,
)
from app.analyses.claims import Comparison, comparison
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
from app.analyses.weekly_change import change_definition
from app.derive.study import DerivedStudy
from app.estimate.effect import EffectEstimate
from app.estimate.rates.contingency import mcnemar_exact
from app.estimate.results import Reason, Result, TestResult, WhyNull
from app.protocol.endpoints import Response
from app.protocol.parts import contradiction

UNKNOWN = (None, "unknown")


class ComparisonOptions(Options):
    """The common options, the reference group, and the strata."""

    reference: str | None = Field(
        default=None,
        max_length=64,
        description="The group with which every other group is compared.",
        examples=["polymyositis"],
    )
    stratify: By | None = Field(
        default=None, description="Also compare the rates within strata of this attribute.", examples=["sex"]
    )

    @model_validator(mode="after")
    def _must_have_groups(self) -> Self:
        if self.by is None and (self.reference is not None or self.stratify is not None):
            raise contradiction("by: must be given with reference or stratify, because it forms the groups.")
        if self.stratify is not None and self.stratify == self.by:
            raise contradiction("stratify: must not be the attribute that by gives.")
        return self


class Endpoint(Result):
    """One of two endpoints that are compared in the same patients."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The rule.")


class PairedEndpoints(Result):
    """Two primary response endpoints in the patients whom both rules could judge."""

    first: Endpoint = Field(description="The first endpoint.")
    second: Endpoint = Field(description="The second endpoint.")
    n: int = Field(description="Patients whom both rules could judge.", examples=[15])
    both: int = Field(description="Responders by both rules.", examples=[12])
    first_only: int = Field(description="Responders by the first rule only.", examples=[2])
    second_only: int = Field(description="Responders by the second rule only.", examples=[0])
    neither: int = Field(description="Responders by neither rule.", examples=[1])
    odds_ratio: EffectEstimate = Field(description="`first_only` divided by `second_only`.")
    test: TestResult = Field(
        description="McNemar's exact test; the statistic is `first_only`, `n_used` counts the patients who respond by "
        "one rule only, `n_zero` the other patients."
    )


class GroupComparisons(Answer):
    """The comparisons of groups of one study, and of endpoints in the same patients."""

    reason: WhyNull = None
    groups: tuple[str, ...] = Field(
        description="The groups that have patients, in code-point order.",
        examples=[["dermatomyositis", "polymyositis"]],
    )
    unassigned: int = Field(description="Patients without a known group; they are not compared.", examples=[0])
    stratified_by: str | None = Field(
        description="The attribute by which strata were formed; null for none.", examples=[None, "sex"]
    )
    results: tuple[ResponseComparison, ...] = Field(
        description="One entry for each pair of groups and primary response definition.", examples=[[]]
    )
    changes: tuple[ChangeComparison, ...] = Field(
        description="One entry for each pair of groups, measure, scale and week.", examples=[[]]
    )
    paired_endpoints: tuple[PairedEndpoints, ...] = Field(
        description="One entry for each pair of primary response definitions, over all patients.", examples=[[]]
    )
    forest: tuple[ForestRow, ...] = Field(description="The comparisons as lines of a forest plot.", examples=[[]])


def comparisons(whole: Context) -> Findings:
    """The comparison of every pair of groups, and of every pair of primary endpoints."""
    study, options = whole.study, whole.options_as(ComparisonOptions)
    values = [None] * len(study.cohort) if options.by is None else values_of(study, options.by)
    groups = sorted({value for value in values if value not in UNKNOWN})
    pairs, reason = _pairs(study, values, groups, options)
    compared = compare(pairs, ComparisonSettings(whole.level, whole.conventions, options.stratify))
    paired = _paired(study, whole.level)
    return Findings(
        {
            "results": compared.responses,
            "changes": compared.changes,
            "paired_endpoints": paired,
            "forest": compared.forest(),
        },
        _excluded(whole),
        record_flags(whole),
        compared.caveats,
        {
            "reason": reason,
            "groups": tuple(groups),
            "unassigned": 0 if options.by is None else sum(value in UNKNOWN for value in values),
            "stratified_by": options.stratify,
        },
        compared.claims(whole.protocol.weekly_change.alpha, [_endpoint_test(row) for row in paired]),
    )


def _endpoint_test(row: PairedEndpoints) -> Comparison:
    first, second = (f"{each.measure} by {each.definition.id}" for each in (row.first, row.second))
    subject = f"{first}, {row.first_only} patients only, and {second}, {row.second_only} only, McNemar"
    return comparison(subject, row.n, row.test)


def _pairs(
    study: DerivedStudy, values: Sequence[str | None], groups: Sequence[str], options: ComparisonOptions
) -> tuple[list[GroupPair], Reason | None]:
    """The pairs of groups to compare, and the reason where there are none."""
    if options.by is None:
        return [], Reason.NO_GROUPS
    if len(groups) < 2:
        return [], Reason.ONE_GROUP
    known = np.array([value not in UNKNOWN for value in values], dtype=np.bool_)
    arms = {label: Arm(label, study, np.array([value == label for value in values])) for label in groups}
    reference = options.reference
    if reference is not None:
        reference_arm = arms.get(reference)
        others = [arm for label, arm in arms.items() if label != reference]
        return (
            ([GroupPair(arm, reference_arm) for arm in others], None) if reference_arm else ([], Reason.NO_SUCH_GROUP)
        )
    if len(groups) == 2:
        return [GroupPair(arms[groups[0]], arms[groups[1]])], None
    return [GroupPair(arm, Arm(None, study, known & ~arm.members)) for arm in arms.values()], None


def _excluded(whole: Context) -> list[Excluded]:
    """The patients left out of each comparison, by group where there are groups."""
    by = whole.options.by
    if by is None:
        return left_out(whole, np.ones(len(whole.study.cohort), dtype=np.bool_))
    groups = groups_by(whole.study, by).items()
    return [row for value, members in groups for row in left_out(replace(whole, group={by: value}), members)]


def _paired(study: DerivedStudy, level: float) -> tuple[PairedEndpoints, ...]:
    primary = [declared for declared in study.protocol.responses if declared.primary]
    return tuple(_endpoints(study, first, second, level) for first, second in combinations(primary, 2))


def _endpoints(study: DerivedStudy, first: Response, second: Response, level: float) -> PairedEndpoints:
    by_first, by_second = study.response(first.rule), study.response(second.rule)
    judged = by_first.evaluable & by_second.evaluable
    both = int((judged & by_first.responder & by_second.responder).sum())
    first_only = int((judged & by_first.responder & ~by_second.responder).sum())
    second_only = int((judged & ~by_first.responder & by_second.responder).sum())
    n = int(judged.sum())
    table = mcnemar_exact(first_only, second_only, n - first_only - second_only, level=level)
    return PairedEndpoints(
        first=Endpoint(measure=first.rule.measure, definition=Definition.of_rule(first.rule)),
        second=Endpoint(measure=second.rule.measure, definition=Definition.of_rule(second.rule)),
        n=n,
        both=both,
        first_only=first_only,
        second_only=second_only,
        neither=n - both - first_only - second_only,
        odds_ratio=table.odds_ratio,
        test=table.test,
    )


QUESTION = Question(
    "comparisons",
    "Do groups of patients, or endpoints, differ?",
    GroupComparisons,
    comparisons,
    lambda whole: Basis(comparison_caveats(whole.protocol), change_definition(whole.protocol)),
    options_type=ComparisonOptions,
    compares_groups=True,
    adjusted_over=ADJUSTED_OVER,
)
