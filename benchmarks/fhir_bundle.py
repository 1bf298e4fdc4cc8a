"""A FHIR bundle of 100 CK results: bytes to normalised facts, against a general FHIR library that only parses them."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from app.fhir.read_bundle import read_bundle
from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Feed, histories
from app.timeline.facts import History
from app.timeline.times import latest_acceptable
from benchmarks.pairs import Counts, Measured, Row, in_turn, took
from benchmarks.programs import program, python
from tests.trust.figures import NotHere

RESULTS = 100
RUNS_A_SECOND = 12
"""How often each side of a pair does its work for each second of the counts, the same for both: what takes a few
milliseconds is mostly noise, and so was what five runs took.
"""
ASKED = 8

_ADDRESS = "http://terminology.hl7.org/CodeSystem/"
_UCUM = {"unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"}


def measure(counts: Counts, folder: Path) -> Measured:
    """Bytes of a bundle to the history of its patient, identifiers replaced, against `fhir.resources` alone.

    The library has a model of R4B and one of R5; both read the same bytes.
    """
    body = message()
    file = folder / "bundle.json"
    file.write_bytes(body)
    feed = Feed(latest_acceptable(datetime.now(UTC)), Pseudonyms(b"k" * 32))
    if len(facts(body, feed).labs) != RESULTS:
        raise SystemExit("not all results were read")
    runs = max(1, round(RUNS_A_SECOND * counts.seconds))
    work = f"FHIR bundle of {RESULTS} CK results ({len(body) / 1e3:.0f} kB), bytes to facts"
    rows = []
    for release in ("R4B", "R5"):
        name, peer = f"FHIR bundle: fhir.resources {release}", f"fhir.resources ({release}) only parsing it"
        try:
            command = python("fhir_library.py", release, runs, file)
        except NotHere as missing:
            rows.append(Row(name, work, peer, asked=ASKED, skipped=str(missing)))
            continue
        with program(command) as theirs:
            if theirs.once()[1] != RESULTS + 1:
                raise SystemExit("not all entries were parsed")
            pairs = in_turn(counts.pairs, lambda: took(lambda: facts(body, feed), runs), theirs.took)
            rows.append(Row(name, work, f"{theirs.name} only parsing it", pairs, ASKED))
    return Measured(rows)


def facts(body: bytes, feed: Feed) -> History:
    """The history that a bundle about one patient states."""
    bundle = read_bundle(body, feed)
    stated: dict[str, list] = {}
    for entry in bundle.entries:
        if entry.faults or not isinstance(entry.subject, str):
            raise SystemExit("the bundle has a fault")
        stated.setdefault(entry.subject, []).extend(entry.statements)
    [history] = histories(stated, feed.latest)
    return history


def message() -> bytes:
    """A transaction with a patient and a year and more of CK, as a laboratory system writes it."""
    patient = {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": "urn:oid:1.2.36.146", "value": "123456"}],
        "gender": "female",
        "birthDate": "1953-07-04",
    }
    url = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
    entries = [{"fullUrl": url, "resource": patient, "request": {"method": "POST", "url": "Patient"}}]
    for number in range(RESULTS):
        result = {
            "fullUrl": f"urn:uuid:{number:08}-a954-468a-88bd-5ae15c08e059",
            "resource": observation(number, url),
            "request": {"method": "POST", "url": "Observation"},
        }
        entries.append(result)
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    return json.dumps(bundle, separators=(",", ":")).encode()


def observation(number: int, subject: str) -> dict:
    """One result with what a laboratory system sends beside it."""
    day = date(2005, 1, 3) + timedelta(days=5 * number)
    return {
        "resourceType": "Observation",
        "id": f"ck-{number}",
        "meta": {"versionId": "1", "lastUpdated": f"{day}T12:30:00.000+09:00"},
        "identifier": [{"use": "official", "system": "urn:oid:1.2.36.147", "value": f"acc-{number}"}],
        "status": "final",
        "category": [
            {"coding": [{"system": _ADDRESS + "observation-category", "code": "laboratory", "display": "Laboratory"}]}
        ],
        "code": {
            "coding": [
                {
                    "system": "http://loinc.org",
                    "code": "2157-6",
                    "display": "Creatine kinase [Enzymatic activity/volume] in Serum or Plasma",
                }
            ],
            "text": "CK",
        },
        "subject": {"reference": subject},
        "effectiveDateTime": f"{day}T09:48:00+09:00",
        "issued": f"{day}T12:30:00+09:00",
        "valueQuantity": {"value": 1101 - 9 * number, **_UCUM},
        "interpretation": [
            {"coding": [{"system": _ADDRESS + "v3-ObservationInterpretation", "code": "H", "display": "High"}]}
        ],
        "referenceRange": [{"low": {"value": 45, **_UCUM}, "high": {"value": 163, **_UCUM}}],
    }
