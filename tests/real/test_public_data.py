"""Real laboratory records of four public data sets, posted in four formats: the same facts, and as many as there are.

How many CK results each set holds is written here as its publishers have it; 40 of MIMIC's belong to nobody. The people
of NHANES have one morning each and are all alike to the program, so the quick profile posts every sixteenth of them.
"""

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.journeys.conftest import service
from tests.real import sources, wire
from tests.real.sources import Source, Subject
from tests.repetition import PROFILE

STUDY = "real"
EVERY = 16 if PROFILE == "quick" else 1
STORED = {"mimic": 138, "cdisc": 925, "eicu": 55, "nhanes": {1: 2935, 16: 183}[EVERY]}
NOBODYS = {"mimic": 40, "cdisc": 0, "eicu": 0, "nhanes": 0}
READ: dict[str, Callable[[], Source]] = {
    "mimic": sources.mimic,
    "cdisc": sources.cdisc,
    "eicu": sources.eicu,
    "nhanes": partial(sources.nhanes, EVERY),
}


def post(client: TestClient, path: str, body: bytes, media_type: str, *allowed: int) -> Any:
    """Post a body; the statuses `allowed` are those of an answer."""
    answer = client.post(path, content=body, headers={"content-type": media_type})
    assert answer.status_code in {200, *allowed}, answer.text[:2_000]
    return answer


def as_json(client: TestClient, source: Source) -> int:
    """Native JSON, all in one array; the results refused for lack of a patient."""
    items = wire.timelines(source)
    answer = post(client, f"/v1/studies/{STUDY}/timelines", wire.dumped(items), "application/json").json()
    refused = [items[one["index"]] for one in answer["items"] if one["status"] == "rejected"]
    assert not any(item["patient"]["id"] for item in refused)
    return sum(lab["code"] == "CK" for item in refused for lab in item["labs"])


def as_fhir(client: TestClient, source: Source) -> int:
    """FHIR transactions of up to a hundred patients; a result that is nobody's comes by itself."""
    refused = 0
    for group in groups(source):
        body = wire.dumped(wire.bundle(source, group))
        answer = post(client, f"/fhir/{STUDY}", body, "application/fhir+json", 422)
        refused += refused_among(answer, source, group)
    return refused


def as_hl7v2(client: TestClient, source: Source) -> int:
    """Batches of up to a hundred ORU^R01, one a patient; a result that is nobody's comes by itself."""
    refused = 0
    for group in groups(source):
        body = wire.batch([wire.message(source, subject) for subject in group])
        answer = post(client, f"/v1/studies/{STUDY}/hl7v2", body, "application/hl7-v2", 422)
        refused += refused_among(answer, source, group)
    post(client, f"/v1/studies/{STUDY}/timelines", wire.dumped(wire.anchors(source)), "application/json")
    return refused


def groups(source: Source) -> Iterator[list[Subject]]:
    """The patients by the hundred, and each record of nobody."""
    known = [subject for subject in source.subjects if subject.results and subject.id]
    yield from (known[first : first + 100] for first in range(0, len(known), 100))
    yield from ([subject] for subject in source.subjects if subject.results and not subject.id)


def refused_among(answer: Any, source: Source, group: list[Subject]) -> int:
    """How many CK results were refused: none, or all of a record of nobody."""
    if answer.status_code != 422:
        return 0
    [nobody] = group
    assert not nobody.id, answer.text
    return ck_among(source, nobody)


def as_csv(client: TestClient, source: Source) -> int:
    """One table."""
    lines = [
        (subject, result) for subject in source.subjects for result in subject.results
    ]  # in the order of the rows, of which the first is row 2
    answer = post(client, f"/v1/studies/{STUDY}/labs", wire.table(source), "text/csv").json()
    refused = 0
    for item in answer["items"]:
        if item["status"] == "rejected":
            for row in {int(fault["pointer"].split("/")[1]) for fault in item["problem"]["errors"]}:
                subject, result = lines[row - 2]
                assert not subject.id, item
                refused += source.local_codes.get(f"{result.system}|{result.code}") == "CK"
    post(client, f"/v1/studies/{STUDY}/timelines", wire.dumped(wire.anchors(source)), "application/json")
    return refused


def ck_among(source: Source, subject: Subject) -> int:
    """How many results of a patient are CK."""
    return sum(source.local_codes.get(f"{one.system}|{one.code}") == "CK" for one in subject.results)


FORMATS = {"json": as_json, "fhir": as_fhir, "hl7v2": as_hl7v2, "csv": as_csv}


@pytest.fixture(scope="module")
def posted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], dict[str, Any]]:
    """What a data set is in the store after it was posted in a format: counted once for all tests."""
    known: dict[tuple[str, str], dict[str, Any]] = {}

    def result(name: str, written: str) -> dict[str, Any]:
        if (name, written) not in known:
            source = READ[name]()
            file = tmp_path_factory.mktemp("real") / "x.db"
            with service(f"sqlite:///{file}") as client:
                assert client.put(f"/v1/studies/{STUDY}", json=wire.declaration(source)).status_code == 201
                refused = FORMATS[written](client, source)
                report = client.get(f"/v1/studies/{STUDY}/analyses").json()
            known[name, written] = {"refused": refused, "stored": stored(file), "report": report}
        return known[name, written]

    return result


def stored(file: Path) -> int:
    """How many CK results stand in a database."""
    with sqlite3.connect(file) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM lab_results WHERE code = 'CK' AND removed IS NULL")
    return count


@pytest.mark.slow
@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("name", READ)
def test_every_ck_result_that_belongs_to_somebody_is_stored_and_no_other(posted, name, written):
    found = posted(name, written)
    assert (found["stored"], found["refused"]) == (STORED[name], NOBODYS[name])


@pytest.mark.slow
@pytest.mark.parametrize("written", ["fhir", "hl7v2", "csv"])
@pytest.mark.parametrize("name", READ)
def test_the_report_is_the_same_whatever_the_format(posted, name, written):
    ours, theirs = (posted(name, each)["report"] for each in ("json", written))
    assert theirs["provenance"]["data"] == ours["provenance"]["data"]
    assert theirs["analyses"] == ours["analyses"]


def test_a_ck_in_a_mass_unit_is_refused(tmp_path):
    items = [
        {
            "patient": {"id": f"HF{row}"},
            "labs": [{"code": "CK", "time": "2015-04-01", "value": float(value), "unit": "mcg/L"}],
        }
        for row, value in sources.heart_failure()
    ]
    with service(f"sqlite:///{tmp_path / 'x.db'}") as client:
        client.put(f"/v1/studies/{STUDY}", json={"name": "Heart failure", "protocol": "seed-2008"})
        answer = post(client, f"/v1/studies/{STUDY}/timelines", wire.dumped(items), "application/json", 422).json()
    assert answer["counts"] == {"rejected": 150}
    assert {error["code"] for item in answer["items"] for error in item["problem"]["errors"]} == {"mass_unit"}


def test_ck_in_microkatal_is_kept_as_sent_and_compared_in_units(tmp_path):
    """Dastmalchi 2008: 1.8 and 1.3 ukat/L are 108 and 78 U/L."""
    patients = sources.dastmalchi()
    items = [
        {
            "patient": {"id": f"D{row['patient']}"},
            "labs": [
                {"code": "CK", "time": day, "value": float(row[column]), "unit": "ukat/L"}
                for day, column in (("2007-01-01", "ck_before_ukat_l"), ("2007-06-01", "ck_after_ukat_l"))
                if row[column]
            ],
        }
        for row in patients
    ]
    file = tmp_path / "x.db"
    with service(f"sqlite:///{file}") as client:
        client.put(f"/v1/studies/{STUDY}", json={"name": "Infliximab", "protocol": "seed-2008"})
        post(client, f"/v1/studies/{STUDY}/timelines", wire.dumped(items), "application/json")
        first = client.get(f"/v1/studies/{STUDY}/patients/D1").json()
    assert [(lab["value"], lab["unit"]) for lab in first["labs"]] == [(1.8, "ukat/L"), (1.3, "ukat/L")]
    with sqlite3.connect(file) as connection:
        values = dict(connection.execute("SELECT given_value, value FROM lab_results"))
    assert len(patients) == 13
    assert stored(file) == 22
    assert (values[1.8], values[1.3], values[88.0]) == (108, 78, 5280)
