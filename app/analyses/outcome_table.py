"""Table 2 of a paper: the outcomes that the answers of the report hold, as rows of text and numbers."""

from collections.abc import Iterator, Mapping
from typing import cast

from pydantic import Field

from app.analyses.answer import Answer, Grouped
from app.analyses.ck_change import CkChange
from app.analyses.ck_normal.ck_normal_time import CkNormalTimes
from app.analyses.paper_table import NOTHING, PaperColumn, column_of, days, limits, number, p_value, percent, rate
from app.analyses.response_rates import ResponseRates, rule_in_words
from app.analyses.safety.adverse_reactions import AdverseReactionRates
from app.analyses.weekly_change import WeeklyChanges, scales_of
from app.estimate.results import Interval, Median, Number, Reason, Result, TestResult, WhyNull


class OutcomeText(Result):
    """The numbers of one outcome as a paper prints them."""

    n: str = Field(description="Patients; of a time with the events before them.", examples=["15"])
    estimate: str = Field(description="The estimate.", examples=["14/15 (93.3 %)"])
    interval: str = Field(description="Its confidence interval.", examples=["68.1 % to 99.8 %"])
    p: str = Field(description="Its p value: adjusted where it was, never 0.", examples=["<0.001"])


class OutcomeCell(Result):
    """One outcome in one column."""

    n: int = Field(description="Patients.", examples=[15])
    estimate: Number | None = Field(description="The estimate.", examples=[0.933333333333])
    interval: Interval | None = Field(description="Its first confidence interval in the answer.")
    test: TestResult | None = Field(description="The test that decides; null where none is made.")
    reason: WhyNull = None
    text: OutcomeText = Field(description="The same as text.")


class OutcomeRow(Result):
    """One outcome: its label and a cell for each column."""

    analysis: str = Field(description="The answer that holds it.", examples=["response-rates"])
    label: str = Field(description="What it is.", examples=["MMT response"])
    cells: tuple[OutcomeCell | None, ...] = Field(description="One for each column, null without it.", examples=[[]])


class OutcomeTable(Result):
    """Table 2 of a paper, with one column for the study or for each subgroup."""

    columns: tuple[PaperColumn, ...] = Field(description="The columns.", examples=[[]])
    rows: tuple[OutcomeRow, ...] = Field(description="The outcomes in the order of the report.", examples=[[]])


Found = Iterator[tuple[str, Grouped, OutcomeCell]]


def outcome_table(answers: Mapping[str, Answer]) -> OutcomeTable:
    """The outcomes of the answers of one report. The columns are the groups of its adverse reactions."""
    safety = cast("AdverseReactionRates", answers["adverse-reactions"]).results
    columns = [column_of(row.group, row.safety) for row in safety]
    places = {str(each.group): place for place, each in enumerate(columns)}
    rows: dict[tuple[str, str], list[OutcomeCell | None]] = {}
    for name, cells in (
        ("response-rates", _responses(cast("ResponseRates", answers["response-rates"]))),
        ("weekly-change", _weeks(cast("WeeklyChanges", answers["weekly-change"]))),
        ("ck-change", _changes(cast("CkChange", answers["ck-change"]))),
        ("ck-normal-time", _times(cast("CkNormalTimes", answers["ck-normal-time"]))),
        ("adverse-reactions", _reactions(cast("AdverseReactionRates", answers["adverse-reactions"]))),
    ):
        for label, row, cell in cells:
            rows.setdefault((name, label), [None] * len(columns))[places[str(row.group)]] = cell
    return OutcomeTable(
        columns=tuple(columns),
        rows=tuple(OutcomeRow(analysis=name, label=label, cells=tuple(row)) for (name, label), row in rows.items()),
    )


def _responses(answer: ResponseRates) -> Found:
    for row in answer.results:
        label = f"{row.measure} response{', primary' if row.primary else ''}: {rule_in_words(row.definition)}"
        yield label, row, _rate(row.responders, row.evaluable, row.rate, row.intervals, row.reason)


def _weeks(answer: WeeklyChanges) -> Found:
    for row in answer.results:
        if row.scale != scales_of(row.measure)[0]:
            continue
        ratio = row.scale == "ln"
        label = f"{row.measure}, week {row.week}, {'ratio to' if ratio else 'mean change from'} baseline"
        estimate = row.geometric_mean_ratio if ratio else row.mean
        found = _of(row.intervals, "geometric_mean_ratio" if ratio else "mean")
        yield label, row, _change(row.n, estimate, found, row.tests[0], row.reason)


def _changes(answer: CkChange) -> Found:
    for row in answer.results:
        found, interval = row.difference, _of(row.difference.intervals, "ratio_of_ratios")
        label = "CK, ratio after treatment divided by the ratio before it"
        cell = _change(row.n, found.ratio_of_ratios, interval, found.tests[0], found.reason)
        yield label, row, cell


def _times(answer: CkNormalTimes) -> Found:
    for row in answer.results:
        first = row.time_to_first_normal
        yield "Time with normal CK (d), median", row, _median(row.n, row.events, row.median)
        yield "Time to the first normal CK (d), median", row, _median(first.n, first.events, first.median)


def _reactions(answer: AdverseReactionRates) -> Found:
    for row in answer.results:
        cell = _rate(row.patients_with_reaction, row.safety, row.rate, row.intervals, row.reason)
        yield "Patients with an adverse reaction", row, cell


def _of(intervals: tuple[Interval, ...], of: str) -> Interval:
    return next(interval for interval in intervals if interval.of == of)


def _rate(k: int, n: int, share: float | None, intervals: tuple[Interval, ...], reason: Reason | None) -> OutcomeCell:
    text = OutcomeText(n=str(n), estimate=percent(k, n), interval=limits(intervals[0], rate), p=NOTHING)
    return OutcomeCell(n=n, estimate=share, interval=intervals[0], test=None, reason=reason, text=text)


def _median(n: int, events: int, median: Median) -> OutcomeCell:
    interval = median.intervals[0]
    estimate = "not reached" if median.reason == Reason.NOT_REACHED else days(median.value)
    text = OutcomeText(n=f"{events}/{n}", estimate=estimate, interval=limits(interval, days), p=NOTHING)
    return OutcomeCell(n=n, estimate=median.value, interval=interval, test=None, reason=median.reason, text=text)


def _change(n: int, estimate: float | None, interval: Interval, test: TestResult, reason: Reason | None) -> OutcomeCell:
    p = test.p_at_most if test.adjustment is None else test.p_adjusted
    text = OutcomeText(n=str(n), estimate=number(estimate), interval=limits(interval, number), p=p_value(p))
    return OutcomeCell(n=n, estimate=estimate, interval=interval, test=test, reason=reason, text=text)
