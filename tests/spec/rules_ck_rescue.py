"""What a further treatment or death does to the time with normal CK, and normality that a second CK confirms."""

from tests.spec.rule import Case, Rule, alike, infused, on

SPELL = [(0, 1000), (21, 150), (62, 250)]
"""Normal from day 21, abnormal on day 62."""
STAYING = [(0, 1000), (21, 150), (62, 180)]
RESCUE = {"ck_normal_time": {"rescue": "composite"}}
HYPOTHETICAL = {"ck_normal_time": {"rescue": "hypothetical"}}
COMPETING = {"ck_normal_time": {"rescue": "competing"}}

STRATEGIES = Rule(
    row="rescue before the event",
    name="Strategies for a rescue and for death",
    words="Four strategies are answered side by side, and the one that the protocol declares, or the question asks "
    "for, decides the median, the curve and the restricted mean. `treatment_policy` ignores a rescue and death. "
    "`composite` counts both as the event, on their day. `hypothetical` censors on the day of the rescue, or at the "
    "last CK where that came first, and leaves death to the last CK. `competing` lets them forestall the abnormal "
    "CK, and gives the cumulative incidence of each (Aalen-Johansen). A rescue is a second course or a new "
    "immunosuppressant that begins after day 0. On the day of the abnormal CK it comes after it, on the day of death "
    "before it. Where CK never became abnormal, a rescue or death counts up to and with the day of the last CK of "
    "known normality, at which everybody else is censored; one after it is counted beside the estimate and changes "
    "nothing: else the patients who had one would be all that is left at late times. What began on or before the day "
    "of the first normal CK acts at 0 days.",
    cases=(
        Case(
            says="the composite event is on the day of the rescue",
            changes=RESCUE,
            infusions=[0, 45],
            ck=SPELL,
            expect={"normal CK": "from day 21, 24 days, then rescued", "time normal: events": 1},
        ),
        Case(
            says="a rescue on the day before the abnormal CK still comes first",
            changes=RESCUE,
            ck=SPELL,
            immunosuppressant_from=61,
            expect={"normal CK": "from day 21, 40 days, then rescued"},
        ),
        Case(
            says="a rescue on the day of the abnormal CK comes after it",
            changes=RESCUE,
            ck=SPELL,
            immunosuppressant_from=62,
            expect={"normal CK": "from day 21, 41 days, then abnormal", "time normal under composite: by rescue": 0},
        ),
        Case(
            says="the hypothetical time is censored on the day of the rescue",
            changes=HYPOTHETICAL,
            infusions=[0, 45],
            ck=SPELL,
            expect={"normal CK": "from day 21, 24 days, censored", "time normal under hypothetical: by rescue": 1},
        ),
        Case(
            says="a rescue on the day of the last CK is an event on that day",
            changes=RESCUE,
            infusions=[0, 62],
            ck=STAYING,
            expect={
                "normal CK": "from day 21, 41 days, then rescued",
                "time normal under composite: rescue after the last CK": 0,
                "time normal under hypothetical: by rescue": 1,
                "time normal: second course": 1,
            },
        ),
        Case(
            says="a rescue on the day after the last CK is none, and is told beside",
            changes=RESCUE,
            infusions=[0, 63],
            ck=STAYING,
            expect={
                "normal CK": "from day 21, 41 days, censored",
                "time normal under composite: by rescue": 0,
                "time normal under composite: rescue after the last CK": 1,
                "time normal under treatment_policy: rescue after the last CK": 1,
                "time normal: second course": 0,
            },
        ),
        Case(
            says="the last CK is the last of known normality",
            changes=RESCUE,
            infusions=[0, 63],
            ck=[*STAYING, on(90, 180, limit=None)],
            expect={
                "normal CK": "from day 21, 41 days, censored",
                "time normal under composite: rescue after the last CK": 1,
            },
        ),
        Case(
            says="so does the hypothetical time stay censored at the last CK",
            changes=HYPOTHETICAL,
            infusions=[0, 90],
            ck=STAYING,
            expect={"normal CK": "from day 21, 41 days, censored", "time normal under hypothetical: by rescue": 0},
        ),
        Case(
            says="a rescue after the abnormal CK is no rescue after the last CK",
            changes=RESCUE,
            infusions=[0, 90],
            ck=SPELL,
            expect={"time normal under composite: rescue after the last CK": 0},
        ),
        Case(
            says="ten patients last seen on day 100, of whom one is rescued on day 300: no event is seen, and nobody "
            "is at risk on day 300",
            changes=RESCUE,
            groups=[
                alike(9, "with CK normal to day 100", ck=[(0, 1000), (30, 150), (100, 150)]),
                alike(1, "the same, rescued on day 300", ck=[(0, 1000), (30, 150), (100, 150)], infusions=[0, 300]),
            ],
            expect={
                "time normal under composite: events": 0,
                "time normal under composite: median": "no_events",
                "time normal under composite: rescue after the last CK": 1,
                "time normal under competing: by rescue": 0,
            },
        ),
        Case(
            says="a rescue before the first normal CK acts at 0 days",
            changes=RESCUE,
            ck=SPELL,
            immunosuppressant_from=10,
            expect={"normal CK": "from day 21, 0 days, then rescued", "time normal: rescue before normal": 1},
        ),
        Case(
            says="so does one on its day",
            changes=HYPOTHETICAL,
            ck=SPELL,
            immunosuppressant_from=21,
            expect={"normal CK": "from day 21, 0 days, censored", "time normal: rescue before normal": 1},
        ),
        Case(
            says="a rescue the day after acts after 1 day",
            changes=HYPOTHETICAL,
            ck=SPELL,
            immunosuppressant_from=22,
            expect={"normal CK": "from day 21, 1 days, censored", "time normal: rescue before normal": 0},
        ),
        Case(
            says="a course of another product that begins on day 0 is part of the treatment",
            changes=RESCUE | {"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[0, infused(0, product="SCIG")],
            ck=SPELL,
            expect={"courses": 2, "normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="and hides no later course",
            changes=RESCUE | {"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[0, infused(0, product="SCIG"), 45],
            ck=SPELL,
            expect={"courses": 3, "normal CK": "from day 21, 24 days, then rescued", "time normal: second course": 1},
        ),
        Case(
            says="a course of another product that begins on day 1 is a rescue",
            changes=RESCUE | {"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[0, infused(1, product="SCIG")],
            ck=SPELL,
            expect={"courses": 2, "normal CK": "from day 21, 0 days, then rescued"},
        ),
        Case(
            says="death before an abnormal CK is a composite event",
            changes=RESCUE,
            ck=STAYING,
            ended=(62, "died"),
            expect={
                "normal CK": "from day 21, 41 days, then died",
                "time normal under composite: by death": 1,
                "time normal under composite: death after the last CK": 0,
            },
        ),
        Case(
            says="death after the last CK is told beside, and the time is censored at that CK",
            changes=RESCUE,
            ck=STAYING,
            ended=(63, "died"),
            expect={
                "normal CK": "from day 21, 41 days, censored",
                "time normal under composite: by death": 0,
                "time normal under composite: death after the last CK": 1,
                "time normal under competing: death after the last CK": 1,
            },
        ),
        Case(
            says="who was rescued before is not counted beside for a later death, where the rescue counts",
            changes=RESCUE,
            ck=STAYING,
            immunosuppressant_from=50,
            ended=(80, "died"),
            expect={
                "normal CK": "from day 21, 29 days, then rescued",
                "time normal under composite: death after the last CK": 0,
                "time normal under hypothetical: death after the last CK": 0,
                "time normal under treatment_policy: death after the last CK": 1,
            },
        ),
        Case(
            says="the end of participation for another reason is none",
            changes=RESCUE,
            ck=STAYING,
            ended=(62, "withdrawn"),
            expect={
                "normal CK": "from day 21, 41 days, censored",
                "time normal under composite: by death": 0,
                "time normal under composite: death after the last CK": 0,
            },
        ),
        Case(
            says="death on the day of the abnormal CK comes after it",
            changes=RESCUE,
            ck=SPELL,
            ended=(62, "died"),
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="death leaves the hypothetical time at the last CK",
            changes=HYPOTHETICAL,
            ck=STAYING,
            ended=(62, "died"),
            expect={"normal CK": "from day 21, 41 days, censored"},
        ),
        Case(
            says="a rescue on the day of death comes before it",
            changes=COMPETING,
            ck=STAYING,
            immunosuppressant_from=62,
            ended=(62, "died"),
            expect={"normal CK": "from day 21, 41 days, then rescued"},
        ),
        Case(
            says="of four, one relapses, one is rescued, one dies and one is followed on: a quarter each, and "
            "censoring the rescued would have said more",
            changes=COMPETING | {"ck_normal_time": {"rescue": "competing", "rmst_until_days": 60}},
            groups=[
                alike(
                    1,
                    "rescued 10 days after the first normal CK",
                    ck=[(0, 1000), (7, 150), (80, 150)],
                    infusions=[0, 17],
                ),
                alike(1, "who died after 20 days", ck=[(0, 1000), (7, 150), (27, 150)], ended=(27, "died")),
                alike(1, "with CK abnormal again after 30 days", ck=[(0, 1000), (7, 150), (37, 400)]),
                alike(1, "with CK normal to the last draw after 60 days", ck=[(0, 1000), (7, 150), (67, 150)]),
            ],
            expect={
                "time normal under competing: incidence of abnormal": 0.25,
                "time normal under competing: incidence of rescue": 0.25,
                "time normal under competing: incidence of death": 0.25,
                "time normal under competing: restricted mean": 30 + 0.75 * 30,
                "time normal under composite: events": 3,
                "time normal under composite: median": 25,
                "time normal under composite: lower median": 20,
                "time normal under hypothetical: restricted mean": 45,
                "time normal under treatment_policy: restricted mean": 30 + 30 * 2 / 3,
                "time normal: median": "not_reached",
            },
        ),
        Case(
            says="beyond the last time the incidence is unknown",
            ck=STAYING,
            expect={"time normal under competing: incidence of abnormal": "beyond_follow_up"},
        ),
        Case(
            says="without a declaration a rescue is ignored",
            infusions=[0, 45],
            ck=SPELL,
            expect={"normal CK": "from day 21, 41 days, then abnormal", "time normal under composite: by rescue": 1},
        ),
    ),
)

SUSTAINED = Rule(
    row="CK-normal time",
    name="Sustained normality and confirmed relapse",
    words="Normality is sustained from the first of two consecutive normal CKs after day 0, and a relapse after that "
    "is confirmed from the first of two consecutive abnormal ones. Consecutive are draws of known normality. A "
    "single CK at the end of follow-up confirms nothing; the patient is censored at it.",
    cases=(
        Case(
            says="the first of two consecutive normal CKs",
            ck=[(0, 1000), (14, 150), (21, 250), (35, 150), (49, 160)],
            expect={"sustained normality from day": 35, "sustained: patients": 1, "sustained: median": 35},
        ),
        Case(
            says="a normal CK and an abnormal one in turn are never sustained",
            ck=[(0, 1000), (14, 150), (21, 250), (35, 150), (49, 260)],
            expect={"sustained normality from day": None, "sustained: patients": 0, "sustained: median": "no_events"},
        ),
        Case(
            says="a normal CK at the last draw is not confirmed",
            ck=[(0, 1000), (14, 250), (21, 150)],
            expect={"sustained normality from day": None},
        ),
        Case(
            says="a CK of unknown normality between two normal ones does not part them",
            ck=[(0, 1000), (14, 150), on(21, 150, limit=None), (35, 150)],
            expect={"sustained normality from day": 14},
        ),
        Case(
            says="a normal baseline confirms no CK after day 0",
            ck=[(0, 150), (14, 150)],
            expect={"sustained normality from day": None},
        ),
        Case(
            says="who was normal at baseline has sustained normality, and no relapse that counts",
            ck=[(0, 150), (14, 150), (21, 150), (35, 250), (49, 250)],
            expect={"sustained: patients": 1, "confirmed relapse: patients": 0},
        ),
        Case(
            says="a single abnormal CK is no confirmed relapse",
            ck=[(0, 1000), (14, 150), (21, 150), (35, 250), (49, 150)],
            expect={"confirmed relapse: patients": 1, "confirmed relapse: events": 0, "time normal: events": 1},
        ),
        Case(
            says="two are, from the first of them, counted from the beginning of sustained normality",
            ck=[(0, 1000), (14, 150), (21, 150), (35, 250), (49, 250)],
            expect={"confirmed relapse: events": 1, "confirmed relapse: median": 21},
        ),
    ),
)

PROPORTION = Rule(
    row="CK-normal time",
    name="Proportion of time with normal CK",
    words="Over the days from the baseline CK (as day 0) to the last CK of known normality. By `carried_forward` "
    "each state lasts until the next draw, by `midpoint` it changes half-way. Given are the mean and median of the "
    "patients' shares and the share of all days together. Whoever has fewer than two known CKs is counted and left "
    "out.",
    cases=(
        Case(
            says="each state lasts until the next draw",
            ck=[(0, 1000), (20, 150), (60, 250), (100, 250)],
            expect={"days normal carried forward": "40 of 100", "proportion carried forward: pooled": 0.4},
        ),
        Case(
            says="or changes half-way between two draws",
            ck=[(0, 1000), (20, 150), (60, 250), (100, 250)],
            expect={"days normal by midpoint": "30 of 100", "proportion by midpoint: pooled": 0.3},
        ),
        Case(
            says="a gap of an odd number of days is halved all the same",
            ck=[(0, 1000), (21, 150)],
            expect={"days normal by midpoint": "10.5 of 21", "days normal carried forward": "0 of 21"},
        ),
        Case(
            says="a CK of unknown normality changes nothing",
            ck=[(0, 1000), (20, 150), on(30, 300, limit=None), (60, 250), (100, 250)],
            expect={"days normal carried forward": "40 of 100"},
        ),
        Case(
            says="without a known baseline the days begin at the first known CK",
            ck=[(20, 150), (60, 250), (100, 250)],
            expect={"days normal carried forward": "40 of 80"},
        ),
        Case(
            says="one known CK tells no share",
            ck=[(20, 150)],
            expect={"days normal carried forward": "none", "proportion: too few draws": 1},
        ),
        Case(
            says="each patient counts the same in the mean, each day the same in the pooled share",
            groups=[
                alike(1, "normal for 10 of 10 days", ck=[(0, 150), (10, 150)]),
                alike(1, "normal for 0 of 90 days", ck=[(0, 1000), (90, 1000)]),
            ],
            expect={
                "proportion carried forward: mean": 0.5,
                "proportion carried forward: pooled": 0.1,
                "proportion: too few draws": 0,
            },
        ),
    ),
)

FOLLOW_UP = Rule(
    row="CK-normal time",
    name="Length of follow-up",
    words="The median follow-up is that of the reverse Kaplan-Meier estimate: to be censored is the event, and an "
    "event of the time with normal CK ends the observation.",
    cases=(
        Case(
            says="the event ends the observation of a follow-up that might have gone on",
            groups=[
                alike(1, "with CK abnormal again after 10 days", ck=[(0, 1000), (7, 150), (17, 400)]),
                alike(1, "with CK normal to the last draw after 20 days", ck=[(0, 1000), (7, 150), (27, 150)]),
                alike(1, "with CK normal to the last draw after 40 days", ck=[(0, 1000), (7, 150), (47, 150)]),
            ],
            expect={"follow-up: patients": 3, "follow-up: censored": 2, "follow-up: median": 30},
        ),
        Case(
            says="where nobody is censored there is no median",
            ck=SPELL,
            expect={"follow-up: censored": 0, "follow-up: median": "no_events"},
        ),
    ),
)

RULES = (STRATEGIES, SUSTAINED, PROPORTION, FOLLOW_UP)
