"""What an answer may conclude: each rule of the rule book with cases on either side of it."""

from dataclasses import replace
from typing import Any

from tests.spec.core_set_cases import ADULT
from tests.spec.core_set_cases import D as MAJOR
from tests.spec.core_set_cases import patients as scored
from tests.spec.rule import Case, Group, Patient, Rule, alike, changing, infused, listed, relapsing, staying_normal

UP = (1, 2, 3, 4, 5, 6, 7, 8)
"""Eight gains: p = 2/256, and 0.03125 after Holm over four weeks."""
DOWN = tuple(-change for change in UP)
MIXED = (1, -2, 3, -4, 5, -6, 7, -8)
SLIGHTLY_UP = tuple(-change for change in reversed(MIXED))
"""V = 20 of 36: up, and not significant."""
WORSE = tuple(-change for change in range(1, 11))
"""Ten patients who all get worse."""


def _everywhere(changes: tuple[int, ...], measure: str = "MMT", start: float = 50, factor: float = 1) -> Group:
    scaled = [factor * change for change in changes]
    return changing(measure, start, w1=scaled, w2=scaled, w4=scaled, w8=scaled)


def _claim(name: str, supported: bool, because: str, direction: str | None = None) -> dict[str, Any]:
    expected = {f"claim {name}: supported": supported, f"claim {name}: because": because}
    return expected if direction is None else expected | {f"claim {name}: direction": direction}


CHANGE = Rule(
    row="claims",
    name="change",
    words="A measure changed from baseline to a week if p of its signed-rank test, adjusted over the weeks of the "
    "measure, is at most alpha. The claim names the direction of the pseudomedian: an improvement or a worsening by "
    "the better end of the scale; of CK the lower one is better. It is a claim about a change and not about its cause.",
    cases=(
        Case(
            says="eight gains at each of four weeks",
            groups=[_everywhere(UP)],
            expect=_claim("change of MMT at week 1", True, "significant", "improvement"),
        ),
        Case(
            says="eight losses are as significant, and a worsening",
            groups=[_everywhere(DOWN)],
            expect=_claim("change of MMT at week 1", True, "significant", "worsening"),
        ),
        Case(
            says="a fall of CK is an improvement",
            groups=[_everywhere(DOWN, "CK", 1000, 100)],
            expect=_claim("change of CK at week 1", True, "significant", "improvement"),
        ),
        Case(
            says="a rise of CK is a worsening",
            groups=[_everywhere(UP, "CK", 1000, 100)],
            expect=_claim("change of CK at week 1", True, "significant", "worsening"),
        ),
        Case(
            says="seven gains have an adjusted p of 0.0625",
            groups=[_everywhere(UP[:7])],
            expect=_claim("change of MMT at week 1", False, "not_significant"),
        ),
        Case(
            says="an adjusted p equal to alpha is enough",
            changes={"weekly_change": {"alpha": 0.03125}},
            groups=[_everywhere(UP)],
            expect=_claim("change of MMT at week 8", True, "significant"),
        ),
        Case(
            says="an adjusted p above alpha is not",
            changes={"weekly_change": {"alpha": 0.03124}},
            groups=[_everywhere(UP)],
            expect=_claim("change of MMT at week 8", False, "not_significant"),
        ),
        Case(
            says="a week without values has no p",
            groups=[changing("MMT", 50, w1=UP)],
            expect=_claim("change of MMT at week 8", False, "no_p"),
        ),
    ),
)

ONSET = Rule(
    row="claims",
    name="onset",
    words="An onset is claimed if every week from it to the last is significant in one direction, and this is the "
    "direction of improvement. If it is the direction of worsening, `onset` is not supported and `onset_of_worsening` "
    "is claimed beside it.",
    cases=(
        Case(
            says="gains at every week",
            groups=[_everywhere(UP)],
            expect={"onset of MMT": 1, "direction of the onset of MMT": "improvement"}
            | _claim("onset of MMT", True, "one_direction", "improvement")
            | {"claim onset_of_worsening of MMT: supported": None},
        ),
        Case(
            says="ten patients who all get worse have an onset of worsening",
            groups=[_everywhere(WORSE)],
            expect={"onset of MMT": 1, "direction of the onset of MMT": "worsening"}
            | _claim("onset of MMT", False, "not_beneficial")
            | _claim("onset_of_worsening of MMT", True, "one_direction", "worsening"),
        ),
        Case(
            says="a CK that rises has an onset of worsening",
            groups=[_everywhere(UP, "CK", 1000, 100)],
            expect={"direction of the onset of CK": "worsening"}
            | _claim("onset of CK", False, "not_beneficial")
            | _claim("onset_of_worsening of CK", True, "one_direction", "worsening"),
        ),
        Case(
            says="a CK that falls has an onset",
            groups=[_everywhere(DOWN, "CK", 1000, 100)],
            expect=_claim("onset of CK", True, "one_direction", "improvement"),
        ),
        Case(
            says="a significant loss before the gains is not part of the run",
            groups=[changing("MMT", 50, w1=DOWN, w2=UP, w4=UP, w8=UP)],
            expect={"MMT week 1: adjusted p": 0.03125, "onset of MMT": 2}
            | _claim("onset of MMT", True, "one_direction", "improvement"),
        ),
        Case(
            says="a week that is not significant interrupts the run",
            groups=[changing("MMT", 50, w1=UP, w2=SLIGHTLY_UP, w4=UP, w8=UP)],
            expect={"onset of MMT": 4} | _claim("onset of MMT", True, "one_direction", "improvement"),
        ),
        Case(
            says="gains that end in a significant loss are an onset of worsening at the last week",
            groups=[changing("MMT", 50, w1=UP, w2=UP, w4=UP, w8=DOWN)],
            expect={"onset of MMT": 8, "direction of the onset of MMT": "worsening"}
            | _claim("onset of MMT", False, "not_beneficial"),
        ),
        Case(
            says="without significance at the last week",
            groups=[changing("MMT", 50, w1=UP, w2=UP, w4=UP, w8=MIXED)],
            expect={"direction of the onset of MMT": None} | _claim("onset of MMT", False, "last_week_not_significant"),
        ),
        Case(
            says="without a p at the last week",
            groups=[changing("MMT", 50, w1=UP, w2=UP, w4=UP)],
            expect=_claim("onset of MMT", False, "last_week_without_p"),
        ),
    ),
)


def _halved(*halvings: int) -> Group:
    words = f"CK 1024 at weeks -4 and 0, then halved {', '.join(map(str, halvings))} times by week 4"
    return Group(words, tuple(Patient(ck=[(-28, 1024), (0, 1024), (28, 1024 / 2**h)], limit=1) for h in halvings))


def _halved_9_or_10_times(size: int) -> list[Group]:
    """Half of the patients each: t is 19 times the root of (size - 1)."""
    return [
        alike(size // 2, f"with CK 1024 at weeks -4 and 0, then halved {times} times by week 4",
              ck=[(-28, 1024), (0, 1024), (28, 1024 / 2**times)])
        for times in (9, 10)
    ]  # fmt: skip


CHANGE_OF_CHANGE = Rule(
    row="claims",
    name="change_of_change",
    words="ln(CK) changed otherwise after treatment than before it if p of the one-sample t test is at most alpha. The "
    "claim names the direction of the mean. A p below 1e-300 has no number: it is at most every alpha, and the claim "
    "says `p < 1e-300`. So it is in every rule with a p.",
    cases=(
        Case(
            says="CK halved once to five times: p = 0.0132",
            groups=[_halved(1, 2, 3, 4, 5)],
            expect=_claim("change_of_change", True, "significant", "improvement"),
        ),
        Case(
            says="CK doubled once to five times",
            groups=[_halved(-1, -2, -3, -4, -5)],
            expect=_claim("change_of_change", True, "significant", "worsening"),
        ),
        Case(
            says="up in some, down in others",
            groups=[_halved(-3, -1, 1, 2, 4)],
            expect=_claim("change_of_change", False, "not_significant"),
        ),
        Case(
            says="one patient has no test",
            ck=[(-28, 1000), (0, 1000), (28, 500)],
            expect=_claim("change_of_change", False, "no_p"),
        ),
        Case(
            says="p = 4e-300 is a number",
            groups=_halved_9_or_10_times(234),
            expect=_claim("change_of_change", True, "significant", "improvement"),
        ),
        Case(
            says="p is below 1e-300, and significant",
            groups=_halved_9_or_10_times(236),
            expect=_claim("change_of_change", True, "significant", "improvement"),
        ),
    ),
)

RESPONDING = alike(5, "with CK 1000, then 500 on day 28", ck=[(0, 1000), (28, 500)])


def _treated(name: str = "CK", *, counted: str, at_most: str, died: int = 0, rescued: int = 0) -> dict[str, Any]:
    return {
        f"{name} responders of all treated": counted,
        f"{name} responders of all treated, at most": at_most,
        f"{name} response: died": died,
        f"{name} response: rescued": rescued,
    }


RATE = Rule(
    row="claims",
    name="rate_of_all_treated",
    words="A rate is claimed of everybody who was treated. A patient who could not be judged counts as without it, "
    "and the greatest possible count, with all of them, stands beside. Deaths and rescue treatments (a second course, "
    "a new immunosuppressant, more glucocorticoid) up to the last day that the rule can judge are counted.",
    cases=(
        Case(
            says="five respond, and five die before a draw: not 5 of 5",
            groups=[RESPONDING, alike(5, "with CK 1000, dead on day 20", ck=[(0, 1000)], ended=(20, "died"))],
            expect={"CK responders": "5 of 5"}
            | _treated(counted="5 of 10", at_most="10 of 10", died=5)
            | _claim("rate_of_all_treated of CK", True, "missing_counted_as_none, died_before"),
        ),
        Case(
            says="everybody could be judged",
            groups=[RESPONDING, alike(5, "with CK 1000 twice", ck=[(0, 1000), (28, 1000)])],
            expect=_treated(counted="5 of 10", at_most="5 of 10")
            | _claim("rate_of_all_treated of CK", True, "all_judged"),
        ),
        Case(
            says="nobody was treated",
            ck=[(0, 1000), (28, 500)],
            infusions=[],
            expect={"CK responders of all treated": "0 of 0"}
            | _claim("rate_of_all_treated of CK", False, "no_patients"),
        ),
        Case(
            says="death on the last day that is judged",
            ck=[(0, 1000), (28, 500)],
            ended=(59, "died"),
            expect=_treated(counted="1 of 1", at_most="1 of 1", died=1)
            | _claim("rate_of_all_treated of CK", True, "all_judged, died_before"),
        ),
        Case(
            says="death a day later",
            ck=[(0, 1000), (28, 500)],
            ended=(60, "died"),
            expect=_treated(counted="1 of 1", at_most="1 of 1")
            | _claim("rate_of_all_treated of CK", True, "all_judged"),
        ),
        Case(
            says="a second course on the last day that is judged",
            ck=[(0, 1000), (28, 500)],
            infusions=[0, infused(59)],
            expect=_treated(counted="1 of 1", at_most="1 of 1", rescued=1)
            | _claim("rate_of_all_treated of CK", True, "all_judged, rescued_before"),
        ),
        Case(
            says="a second course a day later",
            ck=[(0, 1000), (28, 500)],
            infusions=[0, infused(60)],
            expect=_treated(counted="1 of 1", at_most="1 of 1")
            | _claim("rate_of_all_treated of CK", True, "all_judged"),
        ),
        Case(
            says="a patient whose CK was normal before is one of the treated, too",
            groups=[RESPONDING, alike(1, "with CK 150 twice", ck=[(0, 150), (28, 150)])],
            expect={"CK responders": "5 of 5"} | _treated(counted="5 of 6", at_most="6 of 6"),
        ),
    ),
)

MEDIAN = Rule(
    row="claims",
    name="median_time_normal",
    words="A median time is claimed if a patient was under observation after it. The claim names how many of its "
    "patients had a second course, and how many a new immunosuppressant, before their time ended.",
    cases=(
        Case(
            says="relapses 10, 20 and 30 days later",
            groups=[relapsing(10, 20, 30)],
            expect={"time normal: median": 20} | _claim("median_time_normal", True, "at_risk"),
        ),
        Case(
            says="one patient: the curve ends with the median",
            groups=[relapsing(10)],
            expect={"time normal: median": 10} | _claim("median_time_normal", False, "nobody_at_risk"),
        ),
        Case(
            says="the other patient was last seen on the day of the median",
            groups=[relapsing(10), staying_normal(10)],
            expect={"time normal: median": 10} | _claim("median_time_normal", False, "nobody_at_risk"),
        ),
        Case(
            says="the other patient was seen a day longer",
            groups=[relapsing(10), staying_normal(11)],
            expect={"time normal: median": 10} | _claim("median_time_normal", True, "at_risk"),
        ),
        Case(
            says="nobody relapsed",
            groups=[staying_normal(10, 20)],
            expect=_claim("median_time_normal", False, "no_median"),
        ),
        Case(
            says="a second course before the relapse is named",
            groups=[
                relapsing(10, 30),
                alike(1, "with CK normal on day 7, a second course on day 20, and CK abnormal on day 27",
                      ck=[(0, 1000), (7, 150), (27, 400)], infusions=[0, 20]),
            ],
            expect=_claim("median_time_normal", True, "at_risk, treated_again_before"),
        ),
        Case(
            says="a second course after the relapse is not",
            groups=[
                relapsing(10, 30),
                alike(1, "with CK normal on day 7, abnormal on day 27, and a second course on day 28",
                      ck=[(0, 1000), (7, 150), (27, 400)], infusions=[0, 28]),
            ],
            expect=_claim("median_time_normal", True, "at_risk"),
        ),
    ),
)  # fmt: skip

_START, _BEST = MAJOR
_NONE = _START


def _scored(words: str, *visits: Any, again: int | None = None) -> Group:
    """A patient with all core set measures at baseline and at weeks 4, 8 and 12, perhaps with a second course."""
    group = scored(words, _START, *visits)
    infusions = (0,) if again is None else (0, again)
    return Group(words, tuple(replace(patient, infusions=infusions) for patient in group.patients))


_AT_4, _AT_8, _NEVER = (
    _scored("1 patient with a score of 100 at weeks 4, 8 and 12", _BEST, _BEST, _BEST),
    _scored("1 patient with a score of 0 at week 4 and of 100 at weeks 8 and 12", _NONE, _BEST, _BEST),
    _scored("1 patient with a score of 0 at weeks 4, 8 and 12", _NONE, _NONE, _NONE),
)
_LOST_AT_8 = _scored("1 patient with a score of 100 at week 4 and of 0 at weeks 8 and 12", _BEST, _NONE, _NONE)

SCORE = Rule(
    row="claims",
    name="median_time_to_score",
    words="The median time to a level of the total improvement score, and the time for which it was kept "
    "(`median_time_with_score`), are claimed as the other medians: a patient must have been seen without the event at "
    "the end of the interval in which the median lies. The claim names further treatment before the time ended.",
    cases=(
        Case(
            says="one of three was seen without the level at week 4",
            preset=ADULT,
            groups=[_AT_4, _AT_4, _AT_8],
            expect=_claim("median_time_to_score", True, "at_risk"),
        ),
        Case(
            says="everybody had it at the first visit",
            preset=ADULT,
            groups=[_AT_4, _AT_4],
            expect=_claim("median_time_to_score", False, "nobody_at_risk"),
        ),
        Case(
            says="nobody reached it",
            preset=ADULT,
            groups=[_NEVER, _NEVER],
            expect=_claim("median_time_to_score", False, "no_median")
            | _claim("median_time_with_score", False, "no_median"),
        ),
        Case(
            says="a second course on the day of the visit that showed it is named",
            preset=ADULT,
            groups=[_AT_4, _AT_8, _scored("1 patient with a second course on day 28, and a score of 100 at weeks 4, 8 "
                                          "and 12", _BEST, _BEST, _BEST, again=28)],
            expect=_claim("median_time_to_score", True, "at_risk, treated_again_before"),
        ),
        Case(
            says="a second course on the day after is not",
            preset=ADULT,
            groups=[_AT_4, _AT_8, _scored("1 patient with a second course on day 29, and a score of 100 at weeks 4, 8 "
                                          "and 12", _BEST, _BEST, _BEST, again=29)],
            expect=_claim("median_time_to_score", True, "at_risk"),
        ),
        Case(
            says="two of three lost it at week 8: it was kept, and one patient was seen with it after",
            preset=ADULT,
            groups=[_LOST_AT_8, _LOST_AT_8, _AT_4],
            expect=_claim("median_time_with_score", True, "at_risk"),
        ),
        Case(
            says="all lost it at week 8",
            preset=ADULT,
            groups=[_LOST_AT_8, _LOST_AT_8],
            expect=_claim("median_time_with_score", False, "nobody_at_risk"),
        ),
    ),
)  # fmt: skip


def _lowered(*days: int) -> Group:
    """Patients with 20 mg/d of prednisolone up to these days, 5 mg/d from then on, seen up to day 100."""
    patients = tuple(
        Patient(ck=[(0, 1000), (100, 500)], prednisolone=[(0, day - 1, 20), (day, None, 5)]) for day in days
    )
    return Group(f"prednisolone 20 mg/d, then 5 mg/d from day {listed(days)}, seen up to day 100", patients)


LOW_DOSE = Rule(
    row="claims",
    name="median_time_to_low_dose",
    words="The median time to a low dose of glucocorticoids is claimed as the other medians: a patient must have been "
    "under observation, without a low dose, after it. That doses became lower is no claim about the treatment.",
    cases=(
        Case(
            says="a low dose on days 20, 40 and 60",
            groups=[_lowered(20, 40, 60)],
            expect={"low dose: median": 40} | _claim("median_time_to_low_dose", True, "at_risk"),
        ),
        Case(
            says="one patient: the curve ends with the median",
            groups=[_lowered(20)],
            expect={"low dose: median": 20} | _claim("median_time_to_low_dose", False, "nobody_at_risk"),
        ),
        Case(
            says="nobody had a low dose",
            groups=[alike(2, "with 20 mg/d of prednisolone", ck=[(0, 1000), (100, 500)],
                          prednisolone=[(0, None, 20)])],
            expect={"low dose: median": "no_events"} | _claim("median_time_to_low_dose", False, "no_median"),
        ),
        Case(
            says="a new immunosuppressant on the day of the low dose is named",
            groups=[
                _lowered(20, 60),
                alike(1, "with 20 mg/d of prednisolone, then 5 mg/d and azathioprine from day 40",
                      ck=[(0, 1000), (100, 500)], prednisolone=[(0, 39, 20), (40, None, 5)],
                      immunosuppressant_from=40),
            ],
            expect=_claim("median_time_to_low_dose", True, "at_risk, treated_again_before"),
        ),
    ),
)  # fmt: skip


def _only_mmt(size: int) -> Group:
    return alike(size, "with MMT 50, then 60, ADL 20 twice and CK 1000 twice", ck=[(0, 1000), (28, 1000)],
                 mmt=[(0, 50), (28, 60)], adl=[(0, 20), (28, 20)])  # fmt: skip


DIFFERENCE = Rule(
    row="claims",
    name="difference",
    words="Groups, or two endpoints in the same patients, differ if p, adjusted by Holm over all tests of the answer, "
    "is at most alpha. The claim names this family. Under `seed-2008` without groups it is the tests between the three "
    "endpoints. `repeated-measures` of two groups claims so of each interaction of group and week.",
    cases=(
        Case(
            says="seven respond by MMT only: p = 2/128, times three tests",
            groups=[_only_mmt(7)],
            changes={"weekly_change": {"alpha": 0.046875}},
            expect=_claim("difference", True, "significant, one_of_a_family"),
        ),
        Case(
            says="an adjusted p above alpha",
            groups=[_only_mmt(7)],
            changes={"weekly_change": {"alpha": 0.046}},
            expect=_claim("difference", False, "not_significant, one_of_a_family"),
        ),
        Case(
            says="six have p = 0.03125 alone, which is below 0.05, and not in their family",
            groups=[_only_mmt(6)],
            expect=_claim("difference", False, "not_significant, one_of_a_family"),
        ),
    ),
)

DESCRIPTION = Rule(
    row="claims",
    name="description",
    words="An answer whose numbers only describe says so, and has no other claim.",
    cases=(
        Case(
            says="a treated patient is described",
            mmt=[(0, 50)],
            expect=_claim("description", True, "describes"),
        ),
        Case(
            says="nobody was treated",
            mmt=[(0, 50)],
            infusions=[],
            expect=_claim("description", False, "no_patients"),
        ),
    ),
)

_STARTS = (50, 42, 47, 55, 44, 52, 49, 41, 54, 46, 48, 43, 53, 45, 51)
_WEEK_1 = (8, -3, 4, -1, 6, 1, 7, -2, 3, 5, 0, 9, 2, -4, 10)
"""15 gains and losses: t = 2.60, p = 0.021."""
_WEEK_4 = (-4, 10, 2, 0, 9, 3, 5, -2, 7, 1, 6, -1, 4, 8, -3)
"""The same in other patients."""


def _modelled(size: int, sign: int = 1) -> Group:
    """Patients with a MMT of their own at baseline, who change by `sign` times the two lists."""
    rows = [(start, start + sign * first, start + sign * last)
            for start, first, last in zip(_STARTS, _WEEK_1, _WEEK_4, strict=True)][:size]  # fmt: skip
    words = "; ".join(f"{before}, {first:g} and {last:g}" for before, first, last in rows)
    patients = tuple(Patient(mmt=[(0, before), (7, first), (28, last)]) for before, first, last in rows)
    return Group(f"MMT at baseline, week 1 and week 4: {words}", patients)


MODEL = Rule(
    row="claims",
    name="change_by_model",
    words="The mean of a measure at a week differs from that at week 0 if p of the t test of the model of repeated "
    "measures, adjusted over the weeks of the measure, is at most alpha. The direction is that of the estimate. Where "
    "the model is not offered there is no p: `weekly-change` tests the same weeks.",
    cases=(
        Case(
            says="p = 0.0211 at two weeks is 0.0421 after Holm",
            groups=[_modelled(15)],
            expect=_claim("change_by_model of MMT at week 4", True, "significant", "improvement"),
        ),
        Case(
            says="losses are as significant, and a worsening",
            groups=[_modelled(15, -1)],
            expect=_claim("change_by_model of MMT at week 1", True, "significant", "worsening"),
        ),
        Case(
            says="an adjusted p above alpha, though each p alone is below it",
            groups=[_modelled(15)],
            changes={"weekly_change": {"alpha": 0.042}},
            expect=_claim("change_by_model of MMT at week 4", False, "not_significant"),
        ),
        Case(
            says="14 patients are too few for three visits",
            groups=[_modelled(14)],
            expect=_claim("change_by_model of MMT at week 4", False, "no_p"),
        ),
        Case(
            says="a week without values has no p",
            groups=[_modelled(15)],
            expect=_claim("change_by_model of MMT at week 8", False, "no_p"),
        ),
    ),
)

RULES = (CHANGE, ONSET, CHANGE_OF_CHANGE, RATE, MEDIAN, SCORE, LOW_DOSE, DIFFERENCE, DESCRIPTION, MODEL)
