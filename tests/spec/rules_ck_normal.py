"""The time with normal CK, the time to the first normal CK, and further treatment before the event."""

from math import sqrt

from tests.spec.rule import Case, Rounded, Rule, alike, infused, on, relapsing, staying_normal

Z_RELAPSED = (45, 80, 120, 150, 200, 260, 301, 368, 430, 600)
Z_NORMAL = (400, 500, 520, 700)
"""14 patients of our own: S = 0.5 from day 301 to day 368. R: median 334.5, log-log limits 120 and 600."""

SPELL = Rule(
    row="CK-normal time",
    name="Time with normal CK",
    words="The time begins at the first CK after day 0 that is within its own upper limit (a value equal to the limit "
    "is normal). It ends at the first later CK above its limit. Without such a CK it is censored at the last CK whose "
    "normality is known. A patient whose CK never becomes normal is not in the risk set and is counted; patients with "
    "a normal CK at baseline are a separate stratum.",
    cases=(
        Case(
            says="from the first normal CK to the first abnormal one after it",
            ck=[(0, 1000), (14, 300), (21, 150), (62, 250)],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="a CK equal to its upper limit is normal",
            ck=[(0, 1000), (21, 200), (62, 250)],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(says="a CK just above it is not", ck=[(0, 1000), (21, 201)], expect={"normal CK": "never_normal"}),
        Case(
            says="the time continues while CK is at its upper limit",
            ck=[(0, 1000), (21, 150), (62, 200), (90, 201)],
            expect={"normal CK": "from day 21, 69 days, then abnormal"},
        ),
        Case(
            says="without a later abnormal CK the time is censored at the last one",
            ck=[(0, 1000), (21, 150), (62, 180)],
            expect={"normal CK": "from day 21, 41 days, censored", "time normal: events": 0},
        ),
        Case(
            says="one normal CK without a later CK is censored after 0 days and stays in the risk set",
            ck=[(0, 1000), (21, 150)],
            expect={"normal CK": "from day 21, 0 days, censored", "time normal: patients": 1},
        ),
        Case(
            says="a later CK without an upper limit does not prolong the time",
            ck=[(0, 1000), (21, 150), (62, 180), on(90, 180, limit=None)],
            expect={"normal CK": "from day 21, 41 days, censored"},
        ),
        Case(
            says="a normal CK of day 0 does not begin the time",
            infusions=[infused(0, at="10:00")],
            ck=[(-1, 1000), on(0, 150, at="15:00"), (7, 300)],
            expect={"normal CK": "never_normal"},
        ),
        Case(
            says="only the first normal time counts",
            ck=[(0, 1000), (21, 150), (28, 250), (35, 150), (300, 150)],
            expect={"normal CK": "from day 21, 7 days, then abnormal"},
        ),
        Case(
            says="each CK is compared with its own upper limit, so the same number may be normal first and abnormal "
            "later",
            ck=[(0, 1000), on(21, 190, limit=200, lab="A"), on(62, 190, limit=185, lab="B")],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="of a normal and an abnormal CK of one day only the later is used",
            ck=[(0, 1000), on(21, 250, at="08:00"), on(21, 150, at="16:00"), (62, 250)],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="a patient whose CK never becomes normal is counted outside the risk set",
            ck=[(0, 1000), (21, 300), (62, 250)],
            expect={"normal CK": "never_normal", "time normal: never normal": 1, "time normal: patients": 0},
        ),
        Case(
            says="a patient with a normal CK at baseline is counted outside the risk set",
            ck=[(0, 200), (21, 150), (62, 250)],
            expect={
                "normal CK": "normal_at_baseline",
                "time normal: normal at baseline": 1,
                "time normal: patients": 0,
            },
        ),
        Case(
            says="a patient with a CK just above the limit at baseline is in the risk set",
            ck=[(0, 201), (21, 150), (62, 250)],
            expect={"time normal: normal at baseline": 0, "time normal: patients": 1},
        ),
        Case(
            says="with a baseline without an upper limit it is unknown whether CK was normal",
            ck=[on(0, 1000, limit=None), (21, 150)],
            expect={"normal CK": "baseline_normality_unknown", "time normal: patients": 0},
        ),
        Case(
            says="a patient without a baseline is not in the risk set",
            ck=[(21, 150), (62, 250)],
            expect={"normal CK": "no_baseline"},
        ),
        Case(
            says="a CK after the day of death is not used",
            ck=[(0, 1000), (21, 150), (62, 150), (63, 250)],
            ended=(62, "died"),
            expect={"normal CK": "from day 21, 41 days, censored"},
        ),
    ),
)

CURVE = Rule(
    row="CK-normal time",
    name="Curve, median and restricted mean of that time",
    words="The Kaplan-Meier estimate over the risk set; at the same time events come before censorings. The median is "
    "midway between the time at which exactly half are left (within 1e-8) and the next event, with log-log limits "
    "after Brookmeyer and Crowley. The restricted mean to 365 days has a standard error, and is null if follow-up "
    "ends earlier.",
    cases=(
        Case(
            says="half are left from day 301 to day 368: the median is in the middle",
            groups=[relapsing(*Z_RELAPSED), staying_normal(*Z_NORMAL)],
            expect={
                "time normal: patients": 14,
                "time normal: events": 10,
                "time normal: median": 334.5,
                "time normal: interval of the median": (120, 600),
            },
        ),
        Case(
            says="a fifteenth patient who is censored before the first event changes neither the median nor its limits",
            groups=[relapsing(*Z_RELAPSED), staying_normal(20, *Z_NORMAL)],
            expect={"time normal: median": 334.5, "time normal: interval of the median": (120, 600)},
        ),
        Case(
            says="times 1 to 6: exactly half are left after the third, though not to a binary computer",
            groups=[relapsing(1, 2, 3, 4, 5, 6)],
            expect={"time normal: median": 3.5},
        ),
        Case(
            says="if the curve falls below one half in one step, the median is that time",
            groups=[relapsing(10, 20, 30)],
            expect={"time normal: median": 20},
        ),
        Case(
            says="an event comes before a censoring of the same day",
            groups=[relapsing(10), staying_normal(10)],
            expect={"share still normal from 10 days on": (0.5, Rounded(0.006), Rounded(0.910))},
        ),
        Case(
            says="after a censoring on the day before, no other patient is at risk",
            groups=[relapsing(10), staying_normal(9)],
            expect={"share still normal from 10 days on": (0, None, None)},
        ),
        Case(
            says="all censored: the curve stays at 1 and there is no median",
            groups=[staying_normal(100, 200, 300)],
            expect={
                "time normal: patients": 3,
                "time normal: events": 0,
                "time normal: median": "no_events",
                "time normal: interval of the median": (None, None),
            },
        ),
        Case(
            says="more than half left at the end: the median is not reached",
            groups=[relapsing(5), staying_normal(8, 12, 30, 40)],
            expect={"time normal: median": "not_reached", "time normal: interval of the median": (5, None)},
        ),
        Case(
            says="no patient in the risk set",
            ck=[(0, 1000), (21, 300)],
            expect={
                "time normal: patients": 0,
                "time normal: median": "no_patients",
                "time normal: restricted mean": "no_patients",
            },
        ),
        Case(
            says="one patient with an event is a curve from 1 to 0",
            groups=[relapsing(7)],
            expect={"time normal: median": 7, "time normal: interval of the median": (None, None)},
        ),
        Case(
            says="the restricted mean is the area under the curve, 100 + 265/2",
            groups=[relapsing(100), staying_normal(400)],
            expect={
                "time normal: restricted mean": 232.5,
                "time normal: standard error of the restricted mean": 132.5 / sqrt(2),
            },
        ),
        Case(
            says="follow-up to day 365 exactly is enough",
            groups=[relapsing(100), staying_normal(365)],
            expect={"time normal: restricted mean": 232.5},
        ),
        Case(
            says="follow-up to day 364 is not",
            groups=[relapsing(100), staying_normal(364)],
            expect={
                "time normal: restricted mean": "beyond_follow_up",
                "time normal: standard error of the restricted mean": "beyond_follow_up",
            },
        ),
        Case(
            says="a curve that has reached 0 is known from that time on",
            groups=[relapsing(100, 200)],
            expect={"time normal: restricted mean": 150},
        ),
        Case(
            says="a protocol may choose another horizon",
            changes={"ck_normal_time": {"rmst_until_days": 200}},
            groups=[relapsing(100), staying_normal(364)],
            expect={"time normal: restricted mean": 150},
        ),
    ),
)

FIRST_NORMAL = Rule(
    row="CK-normal time",
    name="Time to the first normal CK",
    words="The answer also has the time from day 0 to the first normal CK. It covers the patients of the efficacy set "
    "with a CK of known normality after day 0, and is censored at the last such CK. Patients whose CK was normal at "
    "baseline are included and counted.",
    cases=(
        Case(
            says="days from the first infusion to the first normal CK",
            ck=[(0, 1000), (21, 300), (42, 200)],
            expect={"time to first normal: events": 1, "time to first normal: median": 42},
        ),
        Case(
            says="a patient whose CK never becomes normal is censored here and not left out",
            ck=[(0, 1000), (21, 300), (42, 201)],
            expect={
                "time to first normal: patients": 1,
                "time to first normal: events": 0,
                "time to first normal: median": "no_events",
            },
        ),
        Case(
            says="without any CK after day 0 a patient is left out",
            ck=[(0, 1000)],
            mmt=[(7, 60)],
            expect={
                "time to first normal: patients": 0,
                "left out of the time to first normal": "no_value_after_baseline",
            },
        ),
        Case(
            says="with CKs of unknown normality only a patient is left out, too",
            ck=[(0, 1000), on(21, 150, limit=None)],
            expect={"time to first normal: patients": 0, "left out of the time to first normal": "normality_unknown"},
        ),
        Case(
            says="a CK of unknown normality does not prolong the observation: two remain at risk",
            groups=[
                alike(
                    1,
                    "with CK 300 on day 21 and without a limit on day 90",
                    ck=[(0, 1000), (21, 300), on(90, 300, limit=None)],
                ),
                alike(1, "with CK 150 on day 42", ck=[(0, 1000), (42, 150)]),
                alike(1, "with CK 150 on day 60", ck=[(0, 1000), (60, 150)]),
            ],
            expect={"time to first normal: median": 51},
        ),
        Case(
            says="a CK of known normality prolongs it: three remain at risk",
            groups=[
                alike(1, "with CK 300 on days 21 and 90", ck=[(0, 1000), (21, 300), (90, 300)]),
                alike(1, "with CK 150 on day 42", ck=[(0, 1000), (42, 150)]),
                alike(1, "with CK 150 on day 60", ck=[(0, 1000), (60, 150)]),
            ],
            expect={"time to first normal: median": 60},
        ),
        Case(
            says="a patient with a normal CK at baseline is left out and counted",
            ck=[(0, 150), (7, 150)],
            expect={"time to first normal: patients": 0, "time to first normal: normal at baseline": 1},
        ),
        Case(
            says="both times count the same patients as normal at baseline",
            ck=[(0, 150)],
            mmt=[(7, 60)],
            expect={"time normal: normal at baseline": 1, "time to first normal: normal at baseline": 1},
        ),
        Case(
            says="a baseline of unknown normality leaves a patient out and is not counted as a normal one",
            ck=[on(0, 150, limit=None), (7, 150)],
            expect={"time to first normal: patients": 0, "time to first normal: normal at baseline": 0},
        ),
        Case(
            says="a patient without a baseline is left out",
            ck=[(7, 150)],
            expect={"time to first normal: patients": 0},
        ),
    ),
)

RESCUE = Rule(
    row="rescue before the event",
    name="Further treatment before the event",
    words="A second course before CK becomes abnormal again is an intercurrent event. It is counted; under the "
    "strategy `treatment_policy` it is ignored and the time continues. The same is true of an immunosuppressant of "
    "the protocol's list that begins after day 0 and was not given before. `composite`, `hypothetical` and "
    "`competing` follow below.",
    cases=(
        Case(
            says="a second course before the event is counted and changes nothing",
            infusions=[0, 61],
            ck=[(0, 1000), (21, 150), (62, 250)],
            expect={"normal CK": "from day 21, 41 days, then abnormal", "time normal: second course": 1},
        ),
        Case(
            says="a second course after the event is not an intercurrent event",
            infusions=[0, 63],
            ck=[(0, 1000), (21, 150), (62, 250)],
            expect={"normal CK": "from day 21, 41 days, then abnormal", "time normal: second course": 0},
        ),
        Case(
            says="a second course on the day of the event comes after it: the abnormal CK was its reason",
            infusions=[0, 62],
            ck=[(0, 1000), (21, 150), (62, 250)],
            expect={"normal CK": "from day 21, 41 days, then abnormal", "time normal: second course": 0},
        ),
        Case(
            says="an infusion that continues the first course is no intercurrent event",
            infusions=[0, 14, 28],
            ck=[(0, 1000), (21, 150), (62, 250)],
            expect={"time normal: second course": 0},
        ),
        Case(
            says="a strategy that is not offered is refused, never ignored",
            changes={"ck_normal_time": {"rescue": "intention_to_forget"}},
            refused="unknown_value",
        ),
        Case(
            says="a new immunosuppressant before the event is reported",
            ck=[(0, 1000), (21, 150), (62, 250)],
            immunosuppressant_from=40,
            expect={"time normal: new immunosuppressant": 1},
        ),
        Case(
            says="an immunosuppressant that went on from before treatment is not new",
            ck=[(0, 1000), (21, 150), (62, 250)],
            immunosuppressant_from=-40,
            expect={"time normal: new immunosuppressant": 0},
        ),
        Case(
            says="an immunosuppressant begun on the day of the event comes after it",
            ck=[(0, 1000), (21, 150), (62, 250)],
            immunosuppressant_from=62,
            expect={"time normal: new immunosuppressant": 0},
        ),
    ),
)

RULES = (SPELL, CURVE, FIRST_NORMAL, RESCUE)
