"""Worsening, the Total Improvement Score over the visits and in children, and the IMACS definition."""

from typing import Any

from tests.spec.core_set_cases import ADULT, ILL, IMACS, JUVENILE, UNKNOWN, C, Values, case, patients
from tests.spec.rule import Case, Rule


def _worse(says: str, at_week_4: Values, worse: bool | str, **more: Any) -> Case:
    return case(says, ILL, at_week_4, expect={"worse, week 4": worse}, **more)


WORSE = (5, 5, 100, 1, 1000, 7)
WORSENING = Rule(
    row=ADULT,
    name="Preset `acr-eular-2016-adult`: worsening",
    words="A score cannot fall below 0; therefore there is a separate rule of worsening. A visit is worse than the "
    "baseline if physician global is worse by 2 cm and muscle strength by 20 per cent of its baseline; or "
    "extramuscular activity by 2 cm; or three of the six measures by 30 per cent. Worsening is confirmed by a second "
    "visit in a row. A visit at which no measure with a baseline was recorded does not count as a visit. If measures "
    "are missing, it may be open whether a visit is worse.",
    cases=(
        _worse("extramuscular activity worse by 2 cm", WORSE, True),
        _worse("extramuscular activity worse by less than 2 cm", (5, 5, 100, 1, 1000, 6.9), False),
        _worse("physician global worse by 2 cm and MMT8 by 20 per cent", (7, 5, 80, 1, 1000, 5), True),
        _worse("only physician global worse by 2 cm", (7, 5, 81, 1, 1000, 5), False),
        _worse("three of six worse by 30 per cent", (6.5, 6.5, 100, 1.3, 1000, 5), True),
        _worse("two of six", (6.5, 6.5, 100, 1.25, 1000, 5), False),
        _worse("the enzyme is one of the six", (6.5, 6.5, 100, 1, 1300, 5), True),
        _worse(
            "without it only two of the other five are worse",
            (6.5, 6.5, 100, 1, 1300, 5),
            False,
            changes={"improvement_score": {"worsening": {"count_enzyme": False}}},
        ),
        _worse("two are worse and a third is missing", (6.5, 6.5, 100, None, 1000, 5), UNKNOWN),
        _worse("one is worse and one is missing", (6.5, 5, 100, None, 1000, 5), False),
        case(
            "from a baseline of 0 a score is worse from 10 per cent of its scale on",
            (0, 0, 100, 0, 1000, 5),
            (1, 1, 100, 0.375, 1000, 5),
            (1, 0.9, 100, 0.375, 1000, 5),
            expect={"worse, week 4": True, "worse, week 8": False},
        ),
        case(
            "one visit confirms nothing",
            ILL,
            WORSE,
            ILL,
            WORSE,
            expect={"worsening confirmed by week 4": False, "worsening confirmed by week 12": False},
        ),
        case(
            "a second visit in a row confirms it, and it stays confirmed",
            ILL,
            WORSE,
            WORSE,
            ILL,
            expect={
                "worsening confirmed by week 4": False,
                "worsening confirmed by week 8": True,
                "worsening confirmed by week 12": True,
            },
        ),
        case(
            "a missed visit between them does not count as a visit",
            ILL,
            WORSE,
            (None,) * 6,
            WORSE,
            expect={"worsening confirmed by week 12": True},
        ),
        case(
            "nor does a visit at which only a measure without a baseline was recorded",
            (None, *ILL[1:]),
            (None, *WORSE[1:]),
            (0, *(None,) * 5),
            (None, *WORSE[1:]),
            expect={"worsening confirmed by week 12": True},
        ),
        case(
            "after a visit at which a measure with a baseline was recorded it is open",
            ILL,
            WORSE,
            (0, *(None,) * 5),
            WORSE,
            expect={"worse, week 8": UNKNOWN, "worsening confirmed by week 12": UNKNOWN},
        ),
        Case(
            says="responders with confirmed worsening are counted separately",
            preset=ADULT,
            groups=(
                patients("worse at weeks 4 and 8, well at week 12", ILL, WORSE, WORSE, (0, 0, 150, 0, 100, 0)),
                patients("well at weeks 4, 8 and 12", ILL, *[(0, 0, 150, 0, 100, 0)] * 3),
                patients("well at week 12 only", ILL, ILL, ILL, (0, 0, 150, 0, 100, 0)),
            ),
            expect={
                "major responders, week 12": "3 of 3",
                "major responders without confirmed worsening, week 12": "2 of 3",
            },
        ),
    ),
)

WELL = (0, 0, 150, 0, 100, 0)
OPEN = (0, *(None,) * 5)
"""At least 20 and at most 100."""
OVER_TIME = Rule(
    row=ADULT,
    name="Preset `acr-eular-2016-adult`: over the visits",
    words="Best response: the level was reached at any visit. Sustained: at two visits in a row. The time to the "
    "first response runs from the first infusion to the first visit that reaches the level, and is censored at the "
    "last visit; a response can be seen at visits only. If missing measures leave open whether a patient reached a "
    "level, there is no rate but two bounds: the rate of the patients who certainly reached it, and the rate that "
    "also counts those who possibly reached it. The time to the first response is given twice: to the first visit "
    "that possibly reached the level, and to the first that certainly did.",
    cases=(
        Case(
            says="a response at one visit is a best response but not a sustained one",
            preset=ADULT,
            groups=(
                patients("well at week 4 only", ILL, WELL, ILL, ILL),
                patients("well from week 8 on", ILL, ILL, WELL, WELL),
                patients("never better", ILL, ILL, ILL, ILL),
            ),
            expect={
                "minimal response: best": "2 of 3",
                "minimal response: sustained": "1 of 3",
                "minimal response: at last visit": "1 of 3",
                "minimal response: median days": 56,
            },
        ),
        Case(
            says="if a visit possibly reached a level, the rate and the day are open",
            preset=ADULT,
            groups=(
                patients("well from week 8 on", ILL, ILL, WELL, WELL),
                patients("perhaps well at week 4, well at week 8", ILL, OPEN, WELL, ILL),
                patients("perhaps well at week 12", ILL, ILL, ILL, OPEN),
                patients("never better", ILL, ILL, ILL, ILL),
                patients("never better either", ILL, ILL, ILL, ILL),
            ),
            expect={
                "minimal response: best": "3 of 5",
                "minimal response: median days": 84,
                "major response: best": "2 to 3 of 5",
                "major response: sustained": "1 to 2 of 5",
                "major response: at last visit": "1 to 2 of 5",
                "major response: median days": (84, "not_reached"),
            },
        ),
        case(
            "the best level is given if the bounds agree on it",
            ILL,
            OPEN,
            WELL,
            expect={"best level by the last visit": "major"},
        ),
        case(
            "and not if they disagree",
            ILL,
            OPEN,
            ILL,
            expect={"best level by the last visit": UNKNOWN},
        ),
        case(
            "17.5 is not a minimal response",
            ILL,
            (2, *ILL[1:]),
            expect={"minimal response: best": "0 of 1", "minimal response: median days": "no_events"},
        ),
    ),
)


def _refused(says: str, preset: str = ADULT, **changes: Any) -> Case:
    part = "definition_of_improvement" if preset == IMACS else "improvement_score"
    return Case(says=says, preset=preset, changes={part: changes}, refused="contradiction")


REFUSED = Rule(
    row=ADULT,
    name="Preset `acr-eular-2016-adult`: what cannot be declared",
    words="Adult or juvenile is declared and never guessed from a diagnosis. A protocol that contradicts itself is "
    "refused, and the refusal names the definition.",
    cases=(
        case(
            "another instrument of muscle strength has another range",
            (None,) * 6,
            (None,) * 6,
            others={"MMT8_UNILATERAL": [(0, 70), (28, 72)]},
            changes={"improvement_score": {"core_set": {"muscle_strength": "MMT8_UNILATERAL"}}},
            expect={"muscle_strength changes by per cent, week 4": 2.5, "muscle_strength scores, week 4": 10},
        ),
        _refused("an instrument for children cannot judge adults", core_set={"function": "CHAQ"}),
        _refused("CMAS cannot judge adults either", core_set={"muscle_strength": "CMAS"}),
        _refused("MMT needs a declared scale", core_set={"muscle_strength": "MMT"}),
        _refused("an enzyme cannot be declared twice", core_set={"enzymes": ["CK", "LDH", "CK"]}),
        _refused("an enzyme needs a range", enzyme_ranges=[{"enzyme": "CK", "upper_limits": 15}]),
        _refused("a week must be planned", weeks=[6]),
        _refused("a week must lie after treatment", weeks=[-4, 4]),
    ),
)

CHILDREN = Rule(
    row=JUVENILE,
    name="Preset `acr-eular-2016-juvenile`",
    words="The same table with CHAQ; minimal, moderate and major improvement are at least 30, 45 and 70.",
    cases=(
        case("50 is moderate", *C, preset=JUVENILE, expect={"improvement score, week 4": 50,
                                                             "level, week 4": "moderate"}),
        case(
            "20 is not yet minimal in children",
            ILL,
            (0.9, *ILL[1:]),
            preset=JUVENILE,
            expect={"improvement score, week 4": 20, "level, week 4": "none"},
        ),
        case(
            "30 is",
            ILL,
            (0.9, 5, 110, *ILL[3:]),
            preset=JUVENILE,
            expect={"improvement score, week 4": 30, "level, week 4": "minimal"},
        ),
        case(
            "CMAS may be the measure of muscle strength",
            (None,) * 6,
            (None,) * 6,
            preset=JUVENILE,
            others={"CMAS": [(0, 30), (28, 36)]},
            changes={"improvement_score": {"core_set": {"muscle_strength": "CMAS"}}},
            expect={"muscle_strength scores, week 4": 20},
        ),
        _refused("HAQ is for adults", preset=JUVENILE, core_set={"function": "HAQ"}),
    ),
)  # fmt: skip


def _imacs(says: str, after: Values, improved: Any, before: Values = ILL, **expect: Any) -> Case:
    return case(
        says, before, after, preset=IMACS, expect={"improved by the IMACS definition, week 4": improved, **expect}
    )


DEFINITION = Rule(
    row=IMACS,
    name="Preset `imacs-2004`",
    words="Improved: at least three of the six measures are better by 20 per cent of their baseline, at most two are "
    "worse by 25 per cent, and muscle strength is not one of the two (Rider 2004). From a baseline of 0 a score is "
    "never improved, and it is worse from 10 per cent of its scale on, which is our own rule. If measures are "
    "missing, the result is open unless they cannot change it.",
    cases=(
        _imacs("three of six better by exactly 20 per cent", (4, 4, 120, 1, 1000, 5), True),
        _imacs("two of six", (4, 4, 119, 1, 1000, 5), False),
        _imacs("three better and two worse", (4, 4, 120, 1.25, 1250, 5), True),
        _imacs("three better and three worse", (4, 4, 120, 1.25, 1250, 6.25), False),
        _imacs("three better and two worse, of six", (4, 4, 100, 0.75, 1250, 6.25), True),
        _imacs("muscle strength among the worse", (4, 4, 75, 0.75, 1000, 5), False),
        _imacs("muscle strength worse by less than 25 per cent", (4, 4, 76, 0.75, 1000, 5), True),
        _imacs(
            "a baseline of 0 cannot improve",
            (4, 4, 100, 0, 1000, 0),
            False,
            before=(5, 5, 100, 0, 1000, 0),
            **{"function improved by the IMACS definition, week 4": False},
        ),
        _imacs(
            "from a baseline of 0 a measure is worse from 10 per cent of the scale on",
            (4, 4, 120, 0.375, 1000, 1),
            True,
            before=(5, 5, 100, 0, 1000, 0),
            **{
                "function worse by the IMACS definition, week 4": True,
                "extramuscular worse by the IMACS definition, week 4": True,
            },
        ),
        _imacs(
            "after a smaller rise it is not worse",
            (4, 4, 120, 0.25, 1000, 0.9),
            True,
            before=(5, 5, 100, 0, 1000, 0),
            **{
                "function worse by the IMACS definition, week 4": False,
                "extramuscular worse by the IMACS definition, week 4": False,
            },
        ),
        case(
            "if no other enzyme was measured, the enzyme is CK",
            (None, None, None, None, 1000, None),
            (None, None, None, None, 500, None),
            preset=IMACS,
            expect={"enzyme improved by the IMACS definition, week 4": True},
        ),
        _imacs("two better, the rest missing", (4, 4, 100, None, None, None), UNKNOWN),
        _imacs("four better, one missing", (4, 4, 120, 0.75, None, 5), True),
        _imacs("four better, muscle strength missing", (4, 4, None, 0.75, 500, 4), UNKNOWN),
        _imacs("no measure recorded", (None,) * 6, "no_value_in_window"),
        case(
            "the enzyme is the one that was most abnormal at baseline",
            (None, None, None, None, 1000, None),
            (None, None, None, None, 500, None),
            preset=IMACS,
            others={"LDH": [(0, 1200), (28, 1200)]},
            expect={"enzyme improved by the IMACS definition, week 4": False},
        ),
        Case(
            says="a rate is of the patients without a missing measure",
            preset=IMACS,
            groups=(
                patients("improved", ILL, WELL),
                patients("not improved", ILL, ILL),
                patients("improved in five, one missing", ILL, (0, 0, 150, 0, None, 0)),
            ),
            expect={"patients improved by the IMACS definition, week 4": "1 of 2"},
        ),
        Case(
            says="a protocol that does not declare it is answered with the reason",
            mmt=[(0, 50)],
            expect={"definition-of-improvement is answered": "not_declared"},
        ),
        _refused("an instrument for children cannot judge adults", preset=IMACS, core_set={"function": "CHAQ"}),
    ),
)  # fmt: skip

RULES = (WORSENING, OVER_TIME, REFUSED, CHILDREN, DEFINITION)
