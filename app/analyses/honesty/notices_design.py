"""Caveats about the design: who was treated and when, what could be shown at all, how the definitions lean."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from app.analyses.frame import Context
from app.analyses.honesty.headlines import key_results, last_week, week_result
from app.analyses.honesty.notices import CaveatFinding, counted
from app.analyses.honesty.regression import regression
from app.derive.ck.ck_normal import ABNORMAL, UNKNOWN
from app.derive.exact import at_most_zero
from app.derive.segments import pick, pick_int
from app.estimate.influence import influence_on_change
from app.estimate.results import Reason
from app.protocol.response import Response
from app.timeline.vocabulary import LAB_CODES

SHARE = 0.1
"""Least share of the observed change that regression to the mean must be expected to make to be a caveat."""
NEAR = 10
"""Per cent of the scale that count as near its end."""
STRENGTH = ("MMT", "MMT8", "MMT8_UNILATERAL", "MMT26")


def design_findings(context: Context) -> Iterator[CaveatFinding]:
    """The caveats about the design, in the order of their sentences."""
    study = context.study
    everybody = study.safety
    yield counted("uncontrolled_pre_post", everybody, everybody)
    yield _selection_on_baseline(context)
    yield _selected_high(context)
    yield _regression(context)
    for measure in context.protocol.measures:
        if measure not in LAB_CODES:
            yield from _ends_of_scale(context, measure)
    yield from _discordance(context)
    yield from _few_pairs(context)
    yield _one_patient(context)
    yield _best_of_many(context)
    yield CaveatFinding("definitions_changed", None, None, None, reason=Reason.NOT_KNOWN_HERE)


def _selection_on_baseline(context: Context) -> CaveatFinding:
    """More than half, which is what chance gives where baselines were not chosen."""
    study, week = context.study, context.protocol.ck_change.before_week
    base, before = study.at_week("CK", 0), study.at_week("CK", week)
    known = ~np.isnan(base) & ~np.isnan(before)
    found = counted("selection_on_baseline", base >= before, known, parameters={"before_week": week})
    applies = None if not found.of else 2 * int(known[base >= before].sum()) > found.of
    return replace(found, applies=applies, unknown=int((study.safety & ~known).sum()))


def _selected_high(context: Context) -> CaveatFinding:
    study = context.study
    normality = pick_int(study.ck_known, study.weeks("CK")[0], UNKNOWN)
    known = normality != UNKNOWN
    found = counted("selected_high", normality == ABNORMAL, known)
    applies = found.count == found.of if found.of else None
    return replace(found, applies=applies, unknown=int((study.safety & ~known).sum()))


def _regression(context: Context) -> CaveatFinding:
    found = regression(context, resamples=0)
    estimate = found.estimates[0]
    share = estimate.share
    evidence = {
        "icc": found.icc.value,
        "expected": estimate.expected,
        "observed": found.observed,
        "remainder": estimate.remainder,
        "share": share,
    }
    return CaveatFinding(
        code="regression_to_the_mean",
        applies=None if share is None else share >= SHARE,
        count=found.n,
        of=int(context.study.efficacy.sum()),
        evidence=evidence,
        parameters={"least_share": SHARE, "weeks": list(found.weeks)},
        reason=estimate.reason,
    )


def _ends_of_scale(context: Context, measure: str) -> Iterator[CaveatFinding]:
    study, scale = context.study, context.protocol.scale(measure)
    score = pick(study.records(measure).value, study.weeks(measure)[0])
    known = study.efficacy & ~np.isnan(score)
    whole = np.ones(len(score))
    least = at_most_zero((100, score), (-100 + NEAR, whole * scale.minimum), (-NEAR, whole * scale.maximum))
    greatest = at_most_zero((-100, score), (100 - NEAR, whole * scale.maximum), (NEAR, whole * scale.minimum))
    best, worst = (greatest, least) if scale.better == "higher" else (least, greatest)
    for code, near in (("ceiling_at_baseline", best), ("floor_at_baseline", worst)):
        unknown = int((study.efficacy & ~known).sum())
        yield counted(code, near, known, measure=measure, unknown=unknown, parameters={"percent_of_scale": NEAR})


def _discordance(context: Context) -> Iterator[CaveatFinding]:
    """Whether the main rule of CK and that of muscle strength agree in the patients whom both can judge."""
    main: dict[str, Response] = {each.rule.measure: each for each in context.protocol.responses if each.primary}
    strength = next((measure for measure in STRENGTH if measure in main), None)
    codes = ("ck_response_without_strength", "strength_response_without_ck")
    if strength is None or "CK" not in main:
        yield from (CaveatFinding(code, None, None, None, reason=Reason.NOT_DECLARED) for code in codes)
        return
    ck, muscle = (context.study.response(main[measure].rule) for measure in ("CK", strength))
    both = ck.evaluable & muscle.evaluable
    unknown = int((context.study.efficacy & ~both).sum())
    for code, found in zip(codes, (ck.responder & ~muscle.responder, muscle.responder & ~ck.responder), strict=True):
        yield counted(code, found, both, measure=strength, unknown=unknown)


def _few_pairs(context: Context) -> Iterator[CaveatFinding]:
    """n differences that are not zero have 2^n patterns of signs, and so no two-sided p below 2/2^n: 6 for 0.05."""
    week, alpha = last_week(context.study), context.protocol.weekly_change.alpha
    if week is None:
        return
    for measure in context.protocol.weekly_change.measures:
        values = week_result(context.study, measure, week).values
        known = ~np.isnan(values)
        count = int((values[known] != 0).sum())
        least = 2.0 ** (1 - count)
        yield CaveatFinding(
            "few_pairs",
            applies=least > alpha if known.any() else None,
            count=count,
            of=int(known.sum()),
            measure=measure,
            evidence={"least_p": min(1.0, least)},
            parameters={"week": week, "alpha": alpha},
            reason=None if known.any() else Reason.NO_PATIENTS,
        )


def _one_patient(context: Context) -> CaveatFinding:
    """The signed-rank test decides; where there are too many patients for leaving each out, the t test."""
    verdicts: list[bool] = []
    for main in key_results(context):
        if main.kind == "mean":
            tests = influence_on_change(
                main.values[main.included],
                alpha=context.protocol.weekly_change.alpha,
                zeros=context.conventions.zeros,
                signed_rank_p=context.conventions.signed_rank_p,
            ).tests
            told = [test.significance_depends_on_one_patient for test in tests]
            verdicts += [verdict for verdict in told if verdict is not None][:1]
    return CaveatFinding(
        "significance_depends_on_one_patient",
        applies=any(verdicts) if verdicts else None,
        count=sum(verdicts),
        of=len(verdicts),
        parameters={"alpha": context.protocol.weekly_change.alpha},
        reason=None if verdicts else Reason.NO_PATIENTS,
    )


def _best_of_many(context: Context) -> CaveatFinding:
    rules = [each.rule for each in context.protocol.responses if each.primary]
    best = sum(getattr(rule, "value", None) == "best" for rule in rules)
    reason = None if rules else Reason.NOT_DECLARED
    return CaveatFinding("best_of_many", best > 0 if rules else None, best, len(rules), reason=reason)
