"""A reference range that a laboratory wrote as text, where it is one of the few forms that mean one thing only."""

import re

_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_BETWEEN = re.compile(rf"{_NUMBER} ?- ?{_NUMBER}")
_BELOW = re.compile(rf"<=? ?{_NUMBER}")


def read_range(text: str) -> tuple[float | None, float | None]:
    """Lower and upper limit of normal, in the unit of the result: `30-200`, `30 - 200`, `<25`, `<= 190`.

    Of any other text both are `None`, for a limit is never guessed: not from one with a unit, a word or a sex in it,
    a decimal comma, or a lower limit alone. `<25` and `<=25` give the same limit; that a result equal to the limit is
    normal is the rule of the service for every limit.
    """
    text = text.strip()
    between = _BETWEEN.fullmatch(text)
    if between is not None:
        return float(between[1]), float(between[2])
    below = _BELOW.fullmatch(text)
    return None, float(below[1]) if below is not None else None
