"""The scales of the scores, and the second preset."""

from tests.spec.rule import Case, Rule, on

CHANGE = {"measures": ["PHYSICIAN_GLOBAL"]}

SCALES = Rule(
    row="scales",
    name="Scales",
    words="A score of an instrument with a fixed scale is refused if it is above the maximum. MMT and ADL have the "
    "scale that the protocol declares: a score that does not fit this scale is stored, left out of every analysis and "
    "counted.",
    cases=(
        Case(
            says="the maximum of a fixed scale is accepted",
            others={"MMT8": [(0, 150)]},
            expect={"MMT8 at baseline": 150},
        ),
        Case(
            says="more than the maximum of a fixed scale is refused", others={"MMT8": [(0, 151)]}, refused="off_scale"
        ),
        Case(
            says="a fixed scale cannot be declared otherwise",
            others={"MMT8": [on(0, 70, scale_max=80)]},
            refused="scale_not_declarable",
        ),
        Case(
            says="a visual analogue scale of 100 mm is converted where the protocol declares it: 62 mm are 6.2",
            changes={"sent_scales": {"PHYSICIAN_GLOBAL": 100}, "weekly_change": CHANGE},
            others={"PHYSICIAN_GLOBAL": [on(0, 62, scale_max=100)]},
            expect={"PHYSICIAN_GLOBAL at baseline": 6.2, "flag scale_mismatch of PHYSICIAN_GLOBAL": 0},
        ),
        Case(
            says="where the protocol does not declare it, the score is kept and not used",
            changes={"weekly_change": CHANGE},
            others={"PHYSICIAN_GLOBAL": [on(0, 6, scale_max=100)]},
            expect={"PHYSICIAN_GLOBAL at baseline": None, "flag scale_mismatch of PHYSICIAN_GLOBAL": 1},
        ),
        Case(
            says="62 on a visual analogue scale without a declared scale is refused",
            changes={"sent_scales": {"PHYSICIAN_GLOBAL": 100}},
            others={"PHYSICIAN_GLOBAL": [(0, 62)]},
            refused="off_scale",
        ),
        Case(
            says="an MMT at the maximum of the protocol's scale is used",
            mmt=[(0, 100)],
            expect={"MMT at baseline": 100, "flag scale_mismatch of MMT": 0},
        ),
        Case(
            says="an MMT above the maximum is stored and left out",
            mmt=[(0, 101)],
            expect={"MMT at baseline": None, "flag scale_mismatch of MMT": 1},
        ),
        Case(
            says="a score with the protocol's scale is used",
            mmt=[on(0, 62, scale_max=100)],
            expect={"MMT at baseline": 62, "flag scale_mismatch of MMT": 0},
        ),
        Case(
            says="a score with another scale is left out, also if the number would fit",
            mmt=[on(0, 62, scale_max=80)],
            expect={"MMT at baseline": None, "flag scale_mismatch of MMT": 1},
        ),
        Case(
            says="the same score is used once the protocol declares that scale",
            changes={"scales": {"MMT": {"maximum": 80}}},
            mmt=[on(0, 62, scale_max=80)],
            expect={"MMT at baseline": 62, "flag scale_mismatch of MMT": 0},
        ),
        Case(
            says="a score beyond the scale that came with it contradicts itself and is refused",
            mmt=[on(0, 85, scale_max=80)],
            refused="off_scale",
        ),
        Case(
            says="a response rule of more points than the scale has is refused",
            changes={"scales": {"ADL": {"maximum": 2}}},
            refused="contradiction",
        ),
    ),
)

RELATIVE = Rule(
    row="relative-20",
    name="Preset `relative-20`: response",
    words="A responder has MMT or ADL at least 20 % above baseline at the visit of week 4; for CK, at most 70 % "
    "of the baseline or a normal value at week 4. A relative change from a baseline of 0 is not defined.",
    cases=(
        Case(
            says="20 % more is a response",
            preset="relative-20",
            mmt=[(0, 50), (28, 60)],
            expect={"MMT responder": True},
        ),
        Case(
            says="19.8 % more is not", preset="relative-20", mmt=[(0, 50), (28, 59.9)], expect={"MMT responder": False}
        ),
        Case(
            says="46.44 is exactly 20 % more than 38.7, though not to a binary computer",
            preset="relative-20",
            mmt=[(0, 38.7), (28, 46.44)],
            expect={"MMT responder": True},
        ),
        Case(
            says="46.43 is less than 20 % more than 38.7",
            preset="relative-20",
            mmt=[(0, 38.7), (28, 46.43)],
            expect={"MMT responder": False},
        ),
        Case(
            says="a baseline of 84 leaves less than 20 % of itself up to the maximum, which is flagged",
            preset="relative-20",
            mmt=[(0, 84), (28, 100)],
            expect={"MMT responder": False, "flag near_ceiling of MMT": 1},
        ),
        Case(
            says="a baseline of 83 leaves at least 20 %",
            preset="relative-20",
            mmt=[(0, 83), (28, 100)],
            expect={"MMT responder": True, "flag near_ceiling of MMT": 0},
        ),
        Case(
            says="a week before treatment cannot be the week of a response",
            preset="relative-20",
            changes={
                "responses": [{"rule": {"id": "percent_above_baseline", "measure": "MMT", "percent": 20, "week": -4}}]
            },
            refused="contradiction",
        ),
        Case(
            says="20 % more ADL is a response",
            preset="relative-20",
            adl=[(0, 30), (28, 36)],
            expect={"ADL responder": True},
        ),
        Case(
            says="less than 20 % more ADL is not",
            preset="relative-20",
            adl=[(0, 30), (28, 35.9)],
            expect={"ADL responder": False},
        ),
        Case(
            says="if lower is better, 20 % less is a response",
            preset="relative-20",
            changes={"scales": {"ADL": {"better": "lower"}}},
            adl=[(0, 30), (28, 24)],
            expect={"ADL responder": True},
        ),
        Case(
            says="if lower is better, 19 % less is not a response",
            preset="relative-20",
            changes={"scales": {"ADL": {"better": "lower"}}},
            adl=[(0, 30), (28, 24.3)],
            expect={"ADL responder": False},
        ),
        Case(
            says="a baseline of 0 has no relative change",
            preset="relative-20",
            mmt=[(0, 0), (28, 60)],
            expect={"MMT responder": "zero_baseline"},
        ),
        Case(
            says="a baseline just above 0 has one",
            preset="relative-20",
            mmt=[(0, 0.5), (28, 0.6)],
            expect={"MMT responder": True},
        ),
        Case(
            says="at the maximum no patient can improve",
            preset="relative-20",
            mmt=[(0, 100), (28, 100)],
            expect={"MMT responder": "at_scale_maximum"},
        ),
        Case(
            says="only week 4 counts: a response at week 2 only is not a response",
            preset="relative-20",
            mmt=[(0, 50), (14, 70), (28, 50)],
            expect={"MMT responder": False},
        ),
        Case(
            says="without a visit at week 4 nothing can be judged",
            preset="relative-20",
            mmt=[(0, 50), (14, 70)],
            expect={"MMT responder": "no_value_in_window"},
        ),
        Case(
            says="CK at 70 % of the baseline is a response",
            preset="relative-20",
            ck=[(0, 1000), (28, 700)],
            expect={"CK responder": True},
        ),
        Case(says="CK at 71 % is not", preset="relative-20", ck=[(0, 1000), (28, 710)], expect={"CK responder": False}),
        Case(
            says="a CK normal at week 4 is a response",
            preset="relative-20",
            ck=[(0, 250), (28, 200)],
            expect={"CK responder": True},
        ),
        Case(
            says="a CK normal at week 2 only is not",
            preset="relative-20",
            ck=[(0, 250), (14, 200), (28, 240)],
            expect={"CK responder": False},
        ),
        Case(
            says="a CK normal at baseline cannot be judged",
            preset="relative-20",
            ck=[(0, 200), (28, 100)],
            expect={"CK responder": "normal_at_baseline"},
        ),
    ),
)


def _served(day: int, week: int, served: bool, why: str) -> Case:
    ck = [(day, 500), (0, 1000)] if day < 0 else [(0, 1000), (day, 500)]
    return Case(says=why, preset="relative-20", ck=ck, expect={f"CK at week {week}": 500 if served else None})


WINDOWS = Rule(
    row="relative-20",
    name="Preset `relative-20`: visits",
    words="The windows of neighbouring weeks, week 0 among them, meet half-way between their targets, so that every "
    "day between the first week and the last is in a window. The day half-way belongs to the later week. The "
    "outermost windows are as long on the outer side as on the inner side. The nearest value is used; of two equally "
    "near values the later.",
    cases=(
        _served(20, 2, True, "day 20 is nearer to week 2 than to week 4"),
        _served(21, 4, True, "day 21 is half-way between weeks 2 and 4 and belongs to week 4"),
        _served(21, 2, False, "day 21 does not belong to week 2 as well"),
        _served(41, 4, True, "day 41 is nearer to week 4 than to week 8"),
        _served(42, 8, True, "day 42 is half-way between weeks 4 and 8 and belongs to week 8"),
        _served(42, 4, False, "day 42 does not belong to week 4 as well"),
        _served(10, 1, True, "day 10 is nearer to week 1 than to week 2"),
        _served(11, 2, True, "day 11 is nearer to week 2 than to week 1"),
        _served(4, 1, True, "day 4 is nearer to week 1 than to the baseline"),
        _served(3, 1, False, "day 3 is nearer to the baseline and is used for no week"),
        _served(70, 8, True, "the last window ends 14 days after its target; it begins 14 days before it"),
        _served(71, 8, False, "and not later"),
        _served(-42, -4, True, "the first window begins 14 days before its target"),
        _served(-43, -4, False, "the first window does not begin earlier"),
        _served(-15, -4, True, "day -15 is nearer to week -4 than to the first infusion"),
        _served(-14, -4, False, "day -14 is half-way and belongs to week 0, which is the baseline"),
        Case(
            says="the nearest value of a window is used",
            preset="relative-20",
            ck=[(0, 1000), (22, 400), (33, 500)],
            expect={"CK at week 4": 500},
        ),
        Case(
            says="of two equally near values the later is used",
            preset="relative-20",
            ck=[(0, 1000), (23, 400), (33, 500)],
            expect={"CK at week 4": 500},
        ),
    ),
)

RULES = (SCALES, RELATIVE, WINDOWS)
