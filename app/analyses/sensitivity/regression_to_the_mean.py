"""The expected regression to the mean of a (sub)cohort, and the observed change."""

import numpy as np
from pydantic import Field

from app.analyses.answer import Context, Contribution, Grouped, not_listed
from app.derive.exact_comparison import ln_ratio
from app.derive.study import DerivedStudy
from app.estimate.changes.regression_to_the_mean import (
    RESAMPLES,
    RegressionToTheMean,
    expected_changes,
    regression_to_the_mean,
)
from app.estimate.results import Number
from app.timeline.cohort import Floats


class PatientRegression(Contribution):
    """The change of ln(CK) of one patient: expected without any effect of treatment, and observed."""

    expected: Number | None = Field(
        description="(1 - ICC)(population mean - own baseline), by the first estimate.", examples=[-0.02]
    )
    observed: Number | None = Field(description="ln C(after) - ln C(0).", examples=[-1.5])


class Regression(RegressionToTheMean, Grouped):
    """Regression to the mean of ln(CK) from the baseline to the protocol's `after_week`."""

    weeks: tuple[int, int] = Field(description="Baseline, and the week of the observed change.", examples=[[0, 4]])
    zero_values: int = Field(description="CK values of 0 before treatment, which have no logarithm.", examples=[0])
    patients: tuple[PatientRegression, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


def regression(context: Context, resamples: int = RESAMPLES) -> Regression:
    """Regression to the mean, from the run-in values of all treated patients and the changes of the efficacy set."""
    study, week = context.study, context.protocol.ck_change.after_week
    values = study.run_in
    change = observed_change(study)
    result = study.estimated(
        regression_to_the_mean,
        values.patient,
        values.value,
        values.is_baseline,
        change,
        level=context.level,
        resamples=resamples,
    )
    return Regression(
        **{name: getattr(result, name) for name in type(result).model_fields},
        group=context.group,
        weeks=(0, week),
        zero_values=values.zero_values,
        patients=_listed(context, result, change) if context.listed else None,
    )


def observed_change(study: DerivedStudy) -> Floats:
    """The change of ln(CK) from the baseline to `after_week`, NaN where a value is missing."""
    return ln_ratio([study.ck_at(study.protocol.ck_change.after_week)], [study.ck_at(0)])


def _listed(context: Context, result: RegressionToTheMean, change: Floats) -> tuple[PatientRegression, ...]:
    study = context.study
    base = study.at_week("CK", 0)
    expected = expected_changes(result, np.log(np.where(base > 0, base, np.nan)))
    own = np.full(len(change), np.nan) if expected is None else expected
    return tuple(
        PatientRegression(patient=patient, expected=_known(e), observed=_known(o))
        for patient, e, o in zip(context.ids, own.tolist(), change.tolist(), strict=True)
        if context.lists(patient)
    )


def _known(number: float) -> float | None:
    return None if np.isnan(number) else number
