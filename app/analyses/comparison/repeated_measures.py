"""A mixed model of repeated measures (MMRM): how a measure changes over all visits.

CK is modelled as ln(CK) and scores without a transformation, at week 0 and the weeks of `weekly_change`. Every patient
of the efficacy set with at least one value is included. With `by` there is one model for each group; if there are two
groups, there is also one model of both, whose interaction tests whether they change differently.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from app.analyses.answer import (
    Answer,
    Basis,
    Claim,
    Context,
    Definition,
    Excluded,
    Findings,
    Flag,
    Grouped,
    Question,
    values_of,
)
from app.analyses.claims import ChangeTest, Comparison, change, change_test, comparison, differences_of
from app.analyses.comparison.comparisons import UNKNOWN
from app.analyses.weekly_change import adjusted_over_weeks, better_end
from app.derive.per_patient import first_reason
from app.derive.reasons import ExclusionReason
from app.derive.study import DerivedStudy
from app.estimate.changes.mixed_model import MOST_VISITS, PATIENTS_PER_VISIT, MixedModel, mixed_model
from app.estimate.changes.ratio import ratio_interval
from app.estimate.results import Interval, Reason, Result
from app.timeline.cohort import Floats

CAVEATS = (
    "definitions_are_ours",
    "uncontrolled_pre_post",
    "selection_on_baseline",
    "missing_at_random",
    "bounds_as_values",
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
        description="All coefficients except means as ratios, on the ln scale.", examples=[[]]
    )
    instead: str | None = Field(
        description="The question to ask where the reason is `too_few`.",
        examples=[None, "weekly-change"],
    )


class GroupInteraction(Result):
    """The model of one measure in two groups."""

    first: str = Field(description="The first group, in code-point order.", examples=["dermatomyositis"])
    second: str = Field(description="The second group.", examples=["polymyositis"])
    measure: str = Field(description="The measure.", examples=["CK"])
    scale: str = Field(description="`ln`: the model is of ln(CK); `raw`: of points.", examples=["ln"])
    model: MixedModel = Field(description="The model.")
    ratios: tuple[EffectRatio, ...] = Field(
        description="All coefficients except means as ratios, on the ln scale.", examples=[[]]
    )
    instead: str | None = Field(
        description="The question to ask where the reason is `too_few`.",
        examples=[None, "weekly-change"],
    )


class RepeatedMeasures(Answer):
    """Mixed models of repeated measures."""

    results: tuple[RepeatedMeasure, ...] = Field(
        description="One entry for each measure (and subgroup).", examples=[[]]
    )
    interactions: tuple[GroupInteraction, ...] = Field(
        description="One entry for each measure, where `by` forms exactly two groups.", examples=[[]]
    )


def repeated_measures(context: Context) -> Findings:
    """The model of every measure of the weekly comparison."""
    study = context.study
    models: list[RepeatedMeasure] = []
    excluded: list[Excluded] = []
    flags: list[Flag] = []
    for measure in context.protocol.weekly_change.measures:
        values = _values(study, measure)
        excluded += context.excluded(_reasons(study, measure, values), measure)
        flags += context.flags_of(measure, upper_limits=False)
        model = _adjusted(context, mixed_model(values, _weeks(study), level=context.level))
        models.append(
            RepeatedMeasure(
                group=context.group,
                measure=measure,
                scale=_scale(measure),
                model=model,
                ratios=_ratios(model, measure),
                instead=_instead(model),
            )
        )
    claims = [claim for row in models for claim in _claims(context, row)]
    return Findings({"results": models}, excluded, flags, claims=claims)


def _adjusted(context: Context, model: MixedModel) -> MixedModel:
    """The model with the p values of its changes adjusted over the weeks."""
    changes = adjusted_over_weeks([effect.test for effect in model.effects if effect.term == "week"], context)
    tests = iter(changes)
    effects = [
        effect.model_copy(update={"test": next(tests)}) if effect.term == "week" else effect for effect in model.effects
    ]
    return model.model_copy(update={"effects": tuple(effects)})


def _claims(context: Context, row: RepeatedMeasure) -> list[Claim]:
    """A claim for each planned week of one measure; a week that the model does not have has no p."""
    effects = {effect.week: effect for effect in row.model.effects if effect.term == "week"}
    size = sum(effect.test.p_at_most is not None for effect in effects.values())
    family = (
        f"t tests of the model, adjustment {context.conventions.multiplicity} over the {size} weeks of this measure"
    )
    return [
        change(
            "change_by_model",
            f"the mean of {'ln(CK)' if row.scale == 'ln' else row.measure} at week {week}",
            "that at week 0",
            change_test(row.model.patients, effects[week].test, effects[week].estimate)
            if week in effects
            else ChangeTest(row.model.patients, None, None),
            better=better_end(context.protocol, row.measure),
            alpha=context.protocol.weekly_change.alpha,
            family=family,
            measure=row.measure,
            week=week,
        )
        for week in context.protocol.weekly_change.weeks
    ]


def _basis(whole: Context) -> Basis:
    definition = Definition(
        id="unstructured_reml",
        parameters={
            "weeks": list(_weeks(whole.study)),
            "measures": list(whole.protocol.weekly_change.measures),
            "patients_per_visit": PATIENTS_PER_VISIT,
            "most_visits": MOST_VISITS,
        },
    )
    caveats = CAVEATS + (("not_randomised",) if whole.options.by else ())
    interactions = _interactions(whole)
    return Basis(caveats, definition, {"interactions": interactions}, _interaction_claims(whole, interactions))


def _weeks(study: DerivedStudy) -> tuple[int, ...]:
    """Week 0, then the weeks that are compared with it."""
    return (0, *study.protocol.weekly_change.weeks)


def _scale(measure: str) -> str:
    return "ln" if measure == "CK" else "raw"


def _values(study: DerivedStudy, measure: str) -> Floats:
    """Patients x weeks; NaN outside the efficacy set, without a value, and for ln(0)."""
    columns = [np.where(study.efficacy, study.at_week(measure, week), np.nan) for week in _weeks(study)]
    values = np.stack(columns, axis=1)
    if measure != "CK":
        return values
    positive = values > 0
    return np.where(positive, np.log(np.where(positive, values, 1.0)), np.nan)


def _reasons(study: DerivedStudy, measure: str, values: Floats) -> tuple[ExclusionReason | None, ...]:
    """Why each patient has no value in the model; None where included."""
    rows = study.weeks(measure)
    unseen = np.max([rows[week] for week in _weeks(study)], axis=0) < 0
    missing = (
        *study.left_out,
        (ExclusionReason.NO_VALUE_IN_WINDOW, unseen),
        (ExclusionReason.ZERO_VALUE, np.isnan(values).all(axis=1)),
    )
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
        if effect.term not in ("intercept", "mean")
    )


def _instead(model: MixedModel) -> str | None:
    return "weekly-change" if model.reason is Reason.TOO_FEW else None


def _interactions(whole: Context) -> tuple[GroupInteraction, ...]:
    """The models of both groups; patients without a known group are left out."""
    if whole.options.by is None:
        return ()
    values = values_of(whole.study, whole.options.by)
    groups = sorted({value for value in values if value not in UNKNOWN})
    if len(groups) != 2:
        return ()
    measures = whole.protocol.weekly_change.measures
    return tuple(_interaction(whole, values, groups, measure) for measure in measures)


def _interaction(whole: Context, values: Sequence[str | None], groups: Sequence[str], measure: str) -> GroupInteraction:
    study = whole.study
    known = np.array([value in groups for value in values], dtype=np.bool_)
    in_first = np.array([value == groups[0] for value in values], dtype=np.bool_)
    model = mixed_model(_values(study, measure)[known], _weeks(study), group=in_first[known], level=whole.level)
    return GroupInteraction(
        first=groups[0],
        second=groups[1],
        measure=measure,
        scale=_scale(measure),
        model=model,
        ratios=_ratios(model, measure),
        instead=_instead(model),
    )


def _interaction_claims(whole: Context, interactions: Sequence[GroupInteraction]) -> list[Claim]:
    """A claim for each planned week of each measure: whether the two groups change differently."""
    if whole.options.by is None:
        return []
    tests = [_comparison(row, week) for row in interactions for week in whole.protocol.weekly_change.weeks]
    family = "the interactions of this answer, t tests of the models of both groups"
    return differences_of("difference", tests, family=family, alpha=whole.protocol.weekly_change.alpha)


def _comparison(row: GroupInteraction, week: int) -> Comparison:
    """The test of one week; a week that the model does not have has no p."""
    found = [effect for effect in row.model.effects if (effect.term, effect.week) == ("group_by_week", week)]
    subject = (
        f"change of the mean of {'ln(CK)' if row.scale == 'ln' else row.measure} from week 0 to week {week}, "
        f"{row.first} and {row.second}"
    )
    if not found:
        return Comparison(subject, row.model.patients, None, row.measure, week)
    return comparison(subject, row.model.patients, found[0].test, row.measure, week)


QUESTION = Question(
    "repeated-measures",
    "How does each measure change over all visits, in one model?",
    RepeatedMeasures,
    repeated_measures,
    _basis,
)
