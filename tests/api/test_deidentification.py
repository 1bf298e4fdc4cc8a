"""Nothing that names a person gets past the door: planted identifiers are looked for in all that the service writes.

A server process is sent what hospitals send, good and bad, as FHIR, HL7 v2 and CSV. Then the bytes of its database and
of the log beside it, what it printed, and what it answered are searched for every planted text.
"""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.api.fhir_bodies import HOSPITAL, SECRET, asks, bundle, ck, entry, headache, infusion, named, patient
from tests.api.test_server import Process, running

pytestmark = pytest.mark.slow

FHIR = "application/fhir+json"
FORM = "application/x-www-form-urlencoded"
MRN, RESOURCE, NAME, STREET, PHONE = "MRNQ9901", "PATQ9902", "Qvortrup", "ParkvejQ", "0790011223"
ACCESSION, OBSERVATION, NOTE, INSURANCE = "ACCQ9903", "OBSQ9904", "NOTEQ9905", "INSQ9906"
DOCTOR, BORN = "DoktorQ", "1953-05-06"
PLANTED = (MRN, RESOURCE, NAME, STREET, PHONE, ACCESSION, OBSERVATION, NOTE, INSURANCE, DOCTOR, BORN, "19530506")
KEPT = "2005-03-16T09:48:00+09:00"
"""The time of every result: the search finds what is there."""


class Sent(NamedTuple):
    """One request: method, path below the study, media type, body, and the statuses that it may be answered with."""

    method: str
    path: str
    media_type: str
    body: str
    statuses: tuple[int, ...] = (200, 201, 204)


def person(**more: Any) -> dict[str, Any]:
    """A patient as an EHR has them."""
    return patient(
        MRN,
        text={"status": "generated", "div": f"<div>{NAME} {STREET} {BORN}</div>"},
        name=[{"family": NAME, "given": [NAME + "a"], "text": NAME}],
        telecom=[{"system": "phone", "value": PHONE}],
        address=[{"line": [STREET + " 3"], "text": STREET}],
        contact=[{"name": {"family": NAME}, "telecom": [{"value": PHONE}]}],
        generalPractitioner=[{"reference": f"Practitioner/{RESOURCE}", "display": DOCTOR}],
        managingOrganization={"display": DOCTOR},
        extension=[{"url": "urn:of-somebody", "valueString": INSURANCE}],
        **({"id": RESOURCE} | more),
    )


def result(**more: Any) -> dict[str, Any]:
    """A result with everything around it that may name somebody."""
    subject = {"reference": f"Patient/{RESOURCE}", "display": NAME}
    doctor = {"resourceType": "Practitioner", "id": "d", "name": [{"family": DOCTOR}]}
    around: dict[str, Any] = {
        "id": OBSERVATION,
        "text": {"status": "generated", "div": f"<div>{NAME} {MRN}</div>"},
        "contained": [doctor, person(id="p")],
        "note": [{"text": NOTE, "authorString": DOCTOR}],
        "performer": [{"reference": "#d", "display": DOCTOR}],
        "specimen": {"display": NOTE, "identifier": {"value": ACCESSION}},
        "basedOn": [{"reference": f"ServiceRequest/{OBSERVATION}"}],
    }
    return ck(number=ACCESSION, subject=subject) | around | more


def _fhir(method: str, path: str, body: Any, *statuses: int) -> Sent:
    return Sent(method, f"/fhir/{{study}}{path}", FHIR, json.dumps(body), statuses or (200, 201, 204))


def fhir() -> Iterator[Sent]:
    """Resources and bundles, searches, and what is refused."""
    yield _fhir("PUT", f"/Patient/{RESOURCE}", person())
    yield _fhir("PUT", f"/Observation/{OBSERVATION}", result())
    yield _fhir("POST", "/Observation", result(subject={"reference": "#p"}))
    yield _fhir(
        "POST", "/Observation", result(identifier=[], subject={"identifier": named(MRN, HOSPITAL)[0], "display": NAME})
    )
    url = f"urn:uuid:{RESOURCE}"
    subject = {"reference": url, "display": NAME}
    transaction = bundle(
        {"fullUrl": url, **entry(person())},
        {"fullUrl": f"https://ehr.invalid/Observation/{OBSERVATION}", **entry(result(subject=subject))},
        entry(infusion(ACCESSION, subject=subject, note=[{"text": NOTE}])),
        entry(headache(ACCESSION, subject=subject, description=NOTE, recorder={"display": DOCTOR})),
        entry({"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, "text": {"div": NAME}}),
    )
    yield _fhir("POST", "", transaction)
    yield _fhir("POST", "", transaction | {"type": "batch"})
    yield _fhir("POST", "", transaction | {"entry": [entry(result()), asks("GET", f"Patient/{RESOURCE}")]}, 422)
    yield _fhir("POST", "", bundle(asks("DELETE", f"Observation/{NAME}")), 404)
    yield _fhir("POST", "/Observation", result(status=NAME), 422)
    yield _fhir("POST", "/Observation", result(subject={"reference": f"Patient/{NAME}"}), 422)
    yield _fhir("POST", "/Observation", result(valueQuantity={"value": NOTE, "unit": NOTE}), 422)
    yield _fhir("POST", "/Patient", person(birthDate=f"{BORN} {NAME}"), 200, 201)
    yield _fhir("GET", f"/Patient/{NAME}", None, 404)
    yield Sent("POST", "/fhir/{study}/Observation/_search", FORM, f"patient.identifier={HOSPITAL}|{MRN}&_count=1")
    yield Sent("POST", "/fhir/{study}/Observation/_search", FORM, f"subject:Patient={RESOURCE}&_count=1")
    yield Sent("POST", "/fhir/{study}/Patient/_search", FORM, f"identifier={MRN}, {HOSPITAL}|{MRN}")
    yield Sent("POST", "/fhir/{study}/Patient/_search", FORM, f"name={NAME}", (422,))
    yield _fhir("DELETE", f"/Observation/{OBSERVATION}", None)


def hl7v2() -> Iterator[Sent]:
    """Results, a merge, and what is refused."""
    msh = "MSH|^~\\&|LIS|LAB|EHR|H|20050316120000+0900||{kind}|{number}|P|2.5.1\r"
    who = f"{MRN}^^^H^MR~{INSURANCE}^^^SSA^SS"
    pid = f"PID|1|{INSURANCE}|{who}|{RESOURCE}|{NAME}^{NAME}a||19530506|F|||{STREET} 3^^X||{PHONE}|||||{INSURANCE}\r"
    orc = f"ORC|RE|{ACCESSION}^P|{ACCESSION}^LIS||||||||{DOCTOR}|{DOCTOR}\r"
    obr = f"OBR|1|{ACCESSION}^P|{ACCESSION}^LIS|CKP^Panel^L|||20050316094800+0900|||||||||{DOCTOR}^{DOCTOR}\r"
    obx = f"OBX|1|NM|2157-6^CK^LN||1101|U/L|-163||||F|||||{DOCTOR}|||||||||{DOCTOR}\r"
    rest = f"NTE|1|L|{NOTE} {NAME}\rOBX|2|ST|X^Y^L||{NOTE}||||||F\rZPV|{NAME}|{MRN}\r"

    def message(kind: str, number: str, *segments: str, statuses: tuple[int, ...] = (200,)) -> Sent:
        body = msh.format(kind=kind, number=number) + "".join(segments)
        return Sent("POST", "/v1/studies/{study}/hl7v2", "application/hl7-v2", body, statuses)

    oru = "ORU^R01^ORU_R01"
    yield message(oru, "m1", pid, orc, obr, obx, rest)
    yield message(oru, "m2", pid, obr, obx.replace("|1101|", f"|{NOTE}|"), statuses=(200,))
    yield message(oru, "m3", pid, obr.replace("20050316094800+0900", NAME), obx, statuses=(422,))
    yield message(oru, "m4", pid.replace("^^^H^", f"^^^{NAME}^"), obr, obx, statuses=(422,))
    yield message("ADT^A40^ADT_A39", "m5", f"PID|1||{MRN}^^^H^MR||{NAME}\r", f"MRG|{MRN}OLD^^^H^MR|||||{NAME}\r")
    yield message(oru, "m6", pid.replace(MRN, MRN + "OLD"), obr, obx)


def csv() -> Iterator[Sent]:
    """Tables, and what of them is refused."""
    head = "patient,time,code,value,unit,upper_limit,source,id\n"
    row = f"{MRN},{KEPT},CK,{{value}},U/L,163,LIS,{ACCESSION}\n"

    def table(*lines: str, statuses: tuple[int, ...] = (200,)) -> Sent:
        return Sent("POST", "/v1/studies/{study}/labs", "text/csv", "".join(lines), statuses)

    yield table(head, row.format(value=1101))
    yield table(head, row.format(value=NOTE), statuses=(422,))
    yield table(head.replace("unit", NAME), row.format(value=1101), statuses=(422,))
    yield table(head, row.format(value=f'"{NAME}'), statuses=(400, 422))


FEEDS = {"fhir": fhir, "hl7v2": hl7v2, "csv": csv}
DECLARED = {"name": "Trial", "protocol": "seed-2008", "time_zone": "Asia/Tokyo", "authorities": ["H", HOSPITAL]}


@contextmanager
def service(url: str) -> Iterator[Process]:
    with running(url, PSEUDONYM_SECRET=SECRET) as process:
        yield process


def answer_text(process: Process, sent: Sent, study: str) -> str:
    """Status, headers and body of the answer to a request, as one text."""
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
    headers = {"Content-Type": sent.media_type, "Prefer": "return=minimal"}
    connection.request(sent.method, sent.path.format(study=study), sent.body.encode(), headers)
    answer = connection.getresponse()
    text = "\n".join([*map(": ".join, answer.getheaders()), answer.read().decode()])
    connection.close()
    assert answer.status in sent.statuses, (sent.path, answer.status, text)
    return text


def declare(process: Process, study: str, **more: Any) -> None:
    made = Sent("PUT", "/v1/studies/{study}", "application/json", json.dumps(DECLARED | more))
    answer_text(process, made, study)


def stored(url: str) -> bytes:
    """The bytes of the database and of its other files."""
    file = Path(url.removeprefix("sqlite:///"))
    return b"".join(each.read_bytes() for each in file.parent.glob(file.name + "*"))


def found_in(text: bytes) -> list[str]:
    return [each for each in PLANTED if each.encode() in text or each.lower().encode() in text]


@pytest.mark.parametrize("feed", FEEDS)
def test_nothing_that_names_a_person_is_stored_logged_or_answered(sqlite_url, feed):
    with service(sqlite_url) as process:
        declare(process, "trial")
        answers = [answer_text(process, sent, "trial") for sent in FEEDS[feed]()]
        listed = answer_text(process, Sent("GET", "/v1/studies/{study}/patients", "", ""), "trial")
        kept = stored(sqlite_url)
        printed = process.stop()
    assert KEPT.encode() in kept, "the search finds what is there"
    assert '"id": "s-' in listed
    assert found_in(kept + stored(sqlite_url)) == []
    assert found_in(printed.encode()) == []
    assert "status=" in printed
    assert found_in("".join([*answers, listed]).encode()) == []


def test_where_identifiers_are_declared_as_pseudonyms_they_are_found_in_the_file(sqlite_url):
    """What the search above looks for it would find."""
    with service(sqlite_url) as process:
        declare(process, "open", identifiers="pseudonyms")
        for sent in csv():
            answer_text(process, sent, "open")
        assert found_in(stored(sqlite_url)) == [MRN, ACCESSION]


def test_one_person_is_one_subject_in_all_formats_and_another_one_in_another_study(sqlite_url):
    with service(sqlite_url) as process:
        subjects = {}
        for study in ("trial", "other"):
            declare(process, study)
            for sent in (next(fhir()), next(hl7v2()), next(csv())):
                answer_text(process, sent, study)
            _, body = process.ask("GET", f"/v1/studies/{study}/patients")
            [item] = json.loads(body)["items"]
            subjects[study] = item["patient"]["id"]
    assert subjects["trial"] != subjects["other"]
