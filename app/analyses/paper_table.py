"""Tables as a paper prints them: rows of text, with one column for the study or for each subgroup.

The digits are declared here: percentages have one decimal, p values three, and every other number three significant
digits, whole numbers where it is at least 100. No p is printed as 0 or as 1: it is below 0.001 or above 0.999.
"""

import math
from collections.abc import Callable, Sequence

from pydantic import Field

from app.analyses.answer import Grouped
from app.estimate.results import Interval, Result

NOTHING = "–"
"""What stands where there is no number."""
SIGNIFICANT, PERCENT_DECIMALS, P_DECIMALS = 3, 1, 3
MOST_DECIMALS = 6
"""A number that is smaller than these decimals show is written with an exponent."""


class PaperColumn(Grouped):
    """One column: the study, or a subgroup."""

    label: str = Field(description="Its heading.", examples=["All (n = 16)"])
    n: int = Field(description="Its treated patients.", examples=[16])


class PaperRow(Result):
    """One row: its label and a text for each column."""

    section: str = Field(description="Part of the table.", examples=["demographics"])
    label: str = Field(description="What the row is of.", examples=["Age (a), median [quartiles]"])
    cells: tuple[str, ...] = Field(description="One text for each column.", examples=[["46 [34, 61]"]])


class PaperTable(Result):
    """A table ready for a paper; its numbers stand in the answers with all their digits."""

    columns: tuple[PaperColumn, ...] = Field(description="The columns.", examples=[[]])
    rows: tuple[PaperRow, ...] = Field(description="The rows.", examples=[[]])


def column_of(group: dict[str, str | None] | None, n: int) -> PaperColumn:
    """The column of a subgroup; of the study where there is none."""
    name = "All" if group is None else next(iter(group.values())) or "unknown"
    return PaperColumn(group=group, label=f"{name} (n = {n})", n=n)


def number(value: float | None) -> str:
    """A number with three significant digits, or as a whole number."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    decimals = max(0, SIGNIFICANT - 1 - math.floor(math.log10(abs(float(f"{value:.{SIGNIFICANT - 1}e}")))))
    return f"{value:.{SIGNIFICANT - 1}e}" if decimals > MOST_DECIMALS else f"{value:.{decimals}f}"


def days(value: float | None) -> str:
    """A time in days, with one decimal where it is not whole."""
    return NOTHING if value is None else f"{value:.1f}".removesuffix(".0")


def percent(k: int, n: int) -> str:
    """A count with its denominator and percentage."""
    return f"{k}/{n} ({100 * k / n:.{PERCENT_DECIMALS}f} %)" if n else f"{k}/{n}"


def p_value(p: float | None) -> str:
    """A p value, which is never printed as 0 or 1 unless it is 1."""
    least = 10**-P_DECIMALS
    if p is None:
        return NOTHING
    if p < least:
        return f"<{least:.{P_DECIMALS}f}"
    return f">{1 - least:.{P_DECIMALS}f}" if 1 - least < p < 1 else f"{p:.{P_DECIMALS}f}"


def rate(value: float | None) -> str:
    """A fraction as a percentage."""
    return NOTHING if value is None else f"{100 * value:.{PERCENT_DECIMALS}f} %"


def limits(interval: Interval, write: Callable[[float | None], str]) -> str:
    """The limits of an interval; an open one is written as a dash."""
    if interval.low is None and interval.high is None:
        return NOTHING
    return f"{write(interval.low)} to {write(interval.high)}"


def side_by_side(columns: Sequence[Sequence[tuple[str, str, str]]]) -> tuple[PaperRow, ...]:
    """The rows of all columns; each column has (section, label, text), and a dash where it lacks a row."""
    texts = [{(section, label): text for section, label, text in each} for each in columns]
    names = dict.fromkeys(name for each in texts for name in each)
    return tuple(
        PaperRow(section=section, label=label, cells=tuple(each.get((section, label), NOTHING) for each in texts))
        for section, label in names
    )
