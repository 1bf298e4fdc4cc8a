"""Helpers for the cases about core set measures: six values at baseline and at each visit."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.spec import readings_improvement
from tests.spec.rule import Case, Group, Patient, Recorded, listed, on

ADULT, JUVENILE, IMACS = "acr-eular-2016-adult", "acr-eular-2016-juvenile", "imacs-2004"
UNKNOWN = readings_improvement.UNKNOWN
"""The reading of a verdict that is null."""
CODES = ("PHYSICIAN_GLOBAL", "PATIENT_GLOBAL", "MMT8", "HAQ", "CK", "EXTRAMUSCULAR")

Values = Sequence[float | Recorded | None]


def _recorded(before: Values, *visits: Values, weeks: Sequence[int] = (4, 8, 12), haq: str = "HAQ") -> dict[str, Any]:
    """The six measures in the order of `CODES` on day 0 and at the weeks; None is missing."""
    recorded: dict[str, list[Recorded]] = {}
    for day, values in zip((0, *(7 * week for week in weeks)), (before, *visits), strict=False):
        for code, value in zip(CODES, values, strict=True):
            if value is not None:
                kept = on(day, *value[:1], **value[1]) if isinstance(value, tuple) else (day, value)
                recorded.setdefault(haq if code == "HAQ" else code, []).append(kept)
    return {"ck": recorded.pop("CK", ()), "others": recorded}


def _words(before: Values, visits: Sequence[Values], haq: str) -> str:
    """The same in words: first the measures that change, then those that do not."""
    columns = {haq if code == "HAQ" else code: values for code, *values in zip(CODES, before, *visits, strict=True)}
    changing = [f"{code} {_chain(values)}" for code, values in columns.items() if len(set(values)) > 1]
    same = [
        f"{code} {values[0]:g}" for code, values in columns.items() if set(values) != {None} and len(set(values)) == 1
    ]
    weeks = listed(("baseline", *(f"week {4 * place}" for place in range(1, len(visits) + 1))))
    parts = [*changing, *([f"unchanged {listed(same)}"] if same else [])]
    return f"{weeks}: {'; '.join(parts) or 'no measure recorded'}"


def _chain(values: Values) -> str:
    return ", ".join("missing" if value is None else f"{value:g}" for value in values)


def case(says: str, before: Values, *visits: Values, expect: Mapping[str, Any], **more: Any) -> Case:
    haq = "CHAQ" if more.get("preset") == JUVENILE else "HAQ"
    recorded = _recorded(before, *visits, haq=haq)
    recorded["others"] |= more.pop("others", {})
    plain = not any(isinstance(value, tuple) for values in (before, *visits) for value in values)
    if plain and set(recorded["others"]) <= {*CODES, "CHAQ"}:
        recorded = {"groups": (Group(_words(before, visits, haq), (Patient(**recorded),)),)}
    return Case(says=says, expect=expect, **{"preset": ADULT, **recorded, **more})


def patients(words: str, before: Values, *visits: Values) -> Group:
    return Group(words, (Patient(**_recorded(before, *visits)),))


ILL = (5, 5, 100, 1, 1000, 5)
"""Each measure can improve and worsen."""

A = ((6, 5, 110, 1.5, 3000, 3), (3, 4, 125, 1, 1500, 2))
B = ((5, 5, 120, 1, 450, 4), (4.5, 3.5, 123, 0.875, 300, 0))
C = ((5, 5, 120, 1, 451, 4.1), (4.4, 3.4, 124, 0.75, 300, 0))
D = ((9, 9, 90, 2.5, 3000, 6), (4, 4, 140, 1, 100, 1))
E = ((3, 3, 140, 1, 200, 1), (6, 6, 100, 2, 5000, 5))
F = ((3, 4, 142, 0.5, 600, 2), (1, 2, 150, 0, 150, 1))
