"""`lifelines_intervals.py FILE`: lifelines fits interval-censored times; the file has two columns, `inf` for no end."""

import sys
import warnings
from importlib.metadata import version

import numpy as np
from lifelines import KaplanMeierFitter
from turns import take_turns

left, right = np.loadtxt(sys.argv[1], delimiter=",", unpack=True)


def fit() -> float:
    """The limits of the median."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(KaplanMeierFitter().fit_interval_censoring(left, right).median_survival_time_.iloc[0, 0])


take_turns(f"lifelines {version('lifelines')}", fit)
