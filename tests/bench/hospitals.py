"""The hospitals of a national registry: what each has of ten years, and what they send from day to day."""

import json
import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple

STUDY = "/v1/studies/registry"
TOKYO = timezone(timedelta(hours=9))
HOSPITALS = 100
WEEKS = (-4, 0, 1, 2, 4, 8, *range(21, 521, 13))
"""The visits of a patient in ten years."""
RESULTS = 2 * len(WEEKS) + 2 * 5
"""CK and LDH at each visit, AST and ALT at five of them."""
RATE = 10
"""Messages of all hospitals in a second."""
OF_A_VISIT = {"CK": "2157-6", "LDH": "2532-0", "AST": "1920-8"}


class Asked(NamedTuple):
    """A request of a client, and when it is due; without that, it is sent when the one before is answered."""

    method: str
    path: str
    body: bytes | None = None
    media_type: str = "application/json"
    due: float | None = None


def _name(number: int) -> str:
    return f"P{number:06d}"


def _hospital(number: int) -> str:
    return f"H{number % HOSPITALS:02d}"


def timeline(number: int) -> bytes:
    """A patient of ten years, as one line: the hospital's own results, scores at the first visits, five infusions."""
    rng = random.Random(number)
    start = date(2015, 1, 1) + timedelta(days=rng.randrange(365))
    days = [7 * week + (rng.randrange(-2, 3) if week > 8 else 0) for week in WEEKS]
    times = [
        f"{start + timedelta(days=day)}T{8 + rng.randrange(4):02d}:{rng.randrange(60):02d}:00+09:00" for day in days
    ]
    level, floor, falls = rng.uniform(800, 3000), rng.uniform(60, 400), rng.uniform(20, 120)
    curve = [floor + (level - floor) * max(0.0, 1 - max(0, day) / falls) for day in days]
    common = {"unit": "U/L", "upper_limit": 163, "lab": _hospital(number)}
    series = [
        {
            "code": code,
            "times": times[:visits],
            "values": [round(share * value * rng.uniform(0.85, 1.15), 1) for value in curve[:visits]],
            **common,
        }
        for code, visits, share in (("CK", len(WEEKS), 1), ("LDH", len(WEEKS), 0.3), ("AST", 5, 0.1), ("ALT", 5, 0.1))
    ]
    scores = [
        {"code": code, "time": str(start + timedelta(days=7 * week)), "score": base + max(0, week) * rng.randrange(3)}
        for code, base in (("MMT", 40 + rng.randrange(30)), ("ADL", 20 + rng.randrange(15)))
        for week in WEEKS[:6]
    ]
    infusion = {"product": "IVIG", "dose": 0.4, "unit": "g/kg"}
    patient = {
        "id": _name(number),
        "sex": rng.choice(["female", "male"]),
        "birth_year": 1930 + rng.randrange(60),
        "diagnosis": rng.choice(["polymyositis", "dermatomyositis"]),
    }
    infusions = [{"time": str(start + timedelta(days=day)), **infusion} for day in range(5)]
    document = {"patient": patient, "lab_series": series, "assessments": scores, "infusions": infusions}
    return json.dumps(document).encode()


def messages(first: int, feeds: int, patients: int, began: float, seconds: float) -> Iterator[Asked]:
    """The results of one visit in each message, from every second hospital as HL7 v2 and from the others as JSON."""
    for number in range(first, max(int(seconds * RATE), feeds), feeds):
        rng = random.Random(number)
        patient, drawn = rng.randrange(patients), datetime(2026, 1, 5, tzinfo=TOKYO) + timedelta(minutes=number)
        values = {code: rng.randrange(20, 3000) for code in OF_A_VISIT}
        due = began + number / RATE
        if patient % 2:
            yield Asked("POST", f"{STUDY}/hl7v2", _hl7(number, patient, drawn, values), "application/hl7-v2", due)
        else:
            name, moment = _name(patient), f"{drawn:%Y-%m-%dT%H:%M}:00+09:00"
            common = {"time": moment, "unit": "U/L", "lab": _hospital(patient)}
            labs = [{"code": code, "value": value, **common} for code, value in values.items()]
            body = json.dumps({"patient": {"id": name}, "labs": labs}).encode()
            yield Asked("POST", f"{STUDY}/patients/{name}/events", body, due=due)


def _hl7(number: int, patient: int, drawn: datetime, values: dict[str, int]) -> bytes:
    moment, hospital = f"{drawn:%Y%m%d%H%M}00+0900", _hospital(patient)
    segments = [
        rf"MSH|^~\&|LIS|{hospital}|MYO|REGISTRY|{moment}||ORU^R01^ORU_R01|{number}|P|2.5.1",
        f"PID|1||{_name(patient)}^^^REGISTRY",
        f"OBR|1||{number}^{hospital}|CHEM^Chemistry^L|||{moment}",
    ]
    for place, (code, value) in enumerate(values.items(), start=1):
        segments.append(f"OBX|{place}|NM|{OF_A_VISIT[code]}^{code}^LN||{value}|U/L|||||F||||{hospital}")
    return "\r".join([*segments, ""]).encode()
