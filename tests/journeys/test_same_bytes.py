"""The same content gives the same bytes: in any order and batches, on either database, under any locale and zone."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from app.analyses import QUESTIONS
from app.demo import TIMELINES
from tests.journeys.conftest import service
from tests.repetition import PROFILE, repeats

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ZONE = "Pacific/Chatham"
"""12 h 45 min east of UTC, and an hour more in its summer."""
PLACE = re.compile(r'\n  "(revision|as_of)": .*')
REMOTE = {
    "patient": {"id": "P99", "sex": "male", "diagnosis": "polymyositis"},
    "labs": [
        {"code": "CK", "time": time, "value": value, "unit": unit, "upper_limit": limit, "lab": "B"}
        for time, value, unit, limit in (
            ("2024-02-28T23:30:00Z", 30, "ukat/L", 3.3),
            ("2024-03-10T23:30:00-05:00", 900, "U/L", 198),
            ("2024-03-31T01:30:00+01:00", 198, "U/L", 198),
            ("2024-04-20", 400, "U/L", 198),
        )
    ],
    "infusions": [{"time": "2024-02-29", "product": "IVIG", "dose": 0.4, "unit": "g/kg"}],
    "adverse_events": [{"onset": "2024-03-01", "term": "\u0130nfeksiyon", "related": "possible"}],
}


def pieces(seed):
    """The demonstration study and a patient across a leap and a DST day, cut into single facts, in a random order."""
    rng = random.Random(seed)
    cut = []
    for document in [*json.loads(TIMELINES.read_text()), REMOTE]:
        who = {"id": document["patient"]["id"]}
        cut.append({"patient": document["patient"]})
        for series in document.get("lab_series", []):
            for time, value in zip(series["times"], series["values"], strict=True):
                cut.append({"patient": who, "lab_series": [{**series, "times": [time], "values": [value]}]})
        for section in ("labs", "assessments", "infusions", "medications", "adverse_events"):
            cut += [{"patient": who, section: [fact]} for fact in document.get(section, [])]
    rng.shuffle(cut)
    return cut


BY = "?by=diagnosis"
ASKED = [f"/{question}" for question in QUESTIONS] + [BY]
"""Each analysis, and the report, which holds them all by groups."""
if PROFILE != "quick":
    ASKED += [f"/{question}{BY}" for question in QUESTIONS] + [""]


def answers(client, study="demo"):
    """Every analysis, without the revision and its time."""
    found = {}
    for name in ASKED:
        response = client.get(f"/v1/studies/{study}/analyses{name}")
        assert response.status_code == 200, response.text
        found[name] = PLACE.sub("", response.text)
    return found


def whole(client, time_zone=None):
    study = {"name": "x", "protocol": "seed-2008", "time_zone": time_zone}
    assert client.put("/v1/studies/demo", json=study).status_code == 201
    documents = [*json.loads(TIMELINES.read_text()), REMOTE]
    answer = client.post("/v1/studies/demo/timelines?atomic=true", json=documents)
    assert answer.status_code == 200, answer.text
    return answers(client)


def shuffled(client, seed, time_zone=None):
    study = {"name": "x", "protocol": "seed-2008", "time_zone": time_zone}
    assert client.put("/v1/studies/demo", json=study).status_code == 201
    rng = random.Random(seed)
    cut = pieces(seed)
    while cut:
        size = rng.choice([1, 7, 60, 300])
        batch, cut = cut[:size], cut[size:]
        if rng.random() < 0.5:
            response = client.post("/v1/studies/demo/timelines", json=batch)
        else:
            lines = "\n".join(json.dumps(piece) for piece in batch)
            headers = {"content-type": "application/x-ndjson"}
            response = client.post("/v1/studies/demo/timelines", content=lines, headers=headers)
        assert response.status_code == 200, response.text
    return answers(client)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The answers to the whole study, asked once for each time zone."""

    @cache
    def of(time_zone=None):
        with service(f"sqlite:///{tmp_path_factory.mktemp('whole') / 'whole.db'}") as client:
            return whole(client, time_zone)

    return of


@pytest.mark.parametrize("seed", range(1, 1 + repeats(1, thorough=3)))
def test_any_order_and_any_batches_give_the_same_bytes_on_both_databases(database_url, expected, seed):
    with service(database_url) as client:
        assert shuffled(client, seed) == expected()


def test_a_study_with_a_time_zone_gives_the_same_bytes_on_both_databases(database_url, expected):
    with service(database_url) as client:
        assert shuffled(client, 4, ZONE) == expected(ZONE)


def test_a_time_zone_moves_the_day_of_a_z_time_and_its_absence_is_flagged(expected):
    as_written, zoned = expected(), expected(ZONE)
    name = "/ck-normal-time"
    flags = [{row["code"]: row["count"] for row in json.loads(text[name])["flags"]} for text in (as_written, zoned)]
    assert [flag["utc_day"] for flag in flags] == [1, 0]
    assert as_written[name] != zoned[name]


def test_one_date_moved_by_a_day_changes_the_data_digest(tmp_path):
    documents = json.loads(TIMELINES.read_text())
    body = {"protocol": "seed-2008", "timelines": documents}
    with service(f"sqlite:///{tmp_path / 'x.db'}") as client:
        first = client.post("/v1/analyses", json=body).json()
        documents[0]["assessments"][0]["time"] = "2005-03-17"
        moved = client.post("/v1/analyses", json=body).json()
    assert first["provenance"]["data"] != moved["provenance"]["data"]


def turkish(folder):
    """A folder with the Turkish locale, in which `I` and `i` are two letters; made here, as few machines have it."""
    made = shutil.which("localedef") and subprocess.run(
        ["localedef", "-i", "tr_TR", "-f", "UTF-8", str(folder / "tr_TR.UTF-8")], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("the locale tr_TR.UTF-8 cannot be made here: localedef or its sources are missing")
    return str(folder)


PROCESSES = [
    ("tr_TR.UTF-8", "Pacific/Chatham", "1"),
    ("C.UTF-8", "America/St_Johns", "2"),
    ("C", "UTC", "0"),
][: max(2, repeats(3))]
"""Locale, time zone and hash seed: the most difficult first, and one that each system has."""
SCRIPT = """
import locale, sys
locale.setlocale(locale.LC_ALL, "")
sys.stdout.reconfigure(encoding="utf-8")
from starlette.testclient import TestClient
from app.main import create_app
from app.settings import Settings
from app.store.migrations import upgrade
from tests.journeys.test_same_bytes import shuffled
upgrade(sys.argv[1])
app = create_app(Settings(database_url=sys.argv[1]))
with TestClient(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 50_000)) as client:
    for name, text in shuffled(client, int(sys.argv[2])).items():
        print(name, text)
"""


@pytest.mark.parametrize(("locale", "zone", "hash_seed"), PROCESSES)
def test_locale_zone_and_hash_seed_of_the_process_change_no_byte(tmp_path, expected, locale, zone, hash_seed):
    environment = {**os.environ, "LC_ALL": locale, "LANG": locale, "TZ": zone, "PYTHONHASHSEED": hash_seed}
    if locale.startswith("tr_TR"):
        environment["LOCPATH"] = turkish(tmp_path)
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"sqlite:///{tmp_path / 'other.db'}", str(int(hash_seed) + 10)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert found.stdout == "".join(f"{name} {text}\n" for name, text in expected().items())
