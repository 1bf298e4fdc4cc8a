"""Studies for the tests: posted ones with corrections and merges, and large ones from columns."""

import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from app.bulk import study_files
from app.bulk.study_files import ExportedFrom, StudyFiles
from app.demo import TIMELINES
from app.protocol.model import Protocol
from app.readers.json_timelines import read_array
from app.timeline.cohort import Cohort
from app.timeline.times import latest_acceptable

ORIGIN = ExportedFrom("trial", 7, "2026-01-01T00:00:00Z", False)


def demonstration() -> Cohort:
    """The demonstration study."""
    items = read_array(TIMELINES.read_bytes(), latest_acceptable(datetime.now(UTC)))
    return Cohort.of_histories(item.history for item in items)


def write(place: Path, cohort: Cohort, protocol: Protocol, origin: ExportedFrom = ORIGIN) -> StudyFiles:
    """Write a cohort as an export does."""
    return study_files.write(str(place), [cohort], origin, protocol)


def histories(seed: int, patients: int = 40) -> list[dict]:
    """Timelines, then corrections, withdrawals and merges of some of them, and facts of merged records."""
    rng = random.Random(seed)
    first, later = [], []
    for number in range(patients):
        start = date(2020, 1, 1) + timedelta(days=rng.randrange(400))
        who = f"{rng.randrange(10**6):06d}-{number}"
        labs = [_lab(rng, start, f"{who}.{i}") for i in range(rng.randrange(45, 60))]
        scored = [(code, week) for code in ("MMT", "ADL") for week in (-4, 0, 1, 2, 4, 8) if rng.random() < 0.8]
        drug = {"drug": "azathioprine", "start": _day(start, rng.randrange(90)), "dose": 50, "unit": "mg/d"}
        first.append({
            "patient": {"id": who, "sex": rng.choice(["female", "male"]), "birth_year": 1950 + rng.randrange(40)},
            "labs": labs,
            "assessments": [{"code": code, "time": _day(start, 7 * week), "score": rng.randrange(30, 50)}
                            for code, week in scored],
            "infusions": [{"time": _day(start, day), "product": "IVIG", "dose": 0.4, "unit": "g/kg"}
                          for day in range(rng.choice([0, 5, 5, 5]))],
            "medications": [{"drug": "prednisolone", "start": _day(start, -30), "dose": 20, "unit": "mg/d"}, drug],
            "adverse_events": [{"term": "headache", "onset": _day(start, 2), "related": True}],
        })  # fmt: skip
        if rng.random() < 0.5:
            status = rng.choice(["corrected", "entered-in-error"])
            again = {**labs[0], "value": labs[0]["value"] + 100, "status": status, "issued": "2024-01-01T00:00:00Z"}
            later.append({"patient": {"id": who}, "labs": [again]})
        if number and rng.random() < 0.15:
            later.append({"patient": {"id": who, "merged_into": first[number - 1]["patient"]["id"]}})
    return [*first, *later]


def _day(start: date, days: int) -> str:
    return str(start + timedelta(days=days))


def _lab(rng: random.Random, start: date, number: str) -> dict:
    code, unit = rng.choice([("CK", "U/L")] * 4 + [("LDH", "U/L"), ("AST", "U/L")])
    lab: dict = {
        "code": code, "unit": unit, "value": rng.choice([80, 150, 163, 400, 1200.5]), "id": number,
        "time": f"{start + timedelta(days=rng.randrange(-60, 300))}T{rng.randrange(24):02d}:30:00+09:00",
        "lab": rng.choice(["A", "A", "Labör"]), "issued": "2023-01-01T00:00:00Z",
    }  # fmt: skip
    if rng.random() < 0.7:
        lab["upper_limit"] = rng.choice([163, 163, 198])
    if rng.random() < 0.1:
        lab["comparator"] = rng.choice(["<", ">"])
    return lab


def lines(documents: list[dict]) -> bytes:
    """One document on each line."""
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)
