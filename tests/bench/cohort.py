"""A synthetic study of any size, the same at every run."""

import json
import random
from datetime import date, timedelta

CK_DAYS = [-28, -21, -14, -7, -1, *(7 * week for week in range(1, 96))]
SCORE_WEEKS = (-4, 0, 1, 2, 4, 8)


def timeline(number: int, series: bool = True) -> dict:
    """One patient with 100 CK results over two years, scores at six visits and one course of five infusions."""
    rng = random.Random(number)
    start = date(2015, 1, 1) + timedelta(days=rng.randrange(1000))
    level, floor, falls = rng.uniform(800, 3000), rng.uniform(60, 400), rng.uniform(20, 120)
    times, values = [], []
    for target in CK_DAYS:
        day = target + (rng.randrange(-2, 3) if abs(target) > 2 else 0)
        share = 1.0 if day <= 0 else max(0.0, 1 - day / falls)
        relapse = 1 + 3 * (day > 300) * rng.random()
        values.append(round((floor + (level - floor) * share) * rng.uniform(0.85, 1.15) * relapse, 1))
        times.append(f"{start + timedelta(days=day)}T{8 + rng.randrange(4):02d}:{rng.randrange(60):02d}:00+09:00")
    common = {"code": "CK", "unit": "U/L", "upper_limit": 163, "lab": "A"}
    labs = (
        {"lab_series": [{**common, "times": times, "values": values}]}
        if series
        else {"labs": [{**common, "time": time, "value": value} for time, value in zip(times, values, strict=True)]}
    )
    return {
        "patient": {
            "id": f"P{number:06d}",
            "sex": rng.choice(["female", "male"]),
            "birth_year": 1940 + rng.randrange(50),
            "diagnosis": rng.choice(["polymyositis", "dermatomyositis"]),
        },
        **labs,
        "assessments": [
            {
                "code": code,
                "time": str(start + timedelta(days=7 * week)),
                "score": base + max(0, week) * rng.randrange(3),
            }
            for code, base in (("MMT", 40 + rng.randrange(30)), ("ADL", 20 + rng.randrange(15)))
            for week in SCORE_WEEKS
        ],
        "infusions": [
            {"time": str(start + timedelta(days=day)), "product": "IVIG", "dose": 0.4, "unit": "g/kg"}
            for day in range(5)
        ],
    }


def results_only(number: int, series: bool) -> bytes:
    """The bytes of a timeline that holds its 100 laboratory results and nothing else."""
    whole = timeline(number, series)
    return json.dumps({name: whole[name] for name in ("patient", "lab_series" if series else "labs")}).encode()
