"""The simulation of cohorts in which nothing happens, against as many derivations of the study."""

import json
import statistics
import time
from collections.abc import Callable

from app.analyses import QUESTIONS
from app.analyses.answer import Context
from app.analyses.ck_change import changes
from app.analyses.weekly_change import differences, scales_of
from app.analyses.without_effect import SIMULATIONS
from app.demo import TIMELINES
from app.derive.repeated_cohorts import RepeatedCohorts
from app.derive.study import DerivedStudy
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise

COPIES = (1, 20, 200)
PAIRS = 3
DERIVED = 10
"""Derivations that are measured in one pair; their time is scaled up to that of all simulated cohorts."""


def _rates(study: DerivedStudy) -> object:
    return [study.response(declared.rule) for declared in SEED_2008.responses]


def _weeks(study: DerivedStudy) -> object:
    compared = SEED_2008.weekly_change
    return [
        differences(study, measure, scale, week)
        for measure in compared.measures
        for scale in scales_of(measure)
        for week in compared.weeks
    ]


def _spells(study: DerivedStudy) -> object:
    return study.outcomes(SEED_2008.ck_normal_time.rescue)


DERIVATIONS: dict[str, Callable[[DerivedStudy], object]] = {
    "response-rates": _rates,
    "weekly-change": _weeks,
    "ck-change": changes,
    "ck-normal-time": _spells,
}
"""What each question derives before it estimates."""


def without_effect(copies: tuple[int, ...] = COPIES, pairs: int = PAIRS) -> list[tuple[str, str, str]]:
    """CPU of `null=true` beyond that of the question alone, over the CPU of 200 derivations."""
    documents = json.loads(TIMELINES.read_text(encoding="utf-8"))
    demo = Cohort.of_histories([normalise(Timeline.model_validate_json(json.dumps(each)), 2**62) for each in documents])
    rows = []
    for times in copies:
        cohort = RepeatedCohorts.of(DerivedStudy(demo, SEED_2008)).repeated(times, {}).cohort
        for name, derive in DERIVATIONS.items():
            costs = [_costs(name, derive, cohort) for _ in range(pairs)]
            ours, theirs = (statistics.median(column) for column in zip(*costs, strict=True))
            rows.append((
                f"`{name}?null=true` of {len(cohort):,} patients ({ours:.2f} s of CPU more than without)",
                f"{SIMULATIONS} derivations ({theirs:.2f} s)",
                f"{statistics.median(a / b for a, b in costs):.2f}; asked: at most 1.2",
            ))  # fmt: skip
    return rows


def _costs(name: str, derive: Callable[[DerivedStudy], object], cohort: Cohort) -> tuple[float, float]:
    kind, find = QUESTIONS[name].options_type, QUESTIONS[name].find
    study = DerivedStudy(cohort, SEED_2008)
    plain, simulated = (Context.of(study, kind.model_validate({"null": null})) for null in (False, True))
    find(plain)
    alone = _seconds(lambda: find(plain))
    ours = _seconds(lambda: find(simulated)) - alone
    theirs = _seconds(lambda: [derive(DerivedStudy(cohort, SEED_2008)) for _ in range(DERIVED)])
    return ours, theirs * SIMULATIONS / DERIVED


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
