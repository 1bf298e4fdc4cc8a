"""Glucocorticoids: sums of doses, the time to a low dose, and responses without them."""

from typing import Any

from tests.spec import readings_steroids
from tests.spec.rule import Case, Group, Patient, Rule, alike

QUESTION = readings_steroids.QUESTION
TO_100 = [(0, 1000), (100, 500)]
"""CK, so that the patient is under observation up to day 100."""
TAPER = [(0, 27, 20), (28, 55, 10), (56, None, 5)]
STOPPED = {"steroid_sparing": {"after_last_period": "stopped"}}


def _sums(first: float | str, second: float | str | None = None) -> dict[str, Any]:
    expected = {"sum of 28 days": first}
    return expected if second is None else expected | {"sum of 84 days": second}


SUMS = Rule(
    row="steroid sparing",
    name="Doses of glucocorticoids added up",
    words="The doses of the days from day 0 on are added up over 28, 84, 182 and 364 days, day 0 included "
    "(`windows`), in mg of prednisolone equivalents. The sum of a patient is null if the dose of any of these "
    "days is not known. A day counts only if a reported period covers it: a gap is not a dose of 0, and neither is the "
    "time after the last period, unless a dose of 0 was sent or the protocol says `stopped`. A period ends before the "
    "day on which another one begins. A period without an end lasts to the last fact of the patient, or to death.",
    cases=(
        Case(
            says="28 days of 20 mg, 28 days of 10 mg, then 5 mg",
            ck=TO_100,
            prednisolone=TAPER,
            expect=_sums(560, 980) | {"mean of 28 days": 20, "mean of 84 days": 980 / 84},
        ),
        Case(
            says="on the day of a change that two periods share the new dose counts",
            ck=TO_100,
            prednisolone=[(0, 28, 20), (28, None, 10)],
            expect=_sums(560, 1120),
        ),
        Case(
            says="what is taken at the same time is added",
            ck=TO_100,
            prednisolone=[(0, None, 20), (1, 10, 5)],
            expect=_sums(610, 1730),
        ),
        Case(
            says="doses before day 0 do not count",
            ck=TO_100,
            prednisolone=[(-30, -1, 60), (0, None, 10)],
            expect=_sums(280, 840),
        ),
        Case(
            says="a period may begin before day 0",
            ck=TO_100,
            prednisolone=[(-30, None, 10)],
            expect=_sums(280, 840),
        ),
        Case(
            says="without a period on day 0 there is no sum",
            ck=TO_100,
            prednisolone=[(1, None, 10)],
            expect=_sums("steroid_gap", "steroid_gap") | {"days with a known dose of 28 days": 27},
        ),
        Case(
            says="a gap of one day is not a dose of 0",
            ck=TO_100,
            prednisolone=[(0, 27, 20), (29, None, 10)],
            expect=_sums(560, "steroid_gap") | {"days with a known dose of 84 days": 83},
        ),
        Case(
            says="nor is it if the protocol says `stopped`",
            ck=TO_100,
            prednisolone=[(0, 27, 20), (29, None, 10)],
            changes=STOPPED,
            expect=_sums(560, "steroid_gap"),
        ),
        Case(
            says="after the last period the dose is not known",
            ck=TO_100,
            prednisolone=[(0, 55, 20)],
            expect=_sums(560, "steroid_gap") | {"days with a known dose of 84 days": 56},
        ),
        Case(
            says="it is 0 if that was sent",
            ck=TO_100,
            prednisolone=[(0, 55, 20), (56, None, 0)],
            expect=_sums(560, 1120),
        ),
        Case(
            says="it is 0 if the protocol says `stopped`",
            ck=TO_100,
            prednisolone=[(0, 55, 20)],
            changes=STOPPED,
            expect=_sums(560, 1120),
        ),
        Case(
            says="a dose for each week is divided by 7",
            ck=TO_100,
            drugs=[("prednisolone", 0, None, 10, "mg/wk")],
            expect=_sums(40, 120),
        ),
        Case(
            says="16 mg of methylprednisolone count as 20 mg of prednisolone, 3 mg of dexamethasone as much",
            ck=TO_100,
            drugs=[("methylprednisolone", 0, 27, 16, "mg/d"), ("dexamethasone", 28, None, 3, "mg/d")],
            expect=_sums(560, 1680),
        ),
        Case(
            says="a pulse of 1 g of methylprednisolone on three days is added to the daily dose: 3 times 1250 mg",
            ck=TO_100,
            drugs=[("prednisolone", 0, None, 20, "mg/d"), ("mPSL", 14, 16, 1, "g/d")],
            expect=_sums(4310, 5430),
        ),
        Case(
            says="a pulse whose dose has no frequency is not known",
            ck=TO_100,
            drugs=[("prednisolone", 0, None, 20, "mg/d"), ("mPSL", 14, 16, 1, "g")],
            expect=_sums("steroid_dose_unknown") | {"days with a known dose of 28 days": 25},
        ),
        Case(
            says="half a milligram for each kilogram of 40 kg",
            ck=TO_100,
            weight=40,
            drugs=[("prednisone", 0, None, 0.5, "mg/kg/d")],
            expect=_sums(560, 1680),
        ),
        Case(
            says="without the weight it is not known",
            ck=TO_100,
            drugs=[("prednisone", 0, None, 0.5, "mg/kg/d")],
            expect=_sums("steroid_dose_unknown"),
        ),
        Case(
            says="a drug of another kind does not count",
            ck=TO_100,
            drugs=[("prednisolone", 0, None, 20, "mg/d"), ("methotrexate", 0, None, 15, "mg/wk")],
            expect=_sums(560, 1680),
        ),
        Case(
            says="a dose in a unit that is no daily dose is not known",
            ck=TO_100,
            drugs=[("prednisolone", 0, 27, 20, "mg/d"), ("prednisolone", 28, None, 500, "mg")],
            expect=_sums(560, "steroid_dose_unknown")
            | {"days with a known dose of 84 days": 28, "flag dose_not_convertible of glucocorticoids": 1},
        ),
        Case(
            says="seen up to the last day of the window",
            ck=[(0, 1000), (27, 500)],
            prednisolone=[(0, None, 10)],
            expect=_sums(280, "observed_too_short") | {"flag dose_not_convertible of glucocorticoids": 0},
        ),
        Case(
            says="seen up to the day before",
            ck=[(0, 1000), (26, 500)],
            prednisolone=[(0, None, 10)],
            expect=_sums("observed_too_short"),
        ),
        Case(
            says="death before the end of the window",
            ck=[(0, 1000), (10, 500)],
            prednisolone=[(0, None, 10)],
            ended=(26, "died"),
            expect=_sums("observed_too_short"),
        ),
        Case(
            says="no glucocorticoid was ever reported",
            ck=TO_100,
            expect=_sums("no_steroid_reported"),
        ),
        Case(
            says="of 280, 560, 840 and 1400 mg the median is 700 mg",
            groups=[
                Group("prednisolone 10, 20, 30 and 50 mg/d", tuple(
                    Patient(ck=TO_100, prednisolone=[(0, None, dose)]) for dose in (10, 20, 30, 50)
                )),
                alike(1, "without a reported glucocorticoid", ck=TO_100),
            ],
            expect={"median of the sums of 28 days": 700, "quartiles of the sums of 28 days": (490, 980)},
        ),
    ),
)  # fmt: skip


def _low(days: int | str, reached: bool | str | None = None) -> dict[str, Any]:
    return {"days to a low dose": days, "reached a low dose": days if reached is None else reached}


LOW = Rule(
    row="steroid sparing",
    name="The time to a low dose",
    words="The time runs from day 0 to the first later day on which the dose is at most 7.5 mg (`low_dose`); with "
    "`sustained_days` it must stay so for that many days, the first of them included. A patient whose dose on day 0 "
    "is not known, or is low already, is not at risk. Only days up to the first unknown one count: there, or at the "
    "end of the observation (the last fact, or death), the patient is censored.",
    cases=(
        Case(
            says="exactly the low dose",
            ck=TO_100,
            prednisolone=[(0, 27, 20), (28, None, 7.5)],
            expect=_low(28, True),
        ),
        Case(
            says="6 mg of methylprednisolone are exactly the low dose",
            ck=TO_100,
            drugs=[("methylprednisolone", 0, 27, 16, "mg/d"), ("methylprednisolone", 28, None, 6, "mg/d")],
            expect=_low(28, True),
        ),
        Case(
            says="a little more than the low dose",
            ck=TO_100,
            prednisolone=[(0, 27, 20), (28, None, 7.6)],
            expect=_low(100, False),
        ),
        Case(
            says="more, if the protocol says so",
            ck=TO_100,
            prednisolone=[(0, 27, 20), (28, None, 7.6)],
            changes={"steroid_sparing": {"low_dose": 10}},
            expect=_low(28, True),
        ),
        Case(
            says="a low dose on day 0",
            ck=TO_100,
            prednisolone=[(0, 27, 7.5), (28, None, 5)],
            expect=_low("low_dose_at_start") | {"low dose: low_at_start": 1, "low dose: n": 0},
        ),
        Case(
            says="an unknown dose on day 0",
            ck=TO_100,
            prednisolone=[(1, 27, 20), (28, None, 5)],
            expect=_low("steroid_gap") | {"low dose: low_at_start": 0},
        ),
        Case(
            says="a low dose after a gap does not count",
            ck=TO_100,
            prednisolone=[(0, 27, 20), (29, None, 5)],
            expect=_low(27, False),
        ),
        Case(
            says="after the last period it is not known",
            ck=TO_100,
            prednisolone=[(0, 55, 20)],
            expect=_low(55, False),
        ),
        Case(
            says="after the last period it is 0 if the protocol says `stopped`",
            ck=TO_100,
            prednisolone=[(0, 55, 20)],
            changes=STOPPED,
            expect=_low(56, True),
        ),
        Case(
            says="the first day counts, also if the dose is raised again",
            ck=TO_100,
            prednisolone=[(0, 27, 20), (28, 28, 5), (29, None, 20)],
            expect=_low(28, True),
        ),
        Case(
            says="with 28 sustained days a low dose of 27 days does not count",
            ck=TO_100,
            prednisolone=[(0, 27, 20), (28, 54, 5), (55, None, 20)],
            changes={"steroid_sparing": {"sustained_days": 28}},
            expect=_low(100, False),
        ),
        Case(
            says="with 28 sustained days a low dose of 28 days counts from its first day on",
            ck=TO_100,
            prednisolone=[(0, 27, 20), (28, 40, 5), (41, 55, 2.5), (56, None, 20)],
            changes={"steroid_sparing": {"sustained_days": 28}},
            expect=_low(28, True),
        ),
        Case(
            says="a low dose that was not seen for long enough is censored at the last day",
            ck=TO_100,
            prednisolone=[(0, 79, 20), (80, None, 5)],
            changes={"steroid_sparing": {"sustained_days": 28}},
            expect=_low(100, False),
        ),
        Case(
            says="death with a higher dose",
            ck=TO_100[:1],
            prednisolone=[(0, None, 20)],
            ended=(40, "died"),
            expect=_low(40, False) | {"low dose: died": 1},
        ),
    ),
)

RESPONSE = {"ck": [(0, 1000), (28, 500)]}

FREE = Rule(
    row="steroid sparing",
    name="Steroid-free response",
    words="A response by a primary rule is steroid-free if the dose is 0 (or at most `steroid_free_dose`) on the day "
    "of the value that was judged, the best where several were. A patient who did not respond has no steroid-free "
    "response, whatever the dose. A patient who responded while the dose is not known is left out, and is counted "
    "in the greatest possible number of all treated patients.",
    cases=(
        Case(
            says="a dose of 0 from the day of the value on",
            prednisolone=[(0, 27, 20), (28, None, 0)],
            expect={"CK: steroid-free response": True, "CK: dose on the judged day": 0},
            **RESPONSE,
        ),
        Case(
            says="a dose of 0 from the day after",
            prednisolone=[(0, 28, 20), (29, None, 0)],
            expect={"CK: steroid-free response": False, "CK: dose on the judged day": 20},
            **RESPONSE,
        ),
        Case(
            says="a small dose, if the protocol says so",
            prednisolone=[(0, None, 5)],
            changes={"steroid_sparing": {"steroid_free_dose": 5}},
            expect={"CK: steroid-free response": True},
            **RESPONSE,
        ),
        Case(
            says="a little more",
            prednisolone=[(0, None, 5.1)],
            changes={"steroid_sparing": {"steroid_free_dose": 5}},
            expect={"CK: steroid-free response": False},
            **RESPONSE,
        ),
        Case(
            says="no prednisolone, and 0.75 mg of dexamethasone",
            drugs=[("prednisolone", 0, None, 0, "mg/d"), ("dexamethasone", 0, None, 0.75, "mg/d")],
            expect={"CK: steroid-free response": False, "CK: dose on the judged day": 5},
            **RESPONSE,
        ),
        Case(
            says="the dose is not known after the last period",
            prednisolone=[(0, 27, 20)],
            expect={"CK: steroid-free response": "steroid_gap", "CK: steroid-free responses": "0 of 0",
                    "CK: steroid-free responses of all treated, at most": "1 of 1"},
            **RESPONSE,
        ),
        Case(
            says="no response, and no known dose",
            ck=[(0, 1000), (28, 900)],
            expect={"CK: steroid-free response": False, "CK: steroid-free responses": "0 of 1",
                    "CK: steroid-free responses of all treated, at most": "0 of 1"},
        ),
        Case(
            says="the rule could not judge",
            ck=[(0, 1000)],
            prednisolone=[(0, None, 0)],
            expect={"CK: steroid-free response": "no_value_after_baseline"},
        ),
        Case(
            says="the day of the best value counts",
            ck=[(0, 1000), (28, 500), (50, 400), (56, 450)],
            prednisolone=[(0, 49, 20), (50, 50, 0), (51, None, 20)],
            expect={"CK: judged day": 50, "CK: steroid-free response": True},
        ),
    ),
)  # fmt: skip

ORDERED = ("prednisolone", 0, None, 20, "mg/d")
_FLAGS = ("flag orders_counted of glucocorticoids", "flag orders_left_out of glucocorticoids")


def _orders(counted: int, left_out: int) -> dict[str, Any]:
    return dict(zip(_FLAGS, (counted, left_out), strict=True))


ORDERS = Rule(
    row="steroid sparing",
    name="Orders of glucocorticoids",
    words="An order does not say that the drug was taken. Orders of a drug count only for a patient without any other "
    "record of this drug; then they count as if the drug was taken. On a day on which two orders of one drug are valid "
    "the dose is not known, because the later one may replace the earlier one or add to it. The last day of an order "
    "was planned: it does not show that the patient was under observation until then.",
    cases=(
        Case(
            says="an order alone counts",
            ck=TO_100,
            orders=[ORDERED],
            expect=_sums(560, 1680) | _orders(1, 0),
        ),
        Case(
            says="an order beside a record of the same drug does not count",
            ck=TO_100,
            drugs=[("prednisolone", 0, None, 5, "mg/d")],
            orders=[ORDERED],
            expect=_sums(140, 420) | _orders(0, 1),
        ),
        Case(
            says="also if the record is of another time, and has another name of the drug",
            ck=TO_100,
            drugs=[("PSL", -90, -60, 5, "mg/d")],
            orders=[ORDERED],
            expect=_sums("steroid_gap") | _orders(0, 1),
        ),
        Case(
            says="a record of another drug does not matter",
            ck=TO_100,
            drugs=[("methylprednisolone", 0, None, 4, "mg/d")],
            orders=[ORDERED],
            expect=_sums(700, 2100) | _orders(1, 0),
        ),
        Case(
            says="an order that follows another one",
            ck=TO_100,
            orders=[("prednisolone", 0, 27, 20, "mg/d"), ("prednisolone", 28, None, 10, "mg/d")],
            expect=_sums(560, 1120) | _orders(2, 0),
        ),
        Case(
            says="an order that begins on the last day of another one takes its place on that day",
            ck=TO_100,
            orders=[("prednisolone", 0, 28, 20, "mg/d"), ("prednisolone", 28, None, 10, "mg/d")],
            expect=_sums(560, 1120),
        ),
        Case(
            says="an order that begins one day earlier: nobody knows the dose of the two days",
            ck=TO_100,
            orders=[("prednisolone", 0, 28, 20, "mg/d"), ("prednisolone", 27, None, 10, "mg/d")],
            expect=_sums("overlapping_orders", "overlapping_orders")
            | {"days with a known dose of 28 days": 27, "days with a known dose of 84 days": 82},
        ),
        Case(
            says="an earlier order without a last day is valid beside each later one",
            ck=TO_100,
            orders=[ORDERED, ("prednisone", 60, None, 10, "mg/d"), ("prednisolone", 40, None, 10, "mg/d")],
            expect=_sums(560, "overlapping_orders") | {"days with a known dose of 84 days": 40},
        ),
        Case(
            says="a planned last day after the last fact does not lengthen the observation",
            ck=[(0, 1000), (26, 500)],
            orders=[("prednisolone", 0, 90, 20, "mg/d")],
            expect=_sums("observed_too_short"),
        ),
    ),
)

RULES = (SUMS, LOW, FREE, ORDERS)
