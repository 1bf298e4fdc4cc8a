"""How long CK stays normal, as interval-censored times: CK became abnormal between two draws."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from pydantic import Field

from app.analyses.answer import (
    Answer,
    Basis,
    Claim,
    Context,
    Contribution,
    Definition,
    Findings,
    Grouped,
    Options,
    Question,
    not_listed,
)
from app.analyses.ck_normal.ck_normal_time import normality_excluded, treated_again, undetermined
from app.analyses.claims import median_time
from app.estimate.arithmetic import quantile_of
from app.estimate.results import Median, Number, Reason, Result, WhyNull
from app.estimate.times.interval_censored import SEED, IntervalCensored, interval_censored
from app.estimate.times.survival import kaplan_meier
from app.timeline.cohort import NO_TIME, Bools, Ints


class IntervalOptions(Options):
    """The common options, and the number of resamples and the seed."""

    resamples: int = Field(
        default=200,
        ge=0,
        le=2000,
        description="How often the patients are resampled for the interval of the median; 0: never.",
        examples=[200],
    )
    seed: int = Field(default=SEED, ge=0, le=2**32 - 1, description="Seed of the random numbers.", examples=[SEED])


class RightEndpoint(Result):
    """Kaplan-Meier medians of the times up to the draw at which the event was seen, as papers print them."""

    midpoint: Median = Field(
        description="Median by the convention `midpoint`: the middle of the times at which the curve is exactly 0.5."
    )
    lower: Median = Field(
        description="Median by the convention `lower`: the first time at which the curve is at most 0.5."
    )


class Bounds(Result):
    """Kaplan-Meier medians if every remission episode were as short, or as long, as its draws allow."""

    shortest: Median = Field(description="Every episode from its first to its last normal CK, with the same outcome.")
    longest: Median = Field(
        description="Every episode from the last abnormal CK before it (or day 0) to the first abnormal CK after it "
        "(or to the last CK of known normality)."
    )


class Gaps(Result):
    """The days between neighbouring draws of known normality."""

    n: int = Field(description="Gaps.", examples=[41])
    median: Number | None = Field(description="Median days between two draws.", examples=[28])
    smallest: int | None = Field(description="Smallest gap.", examples=[7])
    largest: int | None = Field(description="Largest gap.", examples=[91])
    reason: WhyNull = None


class VisitGaps(Result):
    """How exactly the draws determine the time."""

    within_spells: Gaps = Field(
        description="Days between neighbouring CKs of known normality from the first normal one to the end of an "
        "episode."
    )
    of_relapses: Gaps = Field(
        description="Days between the last normal and the first abnormal CK, one for each relapse."
    )
    before_spells: Gaps = Field(
        description="Days between the last abnormal CK (or day 0) and the first normal one, one for each episode."
    )


class TimeToFirstNormalInterval(Result):
    """Days from the first infusion until CK became normal, interval-censored, of patients with abnormal CK before."""

    estimate: IntervalCensored = Field(description="From the interval of each patient.")
    right_endpoint: RightEndpoint = Field(description="From the day of the first normal CK.")


class SeenInterval(Contribution):
    """The draws between which CK of one patient became normal, and abnormal again.

    The event came after the first day and not later than the second. The second is null where no event was seen.
    """

    normal_after: int | None = Field(description="Day after which CK first became normal.", examples=[14])
    normal_by: int | None = Field(description="Day of the first normal CK after day 0.", examples=[21])
    normal_reason: str | None = Field(
        description="Why the patient is not in the time to the first normal CK.", examples=[None]
    )
    left: int | None = Field(
        description="Days from the first normal CK to the last normal one before CK was abnormal again.", examples=[28]
    )
    right: int | None = Field(
        description="Days from the first normal CK to the abnormal one; null while CK stays normal.", examples=[41]
    )
    longest: int | None = Field(
        description="Days from the last abnormal CK before the episode (or day 0) to the first one after it: the "
        "episode was shorter than this and longer than `left`; null while CK stays normal.",
        examples=[48],
    )
    reason: str | None = Field(description="Why the patient is not in the risk set.", examples=[None, "never_normal"])


class NormalInterval(Grouped):
    """The time with normal CK, from the first normal CK after day 0 to an unknown day between two draws."""

    estimate: IntervalCensored = Field(description="From the interval of each patient of the risk set.")
    right_endpoint: RightEndpoint = Field(description="From the day of the first abnormal CK.")
    bounds: Bounds = Field(description="The shortest and the longest times that the draws allow.")
    visit_gaps: VisitGaps = Field(description="The days between draws.")
    time_to_first_normal: TimeToFirstNormalInterval = Field(description="Days until CK became normal.")
    patients: tuple[SeenInterval, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class CkNormalIntervals(Answer):
    """The time for which CK stays normal, interval-censored."""

    results: tuple[NormalInterval, ...] = Field(description="One entry, or one for each subgroup.", examples=[[]])


def ck_normal_interval(context: Context) -> Findings:
    """The first remission episode of every patient, which ended between two draws."""
    row = _normal_interval(context, context.options_as(IntervalOptions))
    return Findings(
        {"results": [row]},
        normality_excluded(context),
        context.flags_of("CK", undetermined(context.study)),
        claims=_claims(context, row),
    )


def _basis(whole: Context) -> Basis:
    options = whole.options_as(IntervalOptions)
    definition = Definition(
        id="last_normal_to_first_abnormal",
        parameters={"rescue": "treatment_policy", "resamples": options.resamples, "seed": options.seed},
    )
    caveats = (
        "conditioned_on_normalising",
        "start_seen_late",
        "visits_not_random",
        "resampling_is_approximate",
        "uncontrolled_pre_post",
        "definitions_are_ours",
        "upper_limit_changes",
        "several_laboratories",
        *(() if whole.protocol.ck_normal_time.rescue == "treatment_policy" else ("rescue_ignored",)),
    )
    return Basis(caveats, definition)


def _claims(context: Context, row: NormalInterval) -> list[Claim]:
    """A claim for each median. Who was seen without the event after its interval was under observation then."""
    episodes, first = context.study.remission_intervals, context.study.first_normal_intervals
    ends = episodes.start + np.where(episodes.ended, episodes.right, episodes.left)
    reached = np.where(first.right == NO_TIME, first.left, first.right)
    return [
        interval_median_claim("median_time_normal", "Time with normal CK", row.estimate,
                              treated_again(context, ends, episodes.in_set), measure="CK"),
        interval_median_claim("median_time_to_first_normal", "Time until CK became normal",
                              row.time_to_first_normal.estimate, treated_again(context, reached, first.evaluable),
                              measure="CK"),
    ]  # fmt: skip


def interval_median_claim(
    code: str, subject: str, found: IntervalCensored, before: Mapping[str, int], *, measure: str | None = None
) -> Claim:
    """The claim of an interval-censored median; `before` counts further treatments before each patient's time ended."""
    value, at_risk = found.median.right, found.median.at_risk or 0
    shown = None if value is None else f"more than {found.median.left:g} and at most {value:g} d"
    subject = f"{subject}, interval-censored"
    return median_time(code, subject, value, found.n, at_risk, before, measure=measure, shown=shown)


def _normal_interval(context: Context, options: IntervalOptions) -> NormalInterval:
    episodes = context.study.remission_intervals
    chosen = episodes.in_set
    ended = episodes.ended[chosen]
    return NormalInterval(
        group=context.group,
        estimate=interval_censored_days(context, options, episodes.left[chosen], episodes.right[chosen]),
        right_endpoint=_right_endpoint(context, episodes.seen[chosen], ended),
        bounds=Bounds(
            shortest=_median(context, episodes.left[chosen], ended),
            longest=_median(context, episodes.seen_longest[chosen], ended),
        ),
        visit_gaps=VisitGaps(
            within_spells=_gaps(episodes.gaps),
            of_relapses=_gaps((episodes.right - episodes.left)[chosen & episodes.ended]),
            before_spells=_gaps((episodes.start - episodes.start_after)[chosen]),
        ),
        time_to_first_normal=_first_normal(context, options),
        patients=_listed(context) if context.listed else None,
    )


def _first_normal(context: Context, options: IntervalOptions) -> TimeToFirstNormalInterval:
    first = context.study.first_normal_intervals
    left, right = first.left[first.evaluable], first.right[first.evaluable]
    reached = right != NO_TIME
    return TimeToFirstNormalInterval(
        estimate=interval_censored_days(context, options, left, right),
        right_endpoint=_right_endpoint(context, np.where(reached, right, left), reached),
    )


def interval_censored_days(context: Context, options: IntervalOptions, left: Ints, right: Ints) -> IntervalCensored:
    """The estimate of times in days that lie in (left, right]; `NO_TIME` where no end was seen."""
    return context.study.estimated(
        interval_censored,
        left,
        np.where(right == NO_TIME, np.inf, right),
        level=context.level,
        median=context.conventions.median,
        plateau=context.conventions.plateau,
        resamples=options.resamples,
        seed=options.seed,
    )


def _right_endpoint(context: Context, durations: Ints, events: Bools) -> RightEndpoint:
    return RightEndpoint(
        midpoint=_median(context, durations, events, "midpoint"), lower=_median(context, durations, events, "lower")
    )


def _median(context: Context, durations: Ints, events: Bools, convention: str | None = None) -> Median:
    if convention is not None:
        conventions = context.conventions.model_copy(update={"median": convention})
        context = replace(context, conventions=conventions)
    return context.study.estimated(kaplan_meier, durations, events, **context.curve).median


def _gaps(days: Ints) -> Gaps:
    ordered = np.sort(days).tolist()
    if not ordered:
        return Gaps(n=0, median=None, smallest=None, largest=None, reason=Reason.NO_PATIENTS)
    return Gaps(n=len(ordered), median=quantile_of(ordered, 0.5), smallest=ordered[0], largest=ordered[-1])


def _listed(context: Context) -> tuple[SeenInterval, ...]:
    study = context.study
    episodes, first = study.remission_intervals, study.first_normal_intervals

    def days(values: Ints, known: Bools) -> list[int | None]:
        return [int(value) if is_known else None for value, is_known in zip(values, known, strict=True)]

    columns = zip(
        context.ids,
        days(first.left, first.evaluable),
        days(first.right, first.evaluable & (first.right != NO_TIME)),
        study.first_normal.reason,
        days(episodes.left, episodes.in_set),
        days(episodes.right, episodes.ended),
        days(episodes.longest, episodes.ended),
        study.remission_episodes.reason,
        strict=True,
    )
    names = ("patient", "normal_after", "normal_by", "normal_reason", "left", "right", "longest", "reason")
    listed = (dict(zip(names, row, strict=True)) for row in columns if context.lists(row[0]))
    return tuple(SeenInterval.model_validate(row) for row in listed)


QUESTION = Question(
    "ck-normal-interval",
    "For how long does CK stay normal, as interval-censored times?",
    CkNormalIntervals,
    ck_normal_interval,
    _basis,
    options_type=IntervalOptions,
)
