"""Further treatment or death in the time with normal CK, and normality that a second CK confirms."""

from tests.spec.rule import Case, Rule, alike, infused, on

NORMAL_TIME = [(0, 1000), (21, 150), (62, 250)]
"""Normal from day 21, abnormal on day 62."""
STAYING = [(0, 1000), (21, 150), (62, 180)]
RESCUE = {"ck_normal_time": {"rescue": "composite"}}
HYPOTHETICAL = {"ck_normal_time": {"rescue": "hypothetical"}}
COMPETING = {"ck_normal_time": {"rescue": "competing"}}


def _declared(**steroids: object) -> dict[str, object]:
    """The composite strategy with a steroid rescue."""
    return {"ck_normal_time": {"rescue": "composite", "steroid_rescue": steroids}}


STRATEGIES = Rule(
    row="rescue before the event",
    name="Strategies for a rescue and for death",
    words="The answer has four strategies. The one that the protocol declares, or the question asks for, is used for "
    "the median, the curve and the restricted mean. `treatment_policy` ignores a rescue and death. `composite` counts "
    "both as the event, on their day. `hypothetical` censors on the day of the rescue, or at the last CK if that is"
    " earlier; a patient who dies is censored at the last CK. `competing` treats them as competing events, and "
    "gives the cumulative incidence of each (Aalen-Johansen). A rescue is a second course or a new "
    "immunosuppressant that begins after day 0 (or a rise or pulse of glucocorticoids, see below). A rescue on the "
    "day of the abnormal CK comes after it; a rescue on the day of death comes before it. If CK never became "
    "abnormal, a rescue or death counts up to and including the day of the last CK of known normality, at which all"
    " other patients are censored. A later rescue or death is counted separately and changes no estimate; otherwise"
    " only patients with a rescue or death would remain at late times. A rescue that began on or before the day of "
    "the first normal CK has its effect at 0 days.",
    cases=(
        Case(
            says="the composite event is on the day of the rescue",
            changes=RESCUE,
            infusions=[0, 45],
            ck=NORMAL_TIME,
            expect={"normal CK": "from day 21, 24 days, then rescued", "time normal: events": 1},
        ),
        Case(
            says="a rescue on the day before the abnormal CK still comes first",
            changes=RESCUE,
            ck=NORMAL_TIME,
            immunosuppressant_from=61,
            expect={"normal CK": "from day 21, 40 days, then rescued"},
        ),
        Case(
            says="a rescue on the day of the abnormal CK comes after it",
            changes=RESCUE,
            ck=NORMAL_TIME,
            immunosuppressant_from=62,
            expect={"normal CK": "from day 21, 41 days, then abnormal", "time normal under composite: by rescue": 0},
        ),
        Case(
            says="the hypothetical time is censored on the day of the rescue",
            changes=HYPOTHETICAL,
            infusions=[0, 45],
            ck=NORMAL_TIME,
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
            says="a rescue on the day after the last CK is not an event and is counted separately",
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
            says="the last CK is the last CK of known normality",
            changes=RESCUE,
            infusions=[0, 63],
            ck=[*STAYING, on(90, 180, limit=None)],
            expect={
                "normal CK": "from day 21, 41 days, censored",
                "time normal under composite: rescue after the last CK": 1,
            },
        ),
        Case(
            says="the hypothetical time, too, is censored at the last CK",
            changes=HYPOTHETICAL,
            infusions=[0, 90],
            ck=STAYING,
            expect={"normal CK": "from day 21, 41 days, censored", "time normal under hypothetical: by rescue": 0},
        ),
        Case(
            says="a rescue after the abnormal CK is not counted as a rescue after the last CK",
            changes=RESCUE,
            infusions=[0, 90],
            ck=NORMAL_TIME,
            expect={"time normal under composite: rescue after the last CK": 0},
        ),
        Case(
            says="ten patients with the last CK on day 100, one with a rescue on day 300: there is no event, and no "
            "patient is at risk on day 300",
            changes=RESCUE,
            groups=[
                alike(9, "with CK normal to day 100", ck=[(0, 1000), (30, 150), (100, 150)]),
                alike(
                    1,
                    "with the same CK and a rescue on day 300",
                    ck=[(0, 1000), (30, 150), (100, 150)],
                    infusions=[0, 300],
                ),
            ],
            expect={
                "time normal under composite: events": 0,
                "time normal under composite: median": "no_events",
                "time normal under composite: rescue after the last CK": 1,
                "time normal under competing: by rescue": 0,
            },
        ),
        Case(
            says="a rescue before the first normal CK has its effect at 0 days",
            changes=RESCUE,
            ck=NORMAL_TIME,
            immunosuppressant_from=10,
            expect={"normal CK": "from day 21, 0 days, then rescued", "time normal: rescue before normal": 1},
        ),
        Case(
            says="so has a rescue on the day of the first normal CK",
            changes=HYPOTHETICAL,
            ck=NORMAL_TIME,
            immunosuppressant_from=21,
            expect={"normal CK": "from day 21, 0 days, censored", "time normal: rescue before normal": 1},
        ),
        Case(
            says="a rescue on the day after has its effect after 1 day",
            changes=HYPOTHETICAL,
            ck=NORMAL_TIME,
            immunosuppressant_from=22,
            expect={"normal CK": "from day 21, 1 days, censored", "time normal: rescue before normal": 0},
        ),
        Case(
            says="a course of another product that begins on day 0 is part of the treatment",
            changes=RESCUE | {"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[0, infused(0, product="SCIG")],
            ck=NORMAL_TIME,
            expect={"courses": 2, "normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="and a later course is still a rescue",
            changes=RESCUE | {"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[0, infused(0, product="SCIG"), 45],
            ck=NORMAL_TIME,
            expect={"courses": 3, "normal CK": "from day 21, 24 days, then rescued", "time normal: second course": 1},
        ),
        Case(
            says="a course of another product that begins on day 1 is a rescue",
            changes=RESCUE | {"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[0, infused(1, product="SCIG")],
            ck=NORMAL_TIME,
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
            says="death after the last CK is counted separately, and the time is censored at that CK",
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
            says="after a rescue that counts as an event, a later death is not counted",
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
            says="the end of participation for another reason is not an event",
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
            ck=NORMAL_TIME,
            ended=(62, "died"),
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="in case of death the hypothetical time is censored at the last CK",
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
            says="of four patients one relapses, one has a rescue, one dies and one stays in follow-up: a quarter "
            "each; censoring at the rescue would give more",
            changes=COMPETING | {"ck_normal_time": {"rescue": "competing", "rmst_until_days": 60}},
            groups=[
                alike(
                    1,
                    "with a rescue 10 days after the first normal CK",
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
            says="after the last time the incidence is unknown",
            ck=STAYING,
            expect={"time normal under competing: incidence of abnormal": "beyond_follow_up"},
        ),
        Case(
            says="without a declaration a rescue is ignored",
            infusions=[0, 45],
            ck=NORMAL_TIME,
            expect={"normal CK": "from day 21, 41 days, then abnormal", "time normal under composite: by rescue": 1},
        ),
    ),
)

STEROIDS = Rule(
    row="rescue before the event",
    name="A rise or pulse of glucocorticoids as a rescue",
    words="The protocol may declare it (`steroid_rescue`): a least rise of the daily dose over the dose of day 0, or "
    "over the lowest dose from day 0 to the day before; a least dose of a pulse, if the dose of the day before was "
    "lower. Without it no dose is a rescue. Doses are those of all systemic glucocorticoids together, in mg of "
    "prednisolone equivalents a day: 5 mg of prednisolone is 5 mg of prednisone, 4 mg of methylprednisolone, 0.75 mg "
    "of dexamethasone or betamethasone, 6 mg of deflazacort, and 20 mg of hydrocortisone (British National Formulary); "
    "pulses are converted alike. A dose that is not daily is unknown and is no rescue; one per kg needs the weight. "
    "Without a reported glucocorticoid nothing is known. Days without a reported dose count as 0.",
    cases=(
        Case(
            says="a rise by the declared dose over day 0 is a rescue on its day",
            changes=_declared(rise=20),
            ck=NORMAL_TIME,
            prednisolone=[(-9, 44, 10), (45, None, 30)],
            expect={"normal CK": "from day 21, 24 days, then rescued"},
        ),
        Case(
            says="a rise by less is none",
            changes=_declared(rise=20),
            ck=NORMAL_TIME,
            prednisolone=[(-9, 44, 10), (45, None, 29.9)],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="without a declaration no rise is a rescue",
            changes=RESCUE,
            ck=NORMAL_TIME,
            prednisolone=[(-9, 44, 10), (45, None, 30)],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="16 mg of methylprednisolone in the place of 10 mg of prednisolone is a rise by 10 mg",
            changes=_declared(rise=10),
            ck=NORMAL_TIME,
            prednisolone=[(-9, 44, 10)],
            drugs=[("methylprednisolone", 45, None, 16, "mg/d")],
            expect={"normal CK": "from day 21, 24 days, then rescued"},
        ),
        Case(
            says="15.9 mg of methylprednisolone is not",
            changes=_declared(rise=10),
            ck=NORMAL_TIME,
            prednisolone=[(-9, 44, 10)],
            drugs=[("methylprednisolone", 45, None, 15.9, "mg/d")],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="over day 0, a rise after a taper is none below the first dose",
            changes=_declared(rise=20),
            ck=NORMAL_TIME,
            prednisolone=[(-9, 9, 40), (10, 44, 10), (45, None, 30)],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="over the lowest dose, it is a rescue",
            changes=_declared(rise=20, over="lowest"),
            ck=NORMAL_TIME,
            prednisolone=[(-9, 9, 40), (10, 44, 10), (45, None, 30)],
            expect={"normal CK": "from day 21, 24 days, then rescued"},
        ),
        Case(
            says="a pulse of 1 g of methylprednisolone, which is 1250 mg, on day 45",
            changes=_declared(pulse=1250),
            ck=NORMAL_TIME,
            drugs=[("mPSL", 45, 47, 1, "g/d")],
            expect={"normal CK": "from day 21, 24 days, then rescued"},
        ),
        Case(
            says="a pulse below the declared dose is none",
            changes=_declared(pulse=1251),
            ck=NORMAL_TIME,
            drugs=[("mPSL", 45, 47, 1, "g/d")],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="a pulse that began on day 0 is part of the treatment",
            changes=_declared(pulse=250),
            ck=NORMAL_TIME,
            drugs=[("mPSL", 0, 2, 1, "g/d")],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="1000 mg without `a day` is no daily dose and is unknown",
            changes=_declared(pulse=250),
            ck=NORMAL_TIME,
            drugs=[("mPSL", 45, 47, 1000, "mg")],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="a dose per kg is multiplied by the weight: 1 mg/kg of 60 kg is a rise by 60 mg",
            changes=_declared(rise=60),
            ck=NORMAL_TIME,
            drugs=[("prednisone", 45, None, 1, "mg/kg/d")],
            weight=60,
            expect={"normal CK": "from day 21, 24 days, then rescued"},
        ),
        Case(
            says="MTX before day 0 and methotrexate after it are one drug, which is not new",
            changes=RESCUE,
            ck=NORMAL_TIME,
            drugs=[("MTX", -30, 44, 10, "mg/wk"), ("methotrexate", 45, None, 15, "mg/wk")],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
    ),
)

SUSTAINED = Rule(
    row="CK-normal time",
    name="Sustained normality and confirmed relapse",
    words="Normality is sustained from the first of two consecutive normal CKs after day 0. A relapse after that is "
    "confirmed from the first of two consecutive abnormal CKs. Only draws of known normality are used to decide what "
    "is consecutive. A single CK at the end of follow-up confirms nothing; the patient is censored at it.",
    cases=(
        Case(
            says="the first of two consecutive normal CKs",
            ck=[(0, 1000), (14, 150), (21, 250), (35, 150), (49, 160)],
            expect={"sustained normality from day": 35, "sustained: patients": 1, "sustained: median": 35},
        ),
        Case(
            says="normal and abnormal CKs in turn are never sustained",
            ck=[(0, 1000), (14, 150), (21, 250), (35, 150), (49, 260)],
            expect={"sustained normality from day": None, "sustained: patients": 0, "sustained: median": "no_events"},
        ),
        Case(
            says="a normal CK at the last draw is not confirmed",
            ck=[(0, 1000), (14, 250), (21, 150)],
            expect={"sustained normality from day": None},
        ),
        Case(
            says="two normal CKs are consecutive also if a CK of unknown normality is between them",
            ck=[(0, 1000), (14, 150), on(21, 150, limit=None), (35, 150)],
            expect={"sustained normality from day": 14},
        ),
        Case(
            says="a normal baseline confirms no CK after day 0",
            ck=[(0, 150), (14, 150)],
            expect={"sustained normality from day": None},
        ),
        Case(
            says="a patient with a normal CK at baseline is in neither estimate",
            ck=[(0, 150), (14, 150), (21, 150), (35, 250), (49, 250)],
            expect={"sustained: patients": 0, "confirmed relapse: patients": 0},
        ),
        Case(
            says="a protocol may let the normal time begin at the first of two consecutive normal CKs",
            changes={"ck_normal_time": {"sustained": True}},
            ck=[(0, 1000), (14, 150), (21, 250), (35, 150), (49, 150), (62, 250)],
            expect={"normal CK": "from day 35, 27 days, then abnormal"},
        ),
        Case(
            says="by default it begins at the first normal CK",
            ck=[(0, 1000), (14, 150), (21, 250), (35, 150), (49, 150), (62, 250)],
            expect={"normal CK": "from day 14, 7 days, then abnormal"},
        ),
        Case(
            says="a normal CK at the last draw sustains nothing",
            changes={"ck_normal_time": {"sustained": True}},
            ck=[(0, 1000), (14, 250), (21, 150)],
            expect={"normal CK": "never_sustained", "time normal: never normal": 1},
        ),
        Case(
            says="a single abnormal CK is not a confirmed relapse",
            ck=[(0, 1000), (14, 150), (21, 150), (35, 250), (49, 150)],
            expect={"confirmed relapse: patients": 1, "confirmed relapse: events": 0, "time normal: events": 1},
        ),
        Case(
            says="two abnormal CKs are a relapse on the day of the first, counted from the beginning of sustained "
            "normality",
            ck=[(0, 1000), (14, 150), (21, 150), (35, 250), (49, 250)],
            expect={"confirmed relapse: events": 1, "confirmed relapse: median": 21},
        ),
    ),
)

PROPORTION = Rule(
    row="CK-normal time",
    name="Proportion of time with normal CK",
    words="The proportion is taken over the days from the baseline CK (as day 0) to the last CK of known normality. "
    "By `carried_forward` each state lasts until the next draw; by `midpoint` it changes half-way between two draws. "
    "The answer gives the mean and median of the patients' shares, and the share of all days together. A patient with "
    "fewer than two CKs of known normality is counted and left out.",
    cases=(
        Case(
            says="each state lasts until the next draw",
            ck=[(0, 1000), (20, 150), (60, 250), (100, 250)],
            expect={"days normal carried forward": "40 of 100", "proportion carried forward: pooled": 0.4},
        ),
        Case(
            says="each state changes half-way between two draws",
            ck=[(0, 1000), (20, 150), (60, 250), (100, 250)],
            expect={"days normal by midpoint": "30 of 100", "proportion by midpoint: pooled": 0.3},
        ),
        Case(
            says="a gap of an odd number of days is halved exactly",
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
            says="with one known CK there is no share",
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
    words="The median follow-up is that of the reverse Kaplan-Meier estimate: being censored is the event, and an "
    "event of the time with normal CK ends the observation.",
    cases=(
        Case(
            says="the event ends the observation of a follow-up that could have continued",
            groups=[
                alike(1, "with CK abnormal again after 10 days", ck=[(0, 1000), (7, 150), (17, 400)]),
                alike(1, "with CK normal to the last draw after 20 days", ck=[(0, 1000), (7, 150), (27, 150)]),
                alike(1, "with CK normal to the last draw after 40 days", ck=[(0, 1000), (7, 150), (47, 150)]),
            ],
            expect={"follow-up: patients": 3, "follow-up: censored": 2, "follow-up: median": 30},
        ),
        Case(
            says="if no patient is censored, there is no median",
            ck=NORMAL_TIME,
            expect={"follow-up: censored": 0, "follow-up: median": "no_events"},
        ),
    ),
)

RULES = (STRATEGIES, STEROIDS, SUSTAINED, PROPORTION, FOLLOW_UP)
