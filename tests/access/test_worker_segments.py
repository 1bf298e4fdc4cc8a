"""Segments in the service: workers write and read them, the service logs their flaws, and erasures reach them."""

import asyncio
import logging
from functools import partial
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.access.computing import Computing, ProcessWorkers
from app.access.worker_process import WorkerSettings
from app.http.state import ErasureWatch
from app.main import create_app
from app.secret_file import secret_path
from app.settings import Settings
from app.store.engine import Database
from app.store.segments import LEAST_ROWS
from tests.access import works
from tests.store.posts import begin_study, post, timeline
from tests.tables import with_tables

pytestmark = pytest.mark.slow
_DAYS = [f"{at // 324 + 1980}-{at // 27 % 12 + 1:02d}-{at % 27 + 1:02d}" for at in range(LEAST_ROWS)]
SERIES = {"code": "CK", "unit": "U/L", "times": _DAYS, "values": [float(100 + n % 97) for n in range(len(_DAYS))]}


def test_a_worker_writes_a_segment_and_the_service_logs_a_flaw_that_the_next_one_finds(tmp_path, caplog):
    url, folder = f"sqlite:///{tmp_path / 'x.db'}", tmp_path / "x.db.segments"
    with_tables(url)
    database = Database(url)
    begin_study(database, "first")
    post(database, "first", timeline("P01", lab_series=[SERIES]))
    database.dispose()
    limits = WorkerSettings(url, secret_path(url), 10_000_000, 60, folder)

    async def asked() -> str:
        computing = Computing(ProcessWorkers(1, limits))
        try:
            answer = await computing.answer("A", ["first"], "x", partial(works.patients, "first"))
            await computing.answer("A", [], "y", works.pid)  # after the segment is written
            return answer.decode().split()[0]
        finally:
            await computing.close()

    assert asyncio.run(asked()) == "1"
    [file] = folder.rglob("*.arrow")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING, "myoresponse"):
        assert asyncio.run(asked()) == "1"
        assert [record.getMessage() for record in caplog.records] == [
            "event=segment status=unusable cause=damaged study=1"
        ]
        assert asyncio.run(asked()) == "1"
    assert len(caplog.records) == 1


def test_an_erasure_is_answered_when_no_segment_has_the_person(tmp_path, monkeypatch):
    monkeypatch.setattr(ErasureWatch, "SECONDS", 3600)  # it also drops what was read for a segment that is due
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'x.db'}")
    with_tables(settings.database_url)
    home = "/v1/studies/trial"
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        assert client.put(home, json={"name": "Trial", "protocol": "seed-2008"}).status_code == 201
        for who in ("ERASE-ME-42", "P2"):
            sent = {"patient": {"id": who}, "lab_series": [SERIES]}
            assert client.post(f"{home}/patients/{who}/events", json=sent).status_code in {200, 201}
        assert client.get(f"{home}/analyses/ck-change").status_code == 200
        assert b"ERASE-ME-42" in stored(settings.segments_path)
        assert client.delete(f"{home}/patients/ERASE-ME-42?erase=true").status_code == 204
        assert b"ERASE-ME-42" not in stored(settings.segments_path)
        assert client.get(f"{home}/analyses/ck-change").status_code == 200
        assert b"P2" in stored(settings.segments_path)


def stored(folder: Path | None) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file()) if folder else b""
