"""The responders of each measure, and the response rate."""

from tests.spec.rule import Case, Rule, alike, infused, on

MMT = Rule(
    row="MMT responder",
    name="MMT responder",
    words="An MMT responder has at least 5 points more than at baseline at the best value of days 1 to 59 (scale 0 to "
    "100). A patient at the maximum at baseline cannot improve and is not evaluable; a baseline within 5 points of "
    "the maximum is evaluable and flagged. The answer also has the result of the same rule for the last value of "
    "those days.",
    cases=(
        Case(says="exactly 5 points are a response", mmt=[(0, 50), (28, 55)], expect={"MMT responder": True}),
        Case(says="4.9 points are not", mmt=[(0, 50), (28, 54.9)], expect={"MMT responder": False}),
        Case(
            says="from 62.3 to 67.3 are exactly 5 points", mmt=[(0, 62.3), (28, 67.3)], expect={"MMT responder": True}
        ),
        Case(
            says="from 3.2 to 8.2 are exactly 5 points, though not to a binary computer",
            mmt=[(0, 3.2), (28, 8.2)],
            expect={"MMT responder": True},
        ),
        Case(says="from 62.3 to 67.2 are not 5 points", mmt=[(0, 62.3), (28, 67.2)], expect={"MMT responder": False}),
        Case(says="a loss is not a response", mmt=[(0, 50), (28, 45)], expect={"MMT responder": False}),
        Case(says="day 1 counts", mmt=[(0, 50), (1, 55)], expect={"MMT responder": True}),
        Case(
            says="day 0 does not, even after the infusion",
            infusions=[infused(0, at="10:00")],
            mmt=[(-1, 50), on(0, 55, at="15:00"), (28, 50)],
            expect={"MMT responder": False},
        ),
        Case(says="day 59 counts", mmt=[(0, 50), (59, 55)], expect={"MMT responder": True}),
        Case(says="day 60 does not", mmt=[(0, 50), (60, 55)], expect={"MMT responder": "no_value_in_window"}),
        Case(
            says="the best value is a response although a later value is lower; the last value is not",
            mmt=[(0, 50), (28, 56), (56, 53)],
            expect={"MMT responder": True, "MMT responder by the last value": False},
        ),
        Case(
            says="a last value that reaches 5 points is a response by both rules",
            mmt=[(0, 50), (28, 53), (56, 55)],
            expect={"MMT responder": True, "MMT responder by the last value": True},
        ),
        Case(
            says="the last value is the last up to day 59, not a later one",
            mmt=[(0, 50), (59, 56), (60, 50)],
            expect={"MMT responder by the last value": True},
        ),
        Case(
            says="at the maximum at baseline no patient can improve",
            mmt=[(0, 100), (28, 100)],
            expect={"MMT responder": "at_scale_maximum", "flag near_ceiling of MMT": 0},
        ),
        Case(
            says="5 points below the maximum a response is only just possible, which is flagged",
            mmt=[(0, 95), (28, 100)],
            expect={"MMT responder": True, "flag near_ceiling of MMT": 1},
        ),
        Case(
            says="less than 5 points below the maximum no response is possible; evaluable and flagged",
            mmt=[(0, 95.1), (28, 100)],
            expect={"MMT responder": False, "flag near_ceiling of MMT": 1},
        ),
        Case(
            says="6 points below the maximum there is no flag",
            mmt=[(0, 94), (28, 100)],
            expect={"MMT responder": True, "flag near_ceiling of MMT": 0},
        ),
        Case(says="without a baseline nothing can be judged", mmt=[(28, 60)], expect={"MMT responder": "no_baseline"}),
    ),
)

ADL = Rule(
    row="ADL responder",
    name="ADL responder",
    words="An ADL responder has at least 3 points more than at baseline at the best value of days 1 to 59 (scale 0 to "
    "50, higher is better). The maximum, the flag near it and the last value are handled as for MMT; a protocol may "
    "declare a scale on which lower is better.",
    cases=(
        Case(says="exactly 3 points are a response", adl=[(0, 30), (28, 33)], expect={"ADL responder": True}),
        Case(says="2.9 points are not", adl=[(0, 30), (28, 32.9)], expect={"ADL responder": False}),
        Case(
            says="from 1.1 to 4.1 are exactly 3 points, though not to a binary computer",
            adl=[(0, 1.1), (28, 4.1)],
            expect={"ADL responder": True},
        ),
        Case(says="day 59 counts", adl=[(0, 30), (59, 33)], expect={"ADL responder": True}),
        Case(says="day 60 does not", adl=[(0, 30), (60, 33)], expect={"ADL responder": "no_value_in_window"}),
        Case(
            says="best and last value may disagree",
            adl=[(0, 30), (28, 33), (56, 32)],
            expect={"ADL responder": True, "ADL responder by the last value": False},
        ),
        Case(
            says="at 50 no patient can improve", adl=[(0, 50), (28, 50)], expect={"ADL responder": "at_scale_maximum"}
        ),
        Case(
            says="a baseline of 47 is flagged as near the maximum",
            adl=[(0, 47), (28, 50)],
            expect={"ADL responder": True, "flag near_ceiling of ADL": 1},
        ),
        Case(
            says="a baseline of 46 is not",
            adl=[(0, 46), (28, 50)],
            expect={"ADL responder": True, "flag near_ceiling of ADL": 0},
        ),
        Case(
            says="if lower is better, a fall by 3 points is a response",
            changes={"scales": {"ADL": {"better": "lower"}}},
            adl=[(0, 30), (28, 27)],
            expect={"ADL responder": True},
        ),
        Case(
            says="if lower is better, a rise by 3 points is not a response",
            changes={"scales": {"ADL": {"better": "lower"}}},
            adl=[(0, 30), (28, 33)],
            expect={"ADL responder": False},
        ),
        Case(
            says="if lower is better, no patient can improve from 0",
            changes={"scales": {"ADL": {"better": "lower"}}},
            adl=[(0, 0), (28, 0)],
            expect={"ADL responder": "at_scale_maximum"},
        ),
    ),
)

CK = Rule(
    row="CK responder",
    name="CK responder",
    words="A CK responder has, on any of days 1 to 59, a CK of at most 70 % of the baseline, or a CK within its own "
    "upper limit of normal. The decimals are compared as they were written. A patient whose CK at baseline is normal, "
    "or not known to be abnormal, is not evaluable. The answer also has the result of the same rule for the last value "
    "of those days. If CK is known only as a bound, only what is certain is used, and it is flagged: below x counts as "
    "x, and above x proves no fall. The patients whose upper limit changed after the baseline are counted.",
    cases=(
        Case(
            says="below 70 is a fall to at most 70 from 100",
            ck=[on(0, 100, limit=50), on(28, 70, sign="<", limit=50)],
            expect={"CK responder": True, "flag comparator of CK": 1},
        ),
        Case(
            says="above 69 proves no fall to at most 70 from 100",
            ck=[on(0, 100, limit=50), on(28, 69, sign=">", limit=50)],
            expect={"CK responder": False, "flag comparator of CK": 1},
        ),
        Case(
            says="a baseline above 20000 proves a fall to 14000",
            ck=[on(0, 20000, sign=">"), (28, 14000)],
            expect={"CK responder": True, "flag comparator of CK": 1},
        ),
        Case(
            says="a baseline above 20000 does not prove a fall to 14001",
            ck=[on(0, 20000, sign=">"), (28, 14001)],
            expect={"CK responder": False, "flag comparator of CK": 1},
        ),
        Case(
            says="a baseline of 0 without an upper limit is not known to be abnormal",
            ck=[on(0, 0, limit=None), (28, 0)],
            expect={"CK responder": "baseline_normality_unknown", "flag comparator of CK": 0},
        ),
        Case(
            says="exactly 70 % of the baseline is a response", ck=[(0, 1000), (28, 700)], expect={"CK responder": True}
        ),
        Case(says="one unit more than 70 % is not", ck=[(0, 1000), (28, 701)], expect={"CK responder": False}),
        Case(says="a tenth more than 70 % is not", ck=[(0, 1000), (28, 700.1)], expect={"CK responder": False}),
        Case(says="0.77 is exactly 70 % of 1.1", limit=0.1, ck=[(0, 1.1), (28, 0.77)], expect={"CK responder": True}),
        Case(
            says="0.78 is more than 70 % of 1.1", limit=0.1, ck=[(0, 1.1), (28, 0.78)], expect={"CK responder": False}
        ),
        Case(says="0.7 is exactly 70 % of 1.0", limit=0.1, ck=[(0, 1.0), (28, 0.7)], expect={"CK responder": True}),
        Case(
            says="0.399 is exactly 70 % of 0.57, though not to a binary computer",
            limit=0.1,
            ck=[(0, 0.57), (28, 0.399)],
            expect={"CK responder": True},
        ),
        Case(
            says="0.4 is more than 70 % of 0.57", limit=0.1, ck=[(0, 0.57), (28, 0.4)], expect={"CK responder": False}
        ),
        Case(says="a CK at its upper limit is a response", ck=[(0, 250), (28, 200)], expect={"CK responder": True}),
        Case(says="a CK just above its upper limit is not", ck=[(0, 250), (28, 201)], expect={"CK responder": False}),
        Case(
            says="each CK is compared with its own upper limit: 210 is normal if the limit is 215",
            ck=[(0, 250), on(28, 210, limit=215, lab="B")],
            expect={"CK responder": True},
        ),
        Case(
            says="each CK is compared with its own upper limit: 190 is not normal if the limit is 185",
            ck=[(0, 250), on(28, 190, limit=185, lab="B")],
            expect={"CK responder": False},
        ),
        Case(
            says="a baseline at its upper limit is normal, and no response can be judged",
            ck=[(0, 200), (28, 100)],
            expect={"CK responder": "normal_at_baseline"},
        ),
        Case(says="a baseline just above it can be judged", ck=[(0, 201), (28, 100)], expect={"CK responder": True}),
        Case(
            says="a baseline without an upper limit may be normal and is not judged",
            ck=[on(0, 150, limit=None), on(28, 105, limit=None)],
            expect={"CK responder": "baseline_normality_unknown"},
        ),
        Case(
            says="an upper limit that rises after the baseline is counted: CK did not fall, and is now normal",
            ck=[on(0, 210, limit=200), on(28, 210, limit=220)],
            expect={"CK responder": True, "caveat upper_limit_moved: count": "1 of 1"},
        ),
        Case(
            says="an upper limit that stays is not",
            ck=[on(0, 210, limit=200), on(28, 210, limit=200)],
            expect={"CK responder": False, "caveat upper_limit_moved: count": "0 of 1"},
        ),
        Case(
            says="a CK without an upper limit can respond by the fall only",
            ck=[(0, 250), on(28, 176, limit=None)],
            expect={"CK responder": False},
        ),
        Case(says="day 1 counts", ck=[(0, 1000), (1, 700)], expect={"CK responder": True}),
        Case(says="day 59 counts", ck=[(0, 1000), (59, 700)], expect={"CK responder": True}),
        Case(says="day 60 does not", ck=[(0, 1000), (60, 700)], expect={"CK responder": "no_value_in_window"}),
        Case(
            says="any CK of these days can be a response when the last one is not",
            ck=[(0, 1000), (28, 700), (56, 800)],
            expect={"CK responder": True, "CK responder by the last value": False},
        ),
        Case(
            says="a last CK at 70 % is a response by both rules",
            ck=[(0, 1000), (28, 800), (56, 700)],
            expect={"CK responder": True, "CK responder by the last value": True},
        ),
        Case(
            says="a CK known to be below 70 % of the baseline is a response",
            ck=[(0, 1000), on(28, 700, sign="<")],
            expect={"CK responder": True},
        ),
        Case(
            says="a CK known only to be below a bound above 70 % is not a response",
            ck=[(0, 1000), on(28, 701, sign="<")],
            expect={"CK responder": False},
        ),
        Case(
            says="a CK known only to be above a bound proves no fall",
            ck=[(0, 1000), on(28, 300, sign=">")],
            expect={"CK responder": False},
        ),
        Case(
            says="a baseline known only to be below a bound may be normal and is not judged",
            ck=[on(0, 1000, sign="<"), (28, 300)],
            expect={"CK responder": "baseline_normality_unknown"},
        ),
        Case(
            says="if the baseline is known to be above a bound, a fall to 70 % of the bound is proved",
            ck=[on(0, 1000, sign=">"), (28, 700)],
            expect={"CK responder": True},
        ),
    ),
)


def _cohort(responders: int, others: int) -> list:
    groups = []
    if responders:
        groups.append(alike(responders, "with MMT 50, then 60", mmt=[(0, 50), (28, 60)]))
    if others:
        groups.append(alike(others, "with MMT 50, then 50", mmt=[(0, 50), (28, 50)]))
    return groups


RATE = Rule(
    row="response rate",
    name="Response rate",
    words="The response rate is k responders of n evaluable patients, with the exact interval of Clopper and Pearson "
    "at 95 %, and also the Wilson interval. Without evaluable patients there is no rate. The intervals equal those of "
    "R.",
    cases=(
        Case(
            says="14 of 15",
            groups=_cohort(14, 1),
            expect={
                "MMT responders": "14 of 15",
                "MMT response rate": 14 / 15,
                "first interval of the MMT rate": ("clopper-pearson", 0.6805154334217, 0.9983135697586),
                "second interval of the MMT rate": ("wilson", 0.7018347012622, 0.9881331045067),
            },
        ),
        Case(
            says="12 of 15",
            groups=_cohort(12, 3),
            expect={
                "MMT responders": "12 of 15",
                "first interval of the MMT rate": ("clopper-pearson", 0.5191088661931, 0.9566879948942),
                "second interval of the MMT rate": ("wilson", 0.5481455128483, 0.9295245065302),
            },
        ),
        Case(
            says="all patients: the upper limit is 1 and the lower limit stays two-sided",
            groups=_cohort(15, 0),
            expect={
                "MMT responders": "15 of 15",
                "first interval of the MMT rate": ("clopper-pearson", 0.7819806390895, 1),
                "second interval of the MMT rate": ("wilson", 0.7961166989642, 1),
            },
        ),
        Case(
            says="no patient: the lower limit is 0",
            groups=_cohort(0, 16),
            expect={
                "MMT responders": "0 of 16",
                "MMT response rate": 0,
                "first interval of the MMT rate": ("clopper-pearson", 0, 0.2059072142078),
                "second interval of the MMT rate": ("wilson", 0, 0.1936076805344),
            },
        ),
        Case(
            says="one patient who responded",
            mmt=[(0, 50), (28, 60)],
            expect={"first interval of the MMT rate": ("clopper-pearson", 0.025, 1)},
        ),
        Case(
            says="without evaluable patients there is no rate and no interval",
            mmt=[(28, 60)],
            expect={
                "MMT responders": "0 of 0",
                "MMT response rate": "no_patients",
                "first interval of the MMT rate": ("clopper-pearson", None, None),
            },
        ),
        Case(
            says="a patient who cannot be judged is not in the denominator and is counted by reason",
            groups=[*_cohort(2, 1), alike(3, "with MMT after day 0 only", mmt=[(28, 60)])],
            expect={"MMT responders": "2 of 3", "no_baseline patients of the MMT rate left out": 3},
        ),
        Case(
            says="the question asks for another level",
            mmt=[(0, 50), (28, 60)],
            query={"level": 0.99},
            expect={"first interval of the MMT rate": ("clopper-pearson", 0.005, 1)},
        ),
    ),
)

RULES = (MMT, ADL, CK, RATE)
