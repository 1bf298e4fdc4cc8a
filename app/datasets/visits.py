"""`adeff`: every value of every measure, with the visit that it stands for and its change from baseline."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.datasets.measured import REASON_CODES, REASONS, Measured, measured, measures_of
from app.datasets.parameters import (
    EFFFL,
    IDENTIFIERS,
    LOG_CK,
    PARAMETERS,
    SAFFL,
    TRTSDT,
    YES,
    Origin,
    fact_address,
    in_sequence,
)
from app.datasets.parquet import adam_days, dates, integers
from app.datasets.variables import (
    CodedColumn,
    Column,
    Dataset,
    DatasetDescription,
    Datum,
    NumberColumn,
    adam,
    distinct,
    ours,
)
from app.derive.ck_normality import ABNORMAL, NORMAL, UNKNOWN
from app.derive.exact_comparison import difference, ln_ratio
from app.derive.visits import side_of_window
from app.readers.csv_lines import digits
from app.timeline.cohort import COMPARATORS, NO_TIME, Floats, Ints

_WINDOW = "The protocol's rule of visits; no window reaches across day 0."
DESCRIPTION = DatasetDescription(
    name="adeff",
    label="Efficacy Analysis Dataset",
    structure="One row for each value of each measure, and for each positive CK one more with its logarithm.",
    standard="ADaM basic data structure (BDS)",
    key=("STUDYID", "USUBJID", "ASEQ"),
    variables=(
        *IDENTIFIERS,
        adam("ASEQ", "Analysis Sequence Number", "integer", "Number of the row among those of the patient.",
             "1, 2, 3, ... in the order of PARAMN, ADT and the content of the values."),
        SAFFL,
        EFFFL,
        TRTSDT,
        adam("PARAMCD", "Parameter Code", "text", "The measure.", "One code for each measure of the vocabulary.",
             codelist=[*(each.code for each in PARAMETERS.values()), LOG_CK.code]),
        adam("PARAM", "Parameter", "text", "The measure with its unit.", "One text for each PARAMCD.",
             codelist=[*(each.text for each in PARAMETERS.values()), LOG_CK.text]),
        adam("PARAMN", "Parameter (N)", "integer", "Number of the measure.", "One number for each PARAMCD."),
        adam("PARAMTYP", "Parameter Type", "text", "Whether the parameter is derived from another one.",
             "DERIVED for LNCK; empty for what was sent.", codelist=("DERIVED",)),
        adam("AVAL", "Analysis Value", "number", "The number that analyses calculate with, in the unit of PARAM.",
             "The value in the canonical unit; x/2 where `<x` or `<=x` was sent, x for `>x` and `>=x`. LNCK: the "
             "natural logarithm of that."),
        adam("AVALC", "Analysis Value (C)", "text", "The value as a bound, where only a bound is known.",
             "Comparator and value; empty where the value is known. `<10` and a value of 5 have one AVAL.",),
        adam("BASE", "Baseline Value", "number", "AVAL of the patient's baseline.",
             "AVAL of the row of the same parameter with ABLFL Y."),
        adam("CHG", "Change from Baseline", "number", "AVAL minus BASE, before day 0 too.",
             "Rounded to nine decimals, which is exact for values as sent. LNCK: ln of the ratio of both CK."),
        adam("PCHG", "Percent Change from Baseline", "number", "Change in per cent of the baseline.",
             "100 x CHG / BASE; empty where BASE is 0 or nearly so, and for LNCK.", unit="%"),
        adam("ABLFL", "Baseline Record Flag", "text", "Whether the value is the patient's baseline.",
             "Y: the last usable value on or before day 0.", codelist=YES),
        adam("ADT", "Analysis Date", "date", "The day of the value.",
             "The calendar date as sent, in the study's time zone where it declares one and a clock time was sent."),
        adam("ADY", "Analysis Relative Day", "integer", "Day of the value as CDISC counts: there is no day 0.",
             "ADY0 + 1 on and after day 0, else ADY0; empty where the patient was never treated.", unit="d"),
        ours("ADY0", "Relative Day, First Infusion Is 0", "integer", "Day of the value as the protocol counts.",
             "ADT minus TRTSDT.", unit="d"),
        adam("AVISIT", "Analysis Visit", "text", "The visit in whose window the value lies.",
             "`Baseline` for the row with ABLFL Y; `Week w` for values in the window of week w."),
        adam("AVISITN", "Analysis Visit (N)", "integer", "Number of the week.", "0 for the baseline."),
        adam("AWTARGET", "Analysis Window Target", "integer", "Target day of the window, counted as ADY.",
             "Day 7w of week w; the baseline has no target.", unit="d"),
        adam("AWTDIFF", "Analysis Window Diff from Target", "integer", "Days between ADT and the target.",
             "Absolute difference without the day 0 that ADY does not have.", unit="d"),
        adam("AWLO", "Analysis Window Beginning Timepoint", "integer", "First day of the window, counted as ADY.",
             _WINDOW, unit="d"),
        adam("AWHI", "Analysis Window Ending Timepoint", "integer", "Last day of the window, counted as ADY.",
             _WINDOW, unit="d"),
        adam("ANL01FL", "Analysis Flag 01", "text", "Whether the value stands for its visit.",
             "Y: nearest to the target among the usable values of the window, a tie to the later; one value serves one "
             "visit.", codelist=YES),
        adam("ANL02FL", "Analysis Flag 02", "text", "Whether analyses may use the value at all.",
             "Y: the one usable value of its day. Response rules that look at a window of days, and the times of "
             "`adtte`, look at these.", codelist=YES),
        ours("ANLREAS", "Reason ANL01FL Is Empty", "text", "Why the value does not stand for a visit.",
             "The first that holds. " + "; ".join(f"`{code}`: {text}" for code, text in REASONS.items()) + ".",
             codelist=tuple(REASONS)),
        adam("ANRHI", "Analysis Normal Range Upper Limit", "number", "Upper limit of normal of this value.",
             "As sent with the value, in the unit of PARAM; borrowed where the protocol says so. Empty where unknown."),
        adam("ANRIND", "Analysis Reference Range Indicator", "text", "Whether the value is normal.",
             "NORMAL up to and at ANRHI, else HIGH; empty where that is unknown: no limit, or a bound that hides it.",
             codelist=("NORMAL", "HIGH")),
        adam("BNRIND", "Baseline Reference Range Indicator", "text", "ANRIND of the baseline.",
             "ANRIND of the row of the same parameter with ABLFL Y.", codelist=("NORMAL", "HIGH")),
        adam("DTYPE", "Derivation Type", "text", "How AVAL was made where it is not the value that was sent.",
             "HALFBOUND: x/2 stands for `<x` and `<=x`; BOUND: x stands for `>x` and `>=x`. Nothing is carried "
             "forward. CHG and BASE of other rows are made with such a baseline too; the means of `weekly-change` and "
             "`ck-change` take bounds as bounds.", codelist=("HALFBOUND", "BOUND")),
        fact_address("SRCID", "Address of the Source Fact", "The fact that holds the value."),
    ),
)  # fmt: skip


_PARAMETERS = [PARAMETERS["CK"], LOG_CK, *(each for name, each in PARAMETERS.items() if name != "CK")]
"""Every parameter in the order of PARAMN."""

Block = dict[str, NDArray[Any]]
"""Rows of one parameter: a column of each number and code that the columns of the dataset are made from."""


def adeff(origin: Origin) -> Dataset:
    """The dataset, ordered by patient, parameter and day."""
    blocks: list[Block] = []
    addresses: list[str] = []
    present = set(measures_of(origin.study))
    for measure in PARAMETERS:
        if measure in present or measure == "CK":
            rows = measured(origin.study, origin.sources, measure)
            blocks.append(_sent(rows, _PARAMETERS.index(PARAMETERS[measure]), len(addresses)))
            addresses += rows.address.tolist()
            if measure == "CK":
                blocks.append(_logarithms(blocks[-1], np.flatnonzero(rows.point > 0)))
    order = np.argsort(np.concatenate([block["patient"] for block in blocks]), kind="stable")
    every = {name: np.concatenate([block[name] for block in blocks])[order] for name in blocks[0]}
    return Dataset.of(DESCRIPTION, _columns(origin, every, addresses))


def _sent(rows: Measured, parameter: int, before: int) -> Block:
    """The rows of the values that were sent; so many addresses are those of rows `before` them."""
    size = len(rows.patient)
    change = difference(rows.point, rows.base)
    with np.errstate(over="ignore"):
        relative = np.divide(100 * change, rows.base, out=np.full(size, np.nan), where=rows.base != 0)
    return {
        "patient": rows.patient,
        "parameter": np.full(size, parameter),
        "point": rows.point,
        "base": rows.base,
        "change": change,
        "relative": relative,
        "date": rows.date,
        "day": rows.day,
        "week": rows.week,
        "baseline": rows.baseline,
        "chosen": rows.chosen,
        "usable": rows.usable,
        "reason": rows.reason,
        "value": rows.value,
        "sign": rows.comparator,
        "comparator": rows.comparator,
        "limit": rows.upper_limit,
        "known": rows.known,
        "base_known": rows.base_known,
        "address": np.arange(before, before + size),
    }


def _logarithms(sent: Block, positive: Ints) -> Block:
    """The rows of ln(CK), made from the rows of CK in `sent`."""
    block = {name: column[positive] for name, column in sent.items()}
    point, base, size = block["point"], block["base"], len(positive)
    with np.errstate(over="ignore", divide="ignore"):
        change = ln_ratio([point], [base])
    nothing, unknown = np.full(size, np.nan), np.full(size, UNKNOWN)
    return block | {
        "parameter": np.full(size, _PARAMETERS.index(LOG_CK)),
        "point": np.log(point),
        "base": _ln(base),
        "change": change,
        "relative": nothing,
        "sign": np.zeros(size, dtype=np.int64),
        "limit": nothing,
        "known": unknown,
        "base_known": unknown,
    }


def _columns(origin: Origin, rows: Block, addresses: list[str]) -> dict[str, Column]:
    patient = rows["patient"]
    sequence = np.array(in_sequence(patient), dtype=np.int64)
    day, (ady, ady0) = _distinct(rows["day"], lambda days: (integers(adam_days(days)), integers(days)))
    week, visits = _distinct(rows["week"], lambda weeks: _visits(origin, weeks))
    targeted = (rows["week"] != 0) & (rows["week"] != NO_TIME)
    apart = np.where(targeted, np.abs(rows["day"] - np.where(targeted, 7 * rows["week"], 0)), NO_TIME)
    date, (calendar,) = _distinct(rows["date"], lambda days: (dates(days),))
    away, (differences,) = _distinct(apart, lambda days: (integers(days),))
    kind, log = rows["parameter"], _PARAMETERS.index(LOG_CK)
    words = {COMPARATORS[sign]: "HALFBOUND" if sign in ("<", "<=") else "BOUND" for sign in ("<", "<=", ">", ">=")}
    return {
        **origin.identifiers(patient),
        **origin.populations(patient),
        "ASEQ": CodedColumn(range(1, int(sequence.max(initial=0)) + 1), sequence - 1),
        "PARAMCD": CodedColumn([each.code for each in _PARAMETERS], kind),
        "PARAM": CodedColumn([each.text for each in _PARAMETERS], kind),
        "PARAMN": CodedColumn(range(1, len(_PARAMETERS) + 1), kind),
        "PARAMTYP": CodedColumn(["DERIVED" if place == log else None for place in range(len(_PARAMETERS))], kind),
        "AVAL": NumberColumn(rows["point"]),
        "AVALC": _bounds(rows["sign"], rows["value"]),
        "BASE": NumberColumn(rows["base"]),
        "CHG": NumberColumn(rows["change"]),
        "PCHG": NumberColumn(rows["relative"]),
        "ABLFL": _yes(rows["baseline"]),
        "ADT": CodedColumn(calendar, date),
        "ADY": CodedColumn(ady, day),
        "ADY0": CodedColumn(ady0, day),
        **{name: CodedColumn(column, week) for name, column in visits.items()},
        "AWTDIFF": CodedColumn(differences, away),
        "ANL01FL": _yes(rows["chosen"]),
        "ANL02FL": _yes(rows["usable"]),
        "ANLREAS": CodedColumn(REASON_CODES, rows["reason"]),
        "ANRHI": NumberColumn(rows["limit"]),
        "ANRIND": _indicators(rows["known"]),
        "BNRIND": _indicators(rows["base_known"]),
        "DTYPE": CodedColumn([words.get(place) for place in range(len(COMPARATORS))], rows["comparator"]),
        "SRCID": CodedColumn(addresses, rows["address"]),
    }


Words = TypeVar("Words")


def _distinct(values: Ints, words: Callable[[Ints], Words]) -> tuple[Ints, Words]:
    """The place of each value among the different ones, and what `words` makes of these."""
    found, place = distinct(values)
    return place, words(found)


def _visits(origin: Origin, weeks: Ints) -> dict[str, list[Any]]:
    """The visit of each week and its window."""
    planned = origin.study.protocol.visits
    none = (NO_TIME, NO_TIME)
    days = [none if week in (0, NO_TIME) else side_of_window(week, planned) for week in weeks.tolist()]
    low, high = (np.array([each[side] for each in days], dtype=np.int64) for side in (0, 1))
    high[weeks == 0] = 0
    target = np.where((weeks != 0) & (weeks != NO_TIME), 7 * np.where(weeks == NO_TIME, 0, weeks), NO_TIME)
    return {
        "AVISIT": [None if week == NO_TIME else "Baseline" if week == 0 else f"Week {week}" for week in weeks.tolist()],
        "AVISITN": integers(weeks),
        "AWTARGET": integers(adam_days(target)),
        "AWLO": integers(adam_days(low)),
        "AWHI": integers(adam_days(high)),
    }


def _yes(flags: NDArray[Any]) -> CodedColumn:
    return CodedColumn((None, "Y"), flags.astype(np.int64))


def _bounds(sign: Ints, value: Floats) -> CodedColumn:
    signs = list(COMPARATORS)
    rows = np.flatnonzero(sign)
    place = np.zeros(len(sign), dtype=np.int64)
    place[rows] = np.arange(1, len(rows) + 1)
    pairs = zip(sign[rows].tolist(), value[rows].tolist(), strict=True)
    return CodedColumn([None, *(f"{signs[each]}{digits(number)}" for each, number in pairs)], place)


def _indicators(known: Ints) -> CodedColumn:
    words: list[Datum] = [None, None, None]
    words[NORMAL - UNKNOWN], words[ABNORMAL - UNKNOWN] = "NORMAL", "HIGH"
    return CodedColumn(words, known - UNKNOWN)


def _ln(values: Floats) -> Floats:
    """The natural logarithm, NaN where the value is not positive."""
    usable = values > 0
    return np.where(usable, np.log(np.where(usable, values, 1.0)), np.nan)
