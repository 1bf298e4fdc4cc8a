"""A second implementation of the composite definitions of improvement: slow, obvious, one patient and visit at a time.

Written from the published table and docs/definitions.md, on the fractions that were written down. A value that is known
only as a bound is tried out at the ends of what it may be (just inside an end that it cannot take), a value that is
missing is tried out with everything it could score; what all trials agree on is known. Only the baseline, the visits
and the day's one record come from the other twin.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product

from app.protocol.improvement import CoreSet, DefinitionOfImprovement, ImprovementScore, Worsening
from app.protocol.model import Protocol
from tests.twin.derivations import Patient, Record, limit_of, visits

JUST = Fraction(1, 10**12)
HUGE = Fraction(10**15)
SCORES = {
    "physician_global": ("5 15 25 40", "0 7.5 15 17.5 20"),
    "patient_global": ("5 15 25 40", "0 2.5 5 7.5 10"),
    "muscle_strength": ("2 10 20 30", "0 10 20 27.5 32.5"),
    "function": ("5 15 25 40", "0 5 7.5 7.5 10"),
    "enzyme": ("5 15 25 40", "0 2.5 5 7.5 7.5"),
    "extramuscular": ("5 15 25 40", "0 7.5 12.5 15 20"),
}
LEVELS = {
    "adult": {"minimal": 20, "moderate": 40, "major": 60},
    "juvenile": {"minimal": 30, "moderate": 45, "major": 70},
}


@dataclass(frozen=True)
class Pair:
    """One measure at baseline and at a visit: all the pairs of numbers that they might be; none where one is missing.

    `span` is the range of the measure in the unit of these numbers, `better` its better end, `day` that of the visit.
    """

    name: str
    better: str
    span: Fraction
    pairs: list[tuple[Fraction, Fraction]]
    day: int | None


@dataclass(frozen=True)
class Seen:
    """One visit: the bounds of its score, or `None` where nothing was seen; whether it is worse, and improved.

    `day` is that of the last measure, the first on which the score is known.
    """

    lower: Fraction | None
    upper: Fraction | None
    worse: set[bool]
    improved: set[bool]
    enzyme: str | None
    day: int | None


def might_be(patient: Patient, protocol: Protocol, record: Record | None) -> list[Fraction]:
    """The values of an enzyme in multiples of its own upper limit, as far as they matter; none without a limit."""
    if record is None:
        return []
    is_ck = record.draw.measure == "CK"
    limit = limit_of(patient, protocol, record)[0] if is_ck else record.upper_limit
    if not limit:
        return []
    value = record.value
    ends = {
        None: [value],
        "<": [Fraction(0), value - JUST],
        "<=": [Fraction(0), value],
        ">": [value + JUST, HUGE],
        ">=": [value, HUGE],
    }[record.comparator]
    return [end / limit for end in ends]


def followed_enzyme(baselines: dict[str, list[Fraction]]) -> str | None:
    """The most abnormal enzyme, if it is the same one whatever the bounds hide; the first declared of equal ones."""
    measured = {name: values for name, values in baselines.items() if values}
    if not measured:
        return None
    winners = set()
    for values in product(*measured.values()):
        by_name = dict(zip(measured, values, strict=True))
        winners.add(max(by_name, key=lambda name: by_name[name]))  # the first of equal ones
    return winners.pop() if len(winners) == 1 else None


def pairs_at(patient: Patient, protocol: Protocol, core_set: CoreSet, ranges: dict[str, Fraction], week: int):
    """The six measures at a week, and the enzyme that is followed."""
    scores = {
        "physician_global": core_set.physician_global,
        "patient_global": core_set.patient_global,
        "muscle_strength": core_set.muscle_strength,
        "function": core_set.function,
        "extramuscular": core_set.extramuscular,
    }
    found = []
    for name, code in scores.items():
        scale, seen = protocol.scale(code), visits(patient, protocol, code)
        both = [(seen[0].value, seen[week].value)] if 0 in seen and week in seen else []
        span = Fraction(repr(scale.maximum)) - Fraction(repr(scale.minimum))
        found.append(Pair(name, scale.better, span, both, seen[week].day if both else None))
    seen = {code: visits(patient, protocol, code) for code in core_set.enzymes}
    enzyme = followed_enzyme({code: might_be(patient, protocol, of_code.get(0)) for code, of_code in seen.items()})
    both = []
    if enzyme is not None:
        both = list(product(*(might_be(patient, protocol, seen[enzyme].get(each)) for each in (0, week))))
    day = seen[enzyme][week].day if enzyme is not None and both else None
    found.append(Pair("enzyme", "lower", ranges.get(enzyme or "", Fraction(1)), both, day))
    return found, enzyme


def gain(pair: Pair, before: Fraction, after: Fraction) -> Fraction:
    return after - before if pair.better == "higher" else before - after


def scores_of(pair: Pair) -> set[Fraction]:
    """What one measure might score."""
    cuts, scores = ([Fraction(each) for each in words.split()] for words in SCORES[pair.name])
    if not pair.pairs:
        return set(scores)
    return {scores[sum(1 for cut in cuts if 100 * gain(pair, *both) / pair.span > cut)] for both in pair.pairs}


def worse_by(pair: Pair, percent: Fraction, floor_percent: Fraction) -> set[bool]:
    """Whether a measure is worse by so much of its baseline."""
    found: set[bool] = set()
    for before, after in pair.pairs:
        loss = -gain(pair, before, after)
        if before:
            found.add(100 * loss >= percent * before)
        elif pair.better == "higher" or not after:
            found.add(False)
        elif pair.name == "enzyme":
            found |= {False, True}
        else:
            found.add(100 * after >= floor_percent * pair.span)
    return found or {False, True}


def better_by(pair: Pair, percent: Fraction) -> set[bool]:
    return {bool(before) and 100 * gain(pair, before, after) >= percent * before for before, after in pair.pairs} or {
        False,
        True,
    }


def points_worse(pair: Pair, points: Fraction) -> set[bool]:
    return {-gain(pair, *both) >= points for both in pair.pairs} or {False, True}


def exact(number: float) -> Fraction:
    return Fraction(repr(float(number)))


def is_worse(rule: Worsening, measures: list[Pair]) -> set[bool]:
    """The rule of worsening, tried out with everything that is open."""
    floor = exact(rule.zero_baseline_floor_percent)
    by_name = {pair.name: pair for pair in measures}
    choices = [
        points_worse(by_name["physician_global"], exact(rule.physician_global_points)),
        worse_by(by_name["muscle_strength"], exact(rule.muscle_percent), floor),
        points_worse(by_name["extramuscular"], exact(rule.extramuscular_points)),
        *(
            worse_by(pair, exact(rule.measures_percent), floor)
            for pair in measures
            if rule.count_enzyme or pair.name != "enzyme"
        ),
    ]
    return {(one[0] and one[1]) or one[2] or sum(one[3:]) >= rule.measures for one in product(*choices)}


def is_improved(rule: DefinitionOfImprovement, measures: list[Pair]) -> set[bool]:
    """The definition of improvement, tried out likewise."""
    floor = exact(rule.zero_baseline_floor_percent)
    choices = []
    for pair in measures:
        better, worse = better_by(pair, exact(rule.improved_percent)), worse_by(pair, exact(rule.worse_percent), floor)
        choices.append([each for each in product(better, worse) if each != (True, True)])
    muscle = [pair.name for pair in measures].index("muscle_strength")
    return {
        sum(better for better, _ in one) >= rule.improved_measures
        and sum(worse for _, worse in one) <= rule.worse_measures
        and not one[muscle][1]
        for one in product(*choices)
    }


def seen_at(
    patient: Patient,
    protocol: Protocol,
    score: ImprovementScore,
    definition: DefinitionOfImprovement,
    week: int,
) -> Seen:
    """Everything about one visit of one patient."""
    ranges = {each.enzyme: exact(each.upper_limits) for each in score.enzyme_ranges}
    measures, enzyme = pairs_at(patient, protocol, score.core_set, ranges, week)
    if not any(pair.pairs for pair in measures):
        return Seen(None, None, {False}, {False}, enzyme, None)
    possible = [scores_of(pair) for pair in measures]
    return Seen(
        sum(map(min, possible), Fraction(0)),
        sum(map(max, possible), Fraction(0)),
        is_worse(score.worsening, measures),
        is_improved(definition, measures),
        enzyme,
        max(pair.day for pair in measures if pair.day is not None),
    )


def confirmed(course: list[Seen]) -> list[set[bool]]:
    """By each visit: whether two attended visits in a row, up to it, were worse."""
    found = []
    for end in range(1, len(course) + 1):
        attended = [seen.worse for seen in course[:end] if seen.lower is not None]
        found.append({
            any(a and b for a, b in pairwise(one)) for one in product(*attended)
        })  # fmt: skip
    return found


@dataclass(frozen=True)
class Response:
    """What a patient with any visit may have reached of a level, over the visits that were attended.

    `earliest` and `latest` are the day of the first visit that might reach it and of the first that must, and whether
    there is such a visit; else the day of the last visit.
    """

    best: set[bool]
    sustained: set[bool]
    at_last_visit: set[bool]
    earliest: tuple[int, bool]
    latest: tuple[int, bool]


def response(course: list[Seen], threshold: int) -> Response | None:
    """Every visit is tried out with each verdict that its bounds leave open; None without a visit."""
    attended = [seen for seen in course if seen.lower is not None]
    if not attended:
        return None
    verdicts = [{seen.lower >= threshold, seen.upper >= threshold} for seen in attended]
    trials = list(product(*verdicts))
    days = [seen.day for seen in attended]
    first = [[day for day, verdict in zip(days, verdicts, strict=True) if wanted(verdict)]
             for wanted in (lambda verdict: True in verdict, lambda verdict: verdict == {True})]  # fmt: skip
    return Response(
        {any(one) for one in trials},
        {any(a and b for a, b in pairwise(one)) for one in trials},
        {one[-1] for one in trials},
        *((min(each), True) if each else (days[-1], False) for each in first),
    )


def best_category(course: list[Seen], levels: dict[str, int]) -> str | None:
    """The highest level of any visit, if the bounds leave one; None without a visit or where they leave several."""
    attended = [(seen.lower, seen.upper) for seen in course if seen.lower is not None]
    found = {
        [*["none"], *(name for name, least in levels.items() if max(one) >= least)][-1] for one in product(*attended)
    }
    return found.pop() if attended and len(found) == 1 else None
