"""How the whole report grows with the study: ten times as many patients, how many times as long?"""

import json
import math
import statistics
import time
from dataclasses import fields
from datetime import UTC, datetime

import numpy as np

from app.analyses import Options, report
from app.derive.study import DerivedStudy
from app.protocol.presets import SEED_2008
from app.readers.json_timelines import read_timeline
from app.timeline.cohort import NO_TIME, Cohort, Table
from app.timeline.times import latest_acceptable
from tests.bench.cohort import timeline

SMALL, LARGE = 10_000, 100_000
MODELS = 500
"""Patients that are made one by one; the others are these again, each value changed at random."""
RUNS = 5


def growth(runs: int = RUNS) -> list[tuple[str, str, str]]:
    """The report of 100,000 patients against that of 10,000, from columns in memory."""
    made = models()
    small, large = (study_of(made, size) for size in (SMALL, LARGE))
    exponents, times = [], []
    _seconds(small)  # the models of the answers are built when the first one is given
    for _ in range(runs):
        few, many = (_seconds(cohort) for cohort in (small, large))
        exponents.append(math.log(many / few, LARGE / SMALL))
        times.append((few, many))
    few, many = (statistics.median(column) for column in zip(*times, strict=True))
    return [
        (
            f"whole report of {LARGE:,} patients with {len(large.labs):,} results, from columns ({many:.1f} s)",
            f"the same of {SMALL:,} patients ({few:.1f} s)",
            f"grows with exponent {statistics.median(exponents):.2f}; asked: 1.05 at most",
        )
    ]


def growth_of_derivation(runs: int = RUNS) -> list[tuple[str, str, str]]:
    """The derivations of CK alone of 100,000 patients against those of 10,000, in processor time."""
    made = models()
    small, large = (study_of(made, size) for size in (SMALL, LARGE))
    times = [(_derived(small), _derived(large)) for _ in range(runs)]
    few, many = (statistics.median(column) for column in zip(*times, strict=True))
    exponent = statistics.median(math.log(more / less, LARGE / SMALL) for less, more in times)
    return [
        (
            f"derivation of {LARGE:,} patients with {len(large.labs):,} results, from columns ({many:.2f} s of CPU)",
            f"the same of {SMALL:,} patients ({few:.3f} s)",
            f"grows with exponent {exponent:.2f}; asked: 1.05 at most",
        )
    ]


def models() -> Cohort:
    """The patients that are made one by one."""
    latest = latest_acceptable(datetime.now(UTC))
    return Cohort.of_histories([read_timeline(_bytes(number), latest) for number in range(MODELS)])


def _bytes(number: int) -> bytes:
    return json.dumps(timeline(number)).encode()


def study_of(models: Cohort, size: int, first: int = 0) -> Cohort:
    """The models over and over, in patients of their own, every result and date of them moved a little. The copies are
    numbered from `first` on.
    """
    copies = size // len(models)
    rng = np.random.default_rng(size + first)
    numbers = range(first, first + copies)
    patients = tuple(row._replace(id=f"P{copy:04d}-{row.id}") for copy in numbers for row in models.patients)
    shift = rng.integers(0, 1000, size)

    def repeated(table: Table) -> Table:
        owner = np.concatenate([table.patient + copy * len(models) for copy in range(copies)])
        columns = {"patient": owner}
        for name in [field.name for field in fields(table) if field.name != "patient"]:
            column = np.tile(getattr(table, name), copies)
            if name in {"day", "start_day"}:
                column = column + shift[owner]
            if name == "instant":
                column = np.where(column == NO_TIME, NO_TIME, column + shift[owner] * 86_400_000_000)
            if name == "value":
                column = np.round(column * rng.uniform(0.95, 1.05, len(column)), 1)
            columns[name] = column
        return type(table)(**columns)

    tables = (models.labs, models.assessments, models.infusions, models.medications, models.events)
    return Cohort(patients, *map(repeated, tables), models.zoned)  # type: ignore[arg-type]


def _derived(cohort: Cohort) -> float:
    begin = time.process_time()
    study = DerivedStudy(cohort, SEED_2008)
    for week in SEED_2008.visits.weeks:
        study.difference("CK", week)
    _ = study.courses, study.remission_episodes
    return time.process_time() - begin


def _seconds(cohort: Cohort) -> float:
    begin = time.perf_counter()
    report(cohort, SEED_2008, Options())
    return time.perf_counter() - begin
