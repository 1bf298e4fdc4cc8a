"""A second implementation of which orders count and on which days their dose is not known: day by day, in a loop.

A medication is (drug, first day, last day or None, dose a day or None, ordered).
"""

from collections.abc import Sequence
from fractions import Fraction

Medication = tuple[str, int, int | None, Fraction | None, bool]


def counted(found: Sequence[Medication]) -> list[Medication]:
    """The medications that count."""
    taken = {drug for drug, _, _, _, ordered in found if not ordered}
    return [each for each in found if not each[4] or each[0] not in taken]


def is_valid(one: Medication, day: int, others: Sequence[Medication]) -> bool:
    """Whether a medication counts on a day: not on its last day, if another one begins on it."""
    _, first, last, _, _ = one
    if day < first or (last is not None and day > last):
        return False
    return not (day == last and first < day and any(other[1] == day for other in others))


def dose(found: Sequence[Medication], day: int) -> tuple[Fraction | None, bool, bool]:
    """The dose of a day, whether any medication covers it, and whether several orders of one drug do."""
    counting = counted(found)
    valid = [each for each in counting if is_valid(each, day, counting)]
    drugs = [each[0] for each in valid if each[4]]
    doubtful = len(set(drugs)) < len(drugs)
    if doubtful or any(each[3] is None for each in valid):
        return None, bool(valid), doubtful
    return sum((each[3] for each in valid if each[3] is not None), Fraction()), bool(valid), False
