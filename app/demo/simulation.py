"""A simulated cohort whose truth is known: the same design and seed give the same patients, byte for byte.

A patient's CK is abnormal until an exponential time A, then normal for an exponential time, then abnormal for good. Its
values scatter so little that each draw shows the true state. So the truth behind each figure has a closed form:

- ln(CK) is G + e while CK is abnormal and -H + e while it is normal, relative to the upper limit. G is uniform on
  0.5 to 2.5, H on 0.4 to 1.2, e on -0.15 to 0.15. So no abnormal draw is 30 % below another one.
- A has the rate `effect` x ln(2)/42 d. The normal time has a median of 200 d. It has no memory: from the first normal
  draw, too, it is exponential with this median.
- MMT and ADL rise by `effect` x gain x (1 - exp(-week/4)), with normal levels and normal errors.

Without effect nothing changes.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEEKS = (-4, 0, 1, 2, 4, 8, *range(12, 105, 4))
"""The visits of a cohort unless others are given."""
UPPER_LIMIT = 200
DAYS_TO_NORMAL, DAYS_NORMAL = 42, 200
ABNORMAL, NORMAL, ERROR = (0.5, 2.5), (0.4, 1.2), 0.15
SCORES = {"MMT": (60, 8, 3.0, 8), "ADL": (25, 4, 1.5, 3)}
"""Mean and deviation of the level before treatment, deviation of the errors, and gain, all in points."""
LARGEST_SCORE = {"MMT": 100, "ADL": 50}
FIRST_DAY = date(2020, 1, 6)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Design:
    """How many patients, how great the effect is (1: the values above), where the random numbers start, and the weeks
    of the visits.
    """

    patients: int = 40
    effect: float = 1
    seed: int = 1
    weeks: tuple[int, ...] = WEEKS

    def __post_init__(self) -> None:
        """Raise `ValueError` for a design without a baseline, or with a visit twice."""
        if 0 not in self.weeks or any(later <= earlier for earlier, later in pairwise(self.weeks)):
            raise ValueError("the weeks must ascend and contain 0")

    @property
    def rates(self) -> tuple[float, float]:
        """The rates per day of becoming normal and of becoming abnormal again."""
        return self.effect * np.log(2) / DAYS_TO_NORMAL, np.log(2) / DAYS_NORMAL


def values(design: Design) -> dict[str, Floats]:
    """CK in U/L, MMT and ADL: patients x visits."""
    random = np.random.default_rng(design.seed)
    size, days = (design.patients, 1), 7.0 * np.array(design.weeks)
    to_normal, to_abnormal = design.rates
    begins = random.exponential(size=size) / to_normal if to_normal else np.full(size, np.inf)
    ends = begins + random.exponential(size=size) / to_abnormal
    abnormal, normal = random.uniform(*ABNORMAL, size), -random.uniform(*NORMAL, size)
    error = random.uniform(-ERROR, ERROR, (design.patients, len(days)))
    ratio = np.where((begins <= days) & (days < ends), normal, abnormal) + error
    drawn = {"CK": np.round(UPPER_LIMIT * np.exp(ratio), 1)}
    for code, (mean, spread, deviation, _) in SCORES.items():
        level = mean + spread * random.standard_normal(size)
        score = level + gain(design, code, np.array(design.weeks)) + deviation * random.standard_normal(error.shape)
        drawn[code] = np.clip(np.round(score), 0, LARGEST_SCORE[code])
    return drawn


def gain(design: Design, code: str, weeks: Floats | NDArray[np.int64] | int) -> Any:  # noqa: ANN401 - as `weeks`
    """The mean gain of a score up to a week."""
    return design.effect * SCORES[code][3] * (1 - np.exp(-np.maximum(weeks, 0) / 4))


def lines(design: Design) -> Iterator[str]:
    """The timelines of the patients, one in each line."""
    drawn = values(design)
    width = len(str(design.patients))
    for number in range(design.patients):
        day0 = FIRST_DAY + timedelta(days=7 * (number % 52))
        days = [str(day0 + timedelta(days=7 * week)) for week in design.weeks]
        timeline = {
            "patient": {
                "id": f"S{number + 1:0{width}}",
                "sex": "female" if number % 3 else "male",
                "birth_year": 1940 + number % 40,
                "diagnosis": "dermatomyositis" if number % 2 else "polymyositis",
            },
            "labs": [
                {"code": "CK", "time": day, "value": value, "unit": "U/L", "upper_limit": UPPER_LIMIT, "lab": "A"}
                for day, value in zip(days, drawn["CK"][number].tolist(), strict=True)
            ],
            "assessments": [
                {"code": code, "time": day, "score": score}
                for code in SCORES
                for day, score in zip(days, drawn[code][number].tolist(), strict=True)
            ],
            "infusions": [{"time": str(day0), "product": "IVIG", "dose": 2, "unit": "g/kg"}],
        }
        yield json.dumps(timeline)


def truth(design: Design) -> dict[str, Any]:
    """What the figures of the cohort would be in infinitely many patients with these visits."""
    _, to_abnormal = design.rates
    after = [week for week in design.weeks if week > 0]
    fall = -(sum(ABNORMAL) + sum(NORMAL)) / 2
    return {
        "design": asdict(design),
        "mean_change": {
            "ln(CK)": {str(week): fall * chance_of_normal(design, week) for week in after},
            **{code: {str(week): float(gain(design, code, week)) for week in after} for code in SCORES},
        },
        "ck_response_by_day_59": {
            "best": sum(chances_of_first_normal(design, up_to=59)),
            "last": chance_of_normal(design, max((week for week in after if 7 * week <= 59), default=0)),
        },
        "median_days_to_normal": DAYS_TO_NORMAL / design.effect if design.effect else None,
        "median_days_normal": float(np.log(2) / to_abnormal),
        "median_days_normal_as_seen": median_as_seen(design),
    }


def chance_of_normal(design: Design, week: int) -> float:
    """The chance that CK is normal at a visit."""
    to_normal, to_abnormal = design.rates
    return _became_and_stayed(7 * max(week, 0), to_normal, to_abnormal)


def _became_and_stayed(days: float, to_normal: float, to_abnormal: float) -> float:
    """The chance to become normal within some days, and to be normal at their end."""
    if to_normal == to_abnormal:
        return float(to_normal * days * np.exp(-to_normal * days))
    within = np.exp(-to_abnormal * days) - np.exp(-to_normal * days)
    return float(to_normal / (to_normal - to_abnormal) * within)


def chances_of_first_normal(design: Design, up_to: float = np.inf) -> list[float]:
    """For each visit after day 0, the chance that it is the first one with a normal CK.

    Who became normal and abnormal again between two visits was never seen normal.
    """
    to_normal, to_abnormal = design.rates
    days = [0, *(7 * week for week in design.weeks if 0 < 7 * week <= up_to)]
    return [
        float(np.exp(-to_normal * before)) * _became_and_stayed(day - before, to_normal, to_abnormal)
        for before, day in pairwise(days)
    ]


def median_as_seen(design: Design) -> int | None:
    """The median of the days from the first normal draw to the first abnormal one; null where it is beyond the last
    visit. It is later than the median of the normal time: the end of a time is seen at the next visit only.
    """
    _, to_abnormal = design.rates
    days = [7 * week for week in design.weeks if week > 0]
    chances = chances_of_first_normal(design)
    total, fallen = sum(chances), 0.0
    seen: dict[int, float] = {}
    for place, (day, chance) in enumerate(zip(days, chances, strict=True)):
        for before, after in pairwise(days[place:]):
            left = chance * (np.exp(-to_abnormal * (before - day)) - np.exp(-to_abnormal * (after - day)))
            seen[after - day] = seen.get(after - day, 0.0) + float(left)
    for duration in sorted(seen):
        fallen += seen[duration]
        if total and fallen >= total / 2:
            return duration
    return None
