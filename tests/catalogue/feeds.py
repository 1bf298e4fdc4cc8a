"""What hospitals send, wrong: what is answered in each format, and whether any byte of the database changed.

What is sent holds canaries: the number of the patient, that of the result, names, notes and the value. The studies
replace the numbers of hospitals, as they do unless they say otherwise, so that no answer may repeat any of them.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.api.fhir_bodies import FHIR, HOSPITAL, ck, patient
from tests.catalogue.service import CANARY, NUMBER, lacks_nothing, text_of
from tests.documented import Documented
from tests.hl7v2.hl7v2_messages import OBR, PID, changed, message, obx
from tests.readers.refusals import CLOSED

_numbers = count(1)
_MADE_HERE = re.compile(r"urn:uuid:[0-9a-f-]{36}|\bs-[0-9a-f]{32}|\b[0-9a-f]{32}\b")
"""Occurrences and subjects: digits of ours, which may look like any number."""
NORMAL = "2005-03-16T09:48:00+09:00"


# A result in each format, with canaries wherever there is room for them


def observation(**more: Any) -> dict[str, Any]:
    """A CK result as FHIR has it."""
    told = {
        "note": [{"text": CANARY}],
        "performer": [{"display": CANARY}],
        "subject": {"display": CANARY, "identifier": {"system": HOSPITAL, "value": CANARY}},
    }
    return ck(NUMBER, CANARY, **told | more)


def quantity(**more: Any) -> dict[str, Any]:
    """An Observation with these elements in its value and no others, and without limits, which have units, too."""
    return observation(valueQuantity={"value": NUMBER} | more, referenceRange=[])


def about(**subject: Any) -> dict[str, Any]:
    """An Observation about this subject."""
    return observation(subject=subject)


def person(**more: Any) -> dict[str, Any]:
    """A Patient with all that is not kept."""
    return patient(CANARY, name=[{"family": CANARY}], address=[{"text": CANARY}], telecom=[{"value": CANARY}]) | more


def result(**fields: str) -> str:
    """An OBX with a CK, its fields by number (`f5="7"`)."""
    return obx(**{"f5": str(NUMBER), "f16": CANARY} | fields)


WHO = changed(PID, f3=f"{CANARY}^^^WARD7", f5=f"{CANARY}^JANE", f11=CANARY)
ORDER = changed(OBR, f3=f"{CANARY}^ELAB", f16=CANARY)


def results(*observations: str, pid: str = WHO, obr: str = ORDER, **header: str) -> bytes:
    """A message of results of one order; `f10="4712"` is a field of its header."""
    head = changed(message().decode().rstrip("\r"), **header)
    return message(pid, obr, *(observations or (result(),)), f"NTE|1|L|{CANARY}", header=head)


ROW = {"patient": CANARY, "time": NORMAL, "code": "CK", "value": str(NUMBER), "unit": "U/L", "upper_limit": "163",
       "lab": "A", "id": CANARY, "code_text": CANARY}  # fmt: skip


def table(*rows: Mapping[str, str], delimiter: str = ",", columns: Sequence[str] = tuple(ROW)) -> str:
    """A table whose rows are `ROW` but for these cells, which are written as they are; columns come by themselves."""
    named_there = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    written = (delimiter.join((ROW | dict(row)).get(name, "") for name in named_there) for row in rows or [{}])
    return "\n".join([delimiter.join(named_there), *written, ""])


# The service and a study in it


@dataclass(frozen=True)
class Service:
    """A running service and the file that its database is."""

    client: TestClient
    file: Path

    def database(self) -> str:
        """All that the database holds, apart from the audit, in which a refusal has its row."""
        with closing(sqlite3.connect(self.file)) as connection:
            return "\n".join(line for line in connection.iterdump() if not line.startswith('INSERT INTO "audit"'))

    def ledger(self) -> str:
        """The same without the counts of what arrived, in which a refusal is counted."""
        return "\n".join(line for line in self.database().splitlines() if not line.startswith('INSERT INTO "intake"'))


@contextmanager
def served(migrated: Path) -> Iterator[Service]:
    """The application on a copy of a migrated file, its limits as they are shipped."""
    file = migrated.with_name(f"feeds-{next(_numbers)}.db")
    file.write_bytes(migrated.read_bytes())
    settings = Settings(database_url=f"sqlite:///{file}", pseudonym_secret="x" * 32)
    with Documented(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield Service(client, file)


class Ward:
    """A study of its own in a running service."""

    def __init__(self, service: Service, **declared: Any) -> None:
        self.service, self.client = service, service.client
        self.study = f"ward-{next(_numbers)}"
        self.home = f"/v1/studies/{self.study}"
        made = self.client.put(self.home, json={"name": "Ward", "protocol": "seed-2008"} | declared)
        assert made.status_code == 201, made.text

    def resource(self, body: Any, path: str | None = None, method: str = "POST", **headers: str) -> Any:
        """Send a resource to where its type belongs, or to another path below the study."""
        if path is None:
            kind = body["resourceType"]
            path = "" if kind == "Bundle" else f"/{kind}"
        sent = FHIR | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, f"/fhir/{self.study}{path}", content=text_of(body), headers=sent)

    def message(self, body: bytes) -> Any:
        """Send HL7 v2."""
        return self.client.post(f"{self.home}/hl7v2", content=body, headers={"Content-Type": "application/hl7-v2"})

    def table(self, body: str | bytes, media_type: str = "text/csv", **parameters: str) -> Any:
        """Send a table."""
        content = body if isinstance(body, bytes) else body.encode()
        headers = {"Content-Type": media_type}
        return self.client.post(f"{self.home}/labs", content=content, headers=headers, params=parameters)

    def takes(self, *sent: Any, **parameters: str) -> None:
        """Send what must be stored: resources as mappings, messages as bytes, tables as text."""
        for each in sent:
            if isinstance(each, Mapping):
                answer = self.resource(each)
                assert answer.status_code in {200, 201}, answer.text
                assert answer.json()["resourceType"] != "OperationOutcome", answer.text
            elif isinstance(each, bytes):
                answer = self.message(each)
                assert (answer.status_code, answer.text.split("\r")[1][:6]) == (200, "MSA|AA"), answer.text
            else:
                answer = self.table(each, **parameters)
                assert answer.status_code == 200, answer.text
                assert "rejected" not in answer.json()["counts"], answer.text

    def labs(self) -> list[dict[str, Any]]:
        """The results of all patients that stand."""
        people = self.client.get(f"{self.home}/patients").json()["items"]
        return [lab for each in people for lab in self.timeline(each["patient"]["id"]).get("labs", [])]

    def timeline(self, subject: str) -> dict[str, Any]:
        """What stands of a patient."""
        return self.client.get(f"{self.home}/patients/{subject}").json()

    def subjects(self) -> list[str]:
        """Who is known."""
        return [each["patient"]["id"] for each in self.client.get(f"{self.home}/patients").json()["items"]]

    def values(self) -> list[float]:
        """The values that stand."""
        return sorted(lab["value"] for lab in self.labs())

    def set_aside(self) -> list[dict[str, Any]]:
        """The worklist."""
        return self.client.get(f"{self.home}/set-aside").json()["items"]

    def revision(self) -> int:
        """The latest revision."""
        return self.client.get(self.home).json()["revision"]


def reveals_nothing(answer: Any) -> None:
    """Nothing of what was sent is in an answer, not in its headers either."""
    headers = "".join(v for k, v in answer.headers.items() if k not in {"date", "content-length", "x-request-id"})
    said = _MADE_HERE.sub("", answer.text + headers).lower()
    assert "canary" not in said
    assert "7391" not in said


# The rows


@dataclass(frozen=True)
class RefusedResource:
    """FHIR that must be refused, and how: type of issue, our code, and the place of each fault."""

    body: Any
    faults: tuple[tuple[str, str, str], ...]
    status: int = 422
    path: str | None = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, Any] = field(default_factory=dict)

    def check(self, service: Service) -> None:
        ward = Ward(service, **self.declared)
        before = service.ledger()
        answer = ward.resource(self.body, self.path, self.method, **self.headers)
        assert answer.status_code == self.status, answer.text
        assert answer.headers["content-type"] == "application/fhir+json"
        assert faults_of(answer.json()) == sorted(self.faults), answer.text
        reveals_nothing(answer)
        assert service.ledger() == before


def refused(body: Any, code: str, kind: str, place: str, **more: Any) -> RefusedResource:
    """A resource with one fault."""
    return RefusedResource(body, ((kind, code, place),), **more)


def faults_of(outcome: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The type, our code and the place of each issue of an OperationOutcome that refuses."""
    assert outcome["resourceType"] == "OperationOutcome"
    assert {issue["severity"] for issue in outcome["issue"]} == {"error"}
    return sorted(
        (
            issue["code"],
            "".join(coding["code"] for coding in issue["details"].get("coding", [])),
            "".join(issue.get("expression", [])),
        )
        for issue in outcome["issue"]
    )


@dataclass(frozen=True)
class RefusedMessage:
    """HL7 v2 that must be refused, and how: the place of each fault as ERR-2 has it, and our code."""

    body: bytes
    faults: tuple[tuple[str, str], ...]
    code: str = "AE"
    declared: Mapping[str, Any] = field(default_factory=dict)

    def check(self, service: Service) -> None:
        ward = Ward(service, **self.declared)
        before = service.ledger()
        answer = ward.message(self.body)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/hl7-v2"), answer.text
        assert acknowledged(answer) == (self.code, sorted(self.faults)), answer.text
        reveals_nothing(answer)
        assert service.ledger() == before


def acknowledged(answer: Any) -> tuple[str, list[tuple[str, str]]]:
    """The code of an acknowledgement, and the place and the code of each of its faults."""
    _, acknowledgement, *errors = (segment.split("|") for segment in answer.text.split("\r") if segment)
    assert acknowledgement[0] == "MSA"
    assert {error[0] for error in errors} <= {"ERR"}
    assert all("Accepted: " in error[8] for error in errors if error[5] in CLOSED), answer.text
    return acknowledgement[1], sorted((error[2], error[5]) for error in errors)


@dataclass(frozen=True)
class RefusedTable:
    """A table that must be refused, and how. Where it is refused as a `whole`, its rows are not looked at."""

    body: str | bytes
    faults: tuple[tuple[str, str], ...]
    status: int = 422
    whole: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, Any] = field(default_factory=dict)
    media_type: str = "text/csv"

    def check(self, service: Service) -> None:
        ward = Ward(service, **self.declared)
        before = service.ledger()
        for atomic in ("true", "false"):
            answer = ward.table(self.body, self.media_type, **self.parameters, atomic=atomic)
            if self.whole or atomic == "true":
                assert answer.status_code == self.status, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
                problems = [answer.json()]
            else:
                assert (answer.status_code, answer.json()["type"]) == (422, "/problems/nothing-kept"), answer.text
                assert answer.json()["facts"]["kept"] == 0
                problems = [answer.json()]
            told = [(fault["pointer"], fault["code"]) for problem in problems for fault in problem["errors"]]
            assert all(map(lacks_nothing, problems)), answer.text
            reveals_nothing(answer)
            if self.whole or atomic == "true":
                assert sorted(told) == sorted(self.faults), answer.text
                assert service.ledger() == before
            else:  # one fault of each row; the rows are set aside
                assert set(told) <= set(self.faults), answer.text
                assert {_row(place) for place, _ in told} == {_row(place) for place, _ in self.faults}, answer.text
                assert ward.subjects() == []
                assert CANARY not in service.database()


def _row(place: str) -> str:
    return place.split("/")[1]


@dataclass(frozen=True)
class Tried:
    """Something that is accepted, or takes more than one request to see, in a study that declares this."""

    try_in: Callable[[Ward], None]
    declared: Mapping[str, Any] = field(default_factory=dict)

    def check(self, service: Service) -> None:
        self.try_in(Ward(service, **self.declared))


@dataclass(frozen=True)
class Elsewhere:
    """Other tests that try the row, which are still there."""

    file: str
    tests: tuple[str, ...]

    def check(self, service: Service) -> None:
        del service
        source = (Path(__file__).parents[2] / self.file).read_text()
        for test in self.tests:
            assert re.search(rf"^def {test}\(", source, re.MULTILINE), test


Try = RefusedResource | RefusedMessage | RefusedTable | Tried | Elsewhere


@dataclass(frozen=True)
class Row:
    """One row of the catalogue: its number in the research note, what is sent, and every try."""

    number: int
    what: str
    tries: tuple[Try, ...]


def row(number: int, what: str, *tries: Try) -> Row:
    return Row(number, what, tries)


def parameters(rows: Sequence[Row]) -> list[Any]:
    """Each try of each row, named by its number."""
    return [
        pytest.param(each, id=f"{row.number}.{number}-{row.what.split(':')[0].split(';')[0]}")
        for row in rows
        for number, each in enumerate(row.tries, 1)
    ]
