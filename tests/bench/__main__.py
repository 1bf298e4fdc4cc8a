"""`python -m tests.bench`: every ratio in one run, printed and written to `docs/benchmarks.md`."""

import json
import platform
import sqlite3
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path

from app.store.migrations import upgrade
from benchmarks.results import machine
from tests.bench.bulk import bulk, stream_memory
from tests.bench.charts import charts
from tests.bench.cohort import results_only
from tests.bench.datasets import datasets
from tests.bench.growth import growth, growth_of_derivation
from tests.bench.improvement import improvement_score
from tests.bench.light import cached_answers
from tests.bench.live import live_connections
from tests.bench.loopback import ROOT, cpu, put_study, server
from tests.bench.on_spark import on_spark
from tests.bench.pages import pages
from tests.bench.postgres_bulk import postgres_bulk
from tests.bench.registry import registry
from tests.bench.rest import start_and_rest
from tests.bench.segments import segments
from tests.bench.tables import tables
from tests.bench.without_effect import without_effect

REQUESTS = 300
PAIRS = 5
PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            *segments(folder),
            *growth(),
            *growth_of_derivation(),
            *improvement_score(),
            *without_effect(),
            *posting(folder),
            *charts(folder),
            *pages(folder),
            *bulk(folder),
            *postgres_bulk(),
            *stream_memory(folder),
            *tables(folder),
            *live_connections(folder),
            *datasets(folder),
            *cached_answers(folder),
            *start_and_rest(folder),
            *registry(),
            *on_spark(),
        ]
    page = _page(rows)
    print(page)
    PAGE.write_text(page)


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


def _events(body: bytes) -> str:
    return f"/v1/studies/bench/patients/{json.loads(body)['patient']['id']}/events"


def _page(rows: list[tuple[str, str, str]]) -> str:
    told = machine()
    packages = ("fastapi", "uvicorn", "pydantic", "sqlalchemy", "numpy", "scipy", "lifelines", "pandas")
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Each row compares two things that were measured in one run, most of them as the "
        f"median of {PAIRS} pairs.",
        "Absolute times are this machine's and mean nothing elsewhere. `asked` is the aim of a row; a row may miss it. "
        "Without Java and",
        "PySpark there is no row about Spark. `make peers` measures the service beside other software: "
        "`benchmarks/README.md` in the repository.",
        "",
        f"{told['processor']}, {told['processors']} processors. Python {platform.python_version()}, "
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
