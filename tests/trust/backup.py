"""A writer sends timelines to a service while `python -m app backup` runs. The backup is restored into another
database; each study must end at the revision of the manifest, every ledger must verify, and the analyses, the report
and a patient must be the same bytes as those of the service that went on. PostgreSQL is the one of the tests, without
waiting for its disk. RPO is the time from the start of the command, when the state of the backup is fixed, to its end:
what is acknowledged in between is not in it. RTO is the time from the start of the restore to the first analysis.
"""

import os
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app.__main__ import cli
from app.main import create_app
from app.settings import Settings
from app.store.backup import MANIFEST, Manifest
from tests.api.examples import timeline
from tests.postgres import bundled_binaries, fresh_database, running_server
from tests.tables import with_tables
from tests.trust.figures import Figure

HOME = "/v1/studies/demo"
QUESTIONS = ("response-rates", "weekly-change", "ck-change", "ck-normal-time", "adverse-reactions", "baseline-table")
RESULTS = {False: 20, True: 500}
"""Results of each patient that is stored before the backup."""
PATIENTS = {False: 10, True: 200}


def run(full: bool) -> list[Figure]:
    """The drill on each engine."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="myoresponse-backup-") as folder:
        work = Path(folder)
        figures += _drill("SQLite", f"sqlite:///{work / 'a.db'}", f"sqlite:///{work / 'b.db'}", work, full)
        binaries = bundled_binaries()
        if binaries is None:
            return figures
        with (
            running_server(binaries) as server,
            fresh_database(server) as url,
            fresh_database(server) as target,
            _programs(binaries / "bin"),
        ):
            figures += _drill("PostgreSQL", url, target, work, full)
    return figures


def _drill(engine: str, url: str, target: str, work: Path, full: bool) -> list[Figure]:
    file, settings = (
        work / f"{engine}.zip",
        {"secret_file": work / f"{engine}.secret", "heads_file": work / f"{engine}.heads"},
    )
    with_tables(url)
    command("demo", url=url, **settings)
    with service(url, **settings) as client:
        rows = fill(client, PATIENTS[full], RESULTS[full])
        with writing(client) as acknowledged:
            began = time.monotonic()
            command("backup", file, url=url, **settings)
            took = time.monotonic() - began
            after = len(acknowledged)
            while len(acknowledged) < after + 3:  # it goes on
                time.sleep(0.01)
        head = manifest_of(file).studies["demo"].revision
        before = answers(client, head)
    later = [at for number, at in acknowledged if number > head]
    assert acknowledged[0][0] <= head, "nothing was written before the backup"
    assert later, "nothing was written after the backup"
    during = sum(began <= at <= began + took for at in later)
    began = time.monotonic()
    said = command("restore", file, url=target, **settings)
    assert "Every ledger is whole" in said, said
    with service(target, **settings) as restored:
        assert restored.get(HOME).json()["revision"] == head
        assert restored.get(f"{HOME}/analyses/response-rates").status_code == 200
        recovery = time.monotonic() - began
        assert answers(restored, head) == before
        sent = restored.put(f"{HOME}/patients/NEXT", json=timeline("NEXT"))
        assert sent.json()["revision"] == head + 1, "the ledger does not go on"
    size = f"{file.stat().st_size / 1e6:.1f} MB"
    return [
        Figure(
            "P17", f"{engine}: rows of results in the backup; answers and ledgers that differ after it", f"{rows:,}; 0"
        ),
        Figure("P17", f"{engine}: writes acknowledged while the backup ran; its size", f"{during}; {size}"),
        Figure("P17", f"{engine}: RPO, from the state in the backup to its end", f"{took:.1f} s"),
        Figure("P17", f"{engine}: RTO, from the start of the restore to the first analysis", f"{recovery:.1f} s"),
    ]


def fill(client: TestClient, patients: int, results: int) -> int:
    """Store patients with many results; how many there are."""
    days = [(date(1990, 1, 1) + timedelta(days=at)).isoformat() for at in range(results)]
    series = {"code": "CK", "unit": "U/L", "upper_limit": 163, "times": days, "values": [900.0] * results}
    for number in range(patients):
        document = {"patient": {"id": f"F{number}"}, "lab_series": [series]}
        sent = client.post(f"{HOME}/timelines", json=[document])
        assert sent.status_code == 200, sent.text
    return patients * results


@contextmanager
def writing(client: TestClient) -> Iterator[list[tuple[int, float]]]:
    """Within the block a writer sends timelines: the revision of each that was acknowledged, and when."""
    stop, acknowledged = threading.Event(), list[tuple[int, float]]()
    broken: list[str] = []

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            sent = client.put(f"{HOME}/patients/W{number}", json=timeline(f"W{number}"))
            if sent.status_code != 201:
                broken.append(sent.text)
                return
            acknowledged.append((sent.json()["revision"], time.monotonic()))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(acknowledged) < 5 and not broken:
            time.sleep(0.01)
        yield acknowledged
    finally:
        stop.set()
        writer.join()
    assert not broken, broken


def answers(client: TestClient, revision: int) -> dict[str, str]:
    """What the demonstration study answers at a revision, byte for byte."""
    paths = [f"analyses/{name}" for name in QUESTIONS] + ["analyses", "patients/P01"]
    found = {path: client.get(f"{HOME}/{path}?revision={revision}") for path in paths}
    assert {each.status_code for each in found.values()} == {200}, found
    return {path: each.text for path, each in found.items()}


def service(url: str, **settings: Path) -> TestClient:
    """The service, asked by a program on this machine."""
    return TestClient(
        create_app(Settings(database_url=url, **settings)), base_url="http://127.0.0.1:8000", client=("127.0.0.1", 1)
    )


def command(*arguments: object, url: str, **settings: Path) -> str:
    """What a command prints."""
    named = {f"MYORESPONSE_{name.upper()}": str(value) for name, value in settings.items()}
    ended = CliRunner().invoke(cli, list(map(str, arguments)), env={"MYORESPONSE_DATABASE_URL": url, **named})
    assert ended.exit_code == 0, ended.output
    return ended.output


def manifest_of(file: Path) -> Manifest:
    """The manifest of a backup."""
    with zipfile.ZipFile(file) as archive:
        return Manifest.model_validate_json(archive.read(MANIFEST))


@contextmanager
def _programs(folder: Path) -> Iterator[None]:
    """Within the block the programs of a directory are found first."""
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before
