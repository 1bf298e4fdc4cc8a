"""Bodies of lines into PostgreSQL, beside `COPY` of the same ready rows.

`python -m tests.bench.postgres_bulk` measures it alone.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from app.store.migrations import upgrade
from app.submission.loop import GROUP
from tests.bench.bulk import PAIRS, PATIENTS, RESULTS, Row, post
from tests.bench.cohort import results_only
from tests.bench.loopback import process_seconds, put_study, server
from tests.postgres import bundled_binaries, controlled_server, fresh_database

DURABLE = "-c listen_addresses='' -c port=5432 -c max_wal_size=2GB"
"""A server as it is installed: every COMMIT waits for the disk."""


def postgres_bulk() -> list[Row]:
    """Lines of `lab_series` over loopback into PostgreSQL, against `COPY` of the rows that came of them.

    The peer stores the same rows in the same table with its keys, for as many other patients, in as large transactions.
    """
    binaries = bundled_binaries()
    if binaries is None:
        return []
    with controlled_server(binaries, DURABLE) as postgres, fresh_database(postgres.url) as url:
        upgrade(url)
        pairs = list(_pairs(url, postgres.data))
    seconds, cpu = ([copied[i] / ours[i] for ours, copied in pairs] for i in (0, 1))
    rate = PATIENTS * RESULTS / statistics.median(ours[0] for ours, _ in pairs)
    return [
        (
            f"bulk NDJSON of `lab_series` over loopback into PostgreSQL ({rate:,.0f} results/s)",
            f"psycopg {psycopg.__version__} `COPY` of ready rows into the same table, the same keys and groups",
            f"{statistics.median(seconds):.2f} of its rows/s, {statistics.median(cpu):.2f} of its rows a CPU second "
            "of client and server together; asked: at least 0.6",
        )
    ]


def _pairs(url: str, data: Path) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Seconds and CPU seconds of each side, in turn."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with server(url) as (process, connection), psycopg.connect(address) as database:
        put_study(connection)

        def spent() -> float:
            return process_seconds(process) + _backends(data)

        for pair in range(PAIRS):
            numbers = range(pair * PATIENTS, (pair + 1) * PATIENTS)
            body = b"".join(results_only(n, series=True) + b"\n" for n in numbers)
            with _measured(spent) as ours:
                post(connection, [body])
            rows = _rows(database, pair)
            with _measured(lambda: time.process_time() + _backends(data)) as copied:
                _copy(database, rows)
            yield (ours[0], ours[1]), (copied[0], copied[1])


@contextmanager
def _measured(cpu: Callable[[], float]) -> Iterator[list[float]]:
    """The seconds and the CPU seconds of the block, in the list that it is given."""
    found: list[float] = []
    before, start = cpu(), time.perf_counter()
    yield found
    found += [time.perf_counter() - start, cpu() - before]


def _rows(database: psycopg.Connection, pair: int) -> list[tuple[object, ...]]:
    """The rows that were stored last, for as many patients without results, who are added here."""
    offset = 10**15 * (pair + 1)
    newest = "(SELECT key FROM patients WHERE id LIKE 'P%%' ORDER BY key DESC LIMIT %s)"
    insert = "INSERT INTO patients SELECT key + %s, study, 'C' || id, salt, first_revision FROM patients WHERE key IN "
    database.execute(insert + newest, (offset, PATIENTS))
    found = database.execute(f"SELECT * FROM lab_results WHERE patient_key IN {newest}", (PATIENTS,)).fetchall()
    database.commit()
    return [(row[0] + offset, *row[1:]) for row in found]


def _copy(database: psycopg.Connection, rows: list[tuple[object, ...]]) -> None:
    for first in range(0, len(rows), GROUP * RESULTS):
        with database.cursor() as cursor, cursor.copy("COPY lab_results FROM STDIN") as copy:
            for row in rows[first : first + GROUP * RESULTS]:
                copy.write_row(row)
        database.commit()


def _backends(data: Path) -> float:
    """CPU seconds of all processes of the server, those that have ended as well."""
    first = (data / "postmaster.pid").read_text().split()[0]
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if process.name == first:
            total += sum(map(int, fields[11:15]))
        elif fields[1] == first:
            total += sum(map(int, fields[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    for told in postgres_bulk():
        print(" | ".join(told))
