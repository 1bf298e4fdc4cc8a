"""Numbers to 12 significant digits, against Python's own formatting."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.estimate.arithmetic import to_twelve_digits
from tests.repetition import repeats

_DECIMALS = st.builds(lambda digits, places: digits / 10**places, st.integers(-(10**14), 10**14), st.integers(0, 20))
_MIDDLES = st.builds(
    lambda whole, power: (whole + 0.5) * 10.0**power, st.integers(10**11, 10**12 - 1), st.integers(-25, 25)
)
_POWERS = st.builds(
    lambda power, steps: 10.0**power * (1 + steps * 2.0**-53), st.integers(-30, 30), st.integers(-2000, 2000)
)


@settings(max_examples=repeats(300, thorough=20_000))
@given(st.lists(st.floats() | _DECIMALS | _MIDDLES | _POWERS, max_size=20))
def test_twelve_digits_are_those_that_python_writes(values):
    found = to_twelve_digits(np.array(values, dtype=np.float64)).tolist()
    written = [float(f"{value:.12g}") for value in values]
    assert [(math.copysign(1, x), x) for x in found if not math.isnan(x)] == [
        (math.copysign(1, x), x) for x in written if not math.isnan(x)
    ]
    assert [*map(math.isnan, found)] == [*map(math.isnan, written)]
