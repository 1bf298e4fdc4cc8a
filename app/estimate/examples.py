"""The examples that the API description shows for results within results: figures of the demo cohort."""

from pydantic import JsonValue

RATE_INTERVAL: dict[str, JsonValue] = {
    "of": "rate",
    "method": "clopper-pearson",
    "level": 0.95,
    "low": 0.680515433422,
    "high": 0.998313569759,
    "reason": None,
}
CHANGE_INTERVALS: list[dict[str, JsonValue]] = [
    {"of": "mean", "method": "t", "level": 0.95, "low": -0.661797348661, "high": -0.402806976675, "reason": None},
    {
        "of": "pseudomedian",
        "method": "hodges_lehmann_exact",
        "level": 0.95,
        "low": -0.667123407139,
        "high": -0.396873997559,
        "estimate": -0.510278993725,
        "reason": None,
    },
]
CHANGE_TESTS: list[dict[str, JsonValue]] = [
    {
        "method": "wilcoxon_exact",
        "statistic": 0,
        "df": None,
        "p": 6.103515625e-05,
        "p_adjusted": 0.000244140625,
        "adjustment": "holm",
        "n_used": 15,
        "n_zero": 0,
        "reason": None,
    },
    {
        "method": "paired_t",
        "statistic": -8.816347756,
        "df": 14,
        "p": 4.3420834081e-07,
        "p_adjusted": 8.68416681621e-07,
        "adjustment": "holm",
        "n_used": 15,
        "n_zero": 0,
        "reason": None,
    },
]
MEDIAN_INTERVAL: dict[str, JsonValue] = {
    "of": "median",
    "method": "brookmeyer-crowley/log-log",
    "level": 0.95,
    "low": 77,
    "high": None,
    "reason": "not_reached",
}
MEDIAN: dict[str, JsonValue] = {
    "value": 334.5,
    "unit": "d",
    "convention": "midpoint",
    "plateau": "left_end",
    "reason": None,
    "intervals": [MEDIAN_INTERVAL],
}
CURVE_POINT: dict[str, JsonValue] = {
    "time": 41,
    "at_risk": 12,
    "events": 1,
    "censored": 0,
    "survival": 0.916666666667,
    "low": 0.538977180571,
    "high": 0.9878255654,
}
