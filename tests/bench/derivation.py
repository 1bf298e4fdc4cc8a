"""Derivation alone: day 0, courses, visits, changes and remission of a large study, against SQL of DuckDB."""

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from app.derive.exact_comparison import ln_ratio
from app.derive.reasons import FlagCode
from app.derive.study import DerivedStudy
from app.protocol.presets import SEED_2008
from app.timeline.cohort import NO_TIME, Cohort, Table
from tests.bench.growth import LARGE, SMALL, models, study_of

PAIRS = 5
THREADS = 2
WEEKS = SEED_2008.visits.weeks


def derivation(pairs: int = PAIRS) -> list[tuple[str, str, str]]:
    """The derivation of 100,000 patients with 10,000,000 results against DuckDB, and against that of 10,000."""
    made = models()
    small, large = (study_of(made, size) for size in (SMALL, LARGE))
    few, many, peers = [], [], []
    query = None if find_spec("duckdb") is None else _query(large)
    if query is not None:
        _same_figures(figures(large), query())
    for _ in range(pairs):
        few.append(_costs(partial(figures, small)))
        many.append(_costs(partial(figures, large)))
        if query is not None:
            peers.append(_costs(query))
    exponent = statistics.median(
        math.log(more[1] / less[1], LARGE / SMALL) for more, less in zip(many, few, strict=True)
    )
    wall, cpu = _medians(many)
    what = f"derivation alone, {LARGE:,} patients with {len(large.labs):,} results, from columns, one thread"
    return [
        _against_duckdb(what, many, peers),
        (
            f"{what} ({cpu:.2f} s of CPU, {wall:.2f} s)",
            f"the same of {SMALL:,} patients ({_medians(few)[1]:.3f} s of CPU)",
            f"grows with exponent {exponent:.2f}; asked: 1.05 at most",
        ),
    ]


def figures(cohort: Cohort) -> dict[str, float]:
    """What both sides derive for each patient, as counts and sums."""
    study = DerivedStudy(cohort, SEED_2008)
    exposure, episodes = study.exposure, study.remission_episodes
    counted = np.array([reason is None for reason in episodes.reason])
    found: dict[str, float] = {
        "treated": int(exposure.treated.sum()),
        "courses": int(exposure.courses.sum()),
        "second": exposure.flags[FlagCode.SECOND_COURSE],
        "episodes": int(counted.sum()),
        "relapses": int(episodes.relapsed[counted].sum()),
        "days": int(episodes.duration[counted].sum()),
    }
    for week in WEEKS:
        change = study.difference("CK", week)
        found[f"change {week}"] = float(np.nansum(change))
        found[f"ln {week}"] = float(np.nansum(ln_ratio([study.ck_at(week)], [study.ck_at(0)])))
    return found


def _query(cohort: Cohort) -> Callable[[], dict[str, float]]:
    """The same figures from tables of DuckDB, in its own types. Of a day the latest result is kept."""
    import duckdb
    import pyarrow

    connection = duckdb.connect(config={"threads": THREADS})
    labs, infusions = cohort.labs, cohort.infusions
    kept = labs.where(labs.code == 0)
    sent = pyarrow.table(
        _whole(kept, "patient", "day", "instant", "issued", "comparator")
        | {"value": kept.value, "upper_limit": pyarrow.array(kept.upper_limit, from_pandas=True)}
    )
    given = pyarrow.table(_whole(infusions, "patient", "day", "instant") | {"product": infusions.product.tolist()})
    small = "patient::INTEGER AS patient, day::INTEGER AS day, instant"
    for name, source, columns in (
        ("labs", sent, f"{small}, issued, comparator::TINYINT AS comparator, value, upper_limit"),
        ("infusions", given, f"{small}, product"),
    ):
        connection.register("sent", source)
        connection.execute(f"CREATE TABLE {name} AS SELECT {columns} FROM sent")
        connection.unregister("sent")
    del sent, given, kept

    def query() -> dict[str, float]:
        cursor = connection.execute(SQL)
        names = [column[0] for column in cursor.description]
        [row] = cursor.fetchall()
        return dict(zip(names, row, strict=True))

    return query


def _whole(table: Table, *names: str) -> dict[str, Any]:
    import pyarrow

    columns = {name: getattr(table, name) for name in names}
    return {name: pyarrow.array(column, mask=column == NO_TIME) for name, column in columns.items()}


_PRODUCTS = ", ".join(f"'{name.strip().casefold()}'" for name in SEED_2008.treatment.products)
_GAP = SEED_2008.treatment.course_gap_days
_REACH = SEED_2008.visits.tolerance_days
_AT_WEEKS = ",\n".join(
    f"arg_min(value, (abs(day - {7 * week}), -day)) FILTER (day {'>' if week > 0 else '<'} 0 AND day <> base_day AND "
    f"day BETWEEN {7 * week - _REACH} AND {7 * week + _REACH}) AS week_{place}"
    for place, week in enumerate(WEEKS)
)
_SUMS = ",\n".join(
    f'sum(round(week_{place} - base, 9)) AS "change {week}", sum(ln(week_{place} / base)) AS "ln {week}"'
    for place, week in enumerate(WEEKS)
)
SQL = f"""
WITH named AS (
    SELECT patient, day, instant, lower(trim(product)) AS product FROM infusions
), gaps AS (
    SELECT *, day - lag(day) OVER (PARTITION BY patient, product ORDER BY day) AS gap
    FROM named WHERE product IN ({_PRODUCTS})
), given AS (
    SELECT *, (gap IS NULL OR gap > {_GAP})::INTEGER AS starts FROM gaps
), exposure AS (
    SELECT patient, min(day) AS day0, arg_min(instant, day) AS instant0, sum(starts) AS courses,
        max(day) FILTER (starts = 1) AS last_start
    FROM given GROUP BY patient
), kept AS (
    SELECT labs.patient, labs.day - day0 AS day,
        arg_max(struct_pack(value := value, upper_limit := upper_limit, comparator := comparator),
                coalesce(instant, 0)) AS best
    FROM labs JOIN exposure USING (patient)
    WHERE NOT (labs.day = day0 AND coalesce(instant > instant0, false))
    GROUP BY labs.patient, labs.day - day0
), records AS (
    SELECT patient, day, best.value AS value, CASE
        WHEN best.value <= best.upper_limit AND best.comparator IN (0, 1, 2) THEN 1
        WHEN best.value > best.upper_limit AND best.comparator IN (0, 3)
            OR best.value >= best.upper_limit AND best.comparator = 4 THEN 0 END AS normal
    FROM kept
), baseline AS (
    SELECT patient, max(day) AS base_day, arg_max(value, day) AS base, arg_max(normal, day) AS base_normal
    FROM records WHERE day <= 0 GROUP BY patient
), visits AS (
    SELECT patient, any_value(base) AS base, any_value(base_normal) AS base_normal,
        min(day) FILTER (day > 0 AND normal = 1) AS start,
        max(day) FILTER (day > 0 AND normal IS NOT NULL) AS last,
        {_AT_WEEKS}
    FROM records LEFT JOIN baseline USING (patient) GROUP BY patient
), relapses AS (
    SELECT patient, min(day) AS relapse
    FROM records JOIN visits USING (patient) WHERE normal = 0 AND day > start GROUP BY patient
)
SELECT count(*) AS treated, sum(courses) AS courses, count(*) FILTER (last_start > day0) AS second,
    count(*) FILTER (base_normal = 0 AND start IS NOT NULL) AS episodes,
    count(relapse) FILTER (base_normal = 0 AND start IS NOT NULL) AS relapses,
    sum(coalesce(relapse, last) - start) FILTER (base_normal = 0) AS days,
    {_SUMS}
FROM exposure LEFT JOIN visits USING (patient) LEFT JOIN relapses USING (patient)
"""


def _same_figures(ours: dict[str, float], theirs: dict[str, float]) -> None:
    """Both sides must have done the same work."""
    for name, figure in ours.items():
        if not math.isclose(figure, theirs[name], rel_tol=1e-9):
            raise SystemExit(f"{name} differs: {figure} {theirs[name]}")


def _against_duckdb(
    what: str, ours: list[tuple[float, float]], peers: list[tuple[float, float]]
) -> tuple[str, str, str]:
    if not peers:
        return what, f"SQL of DuckDB on its own table, {THREADS} threads", "skipped: DuckDB is not installed"
    import duckdb

    (wall, cpu), (peer_wall, peer_cpu) = _medians(ours), _medians(peers)
    ratios = [(mine[0] / peer[0], mine[1] / peer[1]) for mine, peer in zip(ours, peers, strict=True)]
    of_wall, of_cpu = _medians(ratios)
    return (
        f"{what} ({wall:.2f} s, {cpu:.2f} s of CPU)",
        f"SQL of DuckDB {duckdb.__version__} on its own table, {THREADS} threads ({peer_wall:.2f} s, {peer_cpu:.2f} s "
        "of CPU)",
        f"{of_wall:.2f} of the time, {of_cpu:.2f} of the CPU; asked: 0.5 of the time at most",
    )


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    return first, second


def _costs(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of CPU."""
    begin, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - used


if __name__ == "__main__":
    print(*derivation(), sep="\n")
