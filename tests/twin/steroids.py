"""A second implementation of glucocorticoid doses and of steroid rescues: plain Python, exact fractions, day by day.

The equivalents, units and names are written here once more, from the table of the British National Formulary.
"""

from dataclasses import dataclass
from fractions import Fraction

from app.protocol.endpoints import SteroidRescue
from app.timeline.cohort import NO_TIME, Cohort

EQUAL_TO_5_MG = {
    "prednisolone": "5", "psl": "5", "prednisone": "5", "methylprednisolone": "4", "mpsl": "4", "solu-medrol": "4",
    "dexamethasone": "0.75", "dex": "0.75", "betamethasone": "0.75", "hydrocortisone": "20", "deflazacort": "6",
}  # fmt: skip
"""How many milligrams of a glucocorticoid have the effect of 5 mg of prednisolone, by names in small letters."""
PER_DAY = {"mg/d": Fraction(1), "g/d": Fraction(1000), "ug/d": Fraction(1, 1000), "mg/wk": Fraction(1, 7)}
LEAST = Fraction(1, 10**6)


@dataclass(frozen=True)
class Period:
    """A glucocorticoid over days counted from day 0; `last` is None while it goes on, `daily` None if unknown."""

    first: int
    last: int | None
    daily: Fraction | None


def periods(cohort: Cohort, place: int, date: int) -> list[Period]:
    """The glucocorticoids of a patient, in mg of prednisolone a day."""
    table, weight = cohort.medications, cohort.patients[place].weight_kg
    found = []
    for i in range(len(table)):
        name = str(table.drug[i]).strip().lower()
        if int(table.patient[i]) != place or name not in EQUAL_TO_5_MG:
            continue
        per_day = PER_DAY.get(table.unit[i])
        if table.unit[i] == "mg/kg/d" and weight is not None:
            per_day = Fraction(repr(float(weight)))
        daily = None
        if per_day is not None:
            daily = Fraction(repr(float(table.dose[i]))) * per_day * 5 / Fraction(EQUAL_TO_5_MG[name])
        last = None if int(table.end_day[i]) == NO_TIME else int(table.end_day[i]) - date
        found.append(Period(int(table.start_day[i]) - date, last, daily))
    return found


def dose(taken: list[Period], day: int) -> Fraction | None:
    """The dose on a day; a period that ends as another begins gives way to it."""
    begins = any(period.first == day for period in taken)
    covering = [
        period
        for period in taken
        if period.first <= day
        and (period.last is None or day <= period.last)
        and not (begins and period.last == day and period.first < day)
    ]
    if not taken or any(period.daily is None for period in covering):
        return None
    return sum((period.daily for period in covering if period.daily is not None), Fraction(0))


def rescue(taken: list[Period], rule: SteroidRescue | None) -> int | None:
    """The first day after day 0 that the rule calls a rise or a pulse, tried day by day."""
    if rule is None or not taken:
        return None
    last = max(max(period.first, period.last or 0) for period in taken)
    for day in range(1, last + 2):
        now, before = dose(taken, day), dose(taken, day - 1)
        known = [each for back in range(day) if (each := dose(taken, back)) is not None]
        start = dose(taken, 0) if rule.over == "day_0" else min(known, default=None)
        if now is None:
            continue
        if rule.rise is not None and start is not None and now - start >= Fraction(repr(float(rule.rise))) - LEAST:
            return day
        if rule.pulse is not None:
            least = Fraction(repr(float(rule.pulse))) - LEAST
            if now >= least and (before is None or before < least):
                return day
    return None
