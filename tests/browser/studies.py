"""The studies that the pages are opened with.

`demo` is the demonstration study, `empty` has no data, `pair` two patients, and in `harmful` every text that a client
may choose does something wherever it is not escaped: those of the study, its protocol, its patients, and of a message
with results that are set aside.
"""

import http.client
import json
from typing import Any

from app.demo import NAME, STUDY, TIMELINES
from tests.api.test_server import Process

LABEL = "\"'><img data-harm src=x onerror=alert()>"
"""A harmful text for a field of at most forty characters."""
UNIT = "<img data-harm src onerror=x()>"
"""The same for a unit, which is shorter."""
HARMFUL = f"<script>alert(1)</script>{LABEL}" + "{{7*7}}"
"""The same with more that could be read as a program."""
MESSAGE = "\r".join(
    (
        rf"MSH|^~\&|{LABEL}|{LABEL}|MYO|TRIAL|20050317080000+0900||ORU^R01^ORU_R01|{LABEL}|P|2.5.1",
        f"PID|1||123^^^{LABEL}||||19530401|F",
        f"OBR|1||77^{LABEL}|CHEM^{HARMFUL}^L|||20050316094800+0900",
        f"OBX|1|NM|1742-6^{HARMFUL}^LN||50|{UNIT}|30-163|H|||F",
        "OBX|2|NM|2157-6^Creatine kinase^LN||1102|U/L|30-163|H|||F",
        f"OBX|3|NM|{LABEL}^{HARMFUL}^{LABEL}||5.2|mmol/L|3.9-5.5|N|||F",
        f"NTE|1|L|{HARMFUL}",
        "",
    )
)
"""A message with a result that counts, one that is set aside and one that is not kept."""


def fill(service: Process) -> None:
    """Create the studies."""
    put(service, STUDY, {"name": NAME, "protocol": "seed-2008"})
    status, answer = service.ask("POST", f"/v1/studies/{STUDY}/timelines", json.loads(TIMELINES.read_bytes()))
    assert status == 200, answer
    demo = [read(service, f"/v1/studies/demo/patients/P0{number}") for number in (1, 2)]
    put(service, "empty", {"name": "Without data", "protocol": "seed-2008"})
    put(service, "pair", {"name": "Two patients", "protocol": "seed-2008"})
    for timeline in demo:
        post(service, "pair", timeline)
    put(service, "harmful", _harmful_study(read(service, "/v1/protocols/seed-2008")))
    for timeline, centre in zip(demo, (LABEL, "B"), strict=True):
        post(service, "harmful", _harmful_patient(timeline, centre))
    _pairs_of_harmful_texts(service)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("POST", "/v1/studies/harmful/hl7v2", MESSAGE, {"Content-Type": "application/hl7-v2"})
    acknowledged = connection.getresponse().read().decode()
    connection.close()
    assert "kept 3, set aside 1, not ours 2" in acknowledged, acknowledged


def _pairs_of_harmful_texts(service: Process) -> None:
    """Two pairs of events that may be the same, one of them decided."""
    for day in ("2001-01-01", "2001-01-02"):
        for more in ({}, {"id": day, "source": LABEL}):
            event = {"onset": day, "term": HARMFUL} | more
            post(service, "harmful", {"patient": {"id": "P01"}, "adverse_events": [event]})
    first, *_ = [each["pair"] for each in read(service, "/v1/studies/harmful/set-aside")["items"] if "pair" in each]
    address = first["decide"][first["decide"].index("/v1/") :]
    status, answer = service.ask("POST", address, {"decision": "same", "reason": HARMFUL})
    assert status == 200, answer


def _harmful_study(preset: dict[str, Any]) -> dict[str, Any]:
    products = {"products": ["IVIG", LABEL]}
    protocol = preset | {"id": "harmful", "title": HARMFUL, "attributes": {"centre": [LABEL, "B"]}}
    return {
        "name": HARMFUL,
        "identifiers": "pseudonyms",
        "protocol": protocol | {"treatment": preset["treatment"] | products},
        "authorities": [LABEL],
        "local_codes": {f"{LABEL}|{LABEL}x": "CK"},
        "unit_aliases": {LABEL: "U/L"},
    }


def _harmful_patient(timeline: dict[str, Any], centre: str) -> dict[str, Any]:
    patient = timeline["patient"] | {"attributes": {"centre": centre}}
    labs = [each | {"lab": LABEL, "source": LABEL} for each in timeline["labs"]]
    infusions = [*timeline["infusions"], {"time": "2006-01-02", "product": LABEL}]
    drug = {"drug": LABEL, "start": "2005-01-20", "dose": 5, "unit": "mg/d", "source": LABEL}
    event = {"onset": "2005-04-12", "term": HARMFUL, "serious": False, "source": LABEL}
    return timeline | {
        "patient": patient,
        "labs": labs,
        "infusions": infusions,
        "medications": [drug],
        "adverse_events": [event],
    }


def put(service: Process, study: str, declared: dict[str, Any]) -> None:
    """Declare a study."""
    status, answer = service.ask("PUT", f"/v1/studies/{study}", declared)
    assert status == 201, answer


def read(service: Process, path: str) -> Any:
    """A document."""
    return json.loads(service.ask("GET", path)[1])


def post(service: Process, study: str, timeline: dict[str, Any]) -> None:
    """Send a timeline."""
    status, answer = service.ask("POST", f"/v1/studies/{study}/patients/{timeline['patient']['id']}/events", timeline)
    assert status in {200, 201}, answer
