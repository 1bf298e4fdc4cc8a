"""A FHIR bundle of 100 CK results: bytes to normalised facts, against a general FHIR library that only parses them."""

import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version

from app.fhir.read_bundle import read_bundle
from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Feed, histories
from app.timeline.facts import History
from app.timeline.times import latest_acceptable

RESULTS = 100
PAIRS = 7
RUNS = 5
"""How often each side of a pair does its work, the same for both: one run of a few milliseconds is mostly noise."""

_ADDRESS = "http://terminology.hl7.org/CodeSystem/"
_UCUM = {"unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"}


def fhir_bundle(pairs: int = PAIRS) -> list[tuple[str, str, str]]:
    """Bytes of a bundle to the history of its patient, identifiers replaced, against `fhir.resources` alone.

    The library has a model of R4B and one of R5; the faster of the two is the peer. Both read the same bytes.
    """
    from fhir.resources import bundle as r5
    from fhir.resources.R4B import bundle as r4b

    body = message()
    feed = Feed(latest_acceptable(datetime.now(UTC)), Pseudonyms(b"k" * 32))
    peers: dict[str, Callable[[], object]] = {
        "R4B": lambda: r4b.Bundle.model_validate_json(body),
        "R5": lambda: r5.Bundle.model_validate_json(body),
    }
    _same_work(facts(body, feed), r4b.Bundle.model_validate_json(body))
    for parse in peers.values():
        parse()  # what is compiled or imported at the first use is no part of it
    costs: list[tuple[float, dict[str, float]]] = []
    for _ in range(pairs):
        ours = _seconds(lambda: facts(body, feed))
        costs.append((ours, {name: _seconds(parse) for name, parse in peers.items()}))
    medians = {name: statistics.median(theirs[name] for _, theirs in costs) for name in peers}
    peer = min(medians, key=lambda name: medians[name])
    ratio = statistics.median(ours / theirs[peer] for ours, theirs in costs)
    ours = statistics.median(cost for cost, _ in costs)
    return [
        (
            f"FHIR bundle of {RESULTS} CK results ({len(body) / 1e3:.0f} kB), bytes to facts ({ours * 1e3:.1f} ms)",
            f"fhir.resources {version('fhir.resources')} ({peer}) only parsing it ({medians[peer] * 1e3:.0f} ms)",
            f"{ratio:.3f} (1/{1 / ratio:.1f}); asked: under 1/20",
        )
    ]


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


def _same_work(ours: History, theirs: object) -> None:
    """Both sides must have found the same results."""
    parsed = [float(entry.resource.valueQuantity.value) for entry in theirs.entry[1:]]
    if [fact.value for fact in ours.labs] != parsed or len(parsed) != RESULTS:
        raise SystemExit("the results differ")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(RUNS):
        work()
    return (time.perf_counter() - start) / RUNS
