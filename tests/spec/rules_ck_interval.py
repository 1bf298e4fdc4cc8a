"""The two draws between which CK becomes abnormal, and the interval-censored estimate."""

from tests.spec.readings_ck_interval import MEDIAN
from tests.spec.rule import Case, Group, Patient, Rule, listed, on, staying_normal


def between(*ends: tuple[int, int]) -> Group:
    """Patients whose CK is normal on day 7 and at the first number of days after it, and abnormal at the second."""
    patients = tuple(
        Patient(ck=[(0, 1000), (7, 150), *([(7 + left, 150)] if left else []), (7 + right, 400)])
        for left, right in ends
    )
    words = listed(f"normal {left} and abnormal {right}" for left, right in ends)
    return Group(f"CK normal on day 7, then {words} days later", patients)


INTERVALS = Rule(
    row="CK-normal time",
    name="Between two draws",
    words="CK is known at draws only: it became abnormal after the last normal CK of a normal time and not later than "
    "the first abnormal one. Days are counted from the first normal CK after day 0; a CK of unknown normality is not "
    "used. The normal time may have begun as early as just after the last abnormal CK before it, but not before day "
    "0. A CK that was normal at baseline cannot become normal: such patients, and those whose normality at "
    "baseline is unknown, are left out of the time to the first normal CK here, in `ck-normal-time` and in the "
    "comparison of subgroups.",
    cases=(
        Case(
            says="after the last normal CK, up to and with the first abnormal one",
            ck=[(0, 1000), (14, 300), (21, 150), (49, 180), (62, 250)],
            expect={"CK became abnormal again": (28, 41), "CK stayed normal for less than": 48},
        ),
        Case(
            says="after 0 days if the next CK is abnormal",
            ck=[(0, 1000), (21, 150), (62, 250)],
            expect={"CK became abnormal again": (0, 41)},
        ),
        Case(
            says="without an abnormal CK the interval is open",
            ck=[(0, 1000), (21, 150), (62, 180)],
            expect={"CK became abnormal again": (41, None), "CK stayed normal for less than": None},
        ),
        Case(
            says="an unknown CK between the last normal and the first abnormal one does not narrow the interval",
            ck=[(0, 1000), (21, 150), (49, 180), on(55, 150, limit=None), (62, 250)],
            expect={"CK became abnormal again": (28, 41)},
        ),
        Case(
            says="an unknown CK after the last normal one does not prolong an open interval",
            ck=[(0, 1000), (21, 150), (62, 180), on(90, 150, limit=None)],
            expect={"CK became abnormal again": (41, None)},
        ),
        Case(
            says="the normal time began after the last abnormal CK before it, which is of day 14 and not of day 7",
            ck=[(0, 1000), (7, 400), (14, 300), (21, 150), (62, 250)],
            expect={"CK became normal": (14, 21), "CK stayed normal for less than": 48},
        ),
        Case(
            says="an unknown CK before the first normal one may have been normal: the normal time may have begun "
            "before it",
            ck=[(0, 1000), (14, 300), on(18, 150, limit=None), (21, 150), (62, 250)],
            expect={"CK became normal": (14, 21), "CK stayed normal for less than": 48},
        ),
        Case(
            says="without a CK in between the normal time began after day 0, not after an older baseline",
            ck=[(-5, 1000), (21, 150), (62, 250)],
            expect={"CK became normal": (0, 21), "CK stayed normal for less than": 62},
        ),
        Case(
            says="a CK that never becomes normal may become normal after the last draw",
            ck=[(0, 1000), (21, 300), (62, 250)],
            expect={"CK became normal": (62, None), "CK became abnormal again": "never_normal"},
        ),
        Case(
            says="a CK that was normal at baseline does not become normal between day 0 and the next draw",
            ck=[(0, 200), (7, 150)],
            expect={
                "CK became normal": "normal_at_baseline",
                "interval-censored time to first normal: patients": 0,
                "compared time to first normal: patients": 0,
                "time to first normal: patients": 0,
            },
        ),
        Case(
            says="a CK that was just above the limit at baseline does",
            ck=[(0, 201), (7, 150)],
            expect={
                "CK became normal": (0, 7),
                "interval-censored time to first normal: patients": 1,
                "compared time to first normal: patients": 1,
                "time to first normal: patients": 1,
            },
        ),
        Case(
            says="a baseline CK of unknown normality may have been normal",
            ck=[on(0, 150, limit=None), (7, 150)],
            expect={
                "CK became normal": "baseline_normality_unknown",
                "interval-censored time to first normal: patients": 0,
                "compared time to first normal: patients": 0,
                "time to first normal: patients": 0,
            },
        ),
        Case(
            says="days between draws of known normality: 7, 28 and 13 in the normal time",
            ck=[(0, 1000), (21, 150), (28, 150), (56, 180), on(60, 150, limit=None), (69, 250), (80, 150)],
            expect={
                "draws: within normal times": (7, 28),
                "draws: median within normal times": 13,
                "draws: of relapses": (13, 13),
                "draws: before normal times": (21, 21),
            },
        ),
    ),
)

ESTIMATE = Rule(
    row="CK-normal time",
    name="Interval-censored estimate",
    words="The nonparametric maximum likelihood estimate (Turnbull) gives the probability of the event in each "
    "interval, open on the left and closed on the right. It does not say where in the interval the event is. The "
    "median is the interval in which the curve reaches one half. If the curve is exactly one half between two "
    "intervals, `midpoint` gives the middle between the two and `lower` the first; if it stays at one half to the "
    "end, the rule for a plateau decides. The limits of the median come from 200 samples of the patients with "
    "replacement: the 5th smallest left end and the 5th largest right end.",
    cases=(
        Case(
            says="three patients, one in each interval: the second has the median",
            groups=[between((0, 28), (28, 56), (56, 84))],
            expect={
                MEDIAN: (28, 56),
                "interval-censored: mass from 28 to 56": 1 / 3,
                "Kaplan-Meier by the day of the abnormal CK": 56,
            },
        ),
        Case(
            says="the probability of a wide interval is shared among the narrower intervals inside it",
            groups=[between((0, 28), (28, 56), (0, 56))],
            expect={"interval-censored: mass from 0 to 28": 0.5, "interval-censored: mass from 28 to 56": 0.5},
        ),
        Case(
            says="of overlapping intervals the common part has the whole probability",
            groups=[between((0, 40), (20, 60), (30, 90))],
            expect={MEDIAN: (30, 40), "interval-censored: mass from 30 to 40": 1},
        ),
        Case(
            says="one half between two intervals: half-way between their left ends to half-way between their right",
            groups=[between((0, 10), (20, 30), (40, 50), (60, 70))],
            expect={
                MEDIAN: (30, 40),
                "Kaplan-Meier by the day of the abnormal CK": 40,
                "Kaplan-Meier by the day of the abnormal CK, lower": 30,
            },
        ),
        Case(
            says="by `lower` the first of them",
            groups=[between((0, 10), (20, 30), (40, 50), (60, 70))],
            query={"median": "lower"},
            expect={MEDIAN: (20, 30)},
        ),
        Case(
            says="one half to the end: the interval in which the curve reached one half",
            groups=[between((0, 10), (20, 30)), staying_normal(80, 80)],
            expect={MEDIAN: (20, 30)},
        ),
        Case(
            says="by `midpoint_to_last` the middle between that and the last time",
            groups=[between((0, 10), (20, 30)), staying_normal(80, 80)],
            query={"plateau": "midpoint_to_last"},
            expect={MEDIAN: (50, 55)},
        ),
        Case(
            says="by `not_reached` the middle between that and the open last interval, without a right end",
            groups=[between((0, 10), (20, 30)), staying_normal(80, 80)],
            query={"plateau": "not_reached"},
            expect={MEDIAN: (50, None)},
        ),
        Case(
            says="more than one half left: the median lies beyond the last normal CK",
            groups=[between((0, 10)), staying_normal(80, 90)],
            expect={MEDIAN: (90, None), "interval-censored: mass from 90 on": 2 / 3},
        ),
        Case(
            says="no patient in the risk set",
            ck=[(0, 1000), (21, 300)],
            expect={MEDIAN: "no_patients"},
        ),
        Case(
            says="one patient has a median, but there is nothing to resample",
            groups=[between((20, 30))],
            expect={
                MEDIAN: (20, 30),
                "interval-censored: limits of the median": "too_few_values",
            },
        ),
        Case(
            says="with three equal patients the limits equal the median",
            groups=[between((20, 30), (20, 30), (20, 30))],
            expect={"interval-censored: limits of the median": (20, 30)},
        ),
        Case(
            says="every normal time as short and as long as its draws allow",
            groups=[between((20, 30), (40, 50), (70, 90))],
            expect={"shortest possible median": 40, "longest possible median": 57},
        ),
    ),
)

RULES = (INTERVALS, ESTIMATE)
