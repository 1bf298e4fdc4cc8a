"""The answers of R in tests/data/reference_r.json, by the kind of case."""

import json
from pathlib import Path
from typing import Any

import pytest

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "reference_r.json").read_text(encoding="utf-8")
)["cases"]

DIGITS = {"rel": 1e-12, "abs": 1e-13}
"""The file was printed with 13 significant digits."""


def r_cases(kind: str) -> list[Any]:
    """Every case whose id begins with `kind`, with R's command in the test id."""
    return [
        pytest.param(case, id=f"{case['id']} <- {case['r_call']}") for case in CASES if case["id"].split("_")[0] == kind
    ]


def by_id(name: str) -> dict[str, Any]:
    return next(case for case in CASES if case["id"] == name)


def near(expected: Any) -> Any:
    """Equal to all the digits that R printed; null must be null."""
    return None if expected is None else pytest.approx(expected, **DIGITS)
