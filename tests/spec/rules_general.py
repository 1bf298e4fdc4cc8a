"""Any criterion in any window, confirmed or not, and what is done about missing values and further treatment."""

from typing import Any

from tests.spec.rule import Case, Rule, on

PERCENT = {"id": "percent_better", "percent": 20}
POINTS = {"id": "points_better", "points": 5}
FALL = {"id": "percent_of_baseline", "percent_of_baseline": 70}
DAYS = {"id": "days", "days": [1, 60], "value": "best"}
LAST = {"id": "days", "days": [1, 60], "value": "last"}
WEEK = {"id": "visit", "week": 4}
NEXT_VALUE, NEXT_VISIT = {"confirmed": "next_value"}, {"confirmed": "next_visit"}


def _rule(measure: str, criterion: dict[str, Any], window: dict[str, Any], **more: Any) -> dict[str, Any]:
    rule = {"id": "criterion_in_window", "measure": measure, "criterion": criterion, "window": window} | more
    return {"responses": [{"rule": rule}]}


WINDOW = Rule(
    row="any criterion in any window",
    name="Any criterion in any window",
    words="A response rule is a criterion and a window. Criteria: points of the scale, per cent of the baseline, or "
    "for CK at most some per cent of the baseline, with or without a normal CK as a response too. Windows: the visit "
    "of a week, or any (the best) or the last value of some days. The window may ask that a second value confirms the "
    "first: the patient's next value on whatever later day, or the visit of the next planned week. A patient with a "
    "value that meets the criterion, and without a second value, cannot be judged.",
    cases=(
        Case(
            says="20 % at best within 60 days: a value on day 60 counts",
            changes=_rule("MMT", PERCENT, DAYS),
            mmt=[(0, 50), (30, 55), (60, 60)],
            expect={"MMT responder": True},
        ),
        Case(
            says="a value on day 61 does not",
            changes=_rule("MMT", PERCENT, DAYS),
            mmt=[(0, 50), (30, 55), (61, 60)],
            expect={"MMT responder": False},
        ),
        Case(
            says="20 % at the last value within 60 days",
            changes=_rule("MMT", PERCENT, LAST),
            mmt=[(0, 50), (30, 60), (60, 59.9)],
            expect={"MMT responder": False},
        ),
        Case(
            says="5 points at the visit of a week",
            changes=_rule("MMT", POINTS, WEEK),
            mmt=[(0, 50), (28, 55), (56, 50)],
            expect={"MMT responder": True},
        ),
        Case(
            says="confirmed at two visits",
            changes=_rule("MMT", POINTS, WEEK | NEXT_VISIT),
            mmt=[(0, 50), (28, 55), (40, 50), (56, 55)],
            expect={"MMT responder": True},
        ),
        Case(
            says="a second visit that does not meet the criterion refutes the first",
            changes=_rule("MMT", POINTS, WEEK | NEXT_VISIT),
            mmt=[(0, 50), (28, 55), (56, 54.9)],
            expect={"MMT responder": False},
        ),
        Case(
            says="without the second visit the first one cannot be judged",
            changes=_rule("MMT", POINTS, WEEK | NEXT_VISIT),
            mmt=[(0, 50), (28, 55), (40, 55)],
            expect={"MMT responder": "no_confirming_value"},
        ),
        Case(
            says="a first visit that does not meet the criterion needs no second one",
            changes=_rule("MMT", POINTS, WEEK | NEXT_VISIT),
            mmt=[(0, 50), (28, 54)],
            expect={"MMT responder": False},
        ),
        Case(
            says="confirmed by the next value, which may lie after the window",
            changes=_rule("MMT", POINTS, DAYS | NEXT_VALUE),
            mmt=[(0, 50), (28, 55), (56, 50), (60, 55), (90, 55)],
            expect={"MMT responder": True},
        ),
        Case(
            says="two values that meet the criterion with one between them that does not are no confirmation",
            changes=_rule("MMT", POINTS, DAYS | NEXT_VALUE),
            mmt=[(0, 50), (28, 55), (56, 50), (60, 55), (90, 50)],
            expect={"MMT responder": False},
        ),
        Case(
            says="a CK that fell is confirmed by a normal one",
            changes=_rule("CK", FALL, DAYS | NEXT_VALUE),
            ck=[(0, 210), (28, 147), on(56, 200, limit=200)],
            expect={"CK responder": True},
        ),
        Case(
            says="unless a normal CK is no response",
            changes=_rule("CK", FALL | {"or_normal": False}, DAYS | NEXT_VALUE),
            ck=[(0, 210), (28, 147), on(56, 200, limit=200)],
            expect={"CK responder": False},
        ),
        Case(
            says="the last planned visit cannot be confirmed by a later one",
            changes=_rule("MMT", POINTS, WEEK | {"week": 8} | NEXT_VISIT),
            refused="contradiction",
        ),
        Case(
            says="days are not visits and cannot be confirmed at one",
            changes=_rule("MMT", POINTS, DAYS | NEXT_VISIT),
            refused="unknown_value",
        ),
        Case(
            says="points are for scores, a share of the baseline is for CK",
            changes=_rule("CK", POINTS, DAYS),
            refused="contradiction",
        ),
    ),
)

MISSING = Rule(
    row="missing = non-responder",
    name="Missing values as no response",
    words="A rule may count a patient without a verdict as a non-responder. Its rate is then of all treated patients, "
    "with those who could not respond among them, and the patients counted so are flagged.",
    cases=(
        Case(
            says="a treated patient without a value in the window",
            changes=_rule("MMT", POINTS, WEEK, missing="non_responder"),
            mmt=[(0, 50), (56, 60)],
            expect={"MMT responder": False, "MMT responders": "0 of 1", "flag counted_as_non_responder of MMT": 1},
        ),
        Case(
            says="a patient with a value is judged by it",
            changes=_rule("MMT", POINTS, WEEK, missing="non_responder"),
            mmt=[(0, 50), (28, 55)],
            expect={"MMT responders": "1 of 1", "flag counted_as_non_responder of MMT": 0},
        ),
        Case(
            says="a patient who was not treated is not counted",
            changes=_rule("MMT", POINTS, WEEK, missing="non_responder"),
            mmt=[(0, 50), (28, 55)],
            infusions=[],
            expect={"MMT responder": "not_treated", "MMT responders": "0 of 0"},
        ),
    ),
)

RESCUE = Rule(
    row="response and rescue",
    name="Response after further treatment",
    words="With `response_rescue` `composite` no value after the day of the first rescue treatment (a second course or "
    "a new immunosuppressant) or of death is a response. A patient with one up to the end of the window is a "
    "non-responder, also without a value in the window.",
    cases=(
        Case(
            says="a response after the rescue does not count",
            changes=_rule("MMT", POINTS, WEEK) | {"response_rescue": "composite"},
            mmt=[(0, 50), (28, 60)],
            immunosuppressant_from=20,
            expect={"MMT responder": False},
        ),
        Case(
            says="a response on the day of the rescue does",
            changes=_rule("MMT", POINTS, WEEK) | {"response_rescue": "composite"},
            mmt=[(0, 50), (28, 60)],
            immunosuppressant_from=28,
            expect={"MMT responder": True},
        ),
        Case(
            says="after a rescue a missing visit is no response",
            changes=_rule("MMT", POINTS, WEEK) | {"response_rescue": "composite"},
            mmt=[(0, 50), (56, 60)],
            immunosuppressant_from=20,
            expect={"MMT responder": False},
        ),
        Case(
            says="without one it is missing",
            changes=_rule("MMT", POINTS, WEEK) | {"response_rescue": "composite"},
            mmt=[(0, 50), (56, 60)],
            immunosuppressant_from=32,
            expect={"MMT responder": "no_value_in_window"},
        ),
        Case(
            says="a confirmation after the rescue does not count",
            changes=_rule("MMT", POINTS, WEEK | NEXT_VISIT) | {"response_rescue": "composite"},
            mmt=[(0, 50), (28, 60), (56, 60)],
            immunosuppressant_from=40,
            expect={"MMT responder": False},
        ),
        Case(
            says="by default a rescue is ignored",
            changes=_rule("MMT", POINTS, WEEK),
            mmt=[(0, 50), (28, 60)],
            immunosuppressant_from=20,
            expect={"MMT responder": True},
        ),
    ),
)

PRESET = Rule(
    row="myositis-2026",
    name="The preset for new studies",
    words="`myositis-2026`: MMT and ADL 20 % better than at baseline, CK at most 70 % of it or normal, each at week 4 "
    "and confirmed at week 8; the rate is of all treated patients, and a rescue is a failure. Windows meet half-way "
    "between the planned weeks. The time with normal CK begins at the first of two normal CKs, ends at a rescue too, "
    "and its interval-censored estimate comes first.",
    cases=(
        Case(
            says="a response at week 4 that week 8 confirms",
            preset="myositis-2026",
            ck=[(0, 1000), (28, 700), (56, 700)],
            expect={"CK responder": True},
        ),
        Case(
            says="one that it does not confirm",
            preset="myositis-2026",
            ck=[(0, 1000), (28, 700), (56, 701)],
            expect={"CK responder": False},
        ),
        Case(
            says="a treated patient whose week 8 is missing is a non-responder",
            preset="myositis-2026",
            mmt=[(0, 50), (28, 60)],
            expect={"MMT responder": False, "MMT responders": "0 of 1"},
        ),
        Case(
            says="a value of day 41 serves week 4, one of day 42 week 8",
            preset="myositis-2026",
            mmt=[(0, 50), (41, 60), (42, 60)],
            expect={"MMT responder": True},
        ),
        Case(
            says="a rescue before week 4 is a failure",
            preset="myositis-2026",
            mmt=[(0, 50), (28, 60), (56, 60)],
            immunosuppressant_from=20,
            expect={"MMT responder": False},
        ),
    ),
)

RULES = (WINDOW, MISSING, RESCUE, PRESET)
