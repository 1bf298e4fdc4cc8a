"""Comparison of two arms: their response rates and their changes from baseline, with the lines of a forest plot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated, counted_of, further_events
from app.analyses.answer import Claim, Context, Definition, Excluded, Flag
from app.analyses.claims import Comparison, comparison, differences_of
from app.analyses.response_rates import response_flags, takes_the_best
from app.analyses.sensitivity.key_results import last_day
from app.analyses.weekly_change import Scale, difference_reasons, differences, scales_of
from app.derive.study import DerivedStudy
from app.estimate.changes.multiplicity import adjust
from app.estimate.changes.ratio import ratio_interval
from app.estimate.changes.two_samples import Shift, two_samples
from app.estimate.effect import EffectEstimate
from app.estimate.rates.contingency import fisher_exact
from app.estimate.rates.mantel_haenszel import Stratified, mantel_haenszel
from app.estimate.rates.proportion import proportion
from app.estimate.rates.two_proportions import two_proportions
from app.estimate.results import Interval, Number, Proportion, Reason, Result, TestResult, WhyNull
from app.protocol.conventions import Conventions
from app.protocol.endpoints import Response
from app.protocol.model import Protocol
from app.timeline.cohort import Bools, Floats

SMALL = 20
"""A group with fewer patients is small, and its intervals are wide."""
GROUP = "The first group: the value of the attribute, or the study."
AGAINST = "The second group; null for all other patients whose group is known."
ADJUSTED_OVER = "the weeks of one measure, scale and pair of groups"
ForestKind = Literal[
    "difference", "ratio", "odds_ratio", "mantel_haenszel_difference", "mantel_haenszel_odds_ratio", "shift"
]


@dataclass(frozen=True, slots=True)
class Arm:
    """Some patients of a study; `label` is None for all patients outside one group."""

    label: str | None
    study: DerivedStudy
    members: Bools


@dataclass(frozen=True, slots=True)
class GroupPair:
    """Two arms without a patient in common."""

    first: Arm
    second: Arm


@dataclass(frozen=True, slots=True)
class ComparisonSettings:
    """The level, the conventions and the strata of a comparison; `stratify` is the attribute that forms the strata."""

    level: float
    conventions: Conventions
    stratify: str | None


class ResponseComparison(Result):
    """The response rates of two groups by one rule."""

    group: str = Field(description=GROUP, examples=["dermatomyositis"])
    against: str | None = Field(description=AGAINST, examples=["polymyositis"])
    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The rule.")
    first: Proportion = Field(description="Responders among the evaluable patients of the first group.")
    second: Proportion = Field(description="Responders among the evaluable patients of the second group.")
    first_all_treated: AllTreated = Field(description="The first rate over all treated patients.")
    second_all_treated: AllTreated = Field(description="The second rate over all treated patients.")
    difference: EffectEstimate = Field(description="Rate of the first group minus rate of the second.")
    ratio: EffectEstimate = Field(description="Rate of the first group divided by rate of the second.")
    odds_ratio: EffectEstimate = Field(
        description="Conditional odds ratio with the exact interval that belongs to Fisher's test."
    )
    test: TestResult = Field(description="Fisher's exact test.")
    stratified: Stratified | None = Field(
        default=None,
        exclude_if=lambda stratified: stratified is None,
        description="The Mantel-Haenszel estimates over strata, where `stratify` is given.",
    )


class ChangeComparison(Result):
    """The change from baseline to one week in two groups."""

    group: str = Field(description=GROUP, examples=["dermatomyositis"])
    against: str | None = Field(description=AGAINST, examples=["polymyositis"])
    measure: str = Field(description="The measure.", examples=["CK"])
    scale: Scale = Field(description="`ln`: changes of ln(CK); `raw`: in U/L or points.", examples=["ln"])
    week: int = Field(description="The week.", examples=[4])
    n: int = Field(description="Patients of the first group with a change.", examples=[8])
    against_n: int = Field(description="Patients of the second group with a change.", examples=[7])
    shift: Interval = Field(
        description="Hodges-Lehmann shift: the median of all differences, a change of the first group minus one of the "
        "second."
    )
    ratio: Interval | None = Field(
        default=None,
        exclude_if=lambda ratio: ratio is None,
        description="exp(shift) on the ln scale: the ratio of the CK ratios.",
    )
    test: TestResult = Field(description="Mann-Whitney test, adjusted over the weeks of the measure.")


class ForestRow(Result):
    """One line of a forest plot."""

    kind: ForestKind = Field(description="The kind of the effect.", examples=["difference"])
    label: str = Field(
        description="The measure, with the endpoint or week.", examples=["MMT response", "CK week 4 (ratio)"]
    )
    group: str = Field(description=GROUP, examples=["dermatomyositis"])
    against: str | None = Field(description=AGAINST, examples=["polymyositis"])
    method: str = Field(description="Method of the interval.", examples=["newcombe"])
    estimate: Number | None = Field(description="The estimate.", examples=[0.125])
    low: Number | None = Field(description="Lower limit; null if open or unknown.", examples=[-0.29])
    high: Number | None = Field(description="Upper limit; null if open or unknown.", examples=[0.47])
    no_effect: Number = Field(description="The value that means no effect.", examples=[0])
    k: int | None = Field(description="Responders of the first group; null for a shift.", examples=[8])
    n: int = Field(description="Patients of the first group.", examples=[8])
    against_k: int | None = Field(description="Responders of the second group; null for a shift.", examples=[6])
    against_n: int = Field(description="Patients of the second group.", examples=[7])
    reason: WhyNull = None


@dataclass(slots=True)
class ComparisonRows:
    """The comparisons of all pairs."""

    responses: list[ResponseComparison] = field(default_factory=list)
    changes: list[ChangeComparison] = field(default_factory=list)

    @property
    def small(self) -> bool:
        """Whether a compared group is small."""
        sizes = [n for row in self.responses for n in (row.first.n, row.second.n)]
        sizes += [n for row in self.changes for n in (row.n, row.against_n)]
        return any(n < SMALL for n in sizes)

    @property
    def caveats(self) -> list[str]:
        """The caveats of comparisons; none where nothing is compared."""
        if not self.responses and not self.changes:
            return []
        return ["not_randomised", "many_comparisons", *(["small_counts"] if self.small else [])]

    def claims(self, alpha: float, more: Sequence[Comparison] = ()) -> list[Claim]:
        """A claim for each test of all pairs, and for `more` tests, which are all one family."""
        tests = [
            comparison(
                f"{row.measure} response by {row.definition.id}, {row.first.k} of {row.first.n} in {row.group} and "
                f"{row.second.k} of {row.second.n} in {row.against or 'all others'}, Fisher",
                row.first.n + row.second.n,
                row.test,
                row.measure,
            )
            for row in self.responses
        ]
        tests += [
            comparison(
                f"Change of {'ln(CK)' if row.scale == 'ln' else row.measure} at week {row.week}, {row.n} patients of "
                f"{row.group} and {row.against_n} of {row.against or 'all others'}, Mann-Whitney",
                row.n + row.against_n,
                row.test,
                row.measure,
                row.week,
            )
            for row in self.changes
        ]
        return differences_of("difference", [*tests, *more], family="this answer", alpha=alpha)

    def forest(self) -> tuple[ForestRow, ...]:
        """Every comparison as lines of a forest plot."""
        return (*(line for row in self.responses for line in _response_lines(row)), *map(_change_line, self.changes))


def compare(pairs: Sequence[GroupPair], settings: ComparisonSettings) -> ComparisonRows:
    """Compare every primary response and every weekly change of the protocol, for each pair."""
    rows = ComparisonRows()
    for pair in pairs:
        protocol = pair.first.study.protocol
        rows.responses += [_responses(pair, declared, settings) for declared in protocol.responses if declared.primary]
        for measure in protocol.weekly_change.measures:
            for scale in scales_of(measure):
                rows.changes += _changes(pair, measure, scale, settings)
    return rows


def _responses(pair: GroupPair, declared: Response, settings: ComparisonSettings) -> ResponseComparison:
    first, second = (_judged(arm, declared, arm.members) for arm in (pair.first, pair.second))
    methods = tuple(dict.fromkeys((settings.conventions.proportion, "wilson")))
    rates = [proportion(k, n, level=settings.level, methods=methods) for k, n in (first, second)]
    contrast = two_proportions((*first, *second), level=settings.level)
    fisher = fisher_exact(*first, *second, level=settings.level)
    return ResponseComparison(
        group=pair.first.label or "",
        against=pair.second.label,
        measure=declared.rule.measure,
        definition=Definition.of_rule(declared.rule),
        first=rates[0],
        second=rates[1],
        first_all_treated=_all_treated(pair.first, declared, settings.level, methods),
        second_all_treated=_all_treated(pair.second, declared, settings.level, methods),
        difference=contrast.difference,
        ratio=contrast.ratio,
        odds_ratio=fisher.odds_ratio,
        test=fisher.test,
        stratified=_stratified(pair, declared, settings),
    )


def _all_treated(arm: Arm, declared: Response, level: float, methods: Sequence[str]) -> AllTreated:
    """The rate over the treated members of an arm."""
    verdict, until = arm.study.response(declared.rule), last_day(arm.study, declared.rule)
    return counted_of(
        arm.study.safety & arm.members,
        verdict.responder,
        ~verdict.judged,
        further_events(arm.study, until),
        level=level,
        methods=methods,
    )


def _judged(arm: Arm, declared: Response, members: Bools) -> tuple[int, int]:
    """The number of responders and of evaluable patients among `members` of an arm."""
    verdict = arm.study.response(declared.rule)
    return int((verdict.responder & members).sum()), int((verdict.evaluable & members).sum())


def _stratified(pair: GroupPair, declared: Response, settings: ComparisonSettings) -> Stratified | None:
    """The Mantel-Haenszel estimates; patients without the attribute form one stratum."""
    if settings.stratify is None:
        return None
    values = [
        np.array([getattr(row, settings.stratify) for row in arm.study.cohort.patients], dtype=np.object_)
        for arm in (pair.first, pair.second)
    ]
    strata = {value for of_arm in values for value in of_arm.tolist()}
    counts = []
    for stratum in strata:
        arms = zip((pair.first, pair.second), values, strict=True)
        first, second = (
            _judged(arm, declared, arm.members & np.equal(value, stratum).astype(np.bool_)) for arm, value in arms
        )
        counts.append((*first, *second))
    return mantel_haenszel(counts, level=settings.level)


def _changes(pair: GroupPair, measure: str, scale: Scale, settings: ComparisonSettings) -> list[ChangeComparison]:
    weeks = pair.first.study.protocol.weekly_change.weeks
    shifts = [
        two_samples(_known(pair.first, measure, scale, week), _known(pair.second, measure, scale, week),
                    level=settings.level)
        for week in weeks
    ]  # fmt: skip
    adjusted = adjust([shift.test.p_at_most for shift in shifts], settings.conventions.multiplicity)
    return [
        ChangeComparison(
            group=pair.first.label or "",
            against=pair.second.label,
            measure=measure,
            scale=scale,
            week=week,
            n=shift.n_first,
            against_n=shift.n_second,
            shift=shift.shift,
            ratio=ratio_interval(shift.shift, "ratio") if scale == "ln" else None,
            test=_adjusted(shift, p, settings),
        )
        for week, shift, p in zip(weeks, shifts, adjusted, strict=True)
    ]


def _known(arm: Arm, measure: str, scale: Scale, week: int) -> Floats:
    difference = differences(arm.study, measure, scale, week)
    return difference[arm.members & ~np.isnan(difference)]


def _adjusted(shift: Shift, p: float | None, settings: ComparisonSettings) -> TestResult:
    broken = p is None and shift.test.p is not None
    update = {"p_adjusted": p, "adjustment": settings.conventions.multiplicity}
    return shift.test.model_copy(update=update | ({"reason": Reason.CHAIN_BROKEN} if broken else {}))


def left_out(context: Context, members: Bools) -> list[Excluded]:
    """How many of `members` are left out of each primary response and each change, by reason."""
    study = context.study
    inside = np.flatnonzero(members).tolist()
    excluded: list[Excluded] = []
    for declared in study.protocol.responses:
        if declared.primary:
            reasons = study.response(declared.rule).reason
            excluded += context.excluded(
                [reasons[i] for i in inside], declared.rule.measure, definition=Definition.of_rule(declared.rule)
            )
    for measure, scale, week in _compared_changes(study):
        reasons = difference_reasons(study, differences(study, measure, scale, week), measure, week)
        excluded += context.excluded(
            [reasons[i] for i in inside], measure, week, estimate=scale if measure == "CK" else None
        )
    return excluded


def _compared_changes(study: DerivedStudy) -> Iterator[tuple[str, Scale, int]]:
    rule = study.protocol.weekly_change
    for measure in rule.measures:
        for scale in scales_of(measure):
            yield from ((measure, scale, week) for week in rule.weeks)


def record_flags(context: Context) -> list[Flag]:
    """The flags of the records that the comparisons use."""
    primary = [declared.rule for declared in context.protocol.responses if declared.primary]
    measures = (*(rule.measure for rule in primary), *context.protocol.weekly_change.measures)
    return response_flags(context, dict.fromkeys(measures), primary)


def comparison_caveats(protocol: Protocol) -> list[str]:
    """The caveats of every comparison of responses and changes."""
    return ["definitions_are_ours", *(["best_of_many"] if takes_the_best(protocol) else []), "bounds_as_values"]


def _response_lines(row: ResponseComparison) -> Iterator[ForestRow]:
    effects: list[tuple[ForestKind, EffectEstimate, float]] = [
        ("difference", row.difference, 0),
        ("ratio", row.ratio, 1),
        ("odds_ratio", row.odds_ratio, 1),
    ]
    if row.stratified is not None:
        effects.append(("mantel_haenszel_difference", row.stratified.difference, 0))
        effects.append(("mantel_haenszel_odds_ratio", row.stratified.odds_ratio, 1))
    for kind, effect, no_effect in effects:
        interval = effect.intervals[0]
        yield ForestRow(
            kind=kind,
            label=f"{row.measure} response",
            group=row.group,
            against=row.against,
            method=interval.method,
            estimate=effect.estimate,
            low=interval.low,
            high=interval.high,
            no_effect=no_effect,
            k=row.first.k,
            n=row.first.n,
            against_k=row.second.k,
            against_n=row.second.n,
            reason=effect.reason or interval.reason,
        )


def _change_line(row: ChangeComparison) -> ForestRow:
    interval = row.ratio or row.shift
    return ForestRow(
        kind="shift" if row.ratio is None else "ratio",
        label=f"{row.measure} week {row.week}" + (" (ratio)" if row.ratio else ""),
        group=row.group,
        against=row.against,
        method=interval.method,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        no_effect=0 if row.ratio is None else 1,
        k=None,
        n=row.n,
        against_k=None,
        against_n=row.against_n,
        reason=interval.reason,
    )
