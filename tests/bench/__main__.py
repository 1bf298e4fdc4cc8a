"""`python -m tests.bench`: every ratio in one run, printed and written to `docs/benchmarks.md`."""

import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from app.analyses import Options, report
from app.analyses.answer_document import Header, Provenance, report_document
from app.protocol.presets import SEED_2008
from app.readers.json_timelines import read_timeline
from app.store import ledger, studies, timelines
from app.store.engine import Database
from app.store.migrations import upgrade
from app.timeline.times import latest_acceptable, microseconds
from tests.bench import pandas_report
from tests.bench.bulk import bulk, stream_memory
from tests.bench.charts import charts
from tests.bench.cohort import results_only, timeline
from tests.bench.fhir import fhir_bundle
from tests.bench.growth import growth
from tests.bench.improvement import improvement_score
from tests.bench.interval_censored import interval_medians
from tests.bench.live import live_connections
from tests.bench.loopback import ROOT, await_first_answer, cpu, free_port, put_study, server
from tests.bench.pages import pages
from tests.bench.segments import segments
from tests.bench.without_effect import without_effect

PATIENTS = 1_000
REQUESTS = 300
PAIRS = 5
PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            *whole_report(folder),
            *segments(folder),
            *growth(),
            *interval_medians(),
            *improvement_score(),
            *without_effect(),
            *posting(folder),
            *charts(folder),
            *fhir_bundle(),
            *pages(folder),
            *bulk(folder),
            *stream_memory(folder),
            *live_connections(folder),
            *cold_start(folder),
        ]
    page = _page(rows)
    print(page)
    PAGE.write_text(page)


def whole_report(folder: Path) -> list[tuple[str, str, str]]:
    """The whole report of 1,000 patients x 100 results from SQLite against pandas groupby-apply on data in memory."""
    documents = [timeline(number) for number in range(PATIENTS)]
    url = f"sqlite:///{folder / 'report.db'}"
    upgrade(url)
    database = Database(url)
    _load(database, documents)
    data = pandas_report.frames(documents)
    ours, theirs = _report(database), pandas_report.report(data)
    _same_figures(ours, theirs)
    pairs = [(_seconds(lambda: _report(database)), _seconds(lambda: pandas_report.report(data))) for _ in range(PAIRS)]
    database.dispose()
    ratio = statistics.median(mine / peer for mine, peer in pairs)
    mine = statistics.median(pair[0] for pair in pairs)
    return [
        (
            f"whole report, {PATIENTS:,} patients x 100 results, from SQLite ({mine:.2f} s)",
            f"pandas {version('pandas')} groupby-apply + lifelines {version('lifelines')}, data already in memory",
            f"{ratio:.4f} (1/{1 / ratio:.0f}); asked: under 1/20",
        )
    ]


def posting(folder: Path) -> list[tuple[str, str, str]]:
    """Server CPU of posting a 100-result timeline against a request that only parses it."""
    url = f"sqlite:///{folder / 'post.db'}"
    upgrade(url)
    with server(url) as (process, connection):
        put_study(connection)
        costs: dict[str, list[float]] = {"parse": [], "rows": [], "series": [], "replay": []}
        number = 0
        for _ in range(PAIRS):
            rows = [results_only(n, series=False) for n in range(number, number + REQUESTS)]
            series = [results_only(n, series=True) for n in range(number + REQUESTS, number + 2 * REQUESTS)]
            number += 2 * REQUESTS
            costs["parse"].append(cpu(process, connection, lambda _: "/bench/parse", rows))
            costs["rows"].append(cpu(process, connection, _events, rows))
            costs["series"].append(cpu(process, connection, _events, series))
            costs["replay"].append(cpu(process, connection, _events, rows))
    median = {name: statistics.median(cost) for name, cost in costs.items()}
    ratio = {
        name: statistics.median(one / parse for one, parse in zip(costs[name], costs["parse"], strict=True))
        for name in costs
    }
    rows_to_series = statistics.median(s / r for s, r in zip(costs["series"], costs["rows"], strict=True))
    peer = f"a request that goes the same way and only parses the `labs` form ({median['parse']:.2f} ms of server CPU)"
    return [
        (f"POST of 100 new results as `labs` ({median['rows']:.2f} ms)", peer, f"{ratio['rows']:.2f}; asked: under 4"),
        (
            f"POST of 100 new results as `lab_series` ({median['series']:.2f} ms)",
            peer,
            f"{ratio['series']:.2f}; asked: under 2 (half of 4); {rows_to_series:.2f} of the `labs` form",
        ),
        (f"the same `labs` posted again ({median['replay']:.2f} ms)", peer, f"{ratio['replay']:.2f}"),
    ]


def cold_start(folder: Path) -> list[tuple[str, str, str]]:
    """Start to the first answer of /livez, against the same process with the statistics imported before it serves."""
    url = f"sqlite:///{folder / 'cold.db'}"
    upgrade(url)
    pairs = [(_start(url, eager=False), _start(url, eager=True)) for _ in range(PAIRS)]
    ratio = statistics.median(lazy / eager for lazy, eager in pairs)
    lazy = statistics.median(pair[0] for pair in pairs)
    return [
        (
            f"start to first `/livez` ({lazy:.2f} s)",
            "the same with scipy.stats and lifelines imported first",
            f"{ratio:.2f}",
        )
    ]


def _load(database: Database, documents: list[dict]) -> None:
    latest = latest_acceptable(datetime.now(UTC))
    now = microseconds(datetime.now(UTC))
    with database.writing() as connection:
        studies.put_study(
            connection,
            "bench",
            studies.StudyDeclaration(name="bench", protocol=SEED_2008),
            client=None,
            received_at=now,
        )
    histories = [read_timeline(json.dumps(document).encode(), latest) for document in documents]
    for first in range(0, len(histories), 100):
        with database.writing() as connection:
            ledger.submit_each(
                connection, "bench", histories[first : first + 100], format="native", client=None, received_at=now
            )


def _report(database: Database) -> dict:
    with database.reading() as connection:
        study = studies.get_study(connection, "bench")
        cohort = timelines.cohort(connection, "bench", study.revision)
    provenance = Provenance(
        protocol=study.protocol_digest,
        protocol_id=study.protocol.id,
        protocol_changed_after_first_outcome=False,
        data=cohort.digest,
        software="bench",
    )
    header = Header(study="bench", revision=study.revision, as_of=None, provenance=provenance)
    return json.loads(report_document(header, report(cohort, study.protocol, Options())))


def _same_figures(ours: dict, theirs: dict) -> None:
    """Both sides must have done the same work."""
    answers = ours["analyses"]
    primary = {row["measure"]: row["responders"] for row in answers["response-rates"]["results"] if row["primary"]}
    if primary != theirs["responders"]:
        raise SystemExit(f"responders differ: {primary} {theirs['responders']}")
    [spell] = answers["ck-normal-time"]["results"]
    if (spell["n"], spell["events"]) != (theirs["spells"], theirs["events"]):
        raise SystemExit("spells differ")
    [change] = answers["ck-change"]["results"]
    if change["n"] != theirs["change"]["n"] or abs(change["difference"]["mean"] - theirs["change"]["mean"]) > 1e-9:
        raise SystemExit("ck-change differs")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _events(body: bytes) -> str:
    return f"/v1/studies/bench/patients/{json.loads(body)['patient']['id']}/events"


def _start(url: str, *, eager: bool) -> float:
    """Seconds from spawning the process to its first 200."""
    port = free_port()
    first = "import scipy.stats, lifelines; " if eager else ""
    code = f"import sys; sys.argv = ['server', '{port}', '{url}']; {first}from tests.bench.server import main; main()"
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        await_first_answer(port)
        return time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(30)


def _page(rows: list[tuple[str, str, str]]) -> str:
    packages = ("fastapi", "uvicorn", "pydantic", "sqlalchemy", "numpy", "scipy", "lifelines", "pandas")
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Each row is a ratio of two things measured in one run, the two sides taken in turn,",
        f"the median of {PAIRS} pairs. Absolute times are this machine's and mean nothing elsewhere.",
        "",
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processors, "
        f"SQLite {sqlite3.sqlite_version}, " + ", ".join(f"{package} {version(package)}" for package in packages) + ".",
        "",
        "| work | against | ratio |",
        "| --- | --- | --- |",
        *(f"| {work} | {peer} | {ratio} |" for work, peer, ratio in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
