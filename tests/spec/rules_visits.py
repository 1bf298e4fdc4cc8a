"""The value of a planned week, the value of a day, and the populations."""

from tests.spec.rule import Case, Rule, infused, on

WIDE = {"visits": {"weeks": [-4, 1, 4], "tolerance_days": 10}, "weekly_change": {"weeks": [1, 4]}}

VISIT = Rule(
    row="visit week w",
    name="Visit of a week",
    words="The visit of week w is the value nearest to day 7w and at most three days from it; of two equally near "
    "values the later is used. Week 0 is the baseline, week -4 is found in the same way around day -28, and a week "
    "after treatment uses values after day 0 only. No value is carried forward, and one record is used for one week "
    "only.",
    cases=(
        Case(
            says="a value three days before the target is used", ck=[(0, 1000), (25, 500)], expect={"CK at week 4": 500}
        ),
        Case(
            says="a value four days before the target is not", ck=[(0, 1000), (24, 500)], expect={"CK at week 4": None}
        ),
        Case(
            says="a value three days after the target is used", ck=[(0, 1000), (31, 500)], expect={"CK at week 4": 500}
        ),
        Case(
            says="a value four days after the target is not", ck=[(0, 1000), (32, 500)], expect={"CK at week 4": None}
        ),
        Case(
            says="the nearest value is used",
            ck=[(0, 1000), (26, 400), (29, 500)],
            expect={"CK at week 4": 500},
        ),
        Case(
            says="the nearest value is used also if it is the earlier",
            ck=[(0, 1000), (27, 400), (30, 500)],
            expect={"CK at week 4": 400},
        ),
        Case(
            says="of two equally near values the later is used",
            ck=[(0, 1000), (27, 400), (29, 500)],
            expect={"CK at week 4": 500},
        ),
        Case(
            says="week 0 is the baseline",
            ck=[(-2, 1000), (7, 500)],
            expect={"CK at week 0": 1000, "CK at baseline": 1000},
        ),
        Case(
            says="week -4 reaches three days to either side of day -28",
            ck=[(-31, 1000), (0, 900)],
            expect={"CK at week -4": 1000},
        ),
        Case(
            says="a value four days before day -28 is not week -4",
            ck=[(-32, 1000), (0, 900)],
            expect={"CK at week -4": None},
        ),
        Case(
            says="a value four days after day -28 is not week -4",
            ck=[(-24, 1000), (0, 900)],
            expect={"CK at week -4": None},
        ),
        Case(
            says="of two values equally near day -28 the later is used",
            ck=[(-31, 1000), (-25, 1100), (0, 900)],
            expect={"CK at week -4": 1100},
        ),
        Case(
            says="a week after treatment uses no value from before treatment, also if its window is wide enough",
            changes=WIDE,
            ck=[(-3, 1100), (-2, 1000), (0, 900)],
            expect={"CK at week 1": None},
        ),
        Case(
            says="with the same window it uses a value of day 1",
            changes=WIDE,
            ck=[(-3, 1100), (-2, 1000), (0, 900), (1, 800)],
            expect={"CK at week 1": 800},
        ),
        Case(
            says="a missed visit stays missing: no value is carried forward",
            ck=[(0, 1000), (14, 500)],
            expect={"CK at week 2": 500, "CK at week 4": None, "left out of CK week 4": "no_value_in_window"},
        ),
        Case(
            says="the last day of one window and the first day of the next do not overlap",
            ck=[(0, 1000), (10, 500), (11, 600)],
            expect={"CK at week 1": 500, "CK at week 2": 600},
        ),
        Case(
            says="a protocol with overlapping windows is refused, because one record would be used for two weeks",
            changes={"visits": {"tolerance_days": 4}},
            refused="contradiction",
        ),
    ),
)

SAME_DAY = Rule(
    row="same day, several values",
    name="Several values of one day",
    words="Of several values of one day the latest by clock time is used; at the same time, the last issued; then the "
    "value least favourable to response. A value with a clock time counts as later than a value without one. The "
    "other values are counted as duplicate draws.",
    cases=(
        Case(
            says="the later draw of a day counts",
            ck=[(0, 1000), on(28, 400, at="08:00"), on(28, 600, at="12:00")],
            expect={"CK at week 4": 600, "flag duplicate_draw of CK": 1},
        ),
        Case(
            says="the later draw of a day counts also if it is more favourable",
            ck=[(0, 1000), on(28, 600, at="08:00"), on(28, 400, at="12:00")],
            expect={"CK at week 4": 400, "flag duplicate_draw of CK": 1},
        ),
        Case(
            says="draws of two days are no duplicates",
            ck=[(0, 1000), on(27, 400, at="23:59"), on(28, 600, at="00:01")],
            expect={"CK at week 4": 600, "flag duplicate_draw of CK": 0},
        ),
        Case(
            says="a draw with a clock time counts as later than one without",
            ck=[(0, 1000), (28, 600), on(28, 400, at="00:01")],
            expect={"CK at week 4": 400, "flag duplicate_draw of CK": 1},
        ),
        Case(
            says="at the same minute the last issued counts",
            ck=[
                (0, 1000),
                on(28, 600, at="08:00", lab="A", issued="2005-05-09T12:00:00+09:00"),
                on(28, 400, at="08:00", lab="B", issued="2005-05-09T13:00:00+09:00"),
            ],
            expect={"CK at week 4": 400, "flag duplicate_draw of CK": 1},
        ),
        Case(
            says="at the same minute and issue time the higher CK counts, being the less favourable",
            ck=[(0, 1000), on(28, 600, at="08:00", lab="A"), on(28, 400, at="08:00", lab="B")],
            expect={"CK at week 4": 600, "flag duplicate_draw of CK": 1},
        ),
        Case(
            says="the order in which equal times were sent does not matter",
            ck=[(0, 1000), on(28, 400, at="08:00", lab="A"), on(28, 600, at="08:00", lab="B")],
            expect={"CK at week 4": 600},
        ),
        Case(
            says="of equal values the one with the lower upper limit counts, being the less often normal",
            ck=[(0, 1000), on(28, 180, lab="A", limit=200), on(28, 180, lab="B", limit=170)],
            expect={"first normal CK on day": "never_normal"},
        ),
        Case(
            says="of two strength scores of one day the lower counts, being the less favourable",
            mmt=[(0, 50), on(28, 58, lab="A"), on(28, 54, lab="B")],
            expect={"MMT at week 4": 54, "MMT responder": False, "flag duplicate_draw of MMT": 1},
        ),
        Case(
            says="if lower is better, the higher score counts",
            changes={"scales": {"ADL": {"better": "lower"}}},
            adl=[(0, 30), on(28, 20, lab="A"), on(28, 28, lab="B")],
            expect={"ADL at week 4": 28, "ADL responder": False},
        ),
        Case(
            says="at baseline the lower CK is the less favourable, because a fall from it is harder to reach",
            ck=[on(0, 1000, lab="A"), on(0, 2000, lab="B"), (28, 1400)],
            expect={"CK at baseline": 1000, "CK responder": False},
        ),
        Case(
            says="at baseline the higher score is the less favourable, because a gain over it is harder to reach",
            mmt=[on(0, 50, lab="A"), on(0, 54, lab="B"), (28, 56)],
            expect={"MMT at baseline": 54, "MMT responder": False},
        ),
        Case(
            says="every value that was not used is counted",
            ck=[(0, 1000), on(28, 600, at="08:00"), on(28, 500, at="09:00"), on(28, 400, at="10:00")],
            expect={"CK at week 4": 400, "flag duplicate_draw of CK": 2},
        ),
    ),
)

SAFETY_SET = Rule(
    row="safety set",
    name="Safety set",
    words="The safety set contains every patient for whom at least one infusion of the treatment was started.",
    cases=(
        Case(says="one infusion is enough", expect={"in the safety set": True}),
        Case(
            says="without an infusion a patient is in no set",
            infusions=[],
            ck=[(0, 1000), (7, 150)],
            expect={"in the safety set": False, "in the efficacy set": False, "CK responder": "not_treated"},
        ),
        Case(
            says="an infusion that was entered in error was not given",
            infusions=[infused(0, status="entered-in-error")],
            expect={"in the safety set": False},
        ),
    ),
)

EFFICACY_SET = Rule(
    row="efficacy set",
    name="Efficacy set",
    words="The efficacy set contains the patients of the safety set with at least one usable CK, MMT or ADL after day "
    "0. Each endpoint has its own number of evaluable patients; all other patients are listed with the reason.",
    cases=(
        Case(says="one CK on day 1 is enough", ck=[(0, 1000), (1, 900)], expect={"in the efficacy set": True}),
        Case(
            says="values up to day 0 are not enough",
            ck=[(-7, 1000), (0, 900)],
            expect={"in the efficacy set": False, "CK responder": "no_value_after_baseline"},
        ),
        Case(says="one MMT after day 0 is enough", mmt=[(7, 60)], expect={"in the efficacy set": True}),
        Case(says="one ADL after day 0 is enough", adl=[(7, 30)], expect={"in the efficacy set": True}),
        Case(says="another enzyme is not enough", others={"LDH": [(7, 300)]}, expect={"in the efficacy set": False}),
        Case(
            says="a patient who is in the set by one measure may be left out of the endpoint of another",
            ck=[(0, 1000)],
            mmt=[(0, 50), (28, 60)],
            expect={"in the efficacy set": True, "CK responder": "no_value_in_window", "MMT responder": True},
        ),
        Case(
            says="a patient who was never treated is not in the set, also with values",
            infusions=[],
            ck=[(0, 1000), (7, 500)],
            expect={"in the efficacy set": False, "CK responder": "not_treated"},
        ),
        Case(
            says="a score that does not fit the protocol's scale is not a usable value",
            mmt=[(0, 50), on(7, 60, scale_max=80)],
            expect={"in the efficacy set": False, "flag scale_mismatch of MMT": 1},
        ),
        Case(
            says="a value of the day of death is used",
            ck=[(0, 1000), (7, 500)],
            ended=(7, "died"),
            expect={"in the efficacy set": True, "flag after_death of CK": 0},
        ),
        Case(
            says="a value dated after the day of death is not used and is counted",
            ck=[(0, 1000), (8, 500)],
            ended=(7, "died"),
            expect={"in the efficacy set": False, "flag after_death of CK": 1},
        ),
        Case(
            says="a value after the patient withdrew is used",
            ck=[(0, 1000), (8, 500)],
            ended=(7, "withdrawn"),
            expect={"in the efficacy set": True, "flag after_death of CK": 0},
        ),
    ),
)

RULES = (VISIT, SAME_DAY, SAFETY_SET, EFFICACY_SET)
