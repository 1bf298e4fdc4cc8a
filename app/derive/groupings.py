"""The value of each patient by which subgroups are formed."""

from datetime import date

from app.derive.study import DerivedStudy
from app.timeline.cohort import NO_TIME
from app.timeline.times import EPOCH_DAY

AGE_BANDS = ((17, "0-17"), (39, "18-39"), (64, "40-64"))
"""The last age of each band; the last band is open."""
OLDEST = "65+"


def group_values(study: DerivedStudy, by: str) -> list[str | None]:
    """The value of each patient; None where it is not known.

    `age_band`: the age is the year of day 0 minus the year of birth. `laboratory`: that of the baseline CK. Any other
    name that is no column of the cohort is an attribute that the protocol declares; a value that the protocol does not
    list is not known.
    """
    people = study.cohort.patients
    if by == "age_band":
        days = study.exposure.day0.tolist()
        return [_age_band(row.birth_year, day) for row, day in zip(people, days, strict=True)]
    if by == "laboratory":
        lab, rows = study.ck_laboratories, study.weeks("CK")[0].tolist()
        return [None if row < 0 else lab[row] for row in rows]
    if by in study.protocol.attributes:
        listed = study.protocol.attributes[by]
        stated = [dict(row.attributes or ()).get(by) for row in people]
        return [value if value in listed else None for value in stated]
    return [getattr(row, by) for row in people]


def _age_band(birth_year: int | None, day0: int) -> str | None:
    if birth_year is None or day0 == NO_TIME:
        return None
    age = date.fromordinal(day0 + EPOCH_DAY).year - birth_year
    return next((band for last, band in AGE_BANDS if age <= last), OLDEST)
