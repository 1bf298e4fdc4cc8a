"""`adeff`: every value of every measure, with the visit that it stands for and its change from baseline."""

import numpy as np

from app.datasets.measured import REASONS, Measured, measured, measures_of
from app.datasets.parameters import (
    EFFFL,
    IDENTIFIERS,
    LOG_CK,
    PARAMETERS,
    SAFFL,
    TRTSDT,
    YES,
    Origin,
    Parameter,
    fact_address,
    in_sequence,
)
from app.datasets.parquet import adam_days, dates, integers, numbers, texts, yes
from app.datasets.variables import Column, Dataset, DatasetDescription, adam, ours
from app.derive.ck_normality import ABNORMAL, NORMAL
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


def adeff(origin: Origin) -> Dataset:
    """The dataset, ordered by patient, parameter and day."""
    blocks: list[dict[str, Column]] = []
    patients: list[Ints] = [np.zeros(0, dtype=np.int64)]
    present = set(measures_of(origin.study))
    for number, measure in enumerate(PARAMETERS, 1):
        if measure not in present:
            continue
        rows = measured(origin.study, origin.sources, measure)
        blocks.append(_sent(origin, PARAMETERS[measure], number if measure == "CK" else number + 1, rows))
        patients.append(rows.patient)
        if measure == "CK":
            positive = rows.point > 0
            blocks.append(_logarithms(blocks[-1], rows, np.flatnonzero(positive)))
            patients.append(rows.patient[positive])
    patient = np.concatenate(patients)
    order = np.argsort(patient, kind="stable").tolist()
    names = [variable.name for variable in DESCRIPTION.variables]
    columns: dict[str, Column] = {}
    for name in names:
        column = [cell for block in blocks for cell in block[name]] if name != "ASEQ" else []
        columns[name] = [column[i] for i in order] if name != "ASEQ" else in_sequence(np.sort(patient))
    return Dataset.of(DESCRIPTION, columns)


def _sent(origin: Origin, parameter: Parameter, number: int, rows: Measured) -> dict[str, Column]:
    """The rows of the values that were sent."""
    size = len(rows.patient)
    change = difference(rows.point, rows.base)
    with np.errstate(over="ignore"):
        relative = np.divide(100 * change, rows.base, out=np.full(size, np.nan), where=rows.base != 0)
    return {
        **origin.identifiers(rows.patient),
        **origin.populations(rows.patient),
        "PARAMCD": [parameter.code] * size,
        "PARAM": [parameter.text] * size,
        "PARAMN": [number] * size,
        "PARAMTYP": [None] * size,
        "AVAL": numbers(rows.point),
        "AVALC": _bounds(rows),
        "BASE": numbers(rows.base),
        "CHG": numbers(change),
        "PCHG": numbers(relative),
        "ABLFL": yes(rows.baseline),
        "ADT": dates(rows.date),
        "ADY": integers(adam_days(rows.day)),
        "ADY0": integers(rows.day),
        **_visits(origin, rows),
        "ANL01FL": yes(rows.chosen),
        "ANL02FL": yes(rows.usable),
        "ANLREAS": texts(rows.reason),
        "ANRHI": numbers(rows.upper_limit),
        "ANRIND": _indicators(rows.known),
        "BNRIND": _indicators(rows.base_known),
        "DTYPE": _substituted(rows),
        "SRCID": texts(rows.address),
    }


def _logarithms(sent: dict[str, Column], rows: Measured, positive: Ints) -> dict[str, Column]:
    """The rows of ln(CK), made from the rows of CK in `sent`."""
    kept = positive.tolist()
    copied: dict[str, Column] = {name: [column[i] for i in kept] for name, column in sent.items()}
    point, base = rows.point[positive], rows.base[positive]
    with np.errstate(over="ignore", divide="ignore"):
        change = ln_ratio([point], [base])
    size = len(kept)
    none: Column = [None] * size
    return copied | {
        "PARAMCD": [LOG_CK.code] * size,
        "PARAM": [LOG_CK.text] * size,
        "PARAMN": [2] * size,
        "PARAMTYP": ["DERIVED"] * size,
        "AVAL": numbers(np.log(point)),
        "AVALC": none,
        "BASE": numbers(_ln(base)),
        "CHG": numbers(change),
        "PCHG": none,
        "ANRHI": none,
        "ANRIND": none,
        "BNRIND": none,
    }


def _visits(origin: Origin, rows: Measured) -> dict[str, Column]:
    """The visit of each row and its window."""
    weeks = rows.week.tolist()
    days = {week: side_of_window(week, origin.study.protocol.visits) for week in set(weeks) - {0, NO_TIME}}
    low = np.array([days[week][0] if week in days else NO_TIME for week in weeks], dtype=np.int64)
    high = np.array([days[week][1] if week in days else NO_TIME for week in weeks], dtype=np.int64)
    high[rows.week == 0] = 0
    targeted = (rows.week != 0) & (rows.week != NO_TIME)
    target = np.where(targeted, 7 * rows.week, NO_TIME)
    return {
        "AVISIT": [None if week == NO_TIME else "Baseline" if week == 0 else f"Week {week}" for week in weeks],
        "AVISITN": integers(rows.week),
        "AWTARGET": integers(adam_days(target)),
        "AWTDIFF": integers(np.abs(rows.day - target), targeted),
        "AWLO": integers(adam_days(low)),
        "AWHI": integers(adam_days(high)),
    }


def _bounds(rows: Measured) -> list[str | None]:
    sign = list(COMPARATORS)
    pairs = zip(rows.comparator.tolist(), rows.value.tolist(), strict=True)
    return [f"{sign[each]}{digits(value)}" if each else None for each, value in pairs]


def _substituted(rows: Measured) -> list[str | None]:
    words = {COMPARATORS[sign]: "HALFBOUND" if sign in ("<", "<=") else "BOUND" for sign in ("<", "<=", ">", ">=")}
    return [words.get(each) for each in rows.comparator.tolist()]


def _indicators(known: Ints) -> list[str | None]:
    words: dict[int, str] = {NORMAL: "NORMAL", ABNORMAL: "HIGH"}
    return [words.get(each) for each in known.tolist()]


def _ln(values: Floats) -> Floats:
    """The natural logarithm, NaN where the value is not positive."""
    usable = values > 0
    return np.where(usable, np.log(np.where(usable, values, 1.0)), np.nan)
