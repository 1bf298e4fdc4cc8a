"""The derivation alone, from columns in memory on one thread, against SQL of DuckDB and a lazy plan of Polars."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from app.derive.study import DerivedStudy
from app.protocol.model import Protocol, Visits, WeeklyChange
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from benchmarks.pairs import Counts, Measured, Row, in_turn, took
from benchmarks.programs import program, python
from tests.bench.growth import models, study_of
from tests.trust.figures import NotHere

WEEKS = tuple(range(1, 55))
HOUR = 3_600_000_000
PEERS: dict[str, tuple[str, float | None]] = {
    "DuckDB": ("duckdb_derivation.py", 2),
    "Polars": ("polars_derivation.py", None),
}
"""The program of each peer, and the ratio that is asked for."""


def measure(counts: Counts, folder: Path) -> Measured:
    """Baseline, 54 weekly visits, changes and their logarithms, normal spells; all sides find the same sums."""
    parts = {name: getattr(SEED_2008, name) for name in Protocol.model_fields}
    only_ck = {
        "responses": tuple(each for each in SEED_2008.responses if each.rule.measure == "CK"),
        "visits": Visits(weeks=(-4, *WEEKS)),
        "weekly_change": WeeklyChange(measures=("CK",), weeks=WEEKS),
    }
    protocol = Protocol(**parts | only_ck)
    cohort = with_repeats(study_of(models(), counts.derived))
    write(cohort, folder)
    work = f"derivation alone, {len(cohort):,} patients with {len(cohort.labs):,} results, from columns, one thread"
    ours = derive(cohort, protocol)
    rows = []
    for peer, (script, asked) in PEERS.items():
        try:
            command = python(script, folder)
        except NotHere as missing:
            rows.append(Row(f"derivation: {peer}", work, peer, asked=asked, skipped=str(missing)))
            continue
        with program(command) as theirs:
            _, found = theirs.once()
            if not all(math.isclose(mine, other, rel_tol=1e-9) for mine, other in zip(ours, found, strict=True)):
                raise SystemExit(f"the figures differ: {ours} {found}")
            pairs = in_turn(counts.pairs, lambda: took(lambda: derive(cohort, protocol)), theirs.took)
            rows.append(Row(f"derivation: {peer}", work, theirs.name, pairs, asked))
    return Measured(rows)


def derive(cohort: Cohort, protocol: Protocol) -> list[float]:
    """Visits, sum of the changes and of their logarithms; spells, relapses, days."""
    derived = DerivedStudy(replace(cohort), protocol)  # a new cohort knows nothing from an earlier round
    changes = np.stack([derived.difference("CK", week) for week in WEEKS])
    base = np.log(derived.ck_at(0))
    logarithms = np.stack([np.log(derived.ck_at(week)) - base for week in WEEKS])
    episodes = derived.remission_episodes
    inside = np.array([reason is None for reason in episodes.reason])
    return [
        float(np.count_nonzero(~np.isnan(changes))),
        float(np.nansum(changes)),
        float(np.nansum(logarithms)),
        float(inside.sum()),
        float(episodes.relapsed[inside].sum()),
        float(episodes.duration[inside].sum()),
    ]


def with_repeats(cohort: Cohort) -> Cohort:
    """The cohort with every fiftieth result measured again an hour later: which one counts is part of the work."""
    labs = cohort.labs
    rows = np.arange(len(labs))
    again = rows[::50]
    rows = np.insert(rows, again + 1, again)
    repeated = labs.where(rows)
    places = again + 1 + np.arange(len(again))
    instant, value = repeated.instant.copy(), repeated.value.copy()
    instant[places] += HOUR
    value[places] = np.round(value[places] * 0.9, 1)
    return replace(cohort, labs=replace(repeated, instant=instant, value=value))


def write(cohort: Cohort, folder: Path) -> None:
    """The same columns for the peers, with 32-bit numbers of patients and days."""
    labs, infusions = cohort.labs, cohort.infusions
    tables: dict[str, dict[str, Any]] = {
        "labs": {"instant": labs.instant, "value": labs.value, "upper_limit": labs.upper_limit},
        "infusions": {"product": pa.array(infusions.product, pa.string())},
    }
    for name, table in (("labs", labs), ("infusions", infusions)):
        keys = {"patient": table.patient.astype(np.int32), "day": table.day.astype(np.int32)}
        parquet.write_table(pa.table(keys | tables[name]), folder / f"{name}.parquet")
