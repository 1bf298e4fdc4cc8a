"""Between which draws CK stops being normal, and what that leaves open."""

from tests.spec.readings_ck_interval import MEDIAN
from tests.spec.rule import Case, Group, Patient, Rule, listed, on, staying_normal


def between(*ends: tuple[int, int]) -> Group:
    """Patients whose CK is normal on day 7 and at the first, and abnormal at the second of two days later."""
    made = tuple(
        Patient(ck=[(0, 1000), (7, 150), *([(7 + left, 150)] if left else []), (7 + right, 400)])
        for left, right in ends
    )
    told = listed(f"{left} and abnormal {right}" for left, right in ends)
    return Group(f"CK normal on day 7 and last normal so many days later: {told}", made)


INTERVALS = Rule(
    row="CK-normal time",
    name="Between two draws",
    words="CK is seen at draws only: it became abnormal after the last normal CK of a spell and at the first abnormal "
    "one at the latest. Days count from the first normal CK after day 0; a CK of unknown normality counts for nothing. "
    "The spell may have begun as early as just after the last abnormal CK before it, but not before day 0. A CK that "
    "was normal at baseline cannot become normal: these patients are left out of the time to the first normal CK here, "
    "and where subgroups are compared in it.",
    cases=(
        Case(
            says="after the last normal CK, up to and with the first abnormal one",
            ck=[(0, 1000), (14, 300), (21, 150), (49, 180), (62, 250)],
            expect={"CK became abnormal again": (28, 41), "CK stayed normal for less than": 48},
        ),
        Case(
            says="after 0 days where the next CK is abnormal",
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
            says="the spell began after the last abnormal CK before it, of day 14 and not of day 7",
            ck=[(0, 1000), (7, 400), (14, 300), (21, 150), (62, 250)],
            expect={"CK became normal": (14, 21), "CK stayed normal for less than": 48},
        ),
        Case(
            says="an unknown CK before the first normal one may have been normal: the spell may be older than it",
            ck=[(0, 1000), (14, 300), on(18, 150, limit=None), (21, 150), (62, 250)],
            expect={"CK became normal": (14, 21), "CK stayed normal for less than": 48},
        ),
        Case(
            says="without a CK in between it began after day 0, not after an older baseline",
            ck=[(-5, 1000), (21, 150), (62, 250)],
            expect={"CK became normal": (0, 21), "CK stayed normal for less than": 62},
        ),
        Case(
            says="who never becomes normal may do so after the last CK",
            ck=[(0, 1000), (21, 300), (62, 250)],
            expect={"CK became normal": (62, None), "CK became abnormal again": "never_normal"},
        ),
        Case(
            says="who was normal at baseline does not become normal between day 0 and the next CK",
            ck=[(0, 200), (7, 150)],
            expect={
                "CK became normal": "normal_at_baseline",
                "interval-censored time to first normal: patients": 0,
                "compared time to first normal: patients": 0,
                "time to first normal: patients": 1,
            },
        ),
        Case(
            says="who was just above the limit does",
            ck=[(0, 201), (7, 150)],
            expect={
                "CK became normal": (0, 7),
                "interval-censored time to first normal: patients": 1,
                "compared time to first normal: patients": 1,
            },
        ),
        Case(
            says="whose baseline leaves it open may have",
            ck=[on(0, 150, limit=None), (7, 150)],
            expect={"CK became normal": (0, 7)},
        ),
        Case(
            says="days between draws of known normality: 7, 28 and 13 in the spell",
            ck=[(0, 1000), (21, 150), (28, 150), (56, 180), on(60, 150, limit=None), (69, 250), (80, 150)],
            expect={
                "draws: within spells": (7, 28),
                "draws: median within spells": 13,
                "draws: of relapses": (13, 13),
                "draws: before spells": (21, 21),
            },
        ),
    ),
)

ESTIMATE = Rule(
    row="CK-normal time",
    name="Interval-censored estimate",
    words="The nonparametric maximum likelihood estimate (Turnbull) says how probable the event is in which interval, "
    "open on the left and closed on the right, and nothing about where in it. The median is the interval in which the "
    "curve comes to one half. Where it is exactly one half between two intervals, `midpoint` answers the middle "
    "between the two and `lower` the first; where it stays there, the rule for a plateau decides. Its limits come from "
    "drawing the patients 200 times with replacement: the 5th smallest left end and the 5th largest right end.",
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
            says="what is wider than the intervals of others is shared among them",
            groups=[between((0, 28), (28, 56), (0, 56))],
            expect={"interval-censored: mass from 0 to 28": 0.5, "interval-censored: mass from 28 to 56": 0.5},
        ),
        Case(
            says="of overlapping intervals the common part has it all",
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
            says="or the first of them",
            groups=[between((0, 10), (20, 30), (40, 50), (60, 70))],
            asked={"median": "lower"},
            expect={MEDIAN: (20, 30)},
        ),
        Case(
            says="one half to the end: the interval in which it came to one half",
            groups=[between((0, 10), (20, 30)), staying_normal(80, 80)],
            expect={MEDIAN: (20, 30)},
        ),
        Case(
            says="or the middle between that and the last time",
            groups=[between((0, 10), (20, 30)), staying_normal(80, 80)],
            asked={"plateau": "midpoint_to_last"},
            expect={MEDIAN: (50, 55)},
        ),
        Case(
            says="more than one half left: the median lies beyond the last normal CK",
            groups=[between((0, 10)), staying_normal(80, 90)],
            expect={MEDIAN: (90, None), "interval-censored: mass from 90 on": 2 / 3},
        ),
        Case(
            says="nobody in the risk set",
            ck=[(0, 1000), (21, 300)],
            expect={MEDIAN: "no_patients"},
        ),
        Case(
            says="one patient has a median, and nothing to resample",
            groups=[between((20, 30))],
            expect={
                MEDIAN: (20, 30),
                "interval-censored: limits of the median": "too_few_values",
            },
        ),
        Case(
            says="three patients alike leave the limits nowhere else to go",
            groups=[between((20, 30), (20, 30), (20, 30))],
            expect={"interval-censored: limits of the median": (20, 30)},
        ),
        Case(
            says="every spell as short and as long as its draws allow",
            groups=[between((20, 30), (40, 50), (70, 90))],
            expect={"shortest possible median": 40, "longest possible median": 57},
        ),
    ),
)

RULES = (INTERVALS, ESTIMATE)
