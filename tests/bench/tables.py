"""Tables of 100,000 results: what a CSV and a workbook cost beside `/labs`, and how much memory they take.

`python -m tests.bench.tables [ROWS]` measures it alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

from app.readers.workbook_writer import XLSX, written_workbook
from app.store.migrations import upgrade
from tests.bench.bulk import Row
from tests.bench.loopback import ROOT, memory, process_seconds, request, server

ROWS = 100_000
ROWS_OF_PATIENT = 100
MOST_GROWTH = 50_000_000
MOST_OF_COMMAND = 250_000_000
COLUMNS = ("patient", "time", "code", "value", "unit", "upper_limit", "lab", "id", "issued", "status")


def tables(folder: Path, rows: int = ROWS) -> list[Row]:
    """Each way takes the same rows into a study of its own, first over loopback and then by the command."""
    url = f"sqlite:///{folder / 'tables.db'}"
    upgrade(url)
    csv = "\n".join(",".join(row) for row in [COLUMNS, *_rows(rows)]).encode()
    workbook = written_workbook({"labs": [COLUMNS, *_rows(rows)]})
    ways = {"labs": ("text/csv", csv), "tables/labs": ("text/csv", csv), "tables": (XLSX, workbook)}
    found: dict[str, tuple[float, int]] = {}
    for number, (way, (kind, body)) in enumerate(ways.items()):
        with server(url) as (process, connection):
            _study(connection, f"over{number}")
            found[way] = _posted(process, connection, f"/v1/studies/over{number}/{way}", kind, body, rows)
            for file in ("csv", "xlsx"):
                _study(connection, f"by-{file}")
    (folder / "rows.csv").write_bytes(csv)
    (folder / "rows.xlsx").write_bytes(workbook)
    by = {file: _imported(url, folder / f"rows.{file}", f"by-{file}", rows) for file in ("csv", "xlsx")}
    first = found["labs"][0]
    return [
        *(
            (
                f"{rows:,} rows by `POST .../{way}` as {name} ({cost:.1f} s of server CPU)",
                f"the same rows as CSV by `POST .../labs` ({first:.1f} s of server CPU)",
                f"{first / cost:.2f} of its rows/s; asked: at least 0.5; {growth / 1e6:+.0f} MB above rest; asked: "
                f"{MOST_GROWTH / 1e6:.0f} MB at most",
            )
            for (way, (cost, growth)), name in zip(found.items(), ("CSV", "CSV", "workbook"), strict=True)
            if way != "labs"
        ),
        *(
            (
                f"{rows:,} rows by `import` of {name} ({cost:.1f} s of CPU)",
                f"the same rows as CSV by `POST .../labs` ({first:.1f} s of server CPU)",
                f"{first / cost:.2f} of its rows/s; {most / 1e6:.0f} MB resident; asked: "
                f"{MOST_OF_COMMAND / 1e6:.0f} MB at most",
            )
            for (cost, most), name in zip(by.values(), ("CSV", "a workbook"), strict=True)
        ),
    ]


def _rows(count: int) -> Iterator[tuple[str, ...]]:
    for n in range(count):
        patient, draw = divmod(n, ROWS_OF_PATIENT)
        day = f"20{draw // 12:02}-{draw % 12 + 1:02}-10"
        yield (f"B{patient}", f"{day}T09:00:00Z", "CK", str(n % 900 + 40), "U/L", "163", "A", f"n{n}",
               f"{day}T18:00:00Z", "final")  # fmt: skip


def _study(connection: HTTPConnection, name: str) -> None:
    body = json.dumps({"name": name, "protocol": "seed-2008", "identifiers": "pseudonyms"})
    request(connection, "PUT", f"/v1/studies/{name}", body.encode())


def _posted(process: int, connection: HTTPConnection, to: str, kind: str, body: bytes, rows: int) -> tuple[float, int]:
    """Seconds of the server's processor, and the bytes by which it grew above what it had before."""
    rest, before = memory(process, "VmRSS"), process_seconds(process)
    Path(f"/proc/{process}/clear_refs").write_text("5")  # the greatest size is noted from now on
    connection.request("POST", to, body, {"Content-Type": kind})
    with connection.getresponse() as response:
        answer = json.loads(response.read())
    if answer.get("facts", {}).get("kept") != rows:
        raise SystemExit(f"{to}: not everything was stored: {str(answer)[:300]}")
    return process_seconds(process) - before, memory(process, "VmHWM") - rest


def _imported(url: str, file: Path, study: str, rows: int) -> tuple[float, int]:
    """Seconds of the processor and the greatest resident size of the command, in bytes."""
    command = [sys.executable, "-m", "app", "import", str(file), "--study", study]
    environment = os.environ | {"MYORESPONSE_DATABASE_URL": url}
    before, most = os.times(), 0
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            with suppress(StopIteration, ProcessLookupError):  # it has just ended
                most = max(most, memory(process.pid, "VmHWM"))
            time.sleep(0.02)
        said = process.stdout.read() if process.stdout else ""
    if process.returncode or f"{rows:,} kept" not in said:
        raise SystemExit(f"{file.name}: {process.returncode} {said}")
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system, most


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for row in tables(Path(name), int(sys.argv[1]) if sys.argv[1:] else ROWS):
            print(" | ".join(row))
