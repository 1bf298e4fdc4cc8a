"""`pandas_report.py FILE`: the whole report as one would write it with pandas groupby-apply and lifelines.

One function a patient, called by `groupby.apply`, then SciPy and lifelines on the rows that it returns. It follows the
`seed-2008` definitions on data that hold none of their edge cases (no comparators, one draw a day, one laboratory).
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from scipy import stats
from turns import take_turns

WEEKS = (1, 2, 4, 8)


def frames(timelines: list[dict]) -> dict[str, pd.DataFrame]:
    """The study as the data frames that a notebook would hold."""
    labs, scores, patients = [], [], []
    for one in timelines:
        who = one["patient"]["id"]
        day0 = pd.Timestamp(min(infusion["time"] for infusion in one["infusions"]))
        patients.append({**one["patient"], "day0": day0})
        for series in one["lab_series"]:
            labs += [
                {"id": who, "day": (pd.Timestamp(time[:10]) - day0).days, "value": value, "uln": series["upper_limit"]}
                for time, value in zip(series["times"], series["values"], strict=True)
            ]
        scores += [
            {"id": who, "code": a["code"], "day": (pd.Timestamp(a["time"]) - day0).days, "value": a["score"]}
            for a in one["assessments"]
        ]
    return {"labs": pd.DataFrame(labs), "scores": pd.DataFrame(scores), "patients": pd.DataFrame(patients)}


def _visit(group: pd.DataFrame, week: int) -> float:
    near = group[(group["day"] - 7 * week).abs() <= 3]
    near = near[near["day"] > 0] if week > 0 else near[near["day"] < 0]
    if near.empty:
        return np.nan
    order = near.assign(gap=(near["day"] - 7 * week).abs()).sort_values(["gap", "day"], ascending=[True, False])
    return float(order["value"].iloc[0])


def _baseline(group: pd.DataFrame) -> float:
    before = group[group["day"] <= 0].sort_values("day")
    return float(before["value"].iloc[-1]) if len(before) else np.nan


def _ck(group: pd.DataFrame) -> pd.Series:
    base = _baseline(group)
    row = {"base": base, "before": _visit(group, -4), **{f"w{week}": _visit(group, week) for week in WEEKS}}
    window = group[(group["day"] >= 1) & (group["day"] <= 59)]
    row["responder"] = bool(((window["value"] <= 0.7 * base) | (window["value"] <= window["uln"])).any())
    after = group[group["day"] > 0].sort_values("day")
    normal = after[after["value"] <= after["uln"]]
    row["start"] = row["duration"] = row["event"] = np.nan
    if len(normal):
        start = normal["day"].iloc[0]
        relapse = after[(after["day"] > start) & (after["value"] > after["uln"])]
        row["start"], row["event"] = start, float(len(relapse) > 0)
        row["duration"] = (relapse["day"].iloc[0] if len(relapse) else after["day"].iloc[-1]) - start
    row["last"] = after["day"].iloc[-1] if len(after) else np.nan
    return pd.Series(row)


def _score(group: pd.DataFrame, points: float) -> pd.Series:
    base = _baseline(group)
    window = group[(group["day"] >= 1) & (group["day"] <= 59)]
    row = {"base": base, **{f"w{week}": _visit(group, week) for week in WEEKS}}
    row["responder"] = bool((window["value"] >= base + points).any())
    return pd.Series(row)


def _tests(difference: pd.Series) -> dict:
    known = difference.dropna()
    return {
        "n": len(known),
        "mean": known.mean(),
        "wilcoxon": stats.wilcoxon(known, correction=True, method="approx").pvalue,
        "t": stats.ttest_1samp(known, 0).pvalue,
    }


def report(data: dict[str, pd.DataFrame]) -> dict:
    """The figures of the report."""
    ck = data["labs"].groupby("id").apply(_ck, include_groups=False)
    found: dict = {"responders": {"CK": int(ck["responder"].sum())}, "weekly": {}}
    for code, points in (("MMT", 5), ("ADL", 3)):
        part = data["scores"][data["scores"]["code"] == code]
        rows = part.groupby("id").apply(_score, points=points, include_groups=False)
        found["responders"][code] = int(rows["responder"].sum())
        for week in WEEKS:
            found["weekly"][code, week] = _tests(rows[f"w{week}"] - rows["base"])
    found["rates"] = {
        code: stats.binomtest(k, len(ck)).proportion_ci(method="exact") for code, k in found["responders"].items()
    }
    for week in WEEKS:
        found["weekly"]["ln CK", week] = _tests(np.log(ck[f"w{week}"]) - np.log(ck["base"]))
        found["weekly"]["CK", week] = _tests(ck[f"w{week}"] - ck["base"])
    found["change"] = _tests(np.log(ck["w4"]) - 2 * np.log(ck["base"]) + np.log(ck["before"]))
    spells = ck.dropna(subset=["duration"])
    curve = KaplanMeierFitter().fit(spells["duration"], spells["event"])
    found["spells"], found["events"] = len(spells), int(spells["event"].sum())
    found["median"] = curve.median_survival_time_
    KaplanMeierFitter().fit(ck["start"].fillna(ck["last"]), ck["start"].notna())
    return found


data = frames(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def figures() -> dict:
    """The report, and of it what the other side compares."""
    found = report(data)
    return {name: found[name] for name in ("responders", "spells", "events", "change")}


take_turns(f"pandas {version('pandas')} groupby-apply + lifelines {version('lifelines')}", figures)
