"""The Total Improvement Score of adults: its bands, the enzyme, missing measures."""

from typing import Any

from tests.spec.core_set_cases import ADULT, ILL, UNKNOWN, A, B, C, D, E, F, case, patients
from tests.spec.rule import Case, Rule


def _physician(before: float, after: float, score: float, says: str) -> Case:
    return case(
        says,
        (before, *ILL[1:]),
        (after, *ILL[1:]),
        expect={"physician_global scores, week 4": score, "improvement score, week 4": score},
    )


BANDS = Rule(
    row=ADULT,
    name="Preset `acr-eular-2016-adult`: Total Improvement Score",
    words="Six measures are compared with the baseline at every visit. The improvement of each measure, in per cent "
    "of the range of its scale and not of the baseline, falls into a band that begins strictly above its lower cut "
    "and ends at its upper cut. The scores of the six bands add up to 0 to 100 (Aggarwal 2017, table 3 of Rider "
    "2017). Minimal, moderate and major improvement in adults are at least 20, 40 and 60.",
    cases=(
        case("six measures add up", *A, expect={"improvement score, week 4": 52.5, "level, week 4": "moderate"}),
        case(
            "a change on a cut belongs to the band below it",
            *B,
            expect={"improvement score, week 4": 17.5, "level, week 4": "none"},
        ),
        case("one step above the cut", *C, expect={"improvement score, week 4": 50, "level, week 4": "moderate"}),
        case("the greatest score is 100", *D, expect={"improvement score, week 4": 100, "level, week 4": "major"}),
        case(
            "worsening of any size scores 0: a separate rule describes worsening",
            *E,
            expect={"improvement score, week 4": 0, "level, week 4": "none", "worse, week 4": True},
        ),
        case(
            "near the best end of the scales little can be gained",
            *F,
            expect={"improvement score, week 4": 47.5, "level, week 4": "moderate"},
        ),
        _physician(1.1, 0.6, 0, "1.1 to 0.6 is exactly 5 per cent of 10 cm, though not to a binary computer"),
        _physician(1.1, 0.5, 7.5, "1.1 to 0.5 is more than 5 per cent"),
        _physician(6, 2, 17.5, "6 to 2 is exactly 40 per cent"),
        _physician(6, 1.9, 20, "6 to 1.9 is more"),
        case(
            "a score of exactly 20 is a minimal improvement",
            ILL,
            (0.9, *ILL[1:]),
            expect={"improvement score, week 4": 20, "level, week 4": "minimal"},
        ),
        Case(
            says="a protocol that does not declare the score is answered with the reason",
            mmt=[(0, 50)],
            expect={"improvement-score is answered": "not_declared"},
        ),
        case(
            "the ranges of the enzymes are marked as unverified",
            *A,
            expect={
                "improvement-score is answered": True, "caveat enzyme_ranges_unverified in improvement-score": True,
            },
        ),
        case(
            "a baseline within 2 per cent of the best MMT8 cannot score in it, which is flagged",
            (*ILL[:2], 147, *ILL[3:]),
            (*ILL[:2], 150, *ILL[3:]),
            expect={"muscle_strength scores, week 4": 0, "improvement-score: flag near_ceiling of MMT8": 1},
        ),
        case(
            "a baseline further from the best MMT8 can score",
            (*ILL[:2], 146, *ILL[3:]),
            (*ILL[:2], 150, *ILL[3:]),
            expect={"muscle_strength scores, week 4": 10, "improvement-score: flag near_ceiling of MMT8": 0},
        ),
    ),
)  # fmt: skip


def _ck(before: Any, after: Any, says: str, score: Any, others: Any = None, **expect: Any) -> Case:
    return case(
        says,
        (None, None, None, None, before, 5),
        (None, None, None, None, after, 5),
        expect={"enzyme scores, week 4": score, **expect},
        others=others or {},
    )


NO_LIMIT, HALF = {"limit": None}, {"limit": 100}
ENZYME = Rule(
    row=ADULT,
    name="Preset `acr-eular-2016-adult`: the enzyme",
    words="Of CK, aldolase, LDH, AST and ALT the enzyme with the highest multiple of its own upper limit at baseline "
    "is followed at every visit; of equal enzymes the first in this order. Its range is a multiple of the upper "
    "limit: 15 for CK, 6 for aldolase, 3 for the others. These are parameters that are marked as unverified. Each "
    "value is taken as a multiple of the limit of its own draw, so that a change of the laboratory's method is not a "
    "change of the patient. An enzyme without an upper limit counts as not measured.",
    cases=(
        _ck(450, 300, "150 of a range of 15 x 200 is exactly 5 per cent", 0),
        _ck(451, 300, "151 is more", 2.5),
        _ck(100_000, 100, "a fall beyond the range scores the maximum", 7.5),
        _ck(
            600, 100, "LDH was the more abnormal at baseline: the fall of CK does not count", 0,
            others={"LDH": [(0, 601), (28, 601)]}, **{"enzyme followed as, week 4": "LDH"},
        ),
        _ck(
            600, 100, "both were three times their limit: CK comes first", 5,
            others={"LDH": [(0, 600), (28, 600)]}, **{"enzyme followed as, week 4": "CK"},
        ),
        _ck(
            400, (200, HALF), "200 with a limit of 100 is twice the limit, as 400 with one of 200 was", 0,
            **{"enzyme changes by per cent, week 4": 0},
        ),
        _ck(400, 200, "with one limit throughout the fall is 200 U/L", 2.5),
        _ck((1000, NO_LIMIT), 100, "a baseline without an upper limit is not used", (0, 7.5),
            **{"enzyme is missing, week 4": "no_baseline"}),
        _ck(1000, (100, NO_LIMIT), "a value without an upper limit is not used", (0, 7.5),
            **{"enzyme is missing, week 4": "no_value_in_window"}),
        _ck((3000, {"sign": ">"}), 1500, "a bound that decides the band decides the score", 7.5),
        _ck((600, {"sign": ">"}), 300, "more than exactly 10 per cent is above 5", (2.5, 7.5)),
        _ck((600, {"sign": ">"}), 150, "more than exactly 15 per cent is above the cut", (5, 7.5)),
        _ck((600, {"sign": ">="}), 150, "at least 15 per cent may be exactly on the cut", (2.5, 7.5)),
        _ck(
            (600, {"sign": ">"}), 100,
            "if it is unknown which of two enzymes was more abnormal, neither is followed", (0, 7.5),
            others={"LDH": [(0, 700), (28, 100)]}, **{"enzyme is missing, week 4": "enzyme_undecided"},
        ),
        _ck(
            (800, {"sign": ">"}), 100, "if a bound is above every other enzyme, its enzyme is followed", (5, 7.5),
            others={"LDH": [(0, 700), (28, 100)]}, **{"enzyme followed as, week 4": "CK"},
        ),
    ),
)  # fmt: skip

MISSING = Rule(
    row=ADULT,
    name="Preset `acr-eular-2016-adult`: missing measures",
    words="A measure without a value at baseline or at the visit is not imputed. The score is then null and has two "
    "bounds: the missing measure scores 0, or its maximum. A level is given only if both bounds agree. Rates are of "
    "the patients with a score; the answer also has the number of patients who certainly reach the level, and of "
    "those who possibly reach it.",
    cases=(
        case(
            "without the enzyme the bounds differ by 7.5, and the level may still be known",
            (*A[0][:4], None, 3),
            (*A[1][:4], None, 2),
            expect={"improvement score, week 4": (45, 52.5), "level, week 4": "moderate"},
        ),
        case(
            "without muscle strength the bounds differ by 32.5",
            (6, 5, None, 1.5, 3000, 3),
            A[1],
            expect={"improvement score, week 4": (42.5, 75), "level, week 4": UNKNOWN},
        ),
        case(
            "a visit without any of the six has no bounds either",
            A[0],
            A[1],
            expect={"improvement score, week 8": "no_value_in_window"},
        ),
        case(
            "nor has a visit whose measures have no baseline",
            (None,) * 6,
            A[1],
            expect={"improvement score, week 4": "no_baseline"},
        ),
        Case(
            says="a rate is of the patients with a score; the answer also has the bounds",
            preset=ADULT,
            groups=(
                patients("a score of 52.5", *A),
                patients("a score of 17.5", *B),
                patients("the same without the enzyme", (*B[0][:4], None, 4), (*B[1][:4], None, 0)),
            ),
            expect={
                "minimal responders, week 4": "1 of 2; 1 to 2 of all seen",
                "moderate responders, week 4": "1 of 2; 1 to 1 of all seen",
            },
        ),
    ),
)

BETTER = (0.9, *ILL[1:])
"""A score of exactly 20."""
NOTHING = (None,) * 6
ONLY_PATIENT_GLOBAL = (None, 5, None, None, None, None)
"""Scores 0 to 90: every level is open."""
REACHED, LOST = (f"days in which a minimal response was {which}" for which in ("reached", "lost"))

TIMES = Rule(
    row=ADULT,
    name="Preset `acr-eular-2016-adult`: time to a level, and how long it is kept",
    words="A score is known at visits only. A level is reached after the last visit before any that may have had it "
    "(or day 0), and not later than the first visit that certainly had it. It is lost, counted from that visit, after "
    "the last visit before any that was possibly below it, and not later than the first visit that certainly was. The "
    "estimate is that of interval-censored times, with those who never reached it, or never lost it, as open.",
    cases=(
        case(
            "a level is reached and lost between two visits",
            ILL, ILL, BETTER, BETTER,
            expect={REACHED: "after 28, by 56", LOST: "after 28, open"},
        ),
        case("at the first visit it is reached after day 0, and lost by the visit below it", ILL, BETTER, ILL, ILL,
             expect={REACHED: "after 0, by 28", LOST: "after 0, by 28"}),
        case("who never reached it is open from the last visit on", ILL, ILL, ILL, ILL,
             expect={REACHED: "after 84, open", LOST: "no_patients"}),
        case("a missed visit says nothing", ILL, ILL, NOTHING, BETTER,
             expect={REACHED: "after 28, by 84", LOST: "after 0, open"}),
        case("a visit whose bounds leave it open may be the first with it", ILL, ONLY_PATIENT_GLOBAL, ILL, BETTER,
             expect={REACHED: "after 0, by 84", LOST: "after 0, open"}),
        case("or the first without it", ILL, BETTER, ONLY_PATIENT_GLOBAL, ILL,
             expect={REACHED: "after 0, by 28", LOST: "after 0, by 56"}),
    ),
)  # fmt: skip

RULES = (BANDS, ENZYME, MISSING, TIMES)
