"""How a measure changes over all visits at once: a mixed model of repeated measures, with what it assumes.

CK is modelled as ln(CK), scores as they are, at week 0 and the weeks of `weekly_change`. Every patient of the efficacy
set with a value counts, whether or not other values are missing. With `by` each group has a model of its own; two
groups are put into one model besides, whose interaction says whether they change alike.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from app.analyses.comparison.comparisons import UNKNOWN
from app.analyses.frame import Answer, Context, Definition, Findings, Flag, Grouped, Options, Question, contexts, shared
from app.derive.segments import first_reason
from app.derive.study import DerivedStudy
from app.estimate.changes.mixed_model import MixedModel, mixed_model
from app.estimate.changes.ratio import ratio_interval
from app.estimate.results import Interval, Result
from app.timeline.cohort import Floats

NAME = "repeated-measures"
CAVEATS = (
    "definitions_are_ours",
    "uncontrolled_pre_post",
    "selection_on_baseline",
    "compound_symmetry",
    "no_small_sample_correction",
    "missing_at_random",
)


class EffectRatio(Result):
    """A coefficient of the model of ln(CK) as a ratio of geometric means."""

    term: str = Field(description="The coefficient.", examples=["week"])
    week: int | None = Field(description="Its week.", examples=[4])
    ratio: Interval = Field(description="exp of the coefficient and of its limits.")


class RepeatedMeasure(Grouped):
    """The model of one measure, of all patients or of one subgroup."""

    measure: str = Field(description="The measure.", examples=["CK"])
    scale: str = Field(description="`ln`: the model is of ln(CK); `raw`: of points.", examples=["ln"])
    model: MixedModel = Field(description="The model.")
    ratios: tuple[EffectRatio, ...] = Field(
        description="The coefficients but the intercept as ratios, on the ln scale.", examples=[[]]
    )


class GroupInteraction(Result):
    """The model of one measure with two groups in it."""

    first: str = Field(description="The first group, in code-point order.", examples=["dermatomyositis"])
    second: str = Field(description="The second group.", examples=["polymyositis"])
    measure: str = Field(description="The measure.", examples=["CK"])
    scale: str = Field(description="`ln`: the model is of ln(CK); `raw`: of points.", examples=["ln"])
    model: MixedModel = Field(description="The model.")
    ratios: tuple[EffectRatio, ...] = Field(
        description="The coefficients but the intercept as ratios, on the ln scale.", examples=[[]]
    )


class RepeatedMeasures(Answer):
    """Mixed models of repeated measures."""

    results: tuple[RepeatedMeasure, ...] = Field(description="One entry a measure (and subgroup).", examples=[[]])
    interactions: tuple[GroupInteraction, ...] = Field(
        description="One entry a measure, where `by` makes exactly two groups.", examples=[[]]
    )


def repeated_measures(study: DerivedStudy, options: Options) -> RepeatedMeasures:
    """Every measure of the weekly comparison."""
    found = Findings()
    results: list[RepeatedMeasure] = []
    for context in contexts(study, options):
        for measure in study.protocol.weekly_change.measures:
            values = _values(context.study, measure)
            found.excluded += context.excluded(_reasons(context.study, measure, values), measure)
            found.flags += _flags(context, measure)
            model = mixed_model(values, _weeks(study), level=options.level)
            results.append(
                RepeatedMeasure(
                    group=context.group,
                    measure=measure,
                    scale=_scale(measure),
                    model=model,
                    ratios=_ratios(model, measure),
                )
            )
    caveats = CAVEATS + (("not_randomised",) if options.by else ())
    definition = Definition(
        id="random_intercept_reml",
        parameters={"weeks": list(_weeks(study)), "measures": list(study.protocol.weekly_change.measures)},
    )
    return RepeatedMeasures(
        results=tuple(results),
        interactions=_interactions(study, options),
        **shared(NAME, study, options, found, caveats, definition),
    )


def _weeks(study: DerivedStudy) -> tuple[int, ...]:
    """Week 0, which the others are compared with, and then they."""
    return (0, *study.protocol.weekly_change.weeks)


def _scale(measure: str) -> str:
    return "ln" if measure == "CK" else "raw"


def _values(study: DerivedStudy, measure: str) -> Floats:
    """One row a patient and one column a week; NaN outside the efficacy set, where there is no value, and for ln(0)."""
    columns = [np.where(study.efficacy, study.at_week(measure, week), np.nan) for week in _weeks(study)]
    values = np.stack(columns, axis=1)
    if measure != "CK":
        return values
    positive = values > 0
    return np.where(positive, np.log(np.where(positive, values, 1.0)), np.nan)


def _reasons(study: DerivedStudy, measure: str, values: Floats) -> tuple[str, ...]:
    """Why a patient has no value in the model."""
    rows = study.weeks(measure)
    unseen = np.max([rows[week] for week in _weeks(study)], axis=0) < 0
    missing = (*study.left_out, ("no_value_in_window", unseen), ("zero_value", np.isnan(values).all(axis=1)))
    return first_reason(missing, len(study.cohort))


def _ratios(model: MixedModel, measure: str) -> tuple[EffectRatio, ...]:
    if _scale(measure) != "ln":
        return ()
    return tuple(
        EffectRatio(
            term=effect.term,
            week=effect.week,
            ratio=ratio_interval(effect.interval.model_copy(update={"estimate": effect.estimate}), "ratio"),
        )
        for effect in model.effects
        if effect.term != "intercept"
    )


def _interactions(study: DerivedStudy, options: Options) -> tuple[GroupInteraction, ...]:
    """Both groups in one model; patients of no known group are in neither."""
    if options.by is None:
        return ()
    values = [getattr(row, options.by) for row in study.cohort.patients]
    groups = sorted({value for value in values if value not in UNKNOWN})
    if len(groups) != 2:
        return ()
    return tuple(
        _interaction(study, values, groups, measure, options) for measure in study.protocol.weekly_change.measures
    )


def _interaction(
    study: DerivedStudy, values: Sequence[str | None], groups: Sequence[str], measure: str, options: Options
) -> GroupInteraction:
    known = np.array([value in groups for value in values], dtype=np.bool_)
    in_first = np.array([value == groups[0] for value in values], dtype=np.bool_)
    model = mixed_model(_values(study, measure)[known], _weeks(study), group=in_first[known], level=options.level)
    return GroupInteraction(
        first=groups[0],
        second=groups[1],
        measure=measure,
        scale=_scale(measure),
        model=model,
        ratios=_ratios(model, measure),
    )


def _flags(context: Context, measure: str) -> list[Flag]:
    records = context.study.records(measure)
    counts = dict(records.flags)
    counts.pop("no_upper_limit", None)
    counts["baseline_too_old"] = int((context.study.baseline_too_old(measure) & context.study.efficacy).sum())
    return context.flags(counts, measure)


QUESTION = Question(
    NAME, "How does each measure change over all visits, in one model?", RepeatedMeasures, repeated_measures
)
