"""What a statistician computes from the exported datasets, with NumPy and SciPy and a few lines of arithmetic.

Nothing of the service is imported here: the rows come from the files, the definitions from their documentation.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
from scipy import stats

Row = dict[str, Any]
EXACT_UP_TO = 12
"""Differences up to which all signs are enumerated; without ties and zeros SciPy's exact method serves any number."""


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    interval = stats.binomtest(k, n).proportion_ci(method="exact")
    return interval.low, interval.high


def response_counts(adsl: list[Row]) -> dict[int, tuple[int, int]]:
    """Responders and evaluable patients by the number of the rule."""
    numbers = [int(name[4:-2]) for name in (adsl[0] if adsl else {}) if name.startswith("RESP") and name.endswith("FL")]
    counts = {}
    for number in numbers:
        flags = [row[f"RESP{number:02}FL"] for row in adsl]
        counts[number] = (flags.count("Y"), len(flags) - flags.count(None))
    return counts


def score_verdict(rows: list[Row], points: float, maximum: float, value: str) -> bool | None:
    """A patient's verdict by points above baseline (days 1 to 59) from their rows of one score; higher is better."""
    base = rows[0]["BASE"] if rows else None
    after = [row["AVAL"] for row in sorted(rows, key=lambda row: row["ADT"]) if 1 <= row["ADY0"] <= 59]
    if base is None or base == maximum or not after:
        return None
    judged = after if value == "best" else after[-1:]
    return any(_written(each) - _written(base) >= _written(points) for each in judged)


def ck_verdict(rows: list[Row], value: str) -> bool | None:
    """A patient's verdict by a CK of at most 70 % of the baseline, or normal, on days 1 to 59."""
    after = [row for row in sorted(rows, key=lambda row: row["ADT"]) if 1 <= row["ADY0"] <= 59]
    baseline = [row for row in rows if row["ABLFL"]]
    if not baseline or baseline[0]["ANRIND"] != "HIGH" or _value(baseline[0]) == 0 or not after:
        return None
    [base] = baseline
    return any(_fell(row, base) for row in (after if value == "best" else after[-1:]))


def _fell(row: Row, base: Row) -> bool:
    if row["ANRIND"] == "NORMAL":
        return True
    unproven = (row["AVALC"] or "").startswith(">") or (base["AVALC"] or "").startswith("<")
    return not unproven and 10 * _value(row) <= 7 * _value(base)


def _value(row: Row) -> Decimal:
    """The value as sent, without its comparator."""
    return _written(row["AVAL"]) if row["AVALC"] is None else Decimal(row["AVALC"].lstrip("<>="))


def _written(number: float) -> Decimal:
    return Decimal(repr(number))


def of_patients(adeff: list[Row], parameter: str) -> dict[str, list[Row]]:
    """The usable rows of one parameter by patient of the efficacy set."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in adeff:
        if row["PARAMCD"] == parameter and row["ANL02FL"] == "Y" and row["EFFFL"] == "Y":
            found[row["USUBJID"]].append(row)
    return found


def changes(adeff: list[Row], parameter: str, week: int) -> list[float]:
    """The changes from baseline at a week, one a patient of the efficacy set."""
    return [
        row["CHG"]
        for row in adeff
        if row["PARAMCD"] == parameter
        and row["AVISITN"] == week
        and row["ANL01FL"] == "Y"
        and row["EFFFL"] == "Y"
        and row["CHG"] is not None
    ]


def wilcoxon_p(differences: list[float]) -> float | None:
    """The exact two-sided p value of the signed-rank test, zeros dropped; `None` where it cannot be had here."""
    rounded = np.array([float(f"{each:.12g}") for each in differences])
    kept = rounded[rounded != 0]
    if len(kept) == 0:
        return None
    if len(set(np.abs(kept))) == len(kept):
        return float(stats.wilcoxon(kept, method="exact").pvalue) if len(kept) <= 50 else None
    if len(kept) > EXACT_UP_TO:
        return None
    ranks = stats.rankdata(np.abs(kept))
    signs = (np.arange(2 ** len(kept))[:, None] >> np.arange(len(kept))) & 1
    every, seen = signs @ ranks, float(ranks[kept > 0].sum())
    return min(1.0, 2 * float(min((every <= seen + 1e-9).mean(), (every >= seen - 1e-9).mean())))


def t_test(values: list[float]) -> tuple[float, float, float, float]:
    """t, p, and the 95 % interval of the mean."""
    found = stats.ttest_1samp(values, 0.0)
    interval = found.confidence_interval(0.95)
    return float(found.statistic), float(found.pvalue), float(interval.low), float(interval.high)


def change_of_change(adeff: list[Row], before: int, after: int) -> list[float]:
    """ln C(after) - 2 ln C(0) + ln C(before) of each patient of the efficacy set who has all three."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for row in adeff:
        if row["PARAMCD"] == "LNCK" and row["ANL01FL"] == "Y" and row["EFFFL"] == "Y" and row["CHG"] is not None:
            found[row["USUBJID"]][row["AVISITN"]] = row["CHG"]
    return [each[before] + each[after] for each in found.values() if before in each and after in each]


def times(adtte: list[Row], parameter: str) -> list[tuple[int, bool]]:
    return [(row["AVAL"], row["CNSR"] == 0) for row in adtte if row["PARAMCD"] == parameter]


def kaplan_meier(observed: list[tuple[int, bool]]) -> list[tuple[int, float]]:
    """S(t) from each event time on."""
    survival, steps = 1.0, []
    for time in sorted({time for time, event in observed if event}):
        at_risk = sum(1 for each, _ in observed if each >= time)
        events = sum(1 for each, event in observed if event and each == time)
        survival *= 1 - events / at_risk
        steps.append((time, survival))
    return steps


def competing(adtte: list[Row], parameter: str) -> list[tuple[int, int]]:
    """Times with their CNSR: 0 for the event of interest, 2 and 3 for those that forestall it, 1 for none."""
    return [(row["AVAL"], row["CNSR"]) for row in adtte if row["PARAMCD"] == parameter]


def cumulative_incidence(observed: list[tuple[int, int]], code: int) -> list[tuple[int, float]]:
    """The Aalen-Johansen estimate of one cause at each of its times."""
    free, incidence, steps = 1.0, 0.0, []
    for time in sorted({time for time, cause in observed if cause != 1}):
        at_risk = sum(1 for each, _ in observed if each >= time)
        mine = sum(1 for each, cause in observed if each == time and cause == code)
        incidence += free * mine / at_risk
        free *= 1 - sum(1 for each, cause in observed if each == time and cause != 1) / at_risk
        if mine:
            steps.append((time, incidence))
    return steps


def median(observed: list[tuple[int, bool]]) -> float | None:
    """Half-way along the step at exactly one half, else where the curve falls below it."""
    steps = kaplan_meier(observed)
    for i, (time, survival) in enumerate(steps):
        if abs(survival - 0.5) <= 1e-8:
            return (time + steps[i + 1][0]) / 2 if i + 1 < len(steps) else float(time)
        if survival < 0.5:
            return float(time)
    return None


def restricted_mean(observed: list[tuple[int, bool]], until: int) -> float | None:
    """The area under the curve up to a day; `None` where the curve is above 0 and ends before."""
    if not observed:
        return None
    steps = [(0, 1.0), *((time, survival) for time, survival in kaplan_meier(observed) if time < until)]
    if steps[-1][1] > 1e-12 and max(time for time, _ in observed) < until:
        return None
    ends = [*(time for time, _ in steps[1:]), until]
    return math.fsum(survival * (end - time) for (time, survival), end in zip(steps, ends, strict=True))


def reactions(adsl: list[Row], adae: list[Row]) -> tuple[int, int]:
    """Patients with a reaction, and patients of the safety set."""
    return len({row["USUBJID"] for row in adae if row["ARELFL"] == "Y"}), sum(row["SAFFL"] == "Y" for row in adsl)


def event_counts(adae: list[Row]) -> dict[str, int]:
    after = [row for row in adae if row["TRTEMFL"] == "Y"]
    return {
        "patients_with_event": len({row["USUBJID"] for row in after}),
        "events": len(after),
        "related_events": sum(row["ARELFL"] == "Y" for row in after),
        "patients_with_serious_event": len({row["USUBJID"] for row in after if row["AESER"] == "Y"}),
        "serious_events": sum(row["AESER"] == "Y" for row in after),
        "serious_reactions": sum(row["AESER"] == "Y" and row["ARELFL"] == "Y" for row in after),
    }


def exposure(adsl: list[Row]) -> Iterator[tuple[str, float]]:
    """What reactions are counted over."""
    yield "infusion", sum(row["INFUSN"] for row in adsl)
    yield "course", sum(row["COURSEN"] for row in adsl)
    yield "patient-year", sum(row["FUPDAYS"] for row in adsl) / 365.25
