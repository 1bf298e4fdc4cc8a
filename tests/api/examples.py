"""Small invented histories for requests."""

from datetime import date, timedelta
from typing import Any

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
FIRST = date(2005, 4, 11)


def timeline(patient: str, *, ck: float = 1000, sex: str = "female", **more: Any) -> dict[str, Any]:
    """A patient treated on 2005-04-11 whose CK falls from `ck` to 120 by week 8."""
    days = [-28, -1, 7, 14, 28, 56, 90]
    values = [ck * 0.9, ck, ck * 0.6, ck * 0.4, 190, 120, 130]
    return {
        "patient": {"id": patient, "sex": sex, "birth_year": 1953, "diagnosis": "polymyositis"},
        "labs": [lab(day, value) for day, value in zip(days, values, strict=True)],
        "assessments": [
            {"code": code, "time": str(FIRST + timedelta(day)), "score": base + gain}
            for code, base in (("MMT", 60), ("ADL", 20))
            for day, gain in ((-1, 0), (7, 2), (14, 6), (28, 9), (56, 12))
        ],
        "infusions": [{"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg"}],
        **more,
    }


def lab(day: int, value: float, **more: Any) -> dict[str, Any]:
    """A CK on a day after the first infusion."""
    at = f"{FIRST + timedelta(day)}T09:00:00+09:00"
    return {"code": "CK", "time": at, "value": value, "unit": "U/L", "upper_limit": 163, "lab": "A", **more}


def events(patient: str, *labs: dict[str, Any]) -> dict[str, Any]:
    """A timeline that only adds laboratory results."""
    return {"patient": {"id": patient}, "labs": list(labs)}


def make_study(client: Any, study: str = "trial", **more: Any) -> str:
    """Make a study; its address."""
    answer = client.put(f"/v1/studies/{study}", json={"name": "Trial", "protocol": "seed-2008", **more})
    assert answer.status_code in {200, 201}, answer.text
    return f"/v1/studies/{study}"


def fill(client: Any, count: int = 3, study: str = "trial") -> str:
    """A study with patients P00, P01, ...; its address."""
    home = make_study(client, study)
    for number in range(count):
        sex = "female" if number % 2 else "male"
        sent = client.put(
            f"{home}/patients/P{number:02}", json=timeline(f"P{number:02}", ck=900 + 50 * number, sex=sex)
        )
        assert sent.status_code == 201, sent.text
    return home


def codes(answer: Any) -> list[tuple[str, str]]:
    """The places and codes of a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
