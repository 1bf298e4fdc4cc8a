"""The distribution of one number over patients."""

import numpy as np
from numpy.typing import ArrayLike

from app.estimate.arithmetic import LARGEST, deviation_of, mean_of, quantile_of, sorted_values
from app.estimate.results import Reason, Summary


def summarise(values: ArrayLike) -> Summary:
    """Number, mean, standard deviation, median and quartiles of some finite values, in their own unit.

    Quartiles are of type 7 (R `quantile`, the default there). Without values everything is null. With one
    value only the standard deviation is null. If the squares of values exceed the range of floats, everything is null
    with `out_of_range`.
    """
    if np.max(np.abs(np.asarray(values, dtype=np.float64)), initial=0) > LARGEST:
        size = np.size(values)
        return Summary(n=size, mean=None, sd=None, median=None, q1=None, q3=None, reason=Reason.OUT_OF_RANGE)
    sorted_array = sorted_values(values)
    ordered = sorted_array.tolist()
    if not ordered:
        return Summary(n=0, mean=None, sd=None, median=None, q1=None, q3=None, reason=Reason.NO_PATIENTS)
    mean = mean_of(ordered)
    return Summary(
        n=len(ordered),
        mean=mean,
        sd=deviation_of(sorted_array, mean) if len(ordered) > 1 else None,
        median=quantile_of(ordered, 0.5),
        q1=quantile_of(ordered, 0.25),
        q3=quantile_of(ordered, 0.75),
        reason=None if len(ordered) > 1 else Reason.TOO_FEW_VALUES,
    )
