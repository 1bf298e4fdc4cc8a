"""Invented patients of a hospital whose laboratory says everything that a laboratory can say of a result."""

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

from hypothesis import strategies as st

from tests.feeds.writers import HOSPITAL, LOINC, OFFSET, Person, Result

FIRST = date(2005, 4, 11)
"""The day of everybody's first infusion."""
CENTRAL, BEDSIDE = f"{HOSPITAL}.77", f"{HOSPITAL}.78"


def _at(day: int, clock: str) -> str:
    return f"{FIRST + timedelta(day)}T{clock}{OFFSET}"


def _result(patient: int, nth: int, code: str, day: int, value: float, unit: str, **more: object) -> Result:
    told = Result(
        code, _at(day, f"0{nth % 10}:4{nth % 6}:30"), value, unit, f"A{patient}-{nth}", CENTRAL,
        issued=_at(day, "15:00:00"), upper_limit=163, lower_limit=45,
    )  # fmt: skip
    return replace(told, **more)  # type: ignore[arg-type]


def _again(told: Result, days: int, status: str, **more: object) -> Result:
    """The same result as its laboratory told it some days later."""
    day = (date.fromisoformat(told.time[:10]) - FIRST).days + days
    return replace(told, issued=_at(day, "16:30:00"), status=status, **more)  # type: ignore[arg-type]


def person(patient: int) -> Person:
    """A patient whose CK falls from about 1000 to normal, with every kind of correction on the way."""
    start = 900.0 + 40 * patient
    course = [(-28, 0.9), (-1, 1.0), (7, 0.6), (14, 0.4), (28, 0.2), (56, 0.15), (90, 0.13)]
    falling = [
        _result(patient, number, "CK", day, round(start * share, 1), "U/L")
        for number, (day, share) in enumerate(course, 1)
    ]
    slip = replace(falling[3], value=1.5)
    early = replace(falling[4], status="preliminary", value=round(start * 0.25, 1))
    on_a_day = _result(patient, 11, "CK", 120, 141.5, "IU/L", time=str(FIRST + timedelta(120)), issued=None)
    swedish = _result(
        patient,
        12,
        "CK",
        150,
        2.27,
        "ukat/L",
        upper_limit=2.7,
        lower_limit=None,
        source=BEDSIDE,
        number=f"A{patient}-1",
    )
    low = _result(patient, 13, "CK", 180, 20, "U/L", comparator="<", upper_limit=None, lower_limit=None)
    high = _result(patient, 14, "LDH", -1, 4000, "U/L", comparator=">=", upper_limit=225, lower_limit=None)
    unlike = _result(
        patient, 2, "AST", -1, 88, "U/L", upper_limit=33.5, lower_limit=8, time=falling[1].time
    )  # of one accession
    mass = _result(patient, 15, "MYOGLOBIN", 7, 250.25, "ug/L", upper_limit=72, lower_limit=28)
    wrong = _result(patient, 16, "CK", 8, 9999, "U/L")
    lost = _result(patient, 17, "ALT", 9, 51, "nkat/L", upper_limit=700, lower_limit=None)
    gone = _again(lost, 1, "cancelled", value=None, unit=None, upper_limit=None, lower_limit=None)
    told = [falling[0], falling[1], unlike, falling[2], slip, early, *falling[5:], on_a_day, swedish, low, high, mass]
    later = [
        _again(falling[3], 2, "corrected"),
        _again(falling[4], 1, "final"),
        _again(falling[4], 3, "amended", upper_limit=170),
        wrong,
        _again(wrong, 1, "entered-in-error"),
        lost,
        gone,
    ]
    return Person(f"47{patient:02}", "Yamada", ("female", "male")[patient % 2], f"195{patient}-07-14", (*told, *later))


COHORT = tuple(person(patient) for patient in range(5))

_BEGIN = datetime(1995, 1, 1, tzinfo=timezone(timedelta(hours=9)))
_TIMES = st.integers(0, 800_000_000).map(lambda seconds: (_BEGIN + timedelta(seconds=seconds)).isoformat())
_VALUES = st.integers(0, 99_999_999).map(lambda thousandths: thousandths / 1000)
_UNITS = ("U/L", "IU/L", "[iU]/L", "ukat/L", "nkat/L", "mU/mL", "kU/L", "[U]/L")
_STATUSES = ("preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error")


@st.composite
def _sayings(draw: st.DrawFn, nth: int) -> Result:
    code = draw(st.sampled_from(sorted(LOINC)))
    unit = draw(st.sampled_from(("ug/L", "ng/mL") if code == "MYOGLOBIN" else _UNITS))
    low, high = sorted((draw(_VALUES), draw(_VALUES.filter(bool))))
    upper = draw(st.sampled_from((None, high)))
    told = Result(
        code,
        draw(_TIMES | _TIMES.map(lambda at: at[:10])),
        draw(_VALUES),
        unit,
        f"n-{nth}",
        draw(st.sampled_from((CENTRAL, BEDSIDE))),
        issued=draw(st.none() | _TIMES),
        status=draw(st.sampled_from(_STATUSES)),
        comparator=draw(st.sampled_from((None, "<", "<=", ">=", ">"))),
        upper_limit=upper,
        lower_limit=None if upper is None else draw(st.sampled_from((None, low))),
    )
    if told.status in {"cancelled", "entered-in-error"} and draw(st.booleans()):
        return replace(told, value=None, unit=None, comparator=None, upper_limit=None, lower_limit=None)
    return told


SAYINGS = st.integers(1, 5).flatmap(lambda count: st.tuples(*map(_sayings, range(count))))
"""What a laboratory may say of one patient: up to five results, each with a number of its own."""
