"""When a caveat applies, and which figures another choice gives."""

import math
from typing import Any

from tests.spec.rule import Case, Rule, alike, changing, infused, on

STEADY = (-30, None, 30)
"""Prednisolone 30 mg/d all the time."""
_BOTH: dict[str, Any] = {"treatment": {"products": ["IVIG", "SCIG"]}}
SCIG = infused(0, product="SCIG")


def _changed(day: int, dose: float) -> list[tuple[int, int | None, float]]:
    """Prednisolone 30 mg/d until the day before `day`, then `dose`."""
    return [(-30, day - 1, 30), (day, None, dose)]


def _raised(says: str, code: str, applies: bool | str, **more: Any) -> Case:
    """A case about one caveat: whether it applies, and to how many patients."""
    count = {f"caveat {code}: count": more.pop("count")} if "count" in more else {}
    return Case(says=says, expect={f"caveat {code}: applies": applies} | count, **more)


SELECTION = Rule(
    row="caveats",
    name="Caveats: how patients were selected",
    words="CK at baseline is compared with CK at the protocol's week before treatment: if more than half of the "
    "patients had a value at least as high, they were perhaps treated because CK rose. If every baseline is above its "
    "upper limit, patients were perhaps selected by a high value. Regression to the mean applies if the expected "
    "regression is a tenth of the observed change of ln(CK) or more: (1 - ICC)(mean of the values before the baseline "
    "- baseline).",
    cases=(
        _raised("a baseline as high as at week -4 is a rise", "selection_on_baseline", True,
                ck=[(-28, 1000), (0, 1000)], count="1 of 1"),
        _raised("a baseline below week -4 is not a rise", "selection_on_baseline", False, ck=[(-28, 1000), (0, 999)],
                count="0 of 1"),
        _raised("a rise in half of the patients can be chance", "selection_on_baseline", False, count="1 of 2",
                groups=[alike(1, "with CK 900 on day -28 and 1000 on day 0", ck=[(-28, 900), (0, 1000)]),
                        alike(1, "with CK 1000 on day -28 and 900 on day 0", ck=[(-28, 1000), (0, 900)])]),
        _raised("without a value at week -4 it is unknown", "selection_on_baseline", "no_patients",
                ck=[(0, 1000), (7, 500)]),
        _raised("the CK of all patients above the limit", "selected_high", True, ck=[(0, 201)]),
        _raised("a baseline equal to the limit is normal", "selected_high", False, ck=[(0, 200)]),
        _raised("a baseline without a limit is unknown", "selected_high", "no_patients", ck=[on(0, 300, limit=None)]),
        Case(
            says="if values vary as much within patients as between them, they regress to the mean",
            groups=[alike(1, "with CK 1000, 2000, 1000 on days -28, 0, 28", ck=[(-28, 1000), (0, 2000), (28, 1000)]),
                    alike(1, "with CK 500, 1000, 500 on days -28, 0, 28", ck=[(-28, 500), (0, 1000), (28, 500)])],
            expect={"caveat regression_to_the_mean: applies": True, "caveat regression_to_the_mean: icc": 1 / 3,
                    "caveat regression_to_the_mean: share": 2 / 3},
        ),
        Case(
            says="if values do not vary within patients, there is no regression to the mean",
            groups=[alike(1, "with CK 1000 twice, then 500", ck=[(-28, 1000), (0, 1000), (28, 500)]),
                    alike(1, "with CK 400 twice, then 200", ck=[(-28, 400), (0, 400), (28, 200)])],
            expect={"caveat regression_to_the_mean: applies": False, "caveat regression_to_the_mean: icc": 1,
                    "caveat regression_to_the_mean: share": 0},
        ),
        _raised("with one patient it is unknown how patients differ", "regression_to_the_mean", "too_few_repeated",
                ck=[(-28, 1000), (0, 2000), (28, 1000)]),
        _raised("equal values have no variance", "regression_to_the_mean", "constant_values",
                groups=[alike(2, "with CK 1000 on days -28, 0 and 28", ck=[(-28, 1000), (0, 1000), (28, 1000)])]),
        _raised("a treated group is compared with its own values before treatment", "uncontrolled_pre_post", True),
        _raised("an untreated group has no such comparison", "uncontrolled_pre_post", "no_patients", infusions=[]),
    ),
)  # fmt: skip

ENDS = Rule(
    row="caveats",
    name="Caveats: ends of the scale and disagreement",
    words="A score within a tenth of its scale from the best end can hardly improve; a score as near to the worst end "
    "can hardly get worse. CK and muscle strength disagree if a patient responded by the main rule of one of them and "
    "did not respond by the other, although both could be judged.",
    cases=(
        _raised("90 of 100 is near the best end", "ceiling_at_baseline of MMT", True, mmt=[(0, 90), (28, 91)]),
        _raised("89.9 is not", "ceiling_at_baseline of MMT", False, mmt=[(0, 89.9), (28, 91)]),
        _raised("10 of 100 is near the worst end", "floor_at_baseline of MMT", True, mmt=[(0, 10), (28, 20)]),
        _raised("10.1 is not", "floor_at_baseline of MMT", False, mmt=[(0, 10.1), (28, 20)]),
        _raised("CK fell to 70 % and MMT rose by 4", "ck_response_without_strength", True,
                ck=[(0, 1000), (28, 700)], mmt=[(0, 50), (28, 54)]),
        _raised("CK fell to 70 % and MMT rose by 5", "ck_response_without_strength", False,
                ck=[(0, 1000), (28, 700)], mmt=[(0, 50), (28, 55)]),
        _raised("MMT rose by 5 and CK fell to 70.1 %", "strength_response_without_ck", True,
                ck=[(0, 1000), (28, 701)], mmt=[(0, 50), (28, 55)]),
        _raised("MMT rose by 5 and CK fell to 70 %", "strength_response_without_ck", False,
                ck=[(0, 1000), (28, 700)], mmt=[(0, 50), (28, 55)]),
        _raised("without CK no disagreement can be found", "ck_response_without_strength", "no_patients",
                mmt=[(0, 50), (28, 55)]),
        _raised("a protocol without response rules has no disagreement", "ck_response_without_strength", "not_declared",
                changes={"responses": []}),
    ),
)  # fmt: skip

BESIDE = Rule(
    row="caveats",
    name="Caveats: other treatments and events",
    words="The following are counted up to the last day that any endpoint uses (day 59 under `seed-2008`): less or "
    "more glucocorticoid than on day 0 (in prednisolone equivalents), a new immunosuppressant, a second course, death. "
    "If no glucocorticoid was sent for a patient, the dose is unknown. Follow-up is short if it ends before the "
    "window of the last compared week.",
    cases=(
        _raised("a taper on day 59", "steroid_taper", True, prednisolone=_changed(59, 20)),
        _raised("a taper on day 60", "steroid_taper", False, prednisolone=_changed(60, 20)),
        _raised("an increase on day 59", "steroid_increase", True, prednisolone=_changed(59, 40)),
        _raised("an increase on day 60", "steroid_increase", False, prednisolone=_changed(60, 40)),
        _raised("a taper is not an increase", "steroid_increase", False, prednisolone=_changed(10, 20)),
        _raised("the same dose continues", "steroid_taper", False, prednisolone=[STEADY]),
        Case(
            says="without prednisolone its dose is unknown",
            expect={"caveat steroid_taper: applies": "no_patients", "caveat steroid_taper: unknown": 1},
        ),
        _raised("azathioprine from day 59", "new_immunosuppressant", True, immunosuppressant_from=59),
        _raised("azathioprine from day 60", "new_immunosuppressant", False, immunosuppressant_from=60),
        _raised("azathioprine taken before treatment", "new_immunosuppressant", False, immunosuppressant_from=-9),
        _raised("a second course on day 59", "second_course", True, infusions=[0, 59]),
        _raised("a second course on day 60", "second_course", False, infusions=[0, 60]),
        _raised("SCIG from day 0 together with IVIG", "second_course", False, changes=_BOTH, infusions=[0, SCIG]),
        _raised("SCIG from day 0, and a later course", "second_course", True, changes=_BOTH, infusions=[0, SCIG, 40]),
        _raised("death on day 59", "death", True, ended=(59, "died")),
        _raised("death on day 60", "death", False, ended=(60, "died")),
        _raised("withdrawal is not death", "death", False, ended=(59, "withdrawn")),
        _raised("the last recorded fact is of day 52", "short_follow_up", True, ck=[(0, 1000), (52, 500)]),
        _raised("the last recorded fact is of day 53", "short_follow_up", False, ck=[(0, 1000), (53, 500)]),
    ),
)  # fmt: skip

WEEKS = [(0, 1000), (7, 900), (14, 800), (28, 700)]

SHOWN = Rule(
    row="caveats",
    name="Caveats: what the tests can show",
    words="A signed-rank test of n differences that are not zero has no p below 2/2^n: fewer than 6 differences "
    "cannot reach 0.05. A test depends on one patient if its p without that patient is on the other side of alpha. "
    "The best of several values is biased upwards. A value is missing if the weekly comparison needs it and a patient "
    "of the efficacy set does not have it.",
    cases=(
        _raised("five patients", "few_pairs of MMT", True, groups=[changing("MMT", 50, w8=(1, 2, 3, 4, 5))]),
        _raised("six patients", "few_pairs of MMT", False, groups=[changing("MMT", 50, w8=(1, 2, 3, 4, 5, 6))]),
        _raised("six patients of whom one did not change", "few_pairs of MMT", True,
                groups=[changing("MMT", 50, w8=(1, 2, 3, 4, 5, 0))]),
        _raised("without a pair it is unknown", "few_pairs of MMT", "no_patients", mmt=[(0, 50)]),
        _raised("six changes of one sign have p = 0.03, and 0.06 without one of them",
                "significance_depends_on_one_patient", True, count="1 of 1",
                groups=[changing("MMT", 50, w8=(1, 2, 3, 4, 5, 6))]),
        _raised("seven have p = 0.03 without one of them", "significance_depends_on_one_patient", False, count="0 of 1",
                groups=[changing("MMT", 50, w8=(1, 2, 3, 4, 5, 6, 7))]),
        _raised("without patients there is no test", "significance_depends_on_one_patient", "no_patients"),
        _raised("`seed-2008` judges the best value", "best_of_many", True, count="3 of 3"),
        _raised("`relative-20` judges the value of a week", "best_of_many", False, count="0 of 3",
                preset="relative-20"),
        _raised("a value at every week", "missing_data of CK", False, ck=[*WEEKS, (56, 600)], count="0 of 5"),
        _raised("no value at week 8", "missing_data of CK", True, ck=WEEKS, count="1 of 5"),
        _raised("whether the protocol was changed is known for a stored study only", "definitions_changed",
                "not_known_here"),
    ),
)  # fmt: skip

MEASURED = Rule(
    row="caveats",
    name="Caveats: how CK was measured",
    words="Counted are patients whose normal CK ended between two draws more than a day apart, patients whose CK has "
    "several laboratories or several upper limits, patients of whom a CK that the main rule may judge has another "
    "upper limit than the baseline, patients whose CK never became normal, and values known only as a bound. "
    "Adverse events are known only if they were sent.",
    cases=(
        _raised("normal on day 7, abnormal on day 9", "seen_at_visits_only", True, ck=[(0, 1000), (7, 150), (9, 400)]),
        _raised("normal on day 7, abnormal on day 8", "seen_at_visits_only", False, ck=[(0, 1000), (7, 150), (8, 400)]),
        _raised("normal on days 7 and 8, abnormal on day 9", "seen_at_visits_only", False,
                ck=[(0, 1000), (7, 150), (8, 150), (9, 400)]),
        _raised("CK never normal", "seen_at_visits_only", "no_patients", ck=[(0, 1000), (7, 400)]),
        _raised("two laboratories", "several_laboratories", True, ck=[on(0, 900, lab="A"), on(7, 800, lab="B")]),
        _raised("one laboratory", "several_laboratories", False, ck=[on(0, 900, lab="A"), on(7, 800, lab="A")]),
        _raised("no laboratory named", "several_laboratories", "no_patients", ck=[(0, 900), (7, 800)]),
        _raised("upper limits 200 and 210", "upper_limit_changes", True, ck=[(0, 900), on(7, 800, limit=210)]),
        _raised("one upper limit", "upper_limit_changes", False, ck=[(0, 900), (7, 800)]),
        _raised("the upper limit of a judged CK is not that of the baseline", "upper_limit_moved", True,
                ck=[(0, 900), on(59, 800, limit=210)], count="1 of 1"),
        _raised("it changes after the last day that is judged", "upper_limit_moved", False,
                ck=[(0, 900), (59, 800), on(60, 800, limit=210)], count="0 of 1"),
        _raised("it changed before the baseline", "upper_limit_moved", False,
                ck=[on(-9, 900, limit=210), (0, 900), (59, 800)], count="0 of 1"),
        _raised("without an upper limit at baseline it is unknown", "upper_limit_moved", "no_patients",
                ck=[on(0, 900, limit=None), (28, 800)]),
        _raised("a bound from below", "comparators", True, ck=[on(0, 20000, sign=">"), (7, 800)], count="1 of 2"),
        _raised("exact values", "comparators", False, ck=[(0, 20000), (7, 800)], count="0 of 2"),
        _raised("a bound at a week that is compared", "bounds_as_values", True,
                ck=[(0, 900), on(56, 20, sign="<")], count="1 of 1"),
        _raised("a bound at a time that is not compared", "bounds_as_values", False,
                ck=[(0, 900), on(40, 20, sign="<")], count="0 of 1"),
        _raised("no CK at a visit", "bounds_as_values", "no_patients", ck=[on(40, 20, sign="<")]),
        _raised("a bound before treatment", "bounds_in_run_in", True,
                ck=[on(-28, 20000, sign=">"), (0, 900), on(7, 20000, sign=">")], count="1 of 2"),
        _raised("a bound after treatment", "bounds_in_run_in", False, ck=[(0, 900), on(7, 20000, sign=">")],
                count="0 of 1"),
        _raised("a bound in the second course alone", "bounds_in_courses", True, infusions=[0, 100],
                ck=[(0, 900), (7, 800), (100, 900), on(107, 20, sign="<")], count="1 of 2"),
        _raised("no bound in either course", "bounds_in_courses", False, infusions=[0, 100],
                ck=[(0, 900), (7, 800), (100, 900), (107, 20)], count="0 of 2"),
        _raised("CK never normal, again", "conditioned_on_normalising", True, ck=[(0, 1000), (7, 201)]),
        _raised("CK normal on day 7", "conditioned_on_normalising", False, ck=[(0, 1000), (7, 200)]),
        _raised("a treated patient without adverse events", "spontaneous_reports", True),
        _raised("no treated patient", "spontaneous_reports", "no_patients", infusions=[]),
    ),
)  # fmt: skip

FOURFOLD = [(-28, 4000), (0, 1000), (56, 500)]
FALLING = [(0, 1000), (28, 500), (56, 100)]

VARIANTS = Rule(
    row="sensitivity",
    name="Sensitivity",
    words="Every key result is computed again under other choices: the (geometric) mean of all values up to day 0 as "
    "baseline, or of the values before the last one; slopes per 28 days instead of two changes; patients with every "
    "week only; without patients who had further treatment (second course, new immunosuppressant, more glucocorticoid) "
    "up to the end of the window; with the last value up to the further treatment; without values known as a bound "
    "only. A value of the day of the further treatment counts as before it. For the time with normal CK there is the "
    "main figure only, because it has no fixed end and patients who stay normal for longer have more time for further "
    "treatment; `ck-normal-time` has strategies for that.",
    cases=(
        Case(
            says="three baselines of one patient",
            ck=FOURFOLD,
            expect={
                "main in week 8: estimate": math.log(1 / 2),
                "baseline_run_in_mean in week 8: estimate": math.log(1 / 4),
                "baseline_earlier_mean in week 8: estimate": math.log(1 / 8),
                "baseline_earlier_mean in week 8: difference": math.log(1 / 4),
            },
        ),
        Case(
            says="without a value before the baseline there is no mean of them",
            ck=[(0, 1000), (56, 500)],
            expect={
                "baseline_run_in_mean in week 8: estimate": math.log(1 / 2),
                "baseline_earlier_mean in week 8: patients": 0,
                "baseline_earlier_mean in week 8: estimate": "no_patients",
            },
        ),
        Case(
            says="slopes use the days of the draws, not the weeks of the visits",
            ck=[(-30, 1000), (-2, 2000), (26, 1000)],
            expect={
                "main in before/after: estimate": -2 * math.log(2),
                "slopes in before/after: estimate": -2 * math.log(2),
            },
        ),
        Case(
            says="slopes of uneven weeks differ from the two changes",
            ck=[(-28, 1000), (0, 2000), (25, 1000)],
            expect={
                "main in before/after: estimate": -2 * math.log(2),
                "slopes in before/after: estimate": -math.log(2) * (1 + 28 / 25),
            },
        ),
        Case(
            says="a patient without week 4 is not a complete case",
            groups=[alike(1, "with CK at every week", ck=[*WEEKS, (56, 500)]),
                    alike(1, "without week 4", ck=[*WEEKS[:3], (56, 250)])],
            expect={"main in week 8: patients": 2, "complete_cases in week 8: patients": 1,
                    "complete_cases in week 8: estimate": math.log(1 / 2)},
        ),
        Case(
            says="more prednisolone on the last day of the window is further treatment",
            ck=FALLING,
            prednisolone=_changed(59, 40),
            expect={"without_further_treatment in week 8: patients": 0,
                    "without_further_treatment in response: patients": 0},
        ),
        Case(
            says="more prednisolone a day later is not further treatment",
            ck=FALLING,
            prednisolone=_changed(60, 40),
            expect={"without_further_treatment in week 8: patients": 1,
                    "without_further_treatment in response: patients": 1},
        ),
        Case(
            says="less prednisolone is not further treatment either",
            ck=FALLING,
            prednisolone=_changed(10, 20),
            expect={"without_further_treatment in week 8: patients": 1},
        ),
        Case(
            says="while on treatment the last value before more prednisolone is used for the week",
            ck=FALLING,
            prednisolone=_changed(55, 40),
            expect={"main in week 8: estimate": math.log(1 / 10),
                    "while_on_treatment in week 8: estimate": math.log(1 / 2)},
        ),
        Case(
            says="a value of the day of the increase counts as before it",
            ck=FALLING,
            prednisolone=_changed(56, 40),
            expect={"while_on_treatment in week 8: estimate": math.log(1 / 10)},
        ),
        Case(
            says="a response after a second course does not count while on treatment",
            ck=[(0, 1000), (28, 900), (56, 100)],
            infusions=[0, infused(30)],
            expect={"main in response: estimate": 1, "while_on_treatment in response: estimate": 0,
                    "without_further_treatment in response: patients": 0},
        ),
        Case(
            says="a bound at baseline is left out of logarithms",
            groups=[alike(1, "with CK &gt;20000, then 10000 on day 56", ck=[on(0, 20000, sign=">"), (56, 10000)]),
                    alike(1, "with CK 1000, then 250 on day 56", ck=[(0, 1000), (56, 250)])],
            expect={"main in week 8: patients": 2, "without_comparators in week 8: patients": 1,
                    "without_comparators in week 8: estimate": math.log(1 / 4)},
        ),
        Case(
            says="14 responders of 15 become 14 of 14 without the patient who did not respond",
            groups=[alike(14, "with MMT 50, then 60", mmt=[(0, 50), (28, 60)]),
                    alike(1, "with MMT 50, then 51", mmt=[(0, 50), (28, 51)])],
            expect={"without one patient, response of MMT: estimate": (13 / 14, 1.0)},
        ),
        Case(
            says="six changes of one sign are not significant without one of them",
            groups=[changing("MMT", 50, w8=(1, 2, 3, 4, 5, 6))],
            expect={"without one patient, week 8 of MMT: signed-rank p": (0.0625, 0.0625),
                    "without one patient, week 8 of MMT: depends on one patient": True},
        ),
        Case(
            says="seven changes are significant without any one of them",
            groups=[changing("MMT", 50, w8=(1, 2, 3, 4, 5, 6, 7))],
            expect={"without one patient, week 8 of MMT: signed-rank p": (0.03125, 0.03125),
                    "without one patient, week 8 of MMT: depends on one patient": False},
        ),
    ),
)  # fmt: skip

RULES = (SELECTION, ENDS, BESIDE, SHOWN, MEASURED, VARIANTS)
